"""The graph that writes layers, for many blocks: one small task each, whatever their number."""

from pathlib import Path

import cloudpickle
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from cards import BANDS, make_card
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.errors import GlacierCubeWarning
from glaciercube.infer.lazy import predict
from glaciercube.store import blocks, template
from glaciercube.store.places import Directory, place_of
from glaciercube.store.planning import plan_of
from glaciercube.store.reading import read

BLOCK = 64
LIMIT = 4000
"""Bytes of a task."""


def empty_cube(path, side, dates):
    """Make a store of side x side blocks on some dates without any data; return it as read."""
    size, bands = side * BLOCK, [band.split("|")[0] for band in BANDS]
    values = da.zeros((dates, len(bands), size, size), chunks=(1, -1, BLOCK, BLOCK), dtype="f4")
    valid = da.zeros((dates, size, size), chunks=(1, BLOCK, BLOCK), dtype=bool)
    one = {"units": "1"}
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values, one),
            "valid": (("time", "y", "x"), valid, one),
        },
        coords={
            "time": np.datetime64("2021-07-01", "ns") + np.arange(dates) * np.timedelta64(1, "D"),
            "band": bands,
        },
        attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
    )
    box = GeoBox.from_bbox((0, 0, 10 * size, 10 * size), "EPSG:32632", resolution=10)
    template.create(plan_of(grid.georeferenced(dataset, box)), place_of(path))
    with pytest.warns(GlacierCubeWarning, match="is incomplete"):
        return read(path)


def written(cube, card, path):
    """Return the tasks that write layers, those that all blocks share apart, and their bytes."""
    layers = predict(cube, [card], outputs=["facies", "confidence"], runtime="torch")
    plan = plan_of(layers[["facies", "confidence"]])
    lattice = blocks.lattice_of(plan, Directory(path), True, lambda block: "0" * 32)
    every = plan.header.layout.all_blocks()
    graph = blocks.Work([lattice], every).part(every).graph
    shared = [key for key in graph if isinstance(key, str)]
    sizes = {key: len(cloudpickle.dumps(task)) for key, task in graph.items()}
    return every, shared, sizes


def test_many_blocks_have_one_small_task_each(tmp_path):
    cube, card = empty_cube(tmp_path / "cube.zarr", side=25, dates=8), make_card(tmp_path)
    every, shared, sizes = written(cube, card, tmp_path / "layers.zarr")
    assert len(every) == 25 * 25 * 8
    assert len(sizes) - len(shared) == len(every)
    assert len(shared) == 1
    assert max(size for key, size in sizes.items() if key not in shared) <= LIMIT
    assert sizes[shared[0]] <= 3 * LIMIT


def test_tasks_that_write_do_not_grow_with_cube_or_network(tmp_path):
    small = empty_cube(tmp_path / "small.zarr", side=2, dates=2)
    large = empty_cube(tmp_path / "large.zarr", side=12, dates=9)
    narrow, wide = make_card(tmp_path, width=8), make_card(tmp_path, width=256)
    assert Path(wide.weights).stat().st_size > 100 * Path(narrow.weights).stat().st_size
    most = {
        (cube is large, card is wide): max(
            size
            for key, size in written(cube, card, tmp_path / "layers.zarr")[2].items()
            if not isinstance(key, str)
        )
        for cube in (small, large)
        for card in (narrow, wide)
    }
    assert max(most.values()) - min(most.values()) <= 16, most  # digits of block numbers
