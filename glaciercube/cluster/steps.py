"""The steps of one tile, as a worker runs them: ingest, predict, products."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import dask
import geopandas as gpd
import pandas as pd
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.acquire import failures
from glaciercube.acquire.access import plain, require_trusted
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.scenes import load
from glaciercube.cluster import halo_choice, runtime_choice, states
from glaciercube.cluster.plans import Tile
from glaciercube.cluster.states import STEPS, State
from glaciercube.cube.seasons import annual
from glaciercube.errors import GridError, SchemaError, SensorError, StoreError, WeightsError
from glaciercube.infer import lazy
from glaciercube.model.card import ModelCard
from glaciercube.products.polygons import outlines
from glaciercube.products.series import summarize
from glaciercube.store import ledger
from glaciercube.store.places import place_of
from glaciercube.store.reading import read
from glaciercube.store.writing import WriteReport, write

CUBE, LAYERS = "cube.zarr", "layers.zarr"
SERIES, OUTLINES = "series.parquet", "outlines.parquet"
ITEMS = "items.json"
"""Scenes that a tile was begun with, so that a resume reads the same ones."""

STORES = {"ingest": CUBE, "predict": LAYERS}
"""What the steps write that write stores."""

LASTING = (SchemaError, GridError, SensorError, WeightsError)
"""What another try would not change."""

ENVIRONMENT = {"GDAL_CACHEMAX": "256", "OMP_NUM_THREADS": "1"}
"""Of a worker, unless the user says otherwise, as far as it can be set in a process that runs: the
MB of decoded blocks that GDAL keeps; one thread of a network for each thread of Dask, as torch's
last digits depend on their number."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that the steps of one tile need to know; holds no secret."""

    out: Path
    """Folder of the run."""

    plan: str
    """Fingerprint of the plan."""

    tile: Tile
    glaciers: gpd.GeoDataFrame
    surroundings: gpd.GeoDataFrame
    """Ground that has to be read: the glaciers, widened by the buffer and the halo."""

    options: Mapping[str, Any]
    """Of the plan."""

    cards: tuple[ModelCard, ...]
    retry_unread: bool = False
    """Whether to read again what could not be read."""

    tiles: int = 1
    """Of the run."""

    here: bool = True
    """Whether the blocks are computed in the thread that runs the step; else by Dask's default."""

    @property
    def folder(self) -> Path:
        """Of the tile."""
        return states.folder_of(self.out, self.tile.name)

    @property
    def place(self) -> GeoBox:
        """Grid that is reported."""
        return self.tile.geobox[self.tile.core.slices]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended; what travels from a worker."""

    tile: str
    step: str
    cause: str = ""
    """Why it failed; empty if it did not."""

    details: Mapping[str, Any] = field(default_factory=dict)
    """What it did, and all steps before it."""

    read_failures: tuple[failures.Failure, ...] = ()


def ingest(job: Job) -> Outcome:
    """Write the cube of a tile.

    Parameters
    ----------
    job : Job

    Returns
    -------
    Outcome

    Raises
    ------
    Exception
        Whatever another try may cure; Dask retries.
    """
    return _step(job, "ingest", _ingest, None)


def predict(job: Job, before: Outcome) -> Outcome:
    """Write the layers of a tile.

    Parameters
    ----------
    job : Job
    before : Outcome
        Of `ingest`; if that failed nothing is done.
    """
    return _step(job, "predict", _predict, before)


def products(job: Job, before: Outcome) -> Outcome:
    """Write the series and the outlines of a tile's glaciers.

    Parameters
    ----------
    job : Job
    before : Outcome
        Of `predict`; if that failed nothing is done.
    """
    return _step(job, "products", _products, before)


def _step(
    job: Job, step: str, work: Callable[[Job], dict[str, Any]], before: Outcome | None
) -> Outcome:
    """Run a step unless it is done, and leave a state that says how it went."""
    if before is not None and before.cause:
        return before
    failed = [] if before is None else list(before.read_failures)
    try:
        found = _require_run(job)
        steps = dict(found.steps) if found is not None else {}
        if step not in steps:
            doing = State(plan=job.plan, state="running", step=step, steps=steps)
            states.write_state(job.folder, doing)
            steps[step] = _recorded(job, step, work, doing, failed)
            state: Any = "done" if step == STEPS[-1] else "running"
            states.write_state(job.folder, replace(doing, state=state, steps=steps))
    except LASTING as error:
        cause = told(step, error)
        return Outcome(tile=job.tile.name, step=step, cause=cause, read_failures=tuple(failed))
    return Outcome(
        tile=job.tile.name,
        step=step,
        details=steps,
        read_failures=tuple(failed),
    )


def _require_run(job):
    """Return the state of the tile; raise where this machine does not see the run's folder."""
    found = states.read_run(job.out)
    if found is None or found.plan != job.plan:
        raise StoreError(
            f"the folder of the run needs to be the same for the client and all workers, but "
            f"{socket.gethostname()!r} sees no such run at {str(job.out)!r}; choose a folder on "
            "storage that they share"
        )
    return states.read_state(job.folder, job.plan)


def _recorded(job, step, work, doing, failed):
    """Run a step; keep the reads that failed; leave the cause where it fails."""
    started = perf_counter()
    try:
        with _computing(job.here), failures.collected() as told_failures:
            details = work(job)
    except Exception as error:
        cause = told(step, error)
        states.write_state(job.folder, replace(doing, state="failed", cause=cause))
        raise
    finally:
        own = _own(told_failures, job)
        failed.extend(own)
        if own and (job.folder / CUBE).exists():
            place = place_of(job.folder / CUBE)
            ledger.add_read_failures(place, [one.as_dict() for one in own])
    return {**details, "seconds": round(perf_counter() - started, 3)}


def told(step: str, error: BaseException) -> str:
    """Return why a step failed, in words without credentials.

    Parameters
    ----------
    step : str
    error : exception

    Examples
    --------
    >>> told("ingest", OSError("no https://example.org/a.tif?sig=secret"))
    'ingest: OSError: no https://example.org/a.tif'
    """
    return f"{step}: {type(error).__name__}: {plain(str(error))}"


_lock = threading.Lock()
_steps_here = 0
_setting: Any = None


@contextmanager
def _computing(here: bool) -> Iterator[None]:
    """Let blocks be computed by the thread that asks, while any step runs in this process.

    Dask's configuration holds for a whole process, whose other threads may run steps too: the
    first step sets it and the last takes it back. Without it a task that computes something
    would hand it to the cluster and wait for it.
    """
    global _steps_here, _setting
    if not here:
        yield
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _lock:
        if _steps_here == 0:
            _setting = dask.config.set(scheduler="synchronous")
            _setting.__enter__()
        _steps_here += 1
    try:
        yield
    finally:
        with _lock:
            _steps_here -= 1
            if _steps_here == 0:
                _setting.__exit__(None, None, None)


def _own(found, job):
    """Return those failures that are of a tile's blocks; other tiles may be read beside it."""
    size = int(job.options["block"])
    rows, columns = job.tile.geobox.shape
    windows = {
        grid.describe(job.tile.geobox[y : min(y + size, rows), x : min(x + size, columns)])
        for y in range(0, rows, size)
        for x in range(0, columns, size)
    }
    return [one for one in found if one.window in windows]


def cube_of(job: Job) -> xr.Dataset:
    """Return the cube of a tile, lazily, of the scenes that the tile was begun with.

    Parameters
    ----------
    job : Job
    """
    return load(
        _items(job),
        job.tile.geobox,
        dem=job.options["dem"],
        within=job.surroundings,
        chunk=int(job.options["block"]),
    )


def _items(job):
    """Return the scenes of a tile: those of the first time, or found now and kept."""
    kept = job.folder / ITEMS
    if kept.exists():
        return [pystac.Item.from_dict(one) for one in json.loads(kept.read_bytes())]
    options = job.options
    season = options["season"]
    found = search(
        options["catalog"],
        job.tile.geobox,
        options["period"],
        sensor=options["sensor"],
        season=None if season is None else (season[0], season[1]),
    )
    require_trusted(found)  # before anything of it is kept: an address may hold a credential
    items = [one.to_dict(include_self_link=True, transform_hrefs=False) for one in found]
    states.write_atomically(kept, json.dumps(items).encode())
    return list(found)


def layers_of(job: Job) -> xr.Dataset:
    """Return the layers of a tile, lazily; the first of a run measures its halo and runtime.

    Parameters
    ----------
    job : Job
    """
    cube = read(job.folder / CUBE)
    halo = halo_choice.halo_of_run(job.out, job.tile.name, cube, job.cards)
    runtime = runtime_choice.runtime_of_run(
        job.out, job.tile.name, job.tiles, cube, job.cards, halo
    )
    return lazy.predict(cube, job.cards, halo=halo, runtime=runtime)


REMAKE = {"ingest": cube_of, "predict": layers_of}
"""What makes the dataset of each store again."""


def _ingest(job):
    return _write(cube_of(job), job.folder / CUBE, retry_unread=job.retry_unread)


def _predict(job):
    return _write(layers_of(job), job.folder / LAYERS)


def _write(dataset, path, **options):
    """Write a store of the run, to which nobody else has anything to write.

    A writer on another machine that has said otherwise was a worker, and is no more.
    """
    return _written(write(dataset, path, take_over=True, **options))


def _written(report: WriteReport) -> dict[str, Any]:
    names = ("blocks", "written", "empty", "skipped", "changed", "clipped", "unread")
    return {name: getattr(report, name) for name in names}


def _products(job):
    layers = read(job.folder / LAYERS, area=job.place)
    series = summarize(layers, job.glaciers).load()
    found = outlines(annual(layers), within=job.glaciers)
    rows = _rows(series).assign(tile=job.tile.name)
    _replace(job.folder / SERIES, rows.to_parquet)
    _replace(
        job.folder / OUTLINES,
        lambda path: found.assign(tile=job.tile.name).to_parquet(path, write_covering_bbox=True),
    )
    return {"rows": len(rows), "outlines": len(found), "glaciers": len(job.glaciers)}


def _rows(series: xr.Dataset) -> pd.DataFrame:
    """Return a series as a table, its units and what it was made with beside it."""
    table = series.drop_vars("spatial_ref", errors="ignore").to_dataframe().reset_index()
    units = {name: one.attrs["units"] for name, one in series.items() if "units" in one.attrs}
    table.attrs = {"units": units, **{name: str(one) for name, one in series.attrs.items()}}
    return table


def _replace(path, save):
    partial = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        save(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
