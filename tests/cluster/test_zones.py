"""Planes of glaciers: as `grid.crs_for` says, also at the antimeridian and the poles."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.rounds import glaciers
from glaciercube import grid
from glaciercube.cluster.zones import drawn, zones_of
from glaciercube.errors import GridError


@settings(deadline=None, max_examples=60)
@given(
    place=st.tuples(
        st.floats(-180, 180), st.floats(-89.9, 89.9), st.sampled_from([300.0, 2e4, 1e5])
    )
)
def test_zones_are_those_of_crs_for(place):
    frame = glaciers(place)
    assert zones_of(frame.geometry).tolist() == [grid.crs_for(frame)]


def test_a_glacier_over_the_antimeridian_is_whole():
    place = glaciers((180, 66.5, 4000)).geometry
    assert place.bounds.maxx[0] - place.bounds.minx[0] > 359
    (crs,) = zones_of(place)
    assert crs in ("EPSG:32601", "EPSG:32660")
    shape = drawn(place, crs)[0]
    assert shapely.union_all(shapely.buffer(shape, 1)).area == pytest.approx(
        np.pi * 4000**2, rel=0.01
    )


@pytest.mark.parametrize(("latitude", "crs"), [(90, "EPSG:3413"), (-90, "EPSG:3031")])
def test_a_glacier_over_a_pole_is_whole(latitude, crs):
    place = glaciers((0, latitude, 5000)).geometry
    assert zones_of(place).tolist() == [crs]
    shape = drawn(place, crs)[0]
    assert shape.is_valid
    west, south, east, north = shape.bounds
    assert (east - west, north - south) == pytest.approx((2 * 5000 * 0.97,) * 2, rel=0.02)
    assert shape.area == pytest.approx(np.pi * (5000 * 0.97) ** 2, rel=0.03)


def test_long_edges_stay_where_they_are():
    triangle = gpd.GeoSeries([shapely.Polygon([(6, 79), (12, 79), (9, 79.2)])], crs=4326)
    shape = drawn(triangle, "EPSG:32632")[0]
    middle = gpd.GeoSeries([shapely.Point(9, 79)], crs=4326).to_crs(32632)[0]
    assert shape.exterior.distance(middle) < 0.5


def test_a_place_that_a_plane_does_not_have_is_named():
    place = gpd.GeoSeries([shapely.box(99, 0, 99.1, 0.1)], index=["far away"], crs=4326)
    with pytest.raises(GridError, match=r"1 outlines have no place in EPSG:32632: \['far away'\]"):
        drawn(place, "EPSG:32632")
