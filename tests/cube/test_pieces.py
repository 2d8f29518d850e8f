from collections import Counter
from threading import Lock

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from conftest import make_cube

from glaciercube.cube import cells
from glaciercube.cube.composites import composite
from glaciercube.store.reading import Source, read
from glaciercube.store.writing import write

DATES = ("2021-06-01", "2021-07-01", "2021-07-20", "2021-08-03", "2022-07-05", "2022-08-05")
PER_PIXEL = 10 * 4 + 2
"""Bytes of a date and pixel: ten bands, the clear mask, one flag."""


@pytest.fixture
def six(geobox):
    """Return a cube of six dates in two glacier-years, in memory."""
    return make_cube(geobox, dates=DATES)


class Seen:
    """Count what is loaded, and what the kernel holds."""

    def __init__(self):
        self.lock = Lock()
        self.loads = Counter()
        self.bytes = []

    def load(self, block, name="", block_id=()):
        with self.lock:
            self.loads[(name, *block_id)] += 1
        return block

    def kernel(self, stack, *rest):
        arrays = [stack.values, stack.clear, *stack.flags.values(), stack.cloud_score]
        with self.lock:
            self.bytes.append(sum(one.nbytes for one in arrays if one is not None))
        return self.compose(stack, *rest)

    compose = staticmethod(cells.compose)


@pytest.fixture
def seen(monkeypatch):
    found = Seen()
    monkeypatch.setattr(cells, "compose", found.kernel)
    return found


def load_named(seen, name):
    return lambda block, block_id=None: seen.load(block, name, block_id)


@pytest.mark.parametrize("how", ["median", "medoid", "best-pixel"])
@pytest.mark.parametrize("time", [1, 4])
def test_each_chunk_is_loaded_once_and_tasks_stay_small(six, seen, how, time):
    lazy = six.chunk(time=time, band=-1, y=32, x=40)
    out = lazy.copy()
    for name in ("reflectance", "valid", "cloud"):
        data = lazy[name].data
        loaded = da.map_blocks(load_named(seen, name), data, dtype=data.dtype, meta=data._meta)
        out[name] = out[name].copy(data=loaded)
    max_bytes = 4 * PER_PIXEL * 40 * 5
    composite(out, how, period="glacier-year", max_bytes=max_bytes).compute()
    blocks = 3 * 2 * -(-6 // time)
    assert len(seen.loads) == 3 * blocks
    assert set(seen.loads.values()) == {1}
    assert len(seen.bytes) > 6
    assert max(seen.bytes) <= max_bytes


def test_a_store_is_read_piece_by_piece_and_each_piece_once(six, seen, tmp_path, monkeypatch):
    write(six.chunk(time=1, y=48, x=40), tmp_path / "cube.zarr")
    stored = read(tmp_path / "cube.zarr")
    lock, loads = Lock(), Counter()
    plain = Source.load

    def load(source, time_index, window):
        with lock:
            loads[(source.variable, time_index, window)] += 1
        return plain(source, time_index, window)

    monkeypatch.setattr(Source, "load", load)
    max_bytes = 4 * PER_PIXEL * 48 * 20
    out = composite(stored, "medoid", period="glacier-year", max_bytes=max_bytes)
    out[["reflectance", "acquired"]].compute()
    area = Counter()
    for (name, date, window), times in loads.items():
        # The mask is made of flags, so these are read for it too.
        assert times == 1 or name != "reflectance"
        area[(name, date)] += window.shape[0] * window.shape[1]
    assert {area[("reflectance", date)] for date in range(6)} == {96 * 80}
    assert max(seen.bytes) <= max_bytes
    # The graph has a task per chunk and period; no reflectance passes through it.
    names = out["reflectance"].data.__dask_graph__().layers
    assert not [name for name in names if name.startswith("read-reflectance")]


@pytest.mark.parametrize("how", ["median", "medoid", "best-pixel"])
@pytest.mark.parametrize("max_bytes", [1, 20_000, 2**27])
def test_a_store_gives_the_same_as_its_values(six, tmp_path, how, max_bytes):
    write(six.chunk(time=1, y=32, x=40), tmp_path / "cube.zarr")
    box = (600_380, 5_000_600, 600_420, 5_000_660)
    if max_bytes > 1:
        box = (600_100, 5_000_200, 600_500, 5_000_700)
    area = gpd.GeoSeries([shapely.box(*box)], crs="EPSG:32632")
    stored = read(tmp_path / "cube.zarr", time=slice("2021-07", None), area=area)
    found = composite(stored, how, period="glacier-year", max_bytes=max_bytes)
    expected = composite(stored.compute(), how, period="glacier-year")
    xr.testing.assert_identical(found.compute(), expected.compute())
    assert found["reflectance"].chunks[2:] == stored["reflectance"].chunks[2:]


def test_a_store_in_another_order_of_dates(six, tmp_path):
    write(six.chunk(time=1, y=32, x=40), tmp_path / "cube.zarr")
    stored = read(tmp_path / "cube.zarr")
    expected = composite(stored, "medoid").compute()
    shuffled = composite(stored[{"time": [3, 1, 0, 5, 2, 4]}], "medoid")
    xr.testing.assert_identical(shuffled.compute(), expected)


@pytest.mark.parametrize("how", ["median", "best-pixel"])
def test_the_name_does_not_tell_how_it_was_cut(six, how):
    lazy = six.chunk(time=1, y=32, x=40)
    small = composite(lazy, how, period="glacier-year", max_bytes=20_000)
    large = composite(lazy, how, period="glacier-year")
    again = composite(lazy.copy(), how, period="glacier-year")
    for name in ("reflectance", "valid", "acquired", "observations"):
        assert small[name].data.name == large[name].data.name == again[name].data.name
    other = composite(lazy, how, period="glacier-year", clear="measured")
    assert other["reflectance"].data.name != large["reflectance"].data.name


def test_names_differ_with_everything_that_changes_numbers(six):
    lazy = six.chunk(time=1, y=32, x=40)
    made = [
        composite(lazy, "median"),
        composite(lazy, "medoid"),
        composite(lazy, "best-pixel"),
        composite(lazy, "best-pixel", prefer="08-20"),
        composite(lazy, "best-pixel", prefer=xr.DataArray(np.arange(6), dims="time")),
        composite(lazy, "median", period=("2021", "2021")),
        composite(lazy.isel(band=[0, 1]), "median"),
    ]
    names = [one["reflectance"].data.name for one in made]
    assert len(set(names)) == len(names)


def test_a_store_makes_one_task_per_chunk_and_the_masks(six, tmp_path):
    write(six.chunk(time=1, y=32, x=40), tmp_path / "cube.zarr")
    out = composite(read(tmp_path / "cube.zarr"), "median", clear="measured")
    (optimised,) = dask.optimize(out["reflectance"].data)
    assert len(optimised.__dask_graph__()) <= 6 * (1 + 1 + len(DATES))


def test_a_store_whose_dates_are_named_anew(six, tmp_path):
    write(six.chunk(time=1, y=32, x=40), tmp_path / "cube.zarr")
    stored = read(tmp_path / "cube.zarr")
    other = stored.assign_coords(time=stored["time"].values[[3, 1, 0, 5, 2, 4]])
    # Still what `read` gave, so it is read directly, but in another order.
    out = composite(other, "medoid", period="glacier-year")
    assert any(name.startswith("compose-") and name.endswith("-direct") for name in layers_of(out))
    expected = composite(other.compute(), "medoid", period="glacier-year").compute()
    xr.testing.assert_identical(out.compute(), expected)


def layers_of(composites):
    return composites["reflectance"].data.__dask_graph__().layers
