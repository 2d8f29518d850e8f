"""View: maps and time series."""
