"""Extent from facies inside outlines."""

import numpy as np
import pytest
import xarray as xr

from glaciercube import schema
from glaciercube.products.extents import extent_of_facies, extent_within


@pytest.mark.parametrize("category", schema.FACIES, ids=lambda category: category.name)
def test_each_category_goes_to_its_rollup(category):
    want = 255
    if category.name in schema.ROLLUPS["glacier"]:
        want = 1
    if category.name in schema.ROLLUPS["not_glacier"]:
        want = 0
    assert extent_of_facies(np.uint8([[category.code]])) == want


def test_every_category_is_rolled_up_once():
    groups = ("glacier", "not_glacier", "unobservable")
    names = [name for group in groups for name in schema.ROLLUPS[group]]
    assert sorted(names) == sorted(category.name for category in schema.FACIES)


def test_the_layer_stays_lazy_and_has_flags(no_compute):
    facies = xr.DataArray(
        np.zeros((2, 4, 6), np.uint8),
        dims=("time", "y", "x"),
        attrs=schema.flag_attrs("facies"),
    ).chunk(time=1, y=2)
    with no_compute:
        extent = extent_within(facies)
    assert extent.dtype == np.uint8
    assert extent.dims == ("time", "y", "x")
    assert extent.attrs["flag_meanings"] == "not_glacier glacier nodata"
    assert extent.chunks == facies.chunks
    assert extent.compute().values.min() == 1


def test_in_memory_and_lazy_agree():
    values = np.random.default_rng(0).integers(0, 9, (1, 5, 7)).astype(np.uint8)
    facies = xr.DataArray(values, dims=("time", "y", "x"))
    xr.testing.assert_identical(extent_within(facies), extent_within(facies.chunk(y=2)).compute())
