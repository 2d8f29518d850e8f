"""Tests that read through real servers on the loopback address."""
