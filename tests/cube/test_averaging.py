"""Backscatter averaged over the dates of one orbit."""

import gc
import json
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from cube.speckled import LOOKS, chunked, make_radar_cube
from glaciercube import schema
from glaciercube.cube import averaging
from glaciercube.cube.averaging import mean_backscatter, speckle_filtered
from glaciercube.cube.radar import decibels, orbits
from glaciercube.errors import SchemaError
from glaciercube.store.reading import read
from glaciercube.store.writing import write


@pytest.fixture
def scenes(geobox):
    return make_radar_cube(geobox)


def test_orbits_are_filtered_apart_in_their_order(scenes):
    out = speckle_filtered(scenes, window=5)
    for orbit, part in orbits(scenes).items():
        alone = speckle_filtered(part, window=5)
        xr.testing.assert_identical(orbits(out)[orbit], alone)
    schema.check(out, schema.RADAR_CUBE, "radar")
    assert json.loads(out["backscatter"].attrs["speckle"])["window"] == 5
    xr.testing.assert_identical(out.drop_vars("backscatter"), scenes.drop_vars("backscatter"))


def test_an_orbit_does_not_change_another(scenes):
    changed = scenes.copy(deep=True)
    changed["backscatter"][1::2] *= 100
    first, second = (speckle_filtered(one)["backscatter"][::2] for one in (scenes, changed))
    np.testing.assert_array_equal(first, second)


def test_means_of_all_dates_stay_and_looks_rise(scenes):
    inside = {"y": slice(20, -5), "x": slice(20, -5)}
    before, after = (one["backscatter"].isel(inside) for one in (scenes, speckle_filtered(scenes)))
    dims = ("y", "x")
    np.testing.assert_allclose(after.mean(dims), before.mean(dims), rtol=0.01)
    looks = [float((one.mean(dims) ** 2 / one.var(dims)).mean()) for one in (before, after)]
    assert looks[0] == pytest.approx(LOOKS, rel=0.05)
    assert looks[1] == pytest.approx(LOOKS * 4 * 49 / (4 + 49 - 1), rel=0.1)  # a tenth is holes


@pytest.mark.parametrize(
    "chunks",
    [
        {"time": 1, "y": 32, "x": 40},
        {"time": 3, "y": 50, "x": 80},
        {"time": 8, "band": 1, "y": 96, "x": 11},
        {"time": 2, "y": 2, "x": 80},
    ],
)
def test_lazy_and_the_same_to_the_last_bit_in_any_chunks(scenes, chunks, no_compute):
    cube = chunked(scenes, **chunks)
    with no_compute:
        out = speckle_filtered(cube)
    assert out["backscatter"].data.chunks == cube["backscatter"].data.chunks
    assert out["backscatter"].data.name == speckle_filtered(cube)["backscatter"].data.name
    np.testing.assert_array_equal(out["backscatter"], speckle_filtered(scenes)["backscatter"])


def test_names_follow_from_window_and_version(scenes, monkeypatch):
    cube = chunked(orbits(scenes)["ascending", 12], time=1)
    first = speckle_filtered(cube)["backscatter"].data.name
    assert speckle_filtered(cube, window=5)["backscatter"].data.name != first
    monkeypatch.setattr(averaging, "ALGORITHM_VERSION", averaging.ALGORITHM_VERSION + 1)
    assert speckle_filtered(cube)["backscatter"].data.name != first


class Watch:
    """Makes blocks of dates and counts how many of them are alive at once."""

    def __init__(self):
        self.alive, self.most, self.made = 0, 0, 0

    def block(self, block_id=None):
        return self.count(np.full((1, 1, 20, 20), 0.1, np.float32))

    def count(self, block):
        self.alive, self.made = self.alive + 1, self.made + 1
        self.most = max(self.most, self.alive)
        weakref.finalize(block, self.gone)
        return block

    def gone(self):
        self.alive -= 1

    def __dask_tokenize__(self):
        return "Watch"


def test_the_memory_of_a_mean_does_not_grow_with_the_time_axis():
    most = {}
    for dates in (20, 60):
        watch = Watch()
        values = da.map_blocks(
            watch.block, chunks=((1,) * dates, (1,), (20,), (20,)), dtype=np.float32,
            meta=np.empty((0, 0, 0, 0), np.float32), name=f"watched-{dates}",
        )  # fmt: skip
        dims, one = ("time", "band", "y", "x"), {"units": "1"}
        times = np.datetime64("2020-01-01", "ns") + np.arange(dates) * np.timedelta64(6, "D")
        cube = xr.Dataset(
            {
                "backscatter": (dims, values, one),
                "valid": (("time", "y", "x"), np.ones((dates, 20, 20), bool), one),
            },
            coords={
                "time": times,
                "band": ["vv"],
                "orbit_state": ("time", ["ascending"] * dates),
                "relative_orbit": ("time", [12] * dates),
            },
        )
        gc.collect()
        with dask.config.set(scheduler="synchronous"):
            mean = mean_backscatter(cube)["backscatter"].values
        np.testing.assert_allclose(mean, 0.1, rtol=1e-5)
        assert watch.made == dates
        most[dates] = watch.most
    assert most[60] <= most[20] <= 6


@pytest.fixture
def stored(scenes, tmp_path):
    """Return scenes as `read` gives them, in chunks of 32 x 40 pixels."""
    write(chunked(scenes, time=1, y=32, x=40), tmp_path / "radar.zarr")
    return read(tmp_path / "radar.zarr")


def test_what_was_read_is_read_again_with_the_same_result(scenes, stored, no_compute):
    with no_compute:
        out = speckle_filtered(stored)
    graph = dict(out["backscatter"].data.dask)
    assert not any("read-" in str(key) for key in graph)  # nothing of the stack is in the graph
    assert sum(str(key).startswith("('ratios-") for key in graph) == 2 * 6
    assert out["backscatter"].data.chunks == stored["backscatter"].data.chunks
    np.testing.assert_array_equal(out["backscatter"], speckle_filtered(scenes)["backscatter"])
    for orbit, part in orbits(stored).items():
        alone = speckle_filtered(part, window=3)["backscatter"]
        expected = speckle_filtered(orbits(scenes)[orbit], window=3)["backscatter"]
        np.testing.assert_array_equal(alone, expected)


def test_what_was_changed_since_is_not_read_again(scenes, stored):
    stored["backscatter"] = (stored["backscatter"] * 2).assign_attrs(units="1")
    scenes["backscatter"] = (scenes["backscatter"] * 2).assign_attrs(units="1")
    np.testing.assert_array_equal(
        speckle_filtered(stored)["backscatter"], speckle_filtered(scenes)["backscatter"]
    )


def test_of_a_store_no_more_than_two_dates_are_in_memory(stored, monkeypatch):
    watch, load = Watch(), averaging._Stored.load

    def watched(self, date, window):
        return watch.count(load(self, date, window))

    monkeypatch.setattr(averaging._Stored, "load", watched)
    out = speckle_filtered(stored)["backscatter"].data
    target = np.empty(out.shape, np.float32)
    with dask.config.set(scheduler="synchronous"):
        da.store(out, target, lock=False)
    assert watch.made == 2 * 8 * 6  # each date of each block, twice
    assert watch.most <= 2


def test_a_filter_needs_linear_units_orbits_and_an_odd_window(scenes):
    with pytest.raises(
        SchemaError, match=r"in linear units, found decibels .* linear\(cube\) first"
    ):
        speckle_filtered(decibels(scenes))
    with pytest.raises(SchemaError, match=r"needs the coordinates .* lacks \['orbit_state'\]"):
        speckle_filtered(scenes.drop_vars("orbit_state"))
    for window in (4, 1):
        with pytest.raises(SchemaError, match=f"odd number of pixels, 3 or more, found {window}"):
            speckle_filtered(scenes, window=window)


def test_a_mean_is_of_what_was_measured(scenes):
    part = orbits(scenes)["ascending", 12]
    out = mean_backscatter(part)
    np.testing.assert_allclose(out["backscatter"][0], part["backscatter"].mean("time"), rtol=1e-5)
    np.testing.assert_array_equal(
        out["observations"][0], np.isfinite(part["backscatter"]).sum("time")
    )
    np.testing.assert_array_equal(out["valid"], out["observations"].sel(band="vv") > 0)
    assert not out["valid"][0, :12, :10].any()
    assert out["time"].values[0] == part["time"].values[-1]
    assert out["orbit_state"].values.tolist() == ["ascending"]
    schema.check(out, schema.RADAR_CUBE, "radar")
    assert out.odc.geobox == scenes.odc.geobox


def test_means_of_periods(scenes):
    part = orbits(scenes)["ascending", 12]  # 3, 15, 27 January and 8 February
    out = mean_backscatter(part, period="MS")
    assert out["period_start"].values.astype("datetime64[D]").astype(str).tolist() == [
        "2021-01-01", "2021-02-01",
    ]  # fmt: skip
    np.testing.assert_array_equal(out["time"], part["time"][[2, 3]])
    np.testing.assert_allclose(
        out["backscatter"][0], part["backscatter"][:3].mean("time"), rtol=1e-5
    )
    np.testing.assert_array_equal(out["backscatter"][1], part["backscatter"][3])


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 32, "x": 40}, {"time": 3, "band": 1}])
def test_means_are_lazy_and_the_same_in_any_chunks(scenes, chunks, no_compute):
    part = orbits(scenes)["descending", 85]
    cube = chunked(part, **chunks)
    with no_compute:
        out = mean_backscatter(cube, period="MS")
    name = out["backscatter"].data.name
    assert name == mean_backscatter(cube, period="MS")["backscatter"].data.name
    xr.testing.assert_identical(out.compute(), mean_backscatter(part, period="MS"))


def test_orbits_are_never_mixed_and_periods_are_known(scenes):
    with pytest.raises(
        SchemaError,
        match=r"one orbit, the cube mixes {'ascending 12': 4, 'descending 85': 4}.*one of orbits",
    ):
        mean_backscatter(scenes)
    with pytest.raises(SchemaError, match="'MS', 'QS-DEC' or 'YS-OCT', found 'winter'"):
        mean_backscatter(orbits(scenes)["ascending", 12], period="winter")
    with pytest.raises(SchemaError, match="found decibels"):
        mean_backscatter(decibels(scenes))
