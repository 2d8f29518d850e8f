"""One layer per glacier-year: each pixel from the date with the least seasonal snow."""

import json
from dataclasses import dataclass

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize

from glaciercube import grid, schema
from glaciercube.cube.years import glacier_years, year_start_of
from glaciercube.errors import SchemaError
from glaciercube.store.reading import Source, source_of
from glaciercube.windows import Window, edges

__all__ = ["annual", "glacier_years", "rank_dates"]

ALGORITHM_VERSION = 1
"""Goes into the names of lazy results; raised when the same layers give other numbers."""

GAP_WEIGHT = 0.1
"""How much an unobserved share counts against the same share of seasonal snow. Own choice:
a gap is filled from the next date, seasonal snow would stay."""

NO_SOURCE = -1


def annual(layers: xr.Dataset, *, year_start: str | None = None) -> xr.Dataset:
    """Return one layer per glacier-year, without computing it.

    Parameters
    ----------
    layers : Dataset
        `extent` or `facies` (time, y, x), uint8, and whatever else `predict` gave.
    year_start : str, optional
        "MM-DD" on which a year starts. By default the hydrological year: 1 October in the
        northern, 1 April in the southern hemisphere.

    Returns
    -------
    Dataset, lazy
        The variables of `layers` with one entry of `time` per glacier-year: that year's
        last acquisition, with `glacier_year` (the calendar year in which it ends) beside
        it. Also `source` (time, y, x), int16: which date a pixel comes from, an index into
        its attribute `acquisitions`; -1 where no date of the year shows the pixel.

    Raises
    ------
    SchemaError
        If there is no time, neither `extent` nor `facies`, or `year_start` is no day.

    Notes
    -----
    A date's score is the share of its observed pixels that carry snow (without facies:
    glacier) although another date of the year shows them free of it, plus a tenth of the
    share not observed; the lowest is best: the end of summer, on the glacier and beside it.
    Each pixel is taken, in all variables alike, from the best date on which it was
    observed, and from the best date of all where none shows it (cloud stays cloud, nodata
    stays nodata). Means are not used: they make categories that no satellite saw. A date
    on which a network misses snow scores well; look at
    `rank_dates`.

    The score needs the whole scene before the first pixel can be chosen. What `read` gave
    is read twice, and nothing is kept between; of any other layers a whole year of codes
    stays in memory until its score is known, so write large ones to a store first. A year
    of one date is passed on as it is.
    """
    plan = _planned(layers, year_start)
    years = np.unique(plan.years)
    out = _joined(plan.layers, [_year(plan, year) for year in years])
    out["source"].attrs["acquisitions"] = [moment.isoformat() for moment in plan.times]
    last = pd.DatetimeIndex([plan.times[plan.years == year].max() for year in years])
    out = out.assign_coords(
        time=("time", last, plan.layers["time"].attrs),
        glacier_year=("time", years, {"long_name": f"glacier-year from {plan.start}"}),
    )
    out.attrs["annual"] = json.dumps({"year_start": plan.start, "gap_weight": GAP_WEIGHT})
    for one in out.data_vars.values():
        one.encoding = {"grid_mapping": "spatial_ref"}
    return out


def rank_dates(layers: xr.Dataset, *, year_start: str | None = None) -> xr.Dataset:
    """Return which dates `annual` prefers, without computing it.

    Parameters
    ----------
    layers : Dataset
    year_start : str, optional
        As for `annual`.

    Returns
    -------
    Dataset (acquisition), lazy
        `score`, float64: share under seasonal snow plus a tenth of the share not
        observed; `rank`, int16: 0 is the best date of its `glacier_year`.
    """
    plan = _planned(layers, year_start)
    scores = [_ranked(plan, year) for year in np.unique(plan.years)]
    return xr.Dataset(
        {
            "score": ("acquisition", da.concatenate([score for score, _ in scores])),
            "rank": ("acquisition", da.concatenate([rank for _, rank in scores])),
        },
        coords={
            "acquisition": plan.times,
            "glacier_year": ("acquisition", np.sort(plan.years)),
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is ranked and chosen from."""

    layers: xr.Dataset
    names: tuple[str, ...]
    """Of the class layers: extent, facies."""

    times: pd.DatetimeIndex
    years: np.ndarray
    """Glacier-year of each date."""

    start: str
    sources: tuple[Source, ...] | None
    """Where the class layers can be read again; None if they were made in memory."""

    token: str


def _planned(layers, year_start):
    """Return the layers sorted and lazy, with the year of each date; or raise what they lack."""
    names = tuple(name for name in ("extent", "facies") if name in layers)
    if not names or "time" not in layers.dims:
        raise SchemaError(
            "annual needs 'extent' or 'facies' (time, y, x), but the layers have "
            f"{sorted(map(str, layers.data_vars))}; make them with predict"
        )
    if layers.sizes["time"] < 1:
        raise SchemaError("annual needs at least one date, the layers have none")
    schema.check(layers, {name: schema.LAYERS[name] for name in names}, "the layers")
    start = year_start or year_start_of(grid.grid_of(layers, "the layers"))
    in_order = layers.indexes["time"].is_monotonic_increasing
    ordered = _chunked(layers if in_order else layers.sortby("time"))
    times = pd.DatetimeIndex(ordered["time"].values)
    arrays = [ordered[name].data.name for name in names]
    found = [source_of(layers[name]) for name in names] if in_order else []
    sources = tuple(one for one in found if one is not None)
    return _Plan(
        layers=ordered,
        names=names,
        times=times,
        years=glacier_years(times, start),
        start=start,
        sources=sources if len(sources) == len(names) else None,
        token=tokenize(ALGORITHM_VERSION, GAP_WEIGHT, start, times.asi8.tolist(), arrays),
    )


SOURCE_ATTRS = {
    "units": "1",
    "long_name": "acquisition a pixel comes from",
    "comment": "index into acquisitions; -1 where no date of the year shows the pixel",
}


def _chunked(layers):
    """Return layers whose variables on the time axis are all lazy, one chunk grid in y and x."""
    some = layers.copy()
    sizes = layers["extent" if "extent" in layers else "facies"].chunksizes
    wanted = {dim: sizes.get(dim, -1) for dim in schema.GRID_DIMS}
    for name, one in layers.data_vars.items():
        if "time" in one.dims and any(one.chunksizes.get(dim) != wanted[dim] for dim in wanted):
            some[name] = one.chunk(wanted)
    return some


def _codes(plan, year):
    """Return one year's class layers, all dates in one chunk."""
    places = np.nonzero(plan.years == year)[0]
    return [_whole(plan.layers[name].isel(time=places)) for name in plan.names]


def _ranked(plan, year):
    """Return the scores and ranks of one year's dates."""
    codes, token = _codes(plan, year), f"{year}-{plan.token}"
    if plan.sources is None:
        counted = _counted(plan.names, codes, token)
    else:
        places = np.nonzero(plan.years == year)[0].tolist()
        counted = _counted_stored(plan, codes[0].chunks, places, token)
    score = da.map_blocks(
        _score, counted, name=f"score-{token}", dtype=np.float64, drop_axis=1, meta=np.empty(0)
    )
    rank = da.map_blocks(
        _rank, score, name=f"rank-{token}", dtype=np.int16, meta=np.empty(0, np.int16)
    )
    return score, rank


def _year(plan, year):
    """Return the layers of one year."""
    places, token = np.nonzero(plan.years == year)[0], f"{year}-{plan.token}"
    alone = len(places) == 1
    # A year of one date is not ranked, so that it waits for no score.
    rank = da.zeros(1, dtype=np.int16, chunks=1) if alone else _ranked(plan, year)[1]
    codes = _codes(plan, year)
    choice = da.blockwise(
        _choose, "yx", rank, "t", *_indexed(codes), names=plan.names, name=f"choice-{token}",
        dtype=np.int16, concatenate=True, meta=np.empty((0, 0), np.int16),
    )  # fmt: skip
    dated = plan.layers.isel(time=places).drop_vars("time").data_vars.items()
    out = {
        name: one if alone else _picked(one, choice, token)
        for name, one in dated
        if "time" in one.dims
    }
    source = da.map_blocks(
        _source, choice, places=tuple(places.tolist()), name=f"source-{token}", dtype=np.int16,
        new_axis=0, chunks=((1,), *choice.chunks), meta=np.empty((0, 0, 0), np.int16),
    )  # fmt: skip
    out["source"] = xr.DataArray(source, dims=schema.TIME_DIMS, attrs=SOURCE_ATTRS)
    return xr.Dataset(out)


def _picked(one, choice, token):
    """Return a variable of a year, each pixel from the date of choice."""
    dims = "tcyx" if one.ndim == 4 else "tyx"
    picked = da.blockwise(
        _pick, dims, choice, "yx", _whole(one), dims,
        name=f"annual-{tokenize(token, one.data.name)}", dtype=one.dtype,
        adjust_chunks={"t": 1}, align_arrays=False, meta=np.empty((0,) * one.ndim, one.dtype),
    )  # fmt: skip
    return xr.DataArray(picked, dims=one.dims, attrs=one.attrs)


def _whole(variable):
    return variable.data.rechunk({0: -1})


def _indexed(arrays):
    return [part for array in arrays for part in (array, "tyx")]


def _joined(layers, pieces):
    """Return the years one after another, static variables and attributes kept."""
    unchanged = len(pieces) == layers.sizes["time"]
    out = layers.drop_dims("time").copy()
    for name, first in pieces[0].data_vars.items():
        if unchanged and name in layers:
            out[name] = layers[name].drop_vars("time")
        else:
            parts = [piece[name].data for piece in pieces]
            out[name] = (first.dims, da.concatenate(parts), first.attrs)
    return out


def _observed_covered(names, arrays):
    """Return where a year's dates show the surface, and where it is snow.

    Without facies, glacier takes the part of snow.
    """
    codes = dict(zip(names, arrays, strict=True))
    observed = np.ones(arrays[0].shape, bool)
    if "extent" in codes:
        observed &= codes["extent"] != schema.NODATA
        covered = codes["extent"] == 1
    if "facies" in codes:
        hidden = (*schema.codes(schema.ROLLUPS["unobservable"]), schema.NODATA)
        observed &= ~np.isin(codes["facies"], hidden)
        covered = codes["facies"] == schema.codes(("snow",))[0]
    return observed, covered & observed


def _counted(names, codes, token):
    """Return per date the pixels observed, those under seasonal snow, and all (date, 3)."""
    tables = da.blockwise(
        _count, "tyxk", *_indexed(codes), names=names, new_axes={"k": 3},
        adjust_chunks={"y": 1, "x": 1}, name=f"count-{token}", dtype=np.int64,
        meta=np.empty((0, 0, 0, 0), np.int64),
    )  # fmt: skip
    return tables.sum(axis=(1, 2))


def _counted_stored(plan, chunks, places, token):
    """Return the same of what `read` gave, each block read here and let go."""
    tall, wide = edges(chunks[1]), edges(chunks[2])
    cells = np.empty((len(tall), len(wide)), object)
    for row, (y0, y1) in enumerate(tall):
        for column, (x0, x1) in enumerate(wide):
            cells[row, column] = Window(y0, y1, x0, x1)
    tables = da.blockwise(
        _count_stored, "tyxk", da.from_array(cells, chunks=1, name=f"windows-{token}"), "yx",
        names=plan.names, sources=plan.sources, places=places,
        new_axes={"t": len(places), "k": 3}, name=f"count-{token}", dtype=np.int64,
        meta=np.empty((0, 0, 0, 0), np.int64),
    )  # fmt: skip
    return tables.sum(axis=(1, 2))


def _count_stored(cells, names, sources, places):
    window = cells[0, 0]
    arrays = [np.stack([one.load(place, window) for place in places]) for one in sources]
    return _count(*arrays, names=names)


def _count(*arrays, names):
    observed, covered = _observed_covered(names, arrays)
    free = (observed & ~covered).any(axis=0)
    seasonal = covered & free
    everything = np.full(len(observed), observed[0].size)
    table = np.stack([observed.sum(axis=(1, 2)), seasonal.sum(axis=(1, 2)), everything], axis=-1)
    return table[:, np.newaxis, np.newaxis, :].astype(np.int64)


def _score(counted):
    observed, seasonal, everything = counted.T.astype(np.float64)
    snow = np.divide(seasonal, observed, out=np.ones_like(observed), where=observed > 0)
    return snow + GAP_WEIGHT * (1 - observed / everything)


def _rank(score):
    rank = np.empty(len(score), np.int16)
    rank[np.argsort(score, kind="stable")] = np.arange(len(score))
    return rank


def _choose(rank, *arrays, names):
    """Return the place within the year of each pixel's date, -1 - place where none shows it."""
    observed, _ = _observed_covered(names, arrays)
    level = np.where(observed, 0, 2)
    if len(names) == 2:
        level[~observed & (arrays[0] != schema.NODATA)] = 1
    key = rank[:, np.newaxis, np.newaxis] + len(rank) * level
    best = key.argmin(axis=0).astype(np.int16)
    seen = key.min(axis=0) < 2 * len(rank)
    return np.where(seen, best, -1 - best).astype(np.int16)


def _pick(choice, values):
    place = np.where(choice < 0, -1 - choice, choice).astype(np.intp)
    index = place[np.newaxis] if values.ndim == 3 else place[np.newaxis, np.newaxis]
    return np.take_along_axis(values, index, axis=0)


def _source(choice, places):
    table = np.asarray(places, np.int16)
    source = np.where(choice < 0, np.int16(NO_SOURCE), table[np.maximum(choice, 0)])
    return source[np.newaxis]
