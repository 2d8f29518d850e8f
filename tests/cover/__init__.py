"""Tests of one room; a package, so that file names may repeat in another room."""
