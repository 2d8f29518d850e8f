"""Train: networks from simulated scenes with real spectra."""
