"""Model: networks, cards and weights."""
