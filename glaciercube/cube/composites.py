"""One picture per period: median, medoid or best pixel, with the date of each pixel."""

import json
import math
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal, get_args

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from pyproj import Geod

from glaciercube import grid, schema
from glaciercube.cube import masks
from glaciercube.cube.compositing import CLOUD_REACH_M, cloud_scores, day_scores
from glaciercube.cube.periods import Period, periods_of
from glaciercube.cube.pieces import Work, composed, lazy, work_of
from glaciercube.cube.years import year_start_of
from glaciercube.errors import SchemaError

How = Literal["median", "medoid", "best-pixel"]

TASK_BYTES = 128 * 2**20
"""What a task holds of all dates (bytes). Own choice: two workers on a laptop leave room."""

MAINS = {"reflectance": schema.CUBE, "backscatter": schema.RADAR_CUBE}
"""Variables that composites are made of."""

DATE_COMMENT = {
    "median": "date of the observation nearest to the median in all bands; earliest of equals",
    "medoid": "date of the observation that the pixel is",
    "best-pixel": "date of the observation that the pixel is",
}


def composite(
    cube: xr.Dataset,
    how: How = "median",
    *,
    period: Any = None,
    clear: str | xr.DataArray = "provider",
    prefer: str | xr.DataArray | None = None,
    year_start: str | None = None,
    max_bytes: int = TASK_BYTES,
) -> xr.Dataset:
    """Return one picture per period, without computing it.

    Parameters
    ----------
    cube : Dataset
        `reflectance` (time, band, y, x), float32 - or `backscatter` - and `valid`.
    how : "median", "medoid" or "best-pixel"
        The median of each band; the observation with the least summed distance to all
        others (Flood 2013); or the observation with the best score, see Notes.
    period : optional
        None: all dates together. "glacier-year", "year" or "month"; a pandas period such as
        "Q" or a number of days as "16D" (from 1970-01-01); (start, end) with days, months or
        years, both included; or a sequence of (start, end), which may overlap.
    clear : str or DataArray (time, y, x), bool
        Which pixels to use: a policy of `masks.clear`, or a mask of the cube's dates.
    prefer : "MM-DD" or DataArray (time), optional
        For "best-pixel". The day to be near to, in every year; by default the middle of the
        period. Or a number for each date, more is better: then only these count, and gaps
        are filled from the next best.
    year_start : str, optional
        "MM-DD" on which a glacier-year starts; by default that of the hemisphere.
    max_bytes : int
        How much one task holds of all dates; see `pieces.composed` for the formula.

    Returns
    -------
    Dataset, lazy
        With one `time` per period, its last day, and `period_start` and for glacier-years
        `glacier_year` beside it: `reflectance` (time, band, y, x), float32, NaN where no date
        is clear; `valid`: some date is clear; `acquired`, int32: days since 1970-01-01
        (`schema.NO_DAY` where none); `observations`, uint16: number of clear dates. All
        (time, y, x) and in the chunks of the cube. For "medoid" and "best-pixel" also the
        cube's other flags, of the same date as the pixel. `read_failed` is True where none is
        clear and a source could not be read. Variables without time are passed on;
        coordinates of single dates, such as the sun's, are not.

    Raises
    ------
    SchemaError
        If the cube, the mask or an option is not as above, or a stated period holds no date.

    Notes
    -----
    An observation is a pixel of a date that is clear and has a number in every band. Of equals
    the earliest is taken, so neither chunks nor the order of dates change anything. The
    median of an even number is the mean of the middle two. Its spectrum need be none that was
    measured, and `acquired` is then the date of the observation nearest to it (least sum
    of squared differences over the bands); for the others it is the pixel's own date.

    The score of "best-pixel" is, in points: 1000 exp(-(d / 30 days)^2 / 2), d the time to the
    preferred day, and 0 to 1000 by the distance to the nearest pixel that is measured but not
    clear, reached at 1500 m (the form of Griffiths et al. 2013 and White et al. 2014, without
    their scores for sensor and haze; equal weights are an own choice). Of equal points the
    nearer day is better.

    Everything of a period and piece of a chunk is in memory at once, at most `max_bytes` in a
    task. A cube that `read` gave is read piece by piece; store other large ones first.
    """
    main = _require(cube, how, max_bytes)
    _require_prefer(cube, how, prefer)
    mask = mask_of(cube, clear)
    geobox = grid.grid_of(cube, "the cube")
    start = year_start or year_start_of(geobox)
    times = pd.DatetimeIndex(np.sort(cube["time"].values))
    periods = periods_of(times, period, start)
    near = how == "best-pixel" and not isinstance(prefer, xr.DataArray)
    work = work_of(
        cube,
        main,
        mask,
        how=how,
        max_bytes=max_bytes,
        cloud_score=_cloud_score(cube, main, mask, geobox) if near else None,
    )
    scores = [_scores(cube, times, one, prefer) for one in periods]
    told = {
        "how": how,
        "clear": mask.attrs.get("policy", "a mask"),
        "prefer": prefer if isinstance(prefer, str) else "stated" if prefer is not None else None,
        "year_start": start,
    }
    return described(work, composed(work, periods, scores), periods, told)


def described(
    work: Work, arrays: dict[str, da.Array], periods: Sequence[Period], told: dict[str, Any]
) -> xr.Dataset:
    """Return composites as a cube: names, units, dates, and what was done.

    Parameters
    ----------
    work : Work
    arrays : dict of dask array (time, ..., y, x)
        As `pieces.composed` returns them.
    periods : sequence of Period
    told : dict
        What to say in `attrs["composite"]`, beside the dates of each period.
    """
    attrs = _attributes(work)
    out = work.cube.drop_dims("time")
    link = work.cube[work.main].encoding.get("grid_mapping", "spatial_ref")
    for name, array in arrays.items():
        dims = schema.TIME_DIMS if array.ndim == 3 else ("time", "band", "y", "x")
        out[name] = xr.Variable(dims, array, attrs[name], {"grid_mapping": link})
    ends = pd.DatetimeIndex([one.end for one in periods]).as_unit("ns")
    starts = pd.DatetimeIndex([one.start for one in periods]).as_unit("ns")
    time_attrs = work.cube["time"].attrs
    out = out.assign_coords(
        time=("time", ends, {**time_attrs, "long_name": "last day of the period"}),
        period_start=("time", starts, {"long_name": "first day of the period"}),
    )
    if "band" in work.cube.coords:
        out = out.assign_coords(band=work.cube["band"])
    years = [one.glacier_year for one in periods]
    if None not in years:
        name = f"glacier-year from {told['year_start']}"
        out = out.assign_coords(glacier_year=("time", years, {"long_name": name}))
    moments = pd.DatetimeIndex(work.cube["time"].values)
    dates = [[moments[place].isoformat() for place in one.places] for one in periods]
    out.attrs = {**work.cube.attrs, "composite": json.dumps({**told, "acquisitions": dates})}
    return out


def _attributes(work):
    one = {"units": "1"}
    attrs = {name: dict(work.cube[name].attrs) for name in (work.main, *work.flags)}
    if work.how == "median":
        attrs[work.main]["cell_methods"] = "time: median"
    attrs["acquired"] = {
        "units": schema.DAYS,
        "long_name": "day of acquisition",
        "comment": DATE_COMMENT[work.how],
        "missing_value": np.int32(schema.NO_DAY),
    }
    attrs["observations"] = {**one, "long_name": "number of clear dates in the period"}
    attrs["valid"] = {**one, "long_name": "some date of the period is clear"}
    attrs[schema.READ_FAILED] = {
        **one,
        "long_name": "no date is clear, and a source of one could not be read",
    }
    return attrs


def _require(cube, how, max_bytes):
    """Return the variable to make composites of, or raise what is wrong."""
    if how not in get_args(How):
        raise SchemaError(f"how is one of {list(get_args(How))}, found {how!r}")
    if not isinstance(max_bytes, int) or max_bytes < 1:
        raise SchemaError(f"max_bytes is a number of bytes such as 2**27, found {max_bytes!r}")
    main = main_of(cube, "composite")
    if cube.sizes["time"] < 1:
        raise SchemaError("composite needs at least one date, the cube has none")
    return main


def main_of(cube: xr.Dataset, verb: str) -> str:
    """Return which variable of a cube holds what was measured.

    Parameters
    ----------
    cube : Dataset
    verb : str
        What the caller is called, for the message.

    Raises
    ------
    SchemaError
        If there is none, or it is not as `schema` says.
    """
    main = next((name for name in MAINS if name in cube), None)
    if main is None or "time" not in cube.dims:
        raise SchemaError(
            f"{verb} needs {' or '.join(map(repr, MAINS))} (time, band, y, x), but the cube has "
            f"{sorted(map(str, cube.data_vars))} with dims {sorted(map(str, cube.dims))}"
        )
    schema.check(cube, MAINS[main], f"{verb}: the cube")
    return main


def mask_of(cube: xr.Dataset, clear: str | xr.DataArray) -> xr.DataArray:
    """Return the mask that a policy's name stands for, or the mask itself.

    Parameters
    ----------
    cube : Dataset
    clear : str or DataArray (time, y, x), bool

    Raises
    ------
    SchemaError
        If it is no mask of the cube's pixels and dates.
    """
    if not isinstance(clear, xr.DataArray):
        return masks.clear(cube, clear)  # type: ignore[arg-type]
    shape = tuple(cube.sizes[dim] for dim in schema.TIME_DIMS)
    if clear.dims != schema.TIME_DIMS or clear.dtype != bool or clear.shape != shape:
        raise SchemaError(
            f"a mask of clear pixels needs dims {schema.TIME_DIMS}, dtype bool and shape {shape} "
            f"as the cube, but has {clear.dims}, {clear.dtype} and {clear.shape}"
        )
    for dim in schema.TIME_DIMS:
        if dim in clear.coords and not np.array_equal(clear[dim].values, cube[dim].values):
            raise SchemaError(
                f"the mask of clear pixels has other values of {dim!r} than the cube; make it from "
                "the same cube, or bring it there with .reindex_like(cube)"
            )
    return clear


def _require_prefer(cube, how, prefer):
    """Raise if what is preferred is neither a day nor a number for each date."""
    if prefer is None:
        return
    if how != "best-pixel":
        raise SchemaError(f"prefer is for how='best-pixel', found it with {how!r}")
    if isinstance(prefer, xr.DataArray):
        known = prefer.dims == ("time",) and prefer.sizes["time"] == cube.sizes["time"]
        if known and "time" in prefer.coords:
            known = bool((prefer["time"].values == cube["time"].values).all())
        if not known or not np.isfinite(prefer.values).all():
            raise SchemaError(
                f"prefer needs a number for each of the cube's {cube.sizes['time']} dates "
                f"(time), in their order, found {dict(prefer.sizes)} with "
                f"{int(prefer.isnull().sum())} missing"
            )
    else:
        _day_of_year(prefer)


def _day_of_year(day):
    try:
        return date.fromisoformat(f"2001-{day}").timetuple().tm_yday
    except ValueError as error:
        raise SchemaError(
            f"prefer is a day as 'MM-DD' or a number for each date, found {day!r}"
        ) from error


def _scores(cube, times, period, prefer):
    """Return the score of each date of a period; its order is that of the sorted dates."""
    places = list(period.places)
    if isinstance(prefer, xr.DataArray):
        order = np.argsort(cube["time"].values, kind="stable")
        ranks = np.unique(prefer.values, return_inverse=True)[1]
        return ranks[order][places].tolist()
    if prefer is None:
        days = np.abs((times[places] - period.middle).days.to_numpy())
    else:
        away = np.abs(times[places].day_of_year.to_numpy() - _day_of_year(prefer))
        days = np.minimum(away, 365.25 - away)
    return day_scores(days)


def _cloud_score(cube, main, mask, geobox):
    """Return the score of each pixel by its distance to cloud, as the sorted cube has them."""
    order = np.argsort(cube["time"].values, kind="stable")
    chunked = lazy(cube, main)
    blocked = (cube["valid"] & ~mask).isel(time=order)
    blocked = blocked.chunk(
        time=1, **{dim: chunked[main].variable.chunksizes[dim] for dim in ("y", "x")}
    )
    steps = _metres(geobox)
    depth = {0: 0, 1: math.ceil(CLOUD_REACH_M / steps[0]), 2: math.ceil(CLOUD_REACH_M / steps[1])}
    depth = {axis: min(size, blocked.shape[axis]) for axis, size in depth.items()}
    return da.map_overlap(
        cloud_scores,
        blocked.data,
        depth=depth,
        boundary="none",
        steps=steps,
        dtype=np.uint16,
        meta=np.empty((0, 0, 0), np.uint16),
    )


def _metres(geobox):
    """Return height and width of a pixel (m); of degrees, in the middle of the grid."""
    step = geobox.resolution
    if geobox.crs is None or not geobox.crs.geographic:
        return abs(float(step.y)), abs(float(step.x))
    middle = geobox.extent.centroid.coords[0]
    geod = Geod(ellps="WGS84")
    height = geod.inv(middle[0], middle[1], middle[0], middle[1] + step.y)[2]
    width = geod.inv(middle[0], middle[1], middle[0] + step.x, middle[1])[2]
    return float(height), float(width)
