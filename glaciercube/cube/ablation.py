"""One picture per glacier-year from the end of ablation: the best scene, its gaps filled or not."""

import json
from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from glaciercube import schema
from glaciercube.cube.composites import TASK_BYTES, described, main_of, mask_of
from glaciercube.cube.periods import Period
from glaciercube.cube.pieces import composed, work_of
from glaciercube.cube.ranking import rank_scenes
from glaciercube.errors import SchemaError

How = Literal["scene", "composite"]

MAX_DAYS = 20
"""How far from the best scene a gap is filled (days). Own choice: snow lines climb by tens of
metres in a week of summer."""

TOLD = ("snow_off_glacier", "cloud", "coverage", "score")
"""What the ranking says of a scene."""


def end_of_ablation(
    cube: xr.Dataset,
    glaciers: gpd.GeoDataFrame | None = None,
    how: How = "scene",
    *,
    clear: str | xr.DataArray = "provider",
    year_start: str | None = None,
    max_days: float = MAX_DAYS,
    ranking: xr.Dataset | None = None,
) -> xr.Dataset:
    """Return one picture per glacier-year: the scene with the least seasonal snow.

    Parameters
    ----------
    cube : Dataset
        `reflectance` with green, nir (or nir08) and swir16, and `valid`.
    glaciers : GeoDataFrame, optional
        Outlines, for the ranking.
    how : "scene" or "composite"
        The best scene of each year as it is, cloud included; or with each pixel from the best
        scene that shows it.
    clear : str or DataArray (time, y, x), bool
        Which pixels to use: a policy of `masks.clear`, or a mask of the cube's dates.
    year_start : str, optional
        "MM-DD" on which a glacier-year starts; by default that of the hemisphere.
    max_days : float
        A composite takes no scene further from the best one than this (days).
    ranking : Dataset, optional
        What `rank_scenes` gave for this cube, changed or not; then nothing is computed here.

    Returns
    -------
    Dataset, lazy
        One `time` per `glacier_year`, the best scene's: the cube's variables and `acquired`
        (time, y, x), int32, days since 1970-01-01, for a composite also `observations`, as
        `composite` gives them. The ranking of the best scene stands beside `time`
        (`snow_off_glacier`, `cloud_share`, `coverage`, `score`, `reason`), that of all scenes
        in `attrs["ranking"]`, as JSON.

    Raises
    ------
    SchemaError
        If the cube lacks what is needed, or the ranking is of other dates.

    Notes
    -----
    The ranking is computed at once (see `rank_scenes`), the pictures are not. A year without
    a good scene still has a best one: look at its `reason`.
    """
    if how not in get_args(How):
        raise SchemaError(f"how is one of {list(get_args(How))}, found {how!r}")
    if not max_days >= 0:
        raise SchemaError(f"max_days is a number of days such as 20, found {max_days!r}")
    main = main_of(cube, "end_of_ablation")
    mask = mask_of(cube, clear)
    if ranking is None:
        ranking = rank_scenes(cube, glaciers, clear=mask, year_start=year_start)
    table = _table(cube, ranking)
    best = table[table["rank"] == table.groupby("glacier_year")["rank"].transform("min")]
    if how == "scene":
        out = _scenes(cube, main, best)
    else:
        out = _composites(cube, main, mask, table, best, max_days)
    return _told(out, table, best, {"how": how, "max_days": max_days}, ranking.attrs)


def _table(cube, ranking) -> pd.DataFrame:
    """Return the ranking as a table by date, or raise if it is of other dates."""
    wanted = np.sort(cube["time"].values)
    lacking = [name for name in ("rank", "glacier_year", "reason", *TOLD) if name not in ranking]
    have = ranking["acquisition"].values if "acquisition" in ranking.coords else []
    if lacking or not np.array_equal(np.sort(have), wanted):
        raise SchemaError(
            f"the ranking needs one entry for each of the cube's {len(wanted)} dates, as "
            f"rank_scenes gives it, but has {len(have)} and lacks {lacking}"
        )
    return ranking.to_dataframe().sort_index()


def _scenes(cube, main, best):
    """Return the best scene of each year as it is, with the date of its pixels."""
    places = [int(np.nonzero(cube["time"].values == time)[0][0]) for time in best.index]
    out = cube.isel(time=places)
    days = xr.DataArray(best.index.to_numpy().astype("datetime64[D]").astype(np.int32), dims="time")
    acquired = xr.where(out["valid"], days, np.int32(schema.NO_DAY)).astype(np.int32)
    out["acquired"] = acquired.transpose(*schema.TIME_DIMS).assign_attrs(
        units=schema.DAYS, long_name="day of acquisition", missing_value=np.int32(schema.NO_DAY)
    )
    out["acquired"].encoding["grid_mapping"] = cube[main].encoding.get(
        "grid_mapping", "spatial_ref"
    )
    return out


def _composites(cube, main, mask, table, best, max_days):
    """Return each year's pixels from the best scene that shows them."""
    work = work_of(cube, main, mask, how="best-pixel", max_bytes=TASK_BYTES)
    periods = [_period(table, time, row, max_days) for time, row in best.iterrows()]
    ranks = table["rank"].to_numpy()
    scores = [(ranks.max() - ranks[list(one.places)]).tolist() for one in periods]
    told = {"how": "best-pixel", "clear": mask.attrs.get("policy", "a mask"), "prefer": "rank"}
    out = described(work, composed(work, periods, scores), periods, told)
    return out.assign_coords(time=("time", best.index.as_unit("ns"), cube["time"].attrs))


def _period(table, time, row, max_days):
    near = abs(table.index - time) <= pd.Timedelta(days=max_days)
    places = np.nonzero(near & (table["glacier_year"] == row["glacier_year"]).to_numpy())[0]
    return Period(
        start=table.index[places[0]].normalize(),
        end=table.index[places[-1]].normalize(),
        places=tuple(places.tolist()),
    )


def _told(out, table, best, options: dict[str, Any], attrs: dict[str, Any]):
    """Return pictures with their ranking beside them."""
    rows = [
        {
            "time": time.isoformat(),
            "glacier_year": int(row["glacier_year"]),
            "rank": int(row["rank"]),
            **{name: _number(row[name]) for name in TOLD},
            "reason": row["reason"],
        }
        for time, row in table.iterrows()
    ]
    share = {"units": "1"}
    name = f"glacier-year from {attrs.get('year_start', 'its own day')}"
    out = out.assign_coords(
        glacier_year=("time", best["glacier_year"].to_numpy(), {"long_name": name}),
        snow_off_glacier=("time", best["snow_off_glacier"].to_numpy(), share),
        cloud_share=("time", best["cloud"].to_numpy(), share),
        coverage=("time", best["coverage"].to_numpy(), share),
        score=("time", best["score"].to_numpy(), share),
        reason=("time", best["reason"].to_numpy().astype(str)),
    )
    told = {**_plain(attrs), **options, "scenes": rows}
    out.attrs = {**out.attrs, "ranking": json.dumps(told)}
    return out


def _number(value):
    return None if np.isnan(value) else round(float(value), 6)


def _plain(attrs):
    return {name: one for name, one in attrs.items() if isinstance(one, str | int | float)}
