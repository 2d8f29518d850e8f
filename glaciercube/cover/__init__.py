"""Polygons on a grid: which pixels lie inside, and how much of each pixel is covered."""

from glaciercube.cover.blocks import (
    ALGORITHM_VERSION,
    lazy_fraction,
    lazy_glaciers,
    lazy_inside,
    lazy_pieces,
    lazy_zones,
    zones_of,
)
from glaciercube.cover.polygons import in_pixels, inside, polygonal, require_overlap
from glaciercube.cover.shares import Zone, fraction, relative, window_fractions

__all__ = [
    "ALGORITHM_VERSION",
    "Zone",
    "fraction",
    "in_pixels",
    "inside",
    "lazy_fraction",
    "lazy_glaciers",
    "lazy_inside",
    "lazy_pieces",
    "lazy_zones",
    "polygonal",
    "relative",
    "require_overlap",
    "window_fractions",
    "zones_of",
]
