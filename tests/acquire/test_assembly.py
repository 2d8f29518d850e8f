"""Measured blocks to a cube."""

import json
from datetime import datetime

import dask.array as da
import numpy as np
import pytest

from glaciercube import grid, schema
from glaciercube.acquire.assembly import assemble, chunks_of, provenance_of, require_chunk
from glaciercube.errors import SchemaError
from glaciercube.sensors import SENTINEL_2_L2A


@pytest.fixture
def measured(geobox):
    """Return the measured blocks of two bands and scene classes 0 to 11 in columns."""
    rows, columns = geobox.shape
    values = np.ones((2, 3, rows, columns), np.float32)
    values[:, 2] = np.arange(columns) % 12
    values[1, :, :5] = np.nan
    return da.from_array(values, chunks=(1, -1, 32, 40), name="values")


def cube_of(measured, geobox, quality=True):
    return assemble(
        measured,
        geobox=geobox,
        sensor=SENTINEL_2_L2A,
        bands=["green", "nir"],
        times=[datetime(2021, 8, 1), datetime(2022, 8, 1)],
        quality=quality,
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


def test_flags_follow_the_scene_classes(measured, geobox):
    cube = cube_of(measured, geobox).compute()
    classes = np.arange(80) % 12
    for name, codes in {
        "cloud": (8, 9, 10),
        "cloud_shadow": (3,),
        "snow": (11,),
        "water": (6,),
    }.items():
        np.testing.assert_array_equal(cube[name][0, 0], np.isin(classes, codes))
        assert cube[name].dtype == bool
        assert not cube[name][1, :5].any()
    np.testing.assert_array_equal(cube["valid"][1, :, 0], np.arange(96) >= 5)


def test_without_a_quality_layer_there_are_no_flags(measured, geobox):
    assert set(cube_of(measured, geobox, quality=False).data_vars) == {"reflectance", "valid"}


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
