"""Simulate: a glacier with known truth, as a STAC archive of COGs."""
