"""The graph of writing, materialised: its tasks and their bytes. No pixels, no weights opened."""

import time
import warnings
from shutil import rmtree
from typing import Any

import cloudpickle
import dask.array as da
import numpy as np
import xarray as xr

from glaciercube.errors import GlacierCubeWarning
from glaciercube.infer.lazy import predict
from glaciercube.model.card import ModelCard
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.store import blocks, template
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of
from glaciercube.store.reading import read
from inference.processes import clocked, serve
from inference.scenes import georeferenced
from inference.setup import Setup

ACROSS = 32
"""Blocks along y and x."""


def graph(setup: Setup, network: str, dates: int) -> dict[str, Any]:
    """Make the tasks that write class and confidence of a long cube, of which nothing is there."""
    path, target = (setup.result(f"graph-{name}").with_suffix(".zarr") for name in ("in", "out"))
    for one in (path, target):
        rmtree(one, ignore_errors=True)
    template.create(plan_of(_empty(setup.block, dates)), Directory(path))
    card = setup.card(network)
    found: dict[str, Any] = {}
    with warnings.catch_warnings(), clocked(found):
        warnings.simplefilter("ignore", GlacierCubeWarning)  # the store is incomplete, yes
        tasks, keys, seconds = _tasks(read(path), card, Directory(target))
    rmtree(path)
    own = set(keys)
    sizes = [len(cloudpickle.dumps(tasks[key])) for key in keys[:: max(1, len(keys) // 1000)]]
    shared = [len(cloudpickle.dumps(task)) for key, task in tasks.items() if key not in own]
    return (
        found
        | seconds
        | {
            "blocks": len(keys),
            "tasks": sum(key in own for key in tasks),
            "others": len(shared),
            "largest": max(sizes),
            "shared": sum(shared),
        }
    )


def _tasks(cube, card: ModelCard, place: Directory):
    """Return the tasks that write, the names of those that write a block, and seconds of steps."""
    start = time.perf_counter()
    layers = predict(cube, [card], outputs=("facies", "confidence"), runtime="torch")
    plan = plan_of(layers[["facies", "confidence"]])
    planned = time.perf_counter()
    made = plan.fingerprints()
    every = plan.header.layout.all_blocks()
    fingerprints = {block: made(block) for block in every}
    known = time.perf_counter()
    lattice = blocks.lattice_of(plan, place, True, fingerprints.__getitem__)
    work = blocks.Work([lattice], every)
    done = time.perf_counter()
    seconds = {"plan": planned - start, "fingerprints": known - planned, "graph": done - known}
    return work._graph, [lattice.key(block) for block in every], seconds


def _empty(block, dates):
    """Return a cube of zeros in blocks."""
    size = ACROSS * block
    chunks = (1, -1, block, block)
    shape = (dates, len(SENTINEL_2_L2A.names), size, size)
    values = da.zeros(shape, dtype=np.float32, chunks=chunks)
    valid = da.zeros((dates, size, size), dtype=bool, chunks=(1, block, block))
    one = {"units": "1"}
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values, one),
            "valid": (("time", "y", "x"), valid, one),
        },
        coords={
            "time": np.datetime64("1990-07-01", "ns") + np.arange(dates) * np.timedelta64(5, "D"),
            "band": list(SENTINEL_2_L2A.names),
        },
        attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
    )
    return georeferenced(dataset, size)


WAYS = {"graph": graph}

if __name__ == "__main__":
    serve(WAYS)
