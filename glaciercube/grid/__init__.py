"""The grid everything lies on: a thin layer over odc-geo's GeoBox, and areas on the globe."""

from glaciercube.grid.areas import WGS84, area_frame, ground_area
from glaciercube.grid.geoboxes import (
    crs_name,
    describe,
    georeferenced,
    grid_of,
    pixel_area,
    require_same,
)
from glaciercube.grid.globe import densified, geographic, geographic_boxes, touches, touching
from glaciercube.grid.lattice import crs_for, grid_around, snapped

__all__ = [
    "WGS84",
    "area_frame",
    "crs_for",
    "crs_name",
    "densified",
    "describe",
    "geographic",
    "geographic_boxes",
    "georeferenced",
    "grid_around",
    "grid_of",
    "ground_area",
    "pixel_area",
    "require_same",
    "snapped",
    "touches",
    "touching",
]
