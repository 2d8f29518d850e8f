"""Infer: a lazy convolutional network over the chunks of a cube."""
