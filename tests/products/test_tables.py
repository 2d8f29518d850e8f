"""The Dask side of the sums: lazy, few tasks, named by what they hold."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from glaciercube import grid, schema
from glaciercube.products import tables


@pytest.fixture
def layers(geobox):
    codes = np.random.default_rng(0).integers(0, 2, (2, *geobox.shape)).astype(np.uint8)
    codes[:, :10] = schema.NODATA
    extent = xr.DataArray(codes, dims=schema.TIME_DIMS, attrs=schema.flag_attrs("extent"))
    return grid.georeferenced(xr.Dataset({"extent": extent}), geobox)


def sums(layers, geobox, **chunks):
    return tables.lazy_tables(layers.chunk(chunks), None, geobox, None, 20.0)


def test_building_computes_nothing_and_names_are_the_content(layers, geobox, no_compute):
    with no_compute:
        first = sums(layers, geobox, time=1, y=32, x=40)
        again = sums(layers, geobox, time=1, y=32, x=40)
    assert first.shape == (2,)
    assert first.name == again.name
    assert first.name != sums(layers.isel(time=[1, 0]), geobox, time=1, y=32, x=40).name


@pytest.mark.parametrize("chunks", [{"y": 96, "x": 80}, {"y": 32, "x": 40}, {"y": 17, "x": 23}])
def test_sums_are_those_of_the_whole_image_whatever_the_chunks(layers, geobox, chunks):
    found = sums(layers, geobox, time=1, **chunks).compute()
    for date, cell in enumerate(found):
        (total,) = cell.values()
        codes = layers["extent"].values[date]
        assert total["glacier"] == pytest.approx(100.0 * (codes == 1).sum())
        assert total["observed"] == pytest.approx(100.0 * (codes != schema.NODATA).sum())


def test_neighbours_are_one_pixel_and_nodata_lies_beyond_the_image():
    codes = da.from_array(np.arange(16, dtype=np.uint8).reshape(1, 4, 4), chunks=(1, 2, 4))
    upper = tables.with_neighbours(codes).blocks[0, 0, 0].compute()[0]
    assert upper.shape == (4, 6)
    assert upper[-1, 1:-1].tolist() == [8, 9, 10, 11]
    assert (upper[0] == schema.NODATA).all()
