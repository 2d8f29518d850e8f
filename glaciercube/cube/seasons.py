"""One layer per glacier-year: each pixel from the date with the least seasonal snow."""

import json
from datetime import date

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize

from glaciercube import grid, schema
from glaciercube.errors import SchemaError

ALGORITHM_VERSION = 1
"""Goes into the names of lazy results; raised when the same layers give other numbers."""

YEAR_STARTS = {"north": "10-01", "south": "04-01"}
"""Month and day on which a glacier-year starts (Cogley et al. 2011, hydrological year)."""

GAP_WEIGHT = 0.25
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
        it. Also `source` (time, y, x), int16: which `acquisition` a pixel comes from, -1
        where no date of the year shows it; `rank` (acquisition), int16: 0 is the best date
        of its year; `score` (acquisition), float64, which ranks them.

    Raises
    ------
    SchemaError
        If there is no time, neither `extent` nor `facies`, or `year_start` is no day.

    Notes
    -----
    A date's score is the share of its observed pixels that carry snow or ice although
    another date of the year shows them free (seasonal snow), plus a quarter of the share
    not observed; the lowest is best. Each pixel is taken, in all variables alike, from
    the best date on which it was observed, and from the best date of all where none shows
    it (cloud stays cloud, nodata stays nodata). Means are not used: they make categories
    that no satellite saw. A date on which a network misses ice scores well; look at `rank`.

    The score needs the whole scene before the first pixel can be chosen, so the codes are
    read twice and nothing is kept between. Layers that `predict` has not computed yet
    are computed twice too: write them to a store first. A year of one date is passed on
    as it is.
    """
    names = [name for name in ("extent", "facies") if name in layers]
    if not names or "time" not in layers.dims:
        raise SchemaError(
            "annual needs 'extent' or 'facies' (time, y, x), but the layers have "
            f"{sorted(map(str, layers.data_vars))}; make them with predict"
        )
    if layers.sizes["time"] < 1:
        raise SchemaError("annual needs at least one date, the layers have none")
    schema.check(layers, {name: schema.LAYERS[name] for name in names}, "the layers")
    geobox = grid.grid_of(layers, "the layers")
    start = year_start or YEAR_STARTS[_hemisphere(geobox)]
    sorted_already = layers.indexes["time"].is_monotonic_increasing
    ordered = _chunked(layers if sorted_already else layers.sortby("time"))
    times = pd.DatetimeIndex(ordered["time"].values)
    years = glacier_years(times, start)
    token = tokenize(
        ALGORITHM_VERSION, start, times.asi8.tolist(), [ordered[name].data.name for name in names]
    )
    pieces, ranks, scores = [], [], []
    for year in np.unique(years):
        (places,) = np.nonzero(years == year)
        piece, rank, score = _year(ordered, names, places, f"{year}-{token}")
        pieces.append(piece)
        ranks.append(rank)
        scores.append(score)
    out = _joined(ordered, pieces)
    last = [times[years == year].max() for year in np.unique(years)]
    out = out.assign_coords(
        time=("time", pd.DatetimeIndex(last), ordered["time"].attrs),
        glacier_year=("time", np.unique(years), {"long_name": f"glacier-year from {start}"}),
        acquisition=("acquisition", times, {"long_name": "date of acquisition"}),
    )
    out["rank"] = ("acquisition", da.concatenate(ranks), {"units": "1", "long_name": RANK_NAME})
    out["score"] = ("acquisition", da.concatenate(scores), {"units": "1", "long_name": SCORE_NAME})
    out.attrs["annual"] = json.dumps({"year_start": start, "gap_weight": GAP_WEIGHT})
    return grid.georeferenced(out, geobox)


RANK_NAME = "rank of a date within its glacier-year, 0 is used first"
SCORE_NAME = "share under seasonal snow plus a quarter of the share not observed"


def glacier_years(times: pd.DatetimeIndex, start: str) -> np.ndarray:
    """Return the glacier-year of each date: the calendar year in which it ends.

    Parameters
    ----------
    times : DatetimeIndex
    start : str
        "MM-DD" on which a year starts.

    Examples
    --------
    >>> glacier_years(pd.DatetimeIndex(["2021-09-30", "2021-10-01"]), "10-01").tolist()
    [2021, 2022]
    >>> glacier_years(pd.DatetimeIndex(["2021-01-01", "2021-12-31"]), "01-01").tolist()
    [2021, 2021]
    """
    try:
        first = date.fromisoformat(f"2001-{start}")
    except ValueError as error:
        raise SchemaError(f"year_start needs a day as 'MM-DD', found {start!r}") from error
    day = times.month.to_numpy() * 100 + times.day.to_numpy()
    begun = day >= first.month * 100 + first.day
    whole = first.month == 1 and first.day == 1
    return times.year.to_numpy() + np.where(begun & (not whole), 1, 0)


def _hemisphere(geobox):
    box = geobox.geographic_extent.boundingbox
    return "south" if box.bottom + box.top < 0 else "north"


def _chunked(layers):
    """Return layers whose variables on the time axis are all lazy, one chunk grid in y and x."""
    some = layers.copy()
    sizes = layers["extent" if "extent" in layers else "facies"].chunksizes
    wanted = {dim: sizes.get(dim, -1) for dim in schema.GRID_DIMS}
    for name, one in layers.data_vars.items():
        if "time" in one.dims and any(one.chunksizes.get(dim) != wanted[dim] for dim in wanted):
            some[name] = one.chunk(wanted)
    return some


def _year(layers, names, places, token):
    """Return one year's layers, and the ranks and scores of its dates."""
    year = layers.isel(time=places)
    codes = [_whole(year[name]) for name in names]
    if len(places) == 1:
        return _single(year, names, codes, int(places[0]), token)
    counted = _counted(names, [one for one in codes], token)
    score = counted.map_blocks(
        _score, name=f"score-{token}", dtype=np.float64, drop_axis=1, meta=np.empty(0)
    )
    rank = score.map_blocks(_rank, name=f"rank-{token}", dtype=np.int16, meta=np.empty(0, np.int16))
    choice = da.blockwise(
        _choose, "yx", rank, "t", *_indexed(codes), names=tuple(names), name=f"choice-{token}",
        dtype=np.int16, concatenate=True, meta=np.empty((0, 0), np.int16),
    )  # fmt: skip
    out = {}
    for name, one in year.data_vars.items():
        if "time" not in one.dims:
            continue
        picked = da.blockwise(
            _pick, "tcyx" if one.ndim == 4 else "tyx", choice, "yx",
            _whole(one), "tcyx" if one.ndim == 4 else "tyx",
            name=f"annual-{tokenize(token, one.data.name)}",
            dtype=one.dtype, adjust_chunks={"t": 1}, align_arrays=False,
            meta=np.empty((0,) * one.ndim, one.dtype),
        )  # fmt: skip
        out[name] = (one.dims, picked, one.attrs, one.encoding)
    source = choice.map_blocks(
        _source, places=tuple(int(place) for place in places), name=f"source-{token}",
        dtype=np.int16, new_axis=0, chunks=((1,), *choice.chunks),
        meta=np.empty((0, 0, 0), np.int16),
    )  # fmt: skip
    out["source"] = _source_variable(source)
    return xr.Dataset(out), rank, score


def _single(year, names, codes, place, token):
    """Return a year of one date as it is, with its source."""
    keep = [name for name, one in year.data_vars.items() if "time" in one.dims]
    out = year[keep].drop_vars("time")
    source = da.blockwise(
        _single_source, "tyx", *_indexed(codes), names=tuple(names), place=place,
        name=f"source-{token}", dtype=np.int16, meta=np.empty((0, 0, 0), np.int16),
    )  # fmt: skip
    out["source"] = _source_variable(source)
    counted = _counted(names, [one for one in codes], token)
    score = counted.map_blocks(
        _score, name=f"score-{token}", dtype=np.float64, drop_axis=1, meta=np.empty(0)
    )
    rank = da.zeros(1, dtype=np.int16, chunks=1, name=f"rank-{token}")
    return out, rank, score


def _source_variable(source):
    attrs = {
        "units": "1",
        "long_name": "acquisition a pixel comes from",
        "comment": "index into acquisition; -1 where no date of the year shows the pixel",
    }
    return (schema.TIME_DIMS, source, attrs)


def _whole(variable):
    return variable.data.rechunk({0: -1})


def _indexed(arrays):
    return [part for array in arrays for part in (array, "tyx")]


def _joined(layers, pieces):
    """Return the years one after another, static variables and attributes kept."""
    names = [name for name in pieces[0].data_vars]
    same = len(pieces) == layers.sizes["time"]
    static = layers.drop_dims("time")
    out = static.copy()
    for name in names:
        first = pieces[0][name]
        if same and name in layers:
            out[name] = layers[name].drop_vars("time")
            continue
        parts = [piece[name].data for piece in pieces]
        out[name] = (first.dims, da.concatenate(parts), first.attrs, first.encoding)
    return out


def _observed_covered(names, arrays):
    """Return where a year's dates show the surface, and where it is snow or ice."""
    codes = dict(zip(names, arrays, strict=True))
    observed = np.ones(arrays[0].shape, bool)
    if "extent" in codes:
        observed &= codes["extent"] != schema.NODATA
        covered = codes["extent"] == 1
    if "facies" in codes:
        hidden = (*schema.codes(schema.ROLLUPS["unobservable"]), schema.NODATA)
        observed &= ~np.isin(codes["facies"], hidden)
        covered = np.isin(codes["facies"], schema.codes(schema.ROLLUPS["glacier"]))
    return observed, covered & observed


def _counted(names, codes, token):
    """Return per date the pixels observed, those under seasonal snow, and all (date, 3)."""
    tables = da.blockwise(
        _count, "tyxk", *_indexed(codes), names=tuple(names), new_axes={"k": 3},
        adjust_chunks={"y": 1, "x": 1}, name=f"count-{token}", dtype=np.int64,
        meta=np.empty((0, 0, 0, 0), np.int64),
    )  # fmt: skip
    return tables.sum(axis=(1, 2))


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


def _single_source(*arrays, names, place):
    choice = _choose(np.zeros(1, np.int16), *arrays, names=names)
    return _source(choice, (place,))
