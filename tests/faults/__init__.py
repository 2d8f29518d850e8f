"""Faults that a store survives: kills, full disks, damage, other writers, servers that fail."""
