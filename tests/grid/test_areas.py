"""Areas in any form, and those that are none."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.errors import GridError

AREA = (10.70, 46.77, 10.83, 46.83)


@pytest.mark.parametrize(
    "area",
    [
        AREA,
        list(AREA),
        np.array(AREA),
        shapely.box(*AREA),
        gpd.GeoSeries([shapely.box(*AREA)], crs=4326),
        gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(*AREA)], crs=4326),
        gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(*AREA)], crs=4326).to_crs(3035),
        GeoBox.from_bbox(AREA, "EPSG:4326", resolution=0.01),
    ],
    ids=lambda area: type(area).__name__,
)
def test_areas_in_any_form_are_the_same_place(area):
    frame = grid.area_frame(area).to_crs(4326)
    np.testing.assert_allclose(frame.total_bounds, AREA, atol=1e-3)


def test_a_box_that_crosses_the_antimeridian_is_the_short_way():
    (shape,) = grid.area_frame((179, -17, -179, -16)).geometry
    assert shape.area == pytest.approx(2.0)
    (shape,) = grid.area_frame((-179, -17, 179, -16)).geometry
    assert shape.area == pytest.approx(358.0)


@pytest.mark.parametrize(
    ("area", "text"),
    [
        ("Aletsch", "an area is outlines .*; found str"),
        ((1, 2, 3), "found tuple"),
        (None, "found NoneType"),
        (
            gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)]),
            "have no coordinate reference system; use",
        ),
        (gpd.GeoDataFrame(geometry=[], crs=4326), "the area is empty"),
        (gpd.GeoDataFrame(geometry=[shapely.Polygon()], crs=4326), "the area is empty"),
        (shapely.Point(), "the area is empty"),
        (GeoBox((10, 10), Affine(0.1, 0, 0, 0, -0.1, 1), None), "grid has no coordinate reference"),
        ((10, "x", 11, 47), "are four numbers, found"),
        ((10, np.nan, 11, 47), "are four numbers, found"),
        ((10, 47, 11, 46), "found south 47 north of north 46; swap"),
        ((190, -17, 181, -16), r"west \(190\) is larger than its east \(181\) crosses"),
        ((6e5, 5e6, 6.1e5, 5.1e6), "the box is said to be longitude and latitude, but .*x 600000"),
        ((46.7, 100.7, 46.8, 100.8), "y 100.7 to 100.8; state the CRS .*longitude before latitude"),
        (
            gpd.GeoSeries([shapely.box(6e5, 5e6, 6.1e5, 5.1e6)], crs=4326),
            "the area is said to be longitude and latitude, but",
        ),
    ],
)
def test_what_is_no_area(area, text):
    with pytest.raises(GridError, match=text):
        grid.area_frame(area)


@pytest.mark.parametrize("crs", [32632, 3035, 3413])
def test_the_area_on_the_ground_does_not_depend_on_the_crs(crs):
    """Albers' equal-area plane agrees, holes, parts and empty rows too."""
    ring = shapely.Point(10, 46).buffer(0.1) - shapely.Point(10, 46).buffer(0.05)
    two = shapely.MultiPolygon([shapely.box(11, 46, 11.1, 46.1), shapely.box(12, 46, 12.1, 46.1)])
    dense = shapely.segmentize([ring, two, shapely.Polygon(), None, shapely.Point(1, 1)], 0.01)
    outlines = gpd.GeoSeries(dense, crs=4326)
    expected = outlines.to_crs(3035).area / 1e6
    found = grid.ground_area(outlines.to_crs(crs))
    np.testing.assert_allclose(found, np.nan_to_num(expected), rtol=1e-5)
    assert found[2:].tolist() == [0, 0, 0]
