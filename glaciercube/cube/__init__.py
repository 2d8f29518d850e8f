"""Cube: masks and policies, annual layers."""
