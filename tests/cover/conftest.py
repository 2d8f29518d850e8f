"""Fixtures of the cover room: three polygons on the common grid."""

import geopandas as gpd
import pytest
import shapely

DISC = shapely.Point(600_403, 5_000_497).buffer(300, quad_segs=64)


@pytest.fixture
def frame():
    """Return a disc, a triangle that leaves the grid, and a bow tie."""
    triangle = shapely.Polygon([(600_701, 5_000_103), (601_203, 5_000_201), (600_704, 5_000_457)])
    bow = shapely.Polygon(
        [(600_001, 5_000_807), (600_097, 5_000_901), (600_099, 5_000_803), (600_003, 5_000_912)]
    )
    return gpd.GeoDataFrame(geometry=[DISC, triangle, bow], crs="EPSG:32632")
