"""Radar backscatter averaged over the dates of one orbit: speckle filter and plain means; lazy."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from glaciercube.cube import blocks, speckle
from glaciercube.cube.radar import (
    ORBIT,
    check_linear,
    dates_of_orbits,
    measured,
    with_backscatter,
)
from glaciercube.errors import SchemaError
from glaciercube.store.reading import Source, source_of
from glaciercube.windows import Window, edges, expand

ALGORITHM_VERSION = 1
"""Raised whenever the same cube would give other numbers."""

WHOLE = (slice(None), slice(None))
"""All rows and columns: no halo."""


def speckle_filtered(cube: xr.Dataset, *, window: int = 7) -> xr.Dataset:
    """Return a radar cube with speckle averaged over the dates of each orbit.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.RADAR_CUBE`, with `orbit_state` and `relative_orbit` on time.
    window : int
        Rows and columns of the local mean; odd.

    Returns
    -------
    Dataset, as lazy as the cube
        `backscatter` of every date at full resolution, with the speckle of all dates of its
        orbit averaged, each band for itself. Nothing else changes.

    Raises
    ------
    SchemaError
        If the cube is in decibels, lacks its orbits, or the window is not odd.

    Notes
    -----
    Quegan and Yu (2001, doi:10.1109/36.917876); see `speckle.averaged`. A change between
    dates is kept as far as the window resolves it. Orbits are never mixed.

    Every date needs all dates. What `read` gave, untouched, is read twice: one task for each
    block and orbit goes through all dates one by one, and one for each block and date makes
    the result, so memory depends neither on the number of dates nor on the cube's extent. Of
    any other lazy cube the blocks being worked on stay in memory with all dates of their orbit;
    write a long one to a store first. The result is the same to the last bit in any chunks.
    """
    check_linear(cube, "speckle_filtered")
    if window < 3 or window % 2 == 0:
        raise SchemaError(f"the window is an odd number of pixels, 3 or more, found {window!r}")
    values, stored = measured(cube), _stored(cube)
    found = [
        (dates, _filtered(_dates(values, dates), stored and stored.of(dates), window))
        for dates in dates_of_orbits(cube).values()
    ]
    record = json.dumps({"method": "Quegan and Yu 2001", "window": window})
    return with_backscatter(cube, _in_order(found, values), speckle=record)


def _dates(values, dates):
    return values if len(dates) == values.shape[0] else values[dates]


def _in_order(found, values):
    """Return the dates of all orbits in their order, chunked as they were."""
    if len(found) == 1:
        return found[0][1]
    order = np.argsort(np.concatenate([dates for dates, _ in found]))
    parts = [part for _, part in found]
    if not isinstance(values, da.Array):
        return np.concatenate(parts)[order]
    return da.concatenate(parts)[order].rechunk(values.chunks)


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """Dates of one orbit that can be read again."""

    backscatter: Source
    valid: Source
    dates: tuple[int, ...]

    def of(self, dates: list[int]) -> "_Stored":
        return _Stored(backscatter=self.backscatter, valid=self.valid, dates=tuple(dates))

    @property
    def starts(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """First and last row and column of each block."""
        rows, columns = self.backscatter.chunks[-2:]
        return edges(rows), edges(columns)

    def windows(self, place: tuple[int, ...], halo: int) -> tuple[Window, Window]:
        """Return a block's own window, and what it reads."""
        (y0, y1), (x0, x1) = (one[at] for one, at in zip(self.starts, place, strict=True))
        own = Window(y0, y1, x0, x1)
        return own, expand(own, halo, self.backscatter.window.shape)

    def load(self, date: int, window: Window) -> np.ndarray:
        """Return one date (1, band, y, x), NaN where not valid."""
        values = self.backscatter.load(date, window)
        return np.where(self.valid.load(date, window), values, np.float32(np.nan))[np.newaxis]


def _stored(cube):
    """Return where a cube can be read again; None if it is not what `read` gave."""
    backscatter, valid = source_of(cube["backscatter"]), source_of(cube["valid"])
    if backscatter is None or valid is None or backscatter.times is None:
        return None
    return _Stored(backscatter=backscatter, valid=valid, dates=())


def _filtered(values, stored, window):
    """Return the dates of one orbit with their speckle averaged."""
    if not isinstance(values, da.Array):
        totals = speckle.add_ratios(None, values, window, WHOLE)
        return speckle.averaged(values, speckle.mean_of(totals), window, WHOLE)
    halo = window // 2
    token = tokenize(ALGORITHM_VERSION, values.name, window)
    if stored is not None:
        return _filtered_stored(stored, values, window, token)
    wide = blocks.with_halo(values, halo)
    step = partial(speckle.add_ratios, window=window)
    ratio = _mean(_folded(wide, step, halo, f"ratios-{token}"))
    done = da.map_blocks(
        _averaged,
        wide,
        ratio,
        window=window,
        halo=halo,
        counts=wide.numblocks,
        name=f"speckle-{token}",
        dtype=np.float32,
        chunks=(wide.chunks[0], *ratio.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    return done.rechunk(values.chunks)


def _filtered_stored(stored, values, window, token):
    """Return the same by direct reads: no block waits for another, none stays in memory."""
    shared = dask.delayed(stored, name=f"stored-{token}", traverse=False)
    # not by map_blocks: Dask would fuse these into the tasks of each date, and do them each time
    name, chunks = f"ratios-{token}", ((1,), *values.chunks[1:])
    graph: dict[Any, Any] = {
        (name, 0, 0, *place): (partial(_ratio_stored, place=place, window=window), shared.key)
        for place in np.ndindex(values.numblocks[2:])
    }
    ratio = da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=[shared]),
        name,
        chunks=chunks,
        meta=np.empty((0, 0, 0, 0), np.float64),
    )
    dates = np.array(stored.dates).reshape(-1, 1, 1, 1)
    return da.map_blocks(
        _averaged_stored,
        da.from_array(dates, chunks=1, name=f"dates-{token}"),
        ratio,
        stored=shared,
        window=window,
        name=f"speckle-{token}",
        dtype=np.float32,
        chunks=((1,) * len(stored.dates), *values.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )


def _ratio_stored(stored, place, window):
    own, read = stored.windows(place, window // 2)
    inside = own.inside(read)
    totals = speckle.add_ratios(None, stored.load(stored.dates[0], read), window, inside)
    for date in stored.dates[1:]:
        totals = speckle.add_ratios(totals, stored.load(date, read), window, inside)
    return speckle.mean_of(totals)[np.newaxis]


def _averaged_stored(date, ratio, stored, window, block_id=None):
    own, read = stored.windows(block_id[-2:], window // 2)
    values = stored.load(date.item(), read)
    return speckle.averaged(values, ratio[0], window, own.inside(read))


def _averaged(values, ratio, window, halo, counts, block_id=None):
    return speckle.averaged(values, ratio[0], window, blocks.inner(block_id, counts, halo))


def _folded(wide, step: Callable[..., np.ndarray], halo, name):
    """Return totals (2, band, y, x) over all dates: a chain of steps along time for each block.

    A chain keeps one block in memory at a time, and adds the dates in one order however they
    are chunked.
    """
    graph: dict[Any, Any] = {}
    last = wide.numblocks[0] - 1
    for place in np.ndindex(wide.numblocks[1:]):
        own = blocks.inner(place, wide.numblocks, halo)
        before = None
        for date in range(last + 1):
            key = (name, 0, *place) if date == last else (f"{name}-to", date, *place)
            graph[key] = (partial(step, own=own), before, (wide.name, date, *place))
            before = key
    return da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=[wide]),
        name,
        chunks=((2,), wide.chunks[1], *blocks.without_halo(wide.chunks, halo)),
        meta=np.empty((0, 0, 0, 0), np.float64),
    )


def _mean(totals):
    return da.map_blocks(
        _mean_block,
        totals,
        name=f"mean-{totals.name}",
        dtype=np.float64,
        chunks=((1,), *totals.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), np.float64),
    )


def _mean_block(totals):
    return speckle.mean_of(totals)[np.newaxis]


def mean_backscatter(cube: xr.Dataset, *, period: str | None = None) -> xr.Dataset:
    """Return the mean backscatter of one orbit over all dates or over periods.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.RADAR_CUBE`, of one orbit; see `orbits`.
    period : str, optional
        Length and start, as pandas names them: "MS" months, "QS-DEC" seasons, "YS-OCT"
        hydrological years. One mean of all dates if None.

    Returns
    -------
    Dataset, as lazy as the cube
        `backscatter` (time, band, y, x), float32: mean power of what was measured; `valid`;
        `observations` (time, band, y, x), uint16: how many dates each pixel was measured on.
        `time` is the last date of each period, `period_start` its beginning; periods without
        a date are left out.

    Raises
    ------
    SchemaError
        If the cube is in decibels, mixes orbits, or the period is unknown.
    """
    check_linear(cube, "mean_backscatter")
    found = dates_of_orbits(cube)
    if len(found) > 1:
        counts = {f"{state} {number}": len(dates) for (state, number), dates in found.items()}
        raise SchemaError(
            f"mean_backscatter needs dates of one orbit, the cube mixes {counts} (dates by "
            "orbit): each sees slopes under its own angle; take one of orbits(cube)"
        )
    starts, groups = _periods(cube, period)
    values = measured(cube)
    totals = [_totals_of(values, group) for group in groups]
    join = da.stack if isinstance(values, da.Array) else np.stack
    both = join(totals)
    mean, count = _means(both)
    last = cube["time"].isel(time=[group[-1] for group in groups])
    out = cube.drop_dims("time").assign_coords(
        {name: cube[name] for name in ("band", *ORBIT) if cube[name].dims != ("time",)}
    )
    out = out.assign_coords(time=last.variable, period_start=("time", starts), band=cube["band"])
    for name, orbit in zip(ORBIT, next(iter(found)), strict=True):
        out = out.assign_coords({name: ("time", [orbit] * len(groups))})
    dims = ("time", "band", "y", "x")
    out["backscatter"] = (dims, mean, cube["backscatter"].attrs)
    out["observations"] = (dims, count, {"units": "1", "long_name": "dates measured"})
    out["valid"] = ((out["observations"] > 0).any("band")).assign_attrs(cube["valid"].attrs)
    for name in ("backscatter", "valid", "observations"):
        out[name].encoding = {"grid_mapping": "spatial_ref"}
    return out


def _periods(cube, period):
    """Return the start of each period that has dates, and its dates."""
    times = pd.DatetimeIndex(cube["time"].values)
    if period is None:
        return [times.min()], [np.argsort(times, kind="stable").tolist()]
    try:
        grouper = pd.Grouper(freq=period)
        grouped = pd.Series(np.arange(len(times)), index=times).groupby(grouper)
    except ValueError as error:
        raise SchemaError(
            f"the period is a pandas frequency such as 'MS', 'QS-DEC' or 'YS-OCT', found {period!r}"
        ) from error
    found = {start: group.tolist() for start, group in grouped if len(group)}
    return list(found), list(found.values())


def _totals_of(values, dates):
    part = _dates(values, dates)
    if not isinstance(part, da.Array):
        return speckle.add_values(None, part, WHOLE)
    return _folded(part, speckle.add_values, 0, f"totals-{tokenize(ALGORITHM_VERSION, part.name)}")


def _means(totals):
    """Return mean and count of totals (period, 2, band, y, x)."""
    if not isinstance(totals, da.Array):
        return _mean_of_periods(totals), _count_of_periods(totals)
    return tuple(
        da.map_blocks(
            kernel,
            totals,
            name=f"{what}-{totals.name}",
            drop_axis=1,
            dtype=dtype,
            meta=np.empty((0, 0, 0, 0), dtype),
        )
        for kernel, what, dtype in (
            (_mean_of_periods, "mean", np.float32),
            (_count_of_periods, "count", np.uint16),
        )
    )


def _mean_of_periods(totals):
    return np.stack([speckle.mean_of(one) for one in totals]).astype(np.float32)


def _count_of_periods(totals):
    return totals[:, 1].astype(np.uint16)
