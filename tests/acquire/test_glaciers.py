"""Outlines as layers of a cube."""

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box

from acquire.scenery import CRS, NORTH, WEST, geobox
from glaciercube import cover, schema
from glaciercube.acquire.glaciers import glacier_layers_on
from glaciercube.acquire.proximity import glacier_distance_on
from glaciercube.errors import GridError
from glaciercube.store.lineage import lineage_of

GLACIER = gpd.GeoDataFrame(
    geometry=[box(WEST + 100, NORTH - 300, WEST + 305, NORTH - 100)], crs=CRS
)


def test_layers_are_those_of_the_kernels_and_lazy(no_compute):
    with no_compute:
        layers = glacier_layers_on(geobox(), GLACIER, chunk=32)
    names = ("glacier", "glacier_fraction", "glacier_distance")
    schema.check(layers, {name: schema.CUBE_MORE[name] for name in names}, "the layers")
    assert layers["glacier"].chunks == layers["glacier_distance"].chunks == ((32, 32), (32, 32))
    np.testing.assert_array_equal(layers["glacier"], cover.inside(GLACIER, geobox()))
    np.testing.assert_array_equal(
        layers["glacier_distance"], glacier_distance_on(geobox(), GLACIER)
    )
    assert float(layers["glacier_fraction"].sum()) == pytest.approx(20.5 * 20, rel=1e-6)


def test_they_share_of_what_they_are_made():
    layers = glacier_layers_on(geobox(), GLACIER, chunk=32)
    found = [lineage_of(variable).parameters for variable in layers.data_vars.values()]
    assert found[0]["made_by"] == "outlines"
    assert found[0] == found[1] == found[2]


def test_outlines_elsewhere_are_refused():
    far = gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326")
    with pytest.raises(GridError, match="so none covers it"):
        glacier_layers_on(geobox(), far, chunk=32)
