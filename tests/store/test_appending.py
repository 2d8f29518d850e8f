"""A store that grows in time: idempotent, in any order, and no reader sees half a date."""

import json

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import make_cube

from glaciercube.errors import SchemaError, StoreError
from glaciercube.store import dates, ledger
from glaciercube.store.appending import append
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import IncompleteWriteError, write

DATES = ("2021-08-01", "2022-08-05", "2023-08-03")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cube.zarr"


@pytest.fixture
def named(lazy_cube):
    """Return the cube with coordinates along time, and a provenance as `load` writes it."""
    entries = [{"time": f"{date}T00:00:00+00:00", "offset_used": 0} for date in DATES]
    lazy_cube = lazy_cube.assign_attrs(provenance=json.dumps(entries))
    return lazy_cube.assign_coords(
        platform=("time", ["a", "bb", "ccc"]), sun_elevation=("time", [40.0, 41.5, 39.0])
    )


def failing(cube, when):
    """Return a cube whose flags cannot be computed at the dates whose number is in a set."""

    def block(values, block_info=None):
        if block_info[0]["chunk-location"][0] in when:
            raise RuntimeError("the catalogue went away")
        return values

    out = cube.copy()
    data = cube.cloud.data.map_blocks(block, dtype=bool, name=f"failing-{sorted(when)}")
    out["cloud"] = cube.cloud.copy(data=data)
    return out


def test_dates_in_any_order_make_the_same_cube(named, path, tmp_path):
    write(named, tmp_path / "whole.zarr")
    for number in (1, 2, 0):
        report = append(named.isel(time=[number]), path)
        assert [date[:10] for date in report.dates] == [DATES[number]]
    grown, whole = read(path).compute(), read(tmp_path / "whole.zarr").compute()
    xr.testing.assert_identical(grown, whole)
    assert verify(path).sound


def test_dates_lie_in_the_order_of_their_arrival(named, path):
    for number in (1, 0):
        append(named.isel(time=[number]), path)
    plain = xr.open_zarr(path, decode_coords="all")
    assert [str(time)[:10] for time in plain.time.values] == ["2022-08-05", "2021-08-01"]
    assert plain.platform.values.tolist() == ["bb", "a"]
    np.testing.assert_array_equal(
        plain.sortby("time").valid.values, named.valid.isel(time=[0, 1]).values
    )


def test_a_second_append_does_nothing(named, path):
    append(named, path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("it computed")):
        report = append(named, path)
        again = append(named.isel(time=[1]), path)
    assert (report.written, report.dates) == (0, ())
    assert (again.written, again.dates) == (0, ())
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_written_store_grows_and_a_grown_one_is_completed_by_write(named, path):
    write(named.isel(time=[0, 2]), path)
    append(named, path)
    place = Directory(path)
    assert [date[:10] for date in ledger.read_header(place).times] == [
        DATES[0], DATES[2], DATES[1],
    ]  # fmt: skip
    ledger.forget(place, [Block(0, 0, time=2)])
    with pytest.raises(StoreError, match="'valid' differs in content"):
        write(named, path)  # names of whole Dask arrays: two dates are not three


def test_layers_without_time_may_be_left_out(named, path):
    append(named.isel(time=[0]), path)
    append(named.isel(time=[1]).drop_vars("elevation"), path)
    found = read(path)
    assert found.sizes["time"] == 2
    np.testing.assert_array_equal(found.elevation.values, named.elevation.values)


def test_a_reader_sees_a_date_when_it_is_complete(named, path):
    append(named.isel(time=[0]), path)
    reader = xr.open_zarr(path)
    with pytest.raises(IncompleteWriteError, match="6 of 18 blocks failed"):
        append(failing(named, {2}), path)
    assert xr.open_zarr(path).sizes["time"] == 2
    np.testing.assert_array_equal(read(path).valid.values, named.valid.values[:2])
    np.testing.assert_array_equal(reader.valid.values, named.valid.values[:1])
    report = verify(path)
    assert report.sound
    assert {key.split("/")[-1] for key in report.unfinished} == {
        f"2.{row}.{column}.failed.json" for row in range(3) for column in range(2)
    }


def test_dates_behind_a_failing_one_wait_and_are_not_computed_again(named, path):
    with pytest.raises(IncompleteWriteError, match="6 of 24 blocks failed") as caught:
        append(failing(named, {1}), path)
    assert [date[:10] for date in caught.value.report.dates] == [DATES[0]]
    assert read(path).sizes["time"] == 1
    # the failing array has another name now, so only what is the same is kept: nothing here
    report = append(failing(named, set()), path)
    assert [date[:10] for date in report.dates] == [DATES[1], DATES[2]]
    np.testing.assert_array_equal(read(path).valid.values, named.valid.values)
    assert verify(path).sound


def test_the_same_array_that_failed_once_is_gone_on_with(named, path):
    over = set()

    def block(values, block_info=None):
        if not over and block_info[0]["chunk-location"][0] == 1:
            raise RuntimeError("the catalogue went away")
        return values

    cube = named.copy()
    data = named.cloud.data.map_blocks(block, dtype=bool, name="once")
    cube["cloud"] = named.cloud.copy(data=data)
    with pytest.raises(IncompleteWriteError, match="6 of 24 blocks failed"):
        append(cube, path)
    over.add(True)
    report = append(cube, path)
    assert (report.written, report.skipped) == (6, 12)
    assert read(path).sizes["time"] == 3


def test_an_empty_growing_store_is_no_dataset_yet(named, path):
    with pytest.raises(IncompleteWriteError):
        append(failing(named, {0, 1, 2}), path)
    with pytest.raises(StoreError, match="the store has no complete date yet; append the same"):
        read(path)
    assert xr.open_zarr(path).sizes["time"] == 0


def test_provenance_grows_with_the_dates(named, path):
    append(named.isel(time=[2]), path)
    append(named, path)
    entries = json.loads(read(path).attrs["provenance"])
    assert [entry["time"][:10] for entry in entries] == list(DATES)


def test_more_dates_than_a_chunk_of_time(geobox, path):
    days = pd.date_range("2021-01-01", periods=5, freq="D").strftime("%Y-%m-%d")
    cube = make_cube(geobox, tuple(days), bands=["green"])[["valid"]]
    for start in range(0, 5, 2):
        append(cube.isel(time=slice(start, start + 2)).chunk(time=1, y=96, x=80), path)
    assert read(path).sizes["time"] == 5
    np.testing.assert_array_equal(read(path).valid.values, cube.valid.values)


def test_coordinates_may_outgrow_their_chunk(named, path, monkeypatch):
    monkeypatch.setattr(dates, "CHUNK", 2)
    for number in range(3):
        append(named.isel(time=[number]), path)
    assert read(path).platform.values.tolist() == ["a", "bb", "ccc"]
    assert verify(path).sound


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.isel(x=slice(0, 40)), "the grid is EPSG:32632"),
        (lambda c: c.assign_attrs(sensor="landsat-oli"), "sensor is 'sentinel-2-l2a' in the store"),
        (lambda c: c.isel(band=slice(0, 4)), "labels is "),
        (lambda c: c.drop_vars("cloud"), "the store has the variables"),
        (lambda c: c.drop_vars("platform"), r"\['platform', 'sun_elevation', 'time'\] along time"),
        (
            lambda c: c.assign(elevation=(c.elevation + 1).assign_attrs(units="m")),
            "'elevation' differs in content",
        ),
    ],
)
def test_another_cube_is_refused_before_anything_is_touched(named, path, change, text):
    append(named.isel(time=[0]), path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(
        StoreError, match=rf"holds a different cube:(?s:.*){text}(?s:.*)append what"
    ):
        append(change(named), path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_what_cannot_grow_is_refused(named, path):
    with pytest.raises(SchemaError, match="append needs a dataset with the dimension 'time'"):
        append(named[["elevation"]], path)
    wide = named.assign_coords(gain=(("time", "band"), np.ones((3, 10))))
    with pytest.raises(SchemaError, match=r"coordinates along time alone, \['gain'\] have more"):
        append(wide, path)
    assert not path.exists()


def test_write_points_to_append_for_new_dates(named, path):
    write(named.isel(time=[0]), path)
    with pytest.raises(StoreError, match=r"2 of them new: append\(cube, path\) adds dates"):
        write(named, path)
