"""Which scene shows a glacier best at the end of ablation, from the cube alone."""

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize

from glaciercube import cover, grid, schema
from glaciercube.cube.composites import mask_of
from glaciercube.cube.years import glacier_years, year_start_of
from glaciercube.errors import SchemaError
from glaciercube.indices import snow_by_thresholds

RING_M = 2000.0
"""Width (m) of the ring around glaciers in which snow is looked for. Own choice: wide enough to
hold ground without ice, near enough to share the glacier's weather."""

HIDDEN_WEIGHT = 0.5
"""How much a hidden share of the glacier counts against the same share of snow off it. Own
choice: half the glacier under cloud is as bad as a quarter of its surroundings under snow."""

LEAST_RING = 0.05
"""Share of the ring that must be clear for its snow to be told. Own choice."""

STEP = 0.01
"""Scores are compared in steps of this: of equal ones the later scene is first. Own choice."""

BANDS = (("green",), ("nir", "nir08"), ("swir16",))
"""Bands that tell snow, and alternates."""

COUNTED = ("glacier", "glacier_valid", "glacier_clear", "ring", "ring_clear", "ring_snow")
"""Pixels that are counted on each date."""

LONG_NAMES = {
    "snow_off_glacier": "share of the clear pixels around the glaciers that are snow",
    "off_glacier_observed": "share of the pixels around the glaciers that are clear",
    "cloud": "share of the measured pixels of the glaciers that are not clear",
    "coverage": "share of the glaciers' pixels that are measured",
    "score": "snow off glacier, and half the share of the glaciers that is hidden",
}


def rank_scenes(
    cube: xr.Dataset,
    glaciers: gpd.GeoDataFrame | None = None,
    *,
    clear: str | xr.DataArray = "provider",
    year_start: str | None = None,
    ring_m: float = RING_M,
) -> xr.Dataset:
    """Return how well each scene shows the glaciers at the end of ablation, and why.

    Parameters
    ----------
    cube : Dataset
        `reflectance` with green, nir (or nir08) and swir16, and `valid`.
    glaciers : GeoDataFrame, optional
        Outlines. Without them the whole scene takes the part of both glacier and ring.
    clear : str or DataArray (time, y, x), bool
        Which pixels to use: a policy of `masks.clear`, or a mask of the cube's dates.
    year_start : str, optional
        "MM-DD" on which a glacier-year starts; by default that of the hemisphere.
    ring_m : float
        Width (m) of the ring around the outlines in which snow off the glacier is counted.

    Returns
    -------
    Dataset (acquisition), computed
        In order of time, 0-1: `snow_off_glacier` (NaN where less than 5 % of the ring is clear),
        `off_glacier_observed`, `cloud`, `coverage`, and `score`, less is better; `rank`, 1 is
        the best of its `glacier_year`; `reason`, the same in words.

    Raises
    ------
    SchemaError
        If the cube lacks what is needed, or the outlines touch none of its pixels.

    Notes
    -----
    Ground without ice carries snow only while the season's snow lasts, so least snow off the
    glacier is the end of ablation; the glacier itself, whose ice looks like snow, tells
    nothing. Snow is NDSI > 0.4 and near infrared > 0.11 (Hall et al. 1995); it is lost in
    shadow, and glaciers that the outlines lack count as snow on every date. With s the snow
    off the glacier, c the cloud and v the coverage,

        score = s + 0.5 (1 - v (1 - c)),

    where s = 1 if it is not known. Scores are compared in steps of 0.01; of equal ones the
    later scene is first, as the snow line climbs until new snow ends the season, and that
    shows around the glacier first. The weights are own choices.

    Three bands of each date are read once, within the ring's bounding box, and the table is
    computed at once. Shares are of pixels.
    """
    bands = _bands(cube)
    mask = mask_of(cube, clear)
    start = year_start or year_start_of(grid.grid_of(cube, "the cube"))
    table = _table(cube, glaciers, mask, bands, ring_m)
    order = np.argsort(cube["time"].values, kind="stable")
    times = pd.DatetimeIndex(cube["time"].values[order])
    years = glacier_years(times, start)
    shares = _shares(table[order])
    ranks = _ranks(shares["score"], years)
    return _described(shares, ranks, years, times, {"year_start": start, "ring_m": float(ring_m)})


def _described(shares, ranks, years, times, attrs):
    sizes = pd.Series(years).map(pd.Series(years).value_counts()).to_numpy()
    rows = [
        {name: float(one[place]) for name, one in shares.items()} for place in range(len(years))
    ]
    reasons = [
        reason_of(row, int(rank), int(size))
        for row, rank, size in zip(rows, ranks, sizes, strict=True)
    ]
    out = xr.Dataset(
        {
            name: ("acquisition", values, {"units": "1", "long_name": LONG_NAMES[name]})
            for name, values in shares.items()
        },
        coords={
            "acquisition": times.as_unit("ns"),
            "glacier_year": (
                "acquisition", years, {"long_name": f"glacier-year from {attrs['year_start']}"},
            ),
        },
        attrs={**attrs, "hidden_weight": HIDDEN_WEIGHT, "step": STEP},
    )  # fmt: skip
    out["rank"] = ("acquisition", ranks, {"units": "1", "long_name": "1 is the best of its year"})
    out["reason"] = ("acquisition", np.array(reasons), {"long_name": "the ranking in words"})
    return out


def reason_of(row: dict[str, float], rank: int, of: int) -> str:
    """Return a scene's ranking in words.

    Parameters
    ----------
    row : dict
        Its shares, by the names of `rank_scenes`.
    rank, of : int
        Its place, and the number of scenes of its year.

    Examples
    --------
    >>> row = {"snow_off_glacier": 0.03, "off_glacier_observed": 0.9, "cloud": 0.04, "coverage": 1}
    >>> reason_of(row, 1, 5)
    'rank 1 of 5: 3 % snow off glacier, 4 % cloud, 100 % covered'
    """
    snow = f"{_percent(row['snow_off_glacier'])} snow off glacier"
    if np.isnan(row["snow_off_glacier"]):
        seen = _percent(row["off_glacier_observed"])
        snow = f"snow off glacier unknown ({seen} of the surroundings clear)"
    cloud = "nothing to see" if np.isnan(row["cloud"]) else f"{_percent(row['cloud'])} cloud"
    return f"rank {rank} of {of}: {snow}, {cloud}, {_percent(row['coverage'])} covered"


def _percent(share):
    return f"{100 * share:.0f} %"


def _bands(cube):
    """Return the names of the cube's bands that tell snow, or raise what it lacks."""
    needs = {name: schema.CUBE[name] for name in ("reflectance", "valid")}
    schema.check(cube, needs, "rank_scenes: the cube")
    if cube.sizes["time"] < 1:
        raise SchemaError("rank_scenes needs at least one date, the cube has none")
    held = cube["band"].values.tolist()
    found = [next((name for name in names if name in held), None) for names in BANDS]
    missing = [" or ".join(names) for names, one in zip(BANDS, found, strict=True) if one is None]
    if missing:
        raise SchemaError(
            f"rank_scenes tells snow by green, nir or nir08, and swir16, but the cube lacks "
            f"{missing}; it has {held}"
        )
    return found


def _table(cube, glaciers, mask, bands, ring_m) -> np.ndarray:
    """Return what is counted on each date (time, 6), computed."""
    place = _place(cube, glaciers, ring_m)
    parts = [one.isel(place) for one in (cube["reflectance"].sel(band=bands), cube["valid"], mask)]
    shape = [
        parts[0].variable.chunksizes.get(dim, (parts[0].sizes[dim],)) for dim in schema.GRID_DIMS
    ]
    chunks = {"time": 1, **dict(zip(schema.GRID_DIMS, shape, strict=True))}
    arrays = [one.chunk(chunks) for one in parts]
    geobox = grid.grid_of(arrays[1], "the cube")
    static = [one.data for one in _zones(glaciers, geobox, chunks, ring_m)]
    token = tokenize([one.data.name for one in arrays], [one.name for one in static])
    counted = da.blockwise(
        _count, "tyxk",
        arrays[0].chunk(band=-1).data, "tbyx", arrays[1].data, "tyx", arrays[2].data, "tyx",
        static[0], "yx", static[1], "yx",
        new_axes={"k": len(COUNTED)}, adjust_chunks={"y": 1, "x": 1}, concatenate=True,
        dtype=np.int64, meta=np.empty((0, 0, 0, 0), np.int64),
        name=f"rank-{token}",
    )  # fmt: skip
    table = counted.sum(axis=(1, 2)).compute()
    if not table[0, 0]:
        raise SchemaError(
            f"rank_scenes needs glaciers on the cube's grid, but their outlines hold no pixel of "
            f"{grid.describe(geobox)}"
        )
    return table


def _place(cube, glaciers, ring_m) -> dict[str, slice]:
    """Return the rows and columns that glaciers and their ring may touch."""
    if glaciers is None:
        return {}
    geobox = grid.grid_of(cube, "the cube")
    frame = _widened(glaciers, geobox, ring_m)
    bounds = np.array([one.bounds for one in cover.in_pixels(frame, geobox) if not one.is_empty])
    first = np.clip(np.floor(bounds[:, :2].min(axis=0)), 0, None).astype(int)
    last = np.clip(np.ceil(bounds[:, 2:].max(axis=0)), None, geobox.shape.xy).astype(int)
    if (first >= last).any():
        raise SchemaError(
            f"rank_scenes needs glaciers on the cube's grid, but they lie outside of "
            f"{grid.describe(geobox)}"
        )
    return {"y": slice(first[1], last[1]), "x": slice(first[0], last[0])}


def _widened(glaciers, geobox, ring_m):
    """Return outlines grown by the ring, in a CRS of metres."""
    frame = grid.area_frame(glaciers)
    flat = frame.to_crs(str(geobox.crs) if not geobox.crs.geographic else grid.crs_for(frame))
    return gpd.GeoSeries(flat.geometry.buffer(ring_m), crs=flat.crs)


def _zones(glaciers, geobox, chunks, ring_m) -> list[xr.DataArray]:
    """Return which pixels are glacier, and which lie in the ring, lazily."""
    if glaciers is None:
        shape, name = tuple(geobox.shape), f"whole-{tokenize(chunks)}"
        whole = da.ones(shape, dtype=bool, chunks=(chunks["y"], chunks["x"]), name=name)
        return [xr.DataArray(whole, dims=schema.GRID_DIMS)] * 2
    inside = cover.lazy_inside(glaciers, geobox, chunks)
    touched = cover.lazy_inside(glaciers, geobox, chunks, touched=True)
    wide = cover.lazy_inside(_widened(glaciers, geobox, ring_m), geobox, chunks)
    return [inside, wide & ~touched]


def _count(values, valid, clear, glacier, ring):
    """Return the counts of one chunk of some dates (time, 1, 1, 6)."""
    green, nir, swir16 = values[:, 0], values[:, 1], values[:, 2]
    around = clear & ring
    snow = around & snow_by_thresholds(green, nir, swir16)
    dates = len(values)
    layers = (valid & glacier, valid & clear & glacier, None, around, snow)
    counts = [np.full(dates, glacier.sum())] + [
        np.full(dates, ring.sum()) if one is None else one.sum(axis=(1, 2)) for one in layers
    ]
    return np.stack(counts, axis=-1)[:, np.newaxis, np.newaxis, :].astype(np.int64)


def _shares(table) -> dict[str, np.ndarray]:
    """Return the shares and the score of each date."""
    count = dict(zip(COUNTED, table.T.astype(np.float64), strict=True))
    observed = _share(count["ring_clear"], count["ring"], 0.0)
    snow = _share(count["ring_snow"], count["ring_clear"], np.nan)
    snow[observed < LEAST_RING] = np.nan
    cloud = 1 - _share(count["glacier_clear"], count["glacier_valid"], np.nan)
    shown = _share(count["glacier_clear"], count["glacier"], 0.0)
    return {
        "snow_off_glacier": snow,
        "off_glacier_observed": observed,
        "cloud": cloud,
        "coverage": _share(count["glacier_valid"], count["glacier"], 0.0),
        "score": np.where(np.isnan(snow), 1.0, snow) + HIDDEN_WEIGHT * (1 - shown),
    }


def _share(part, whole, otherwise):
    return np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)


def _ranks(scores: np.ndarray, years: np.ndarray) -> np.ndarray:
    """Return the place of each date in its year: by score, of equals the later first."""
    ranks = np.empty(len(scores), np.int16)
    steps = np.round(scores / STEP)
    for year in np.unique(years):
        places = np.nonzero(years == year)[0]
        order = places[np.lexsort((-places, steps[places]))]
        ranks[order] = np.arange(1, len(order) + 1)
    return ranks
