"""A model whose every block is known, and what processes do with it until they are killed."""

import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.store.appending import append
from glaciercube.store.lineage import Lineage, fingerprint, with_lineage
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

ROWS, COLUMNS = 40, 48
BLOCK = (24, 32)
DOWN, ACROSS = 2, 2
"""Blocks along y and x; those at the lower and right border reach beyond the image."""

BANDS = ("green", "nir")
STATIC = -1
"""Day of what has no time."""

THREADS = 2
FIRST = np.datetime64("2021-06-01", "ns")
GRID = GeoBox.from_bbox((600_000, 5_000_000, 600_480, 5_000_400), "EPSG:32632", resolution=10)


@dataclass(frozen=True)
class Model:
    """What a store is to hold: every value follows from the day, the block and its version."""

    days: tuple[int, ...]
    """Since FIRST; sorted."""

    versions: tuple[tuple[tuple[int, int, int], int], ...] = ()
    """Of the source of a block (day, row, column), where it is not 0."""

    parameters: tuple[tuple[str, str | int], ...] = (("weights", "1" * 64),)
    """Of the whole store."""

    log: str = ""
    """File to which each block that is computed is added."""

    pause_s: float = 0.0
    """That a block takes."""

    fails: frozenset[tuple[int, int, int]] = frozenset()
    """Blocks whose source is broken."""

    cuts: int = 0
    """Number of the call that ends as by Ctrl-C; never, if 0."""

    def version(self, day, row, column):
        return dict(self.versions).get((day, row, column), 0)

    def changed(self, day, row, column):
        """Return a model one of whose blocks has another source."""
        now = dict(self.versions)
        now[day, row, column] = self.version(day, row, column) + 1
        return replace(self, versions=tuple(sorted(now.items())))

    def with_parameters(self, **parameters):
        now = {**dict(self.parameters), **parameters}
        return replace(self, parameters=tuple(sorted(now.items())))

    @property
    def blocks(self):
        """Return the number of blocks of the whole store."""
        return (len(self.days) + 1) * DOWN * ACROSS

    def block(self, name, day, row, column):
        """Return the values of one variable in one block."""
        version = self.version(day, row, column)
        rows = min(ROWS - row * BLOCK[0], BLOCK[0])
        columns = min(COLUMNS - column * BLOCK[1], BLOCK[1])
        chance = np.random.default_rng([day + 1, row, column, version])
        codes = chance.integers(1, 9_000, (rows, columns))
        blank = day % 5 == 4 and (row, column) == (0, 1)
        if name == "sample":
            return codes.astype(np.uint16) * (not blank)
        if name == "height":
            return (codes / 4).astype(np.float32)
        both = np.stack([codes, codes + 500]).astype(np.float32) * np.float32(0.0001)
        return np.full_like(both, np.nan) if blank else both

    def whole(self, name, day):
        """Return the values of one variable on one day."""
        return np.concatenate(
            [
                np.concatenate([self.block(name, day, row, c) for c in range(ACROSS)], axis=-1)
                for row in range(DOWN)
            ],
            axis=-2,
        )

    def dataset(self):
        """Return the lazy dataset, which knows of what it is made."""
        times = moments(self.days)
        versions = [[v for (d, _, _), v in self.versions if d == day] for day in self.days]
        provenance = [
            {"time": str(time), "items": [f"S{day}", *of_day]}
            for time, day, of_day in zip(times, self.days, versions, strict=True)
        ]
        out = xr.Dataset(
            {
                "sample": self._lazy("sample"),
                "reflectance": self._lazy("reflectance"),
                "height": self._lazy("height"),
            },
            coords={
                "time": times,
                "band": list(BANDS),
                "scene": ("time", [f"S{day}" for day in self.days]),
            },
            attrs={"sensor": "sentinel-2-l2a", "provenance": json.dumps(provenance)},
        )
        out["reflectance"].attrs["units"] = "1"
        lazy = grid.georeferenced(out, GRID)
        for name in lazy.data_vars:
            lineage = Lineage(
                name=lazy[name].data.name,
                parameters=dict(self.parameters),
                inputs=Versions(self),
                recipe={"verb": "imagine", "seed": 1},
            )
            lazy[name] = with_lineage(lazy[name], lineage)
        return lazy

    def _lazy(self, name):
        static = name == "height"
        middle = {"reflectance": (len(BANDS),)}.get(name)
        chunks = [
            *([] if static else [(1,) * len(self.days)]),
            *([middle] if middle else []),
            (BLOCK[0], ROWS - BLOCK[0]),
            (BLOCK[1], COLUMNS - BLOCK[1]),
        ]
        data = da.map_blocks(
            partial(_compute, model=self, name=name),
            name=f"{name}-{tokenize(self)}",
            chunks=tuple(chunks),
            dtype=np.dtype({"sample": "uint16"}.get(name, "float32")),
            meta=np.empty((0,) * len(chunks), {"sample": "uint16"}.get(name, "float32")),
        )
        dims = ["y", "x"] if static else ["time", *(["band"] if middle else []), "y", "x"]
        return xr.DataArray(data, dims=dims)


class Versions:
    """The inputs of a model's blocks."""

    def __init__(self, model):
        self.model = model

    def of(self, time, window):
        day = STATIC if time is None else day_of(time)
        row, column = window.y0 // BLOCK[0], window.x0 // BLOCK[1]
        return fingerprint(f"version {self.model.version(day, row, column)}")


_calls = Counter()
_lock = threading.Lock()


def _compute(model, name, block_id=()):
    """Compute one block, and say so in the log; "reflectance" goes with "sample"."""
    day = STATIC if name == "height" else model.days[block_id[0]]
    row, column = block_id[-2:]
    if name != "reflectance":
        if model.log:
            with open(model.log, "a") as log:
                log.write(f"{day}.{row}.{column}\n")
        time.sleep(model.pause_s)
        with _lock:
            _calls[model.log] += 1
            if model.cuts and _calls[model.log] == model.cuts:
                raise KeyboardInterrupt
    if (day, row, column) in model.fails:
        raise RuntimeError(f"the source of {day}.{row}.{column} went away")
    values = model.block(name, day, row, column)
    return values if name == "height" else values[np.newaxis]


def forget_calls(log):
    """Begin anew to count the calls that a model with a log makes in this process."""
    _calls.pop(log, None)


def moments(days):
    """Return the labels of days."""
    return pd.to_datetime([FIRST + np.timedelta64(day, "D") for day in days]).as_unit("ns")


def day_of(time):
    """Return the day of a label."""
    return int((np.datetime64(time, "ns") - FIRST) / np.timedelta64(1, "D"))


def logged(log):
    """Return how many times each block was computed."""
    return Counter(Path(log).read_text().split()) if Path(log).exists() else Counter()


# what is on disk

_DRAFT = re.compile(r"\.tmp$|\.partial$")


def files(path):
    """Return the content of each file of a store: durations in the ledger apart, and drafts."""
    return {
        file.relative_to(path).as_posix(): _without_seconds(file)
        for file in sorted(Path(path).rglob("*"))
        if file.is_file() and not _DRAFT.search(file.name)
    }


def _without_seconds(file):
    content = file.read_bytes()
    if file.parent.name != "ledger":
        return content
    return {key: value for key, value in json.loads(content).items() if key != "seconds"}


def snapshot(folder):
    """Return the content of every file below a folder, and when it was written."""
    return {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(Path(folder).rglob("*"))
        if file.is_file()
    }


# what processes do


@lru_cache(maxsize=4)
def dataset_of(model):
    """Return the dataset of a model, made once."""
    return model.dataset()


def do(verb, model, path, scheduler="threads", **options):
    """Write, overwrite, append or repair a model's store with a few threads."""
    with dask.config.set(scheduler=scheduler, num_workers=THREADS):
        dataset = dataset_of(model)
        if verb == "append":
            return append(dataset, path, **options)
        if verb == "repair":
            return verify(path, repair=dataset)
        return write(dataset, path, overwrite=verb == "overwrite", **options)


class Trap:
    """Kills this process just before a change to a folder, the one of a number.

    Files opened to write, renamed, linked, removed, and folders made are changes; of them only
    those count that others see, if asked.
    """

    def __init__(self, folder, number, seen_only=False):
        self.folder, self.number, self.seen_only, self.count = str(folder), number, seen_only, 0

    def __call__(self, event, given):
        if self._is_change(event, given):
            self.count += 1
            if self.count == self.number:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_change(self, event, given):
        if event == "open":
            path, mode, flags = given
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            named = isinstance(path, str | Path) and self._inside(path)
            return named and bool(writes) and not self.seen_only
        if event in ("os.rename", "os.link"):
            return self._inside(given[1])
        if event == "os.mkdir":
            return not self.seen_only and self._inside(given[0])
        if event == "os.remove":
            return given[1] != -1 or (self._inside(given[0]) and not self._is_draft(given[0]))
        return False

    def _inside(self, path):
        return str(path).startswith(self.folder)

    def _is_draft(self, path):
        return self.seen_only and _DRAFT.search(str(path)) is not None


def run(verb, model, path, started=None, trap=None, **options):
    """Do as `do` does, in a process of its own.

    Parameters
    ----------
    started : Connection
        That is told when the work begins.
    trap : Trap
    """
    sys.stderr = open(os.devnull, "w")
    multiprocessing.set_start_method("fork", force=True)  # semaphores then end with the process
    if trap is not None:
        sys.addaudithook(trap)
    if started is not None:
        started.send("started")
    do(verb, model, path, **options)
