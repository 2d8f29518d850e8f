import pickle

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from glaciercube.cover import inside
from glaciercube.cover.regions import region_of
from glaciercube.errors import GridError
from glaciercube.windows import Window

GEOBOX = GeoBox.from_bbox((600_000, 5_000_000, 600_600, 5_000_400), "EPSG:32632", resolution=10)
LAKE = (
    shapely.Point(600_200, 5_000_150)
    .buffer(123)
    .difference(shapely.Point(600_230, 5_000_150).buffer(44))
)
FRAME = gpd.GeoDataFrame(
    geometry=[LAKE, shapely.box(600_500, 5_000_300, 600_533, 5_000_390)], crs="EPSG:32632"
)


def test_a_region_is_what_any_polygon_touches():
    region = region_of(FRAME, GEOBOX)
    whole = region.inside(Window(0, 40, 0, 60))
    np.testing.assert_array_equal(whole, inside(FRAME, GEOBOX, touched=True))
    assert 0 < whole.sum() < whole.size


@given(
    y=st.integers(0, 38), x=st.integers(0, 58), rows=st.integers(1, 20), columns=st.integers(1, 20)
)
def test_any_window_agrees_with_the_whole(y, x, rows, columns):
    region = region_of(FRAME, GEOBOX)
    window = Window(y, min(40, y + rows), x, min(60, x + columns))
    part = region.inside(window)
    np.testing.assert_array_equal(part, inside(FRAME, GEOBOX, touched=True)[window.slices])
    assert region.touches(window) or not part.any()


def test_a_region_travels_without_its_tree():
    region = region_of(FRAME, GEOBOX)
    before = len(pickle.dumps(region))
    assert region.touches(Window(0, 40, 0, 60))
    assert len(pickle.dumps(region)) == before
    back = pickle.loads(pickle.dumps(region))
    assert back.token == region.token
    assert not back.touches(Window(0, 2, 0, 2))


def test_polygons_need_a_crs():
    with pytest.raises(GridError, match="coordinate reference system"):
        region_of(FRAME.set_crs(None, allow_override=True), GEOBOX)
