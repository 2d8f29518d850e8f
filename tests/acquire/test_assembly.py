"""Measured blocks to a cube."""

import json
from datetime import datetime

import dask.array as da
import numpy as np
import pytest

from glaciercube import grid, schema
from glaciercube.acquire.assembly import (
    assemble,
    chunks_of,
    provenance_of,
    require_chunk,
    told_flags,
)
from glaciercube.acquire.pixels import BITS
from glaciercube.errors import SchemaError
from glaciercube.sensors import SENSORS, SENTINEL_2_L2A


@pytest.fixture
def measured(geobox):
    """Return the measured blocks of two bands; a flag each in six columns of eight."""
    rows, columns = geobox.shape
    values = np.ones((2, 3, rows, columns), np.float32)
    values[:, 2] = BIT_OF_COLUMN[np.arange(columns) % 8]
    values[1, :2, :5] = np.nan
    values[1, 2, :5] = BITS["read_failed"]
    return da.from_array(values, chunks=(1, -1, 32, 40), name="values")


BIT_OF_COLUMN = np.array([0, *BITS.values(), 0])


def cube_of(measured, geobox, flags=("cloud", "snow", "read_failed")):
    return assemble(
        measured,
        geobox=geobox,
        sensor=SENTINEL_2_L2A,
        bands=["green", "nir"],
        times=[datetime(2021, 8, 1), datetime(2022, 8, 1)],
        flags=flags,
        provenance=[{"time": "2021"}, {"time": "2022"}],
    )


def test_the_cube_fits_the_schema(measured, geobox, no_compute):
    with no_compute:
        cube = cube_of(measured, geobox)
        schema.check(cube, schema.CUBE, "the cube")
    assert cube["reflectance"].chunks == ((1, 1), (2,), (32, 32, 32), (40, 40))
    assert cube["time"].dtype == "datetime64[ns]"
    assert cube["band"].values.tolist() == ["green", "nir"]
    assert grid.grid_of(cube) == geobox
    assert cube.attrs["sensor"] == "sentinel-2-l2a"
    assert cube.attrs["level"] == "surface"
    assert [entry["time"] for entry in json.loads(cube.attrs["provenance"])] == ["2021", "2022"]
    for variable in cube.data_vars.values():
        assert variable.encoding["grid_mapping"] == "spatial_ref"


def test_flags_are_the_bits(measured, geobox):
    cube = cube_of(measured, geobox).compute()
    column = np.arange(80) % 8
    for name, place in (("cloud", 1), ("snow", 3), ("read_failed", 6)):
        np.testing.assert_array_equal(cube[name][0, 0], column == place)
        assert cube[name].dtype == bool
    assert cube["read_failed"][1, :5].all()
    np.testing.assert_array_equal(cube["valid"][1, :, 0], np.arange(96) >= 5)


def test_only_flags_that_were_told_are_variables(measured, geobox):
    assert set(cube_of(measured, geobox, flags=()).data_vars) == {"reflectance", "valid"}
    assert told_flags(SENSORS["landsat-etm-c2-l2"].quality) == (
        "cloud", "cloud_shadow", "snow", "water", "saturated",
    )  # fmt: skip
    assert told_flags(()) == ()


def test_radar_is_backscatter(measured, geobox):
    cube = assemble(
        measured,
        geobox=geobox,
        sensor=SENSORS["sentinel-1-rtc"],
        bands=["vv", "vh"],
        times=[datetime(2021, 8, 1), datetime(2022, 8, 1)],
        flags=("read_failed",),
        provenance=[],
    )
    schema.check(cube, schema.RADAR_CUBE, "the cube")
    assert cube["backscatter"].attrs["long_name"].startswith("terrain-corrected gamma nought")
    assert cube.attrs["level"] == "backscatter"


def test_names_follow_from_what_they_hold(measured, geobox):
    again, other = cube_of(measured, geobox), cube_of(measured + 1, geobox)
    cube = cube_of(measured, geobox)
    for name in cube.data_vars:
        assert cube[name].data.name == again[name].data.name
        assert cube[name].data.name != other[name].data.name


def test_the_offset_at_the_top_is_the_one_of_all_sources():
    time = datetime(2021, 8, 1)
    same = [{"id": "a", "offset_used": -1000}, {"id": "b", "offset_used": -1000}]
    assert provenance_of(time, "day", same)["offset_used"] == -1000
    mixed = [{"id": "a", "offset_used": 0}, {"id": "b", "offset_used": -1000}]
    entry = provenance_of(time, "day", mixed, dropped=["c"])
    assert entry["offset_used"] is None
    assert entry["dropped"] == ["c"]


@pytest.mark.parametrize("chunk", [0, "auto"])
def test_a_chunk_is_a_number_of_pixels(chunk):
    with pytest.raises(SchemaError, match=f"found {chunk!r}"):
        require_chunk(chunk)


@pytest.mark.parametrize(("size", "chunk"), [(1, 1024), (1024, 1024), (1025, 1024), (100, 7)])
def test_chunks_cover_the_axis(size, chunk):
    assert sum(chunks_of(size, chunk)) == size
    assert max(chunks_of(size, chunk)) <= chunk
