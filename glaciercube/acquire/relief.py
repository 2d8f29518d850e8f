"""Terrain on a cube's grid, lazily: slope, aspect, and how the sun of each date lights it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pystac
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.acquire.assembly import require_chunk
from glaciercube.acquire.elevation import (
    elevation_of,
    grid_token,
    part_of,
    require_heights,
    source_of,
)
from glaciercube.acquire.ground import Ground, ground_of
from glaciercube.acquire.heights import ALGORITHM_VERSION as HEIGHTS_VERSION
from glaciercube.acquire.heights import Source, read_heights
from glaciercube.acquire.lineage import HeightInputs, ShadowInputs, SunInputs, with_inputs
from glaciercube.acquire.margins import Margins, margins_of, require_margins, towards
from glaciercube.acquire.reader import plain
from glaciercube.acquire.wanted import Wanted
from glaciercube.errors import SchemaError
from glaciercube.store.lineage import Inputs, lineage_of
from glaciercube.terrain import cast_shadow, hillshade, slope_aspect

ALGORITHM_VERSION = 1
"""Part of every array's name: raised when the same elevation gives other terrain."""

TERRAIN = ("slope", "aspect", "hillshade", "cast_shadow")
"""What there is beside the elevation itself."""

LIT = ("hillshade", "cast_shadow")
"""What changes with the sun."""

MAX_MARGIN_M = 30_000.0
"""How far shadows are followed at most (m): 5 km of relief with the sun 9.5 degrees high. At
this distance the Earth's curvature has lowered terrain by 70 m, which is left out here."""

ATTRS: Mapping[str, Mapping[str, str]] = {
    "slope": {"units": "degree", "long_name": "slope from the horizontal"},
    "aspect": {"units": "degree", "long_name": "where the slope falls, clockwise from true north"},
    "hillshade": {"units": "1", "long_name": "cosine of the angle between sun and slope"},
    "cast_shadow": {"units": "1", "long_name": "terrain hides the sun"},
}

_SUN = np.dtype([("azimuth", "f8"), ("elevation", "f8"), ("margin_m", "f8")])


def terrain_on(  # noqa: PLR0913 - the cube's own options
    geobox: GeoBox,
    dem: str | Path,
    *,
    layers: Sequence[str] = TERRAIN,
    suns: Mapping[Any, xr.DataArray] | None = None,
    items: Sequence[pystac.Item] = (),
    chunk: int = 1024,
    max_margin_m: float = MAX_MARGIN_M,
    wanted: Wanted | None = None,
) -> xr.Dataset:
    """Return elevation and terrain on a grid, lazily.

    Parameters
    ----------
    geobox : GeoBox
    dem : path or str
        A raster of one band, metres; or a collection of the catalogue that `items` are from.
    layers : sequence of str
        Some of `TERRAIN`.
    suns : Dataset or coordinates, optional
        `sun_azimuth` (degrees clockwise from true north) and `sun_elevation` (degrees above
        the horizon), each (time), as a cube has them; for hillshade and cast_shadow.
    items : sequence of Item
        They lead to the catalogue.
    chunk : int
        Rows and columns of a block (pixels).
    max_margin_m : float
        How far beyond a pixel terrain that may cast on it is looked for, at most (m).
    wanted : Wanted, optional
        Which blocks are read; the others are void.

    Returns
    -------
    Dataset
        `elevation`, and what was asked for: `slope`, `aspect` (y, x), float32, degrees;
        `hillshade` (time, y, x), float32, 0 to 1; `cast_shadow` (time, y, x), bool. Where
        elevation is void it is NaN and cast_shadow False; slope, aspect and hillshade are
        NaN there and in the pixels beside. `cast_shadow` has the attributes `margin_m`, the
        farthest that was looked, `margin_needed_m`, the farthest that was needed, `capped`,
        the dates that needed more than `max_margin_m`, and `margin_void_fraction`, the share
        of the terrain towards the sun of which the elevation knows nothing.

    Raises
    ------
    AcquireError
        As `elevation_on`.
    GridError
        If the raster has no coordinate reference system.
    SchemaError
        If a layer is unknown, or the sun of a date is.

    Warns
    -----
    GlacierCubeWarning
        If shadows may be missing: `max_margin_m` is too little for a date, or the raster
        ends within the margin.

    Notes
    -----
    Slope after Horn (1981, see `terrain.slope_aspect`) from one more row and column than
    the grid has, so no block and no cut of the grid shows. Lengths are metres on the ground
    at the grid's centre, not of the projection; angles are from true north there.

    Rays towards the sun are followed over (highest terrain around - lowest pixel of the
    block) / tan(sun elevation), on the grid's own pixels. How high the terrain around is,
    one look tells when this is called: the highest pixel of the elevation in each square of
    about 90 m, as far as any mountain on Earth could cast. Each block of each date reads its
    own strip of elevation towards the sun, so memory depends on the block and that length
    only. The sun stands at one place for the whole grid. Below the horizon everything is in
    shadow and hillshade is 0.

    On a grid finer than the elevation its bilinear facets show in slope and aspect.
    """
    require_chunk(chunk)
    lit = _require_layers(layers)
    sun = _suns(suns, lit) if lit else np.empty(0, _SUN)
    source = source_of(geobox, dem, items)
    require_heights(source, geobox)
    elevation = elevation_of(source, geobox, chunk, wanted)
    found: dict[str, Any] = {"elevation": elevation}
    ground = ground_of(geobox)
    if set(layers) - {"cast_shadow"}:
        slope, aspect = _slopes(source, geobox, ground, elevation.data, chunk, wanted)
        found |= {"slope": (schema.GRID_DIMS, slope), "aspect": (schema.GRID_DIMS, aspect)}
    if "hillshade" in lit:
        found["hillshade"] = (schema.TIME_DIMS, _lit(sun, slope, aspect))
    far = source
    coords = {"time": suns["sun_azimuth"]["time"]} if lit and suns is not None else {}
    if "cast_shadow" in lit:
        margins = margins_of(geobox, dem, items, sun, ground, max_margin_m)
        require_margins(margins, coords["time"].values)
        far = margins.source
        sun["margin_m"] = margins.allowed_m
        shadow = _shadow(sun, elevation.data, geobox, ground, margins, chunk)
        found["cast_shadow"] = (schema.TIME_DIMS, shadow, margins.attrs(coords["time"].values))
    out = xr.Dataset({name: found[name] for name in ("elevation", *layers)}, coords=coords)
    for name in layers:
        out[name].attrs.update(ATTRS[name])
    days = {time: one[:2] for time, one in zip(_times(out), sun.tolist(), strict=True)}
    traces = _Traces(source=source, far=far, geobox=geobox, ground=ground, wanted=wanted)
    return grid.georeferenced(_traced(out, traces, days, max_margin_m), geobox)


@dataclass(frozen=True, kw_only=True)
class _Traces:
    """What terrain was made of."""

    source: Source
    far: Source
    """With the terrain around that may cast shadows."""

    geobox: GeoBox
    ground: Ground
    wanted: Wanted | None


def _times(dataset):
    return dataset["time"].values if "time" in dataset.coords else []


def _traced(out, traces, days, max_margin_m):
    """Return terrain whose layers carry of what they are made."""
    dem = Path(plain(traces.source.name)).name
    heights = {"made_by": "elevation", "algorithm": HEIGHTS_VERSION, "dem": dem}
    heights["vertical_datum"] = traces.source.datum
    own = HeightInputs(traces.source, traces.geobox, 0, traces.wanted)
    around = HeightInputs(traces.source, traces.geobox, 1, traces.wanted)
    far = HeightInputs(traces.far, traces.geobox, 1, traces.wanted)
    more = heights | {"made_by": "terrain", "terrain_algorithm": ALGORITHM_VERSION}
    limit = {"max_margin_m": float(max_margin_m)}
    rows: dict[str, tuple[dict[str, Any], Inputs]] = {
        "elevation": (heights, own),
        "slope": (more, around),
        "aspect": (more, around),
        "hillshade": (more, SunInputs(around, days)),
        "cast_shadow": (more | limit, ShadowInputs(far, days, traces.ground, max_margin_m)),
    }
    for name in out.data_vars:
        out = with_inputs(out, [str(name)], *rows[str(name)])
    return out


def elevation_source(terrain: xr.Dataset) -> Source:
    """Return where elevation is from, as far around as shadows come from.

    Parameters
    ----------
    terrain : Dataset
        As `terrain_on` returned it.
    """
    name = "cast_shadow" if "cast_shadow" in terrain else "elevation"
    lineage = lineage_of(terrain[name])
    inputs: Any = None if lineage is None else lineage.inputs
    return inputs.heights.source if name == "cast_shadow" else inputs.source


def _require_layers(layers):
    """Return those of the layers that change with the sun."""
    unknown = [name for name in layers if name not in TERRAIN]
    if unknown or isinstance(layers, str):
        raise SchemaError(f"terrain has the layers {list(TERRAIN)}, found {layers!r}")
    return [name for name in layers if name in LIT]


def _suns(suns, lit):
    """Return azimuth and elevation of the sun by date, margins still zero."""
    needed = ("sun_azimuth", "sun_elevation")
    missing = list(needed) if suns is None else [name for name in needed if name not in suns]
    if missing:
        raise SchemaError(
            f"{' and '.join(lit)} need the coordinates {list(needed)} (time), but {missing} "
            "are missing; some item may not state where the sun was: ask for slope and aspect only"
        )
    out = np.zeros(suns["sun_azimuth"].sizes["time"], _SUN)
    for name in needed:
        out[name.removeprefix("sun_")] = suns[name].values
    bad = ~np.isfinite(out["azimuth"]) | ~np.isfinite(out["elevation"])
    if bad.any():
        dates = np.datetime_as_string(suns["sun_azimuth"]["time"].values[bad], "D").tolist()
        raise SchemaError(
            f"{' and '.join(lit)} need the sun's azimuth and elevation of each date, not known "
            f"of {dates}; leave these dates out"
        )
    return out


def _slopes(source, geobox, ground, elevation, chunk, wanted):
    """Return slope and aspect, lazily; both of a block are made in one task."""
    token = tokenize(ALGORITHM_VERSION, elevation.name, grid_token(geobox))
    both = da.map_blocks(
        _slope_block,
        dtype=np.float32,
        chunks=((2,), *elevation.chunks),
        meta=np.empty((0, 0, 0), np.float32),
        name=f"slopes-{token}",
        source=source,
        geobox=geobox,
        ground=ground,
        chunk=chunk,
        wanted=wanted,
    )
    return both[0], both[1]


def _slope_block(source, geobox, ground, chunk, wanted, block_id=None):
    top, left = (number * chunk for number in block_id[1:])
    rows, columns = geobox.shape
    if wanted is not None and not wanted.has(top, left):
        shape = (2, min(rows, top + chunk) - top, min(columns, left + chunk) - left)
        return np.full(shape, np.nan, np.float32)
    wide = part_of(
        geobox,
        (top - 1, min(rows, top + chunk) + 1),
        (left - 1, min(columns, left + chunk) + 1),
    )
    slope, aspect = slope_aspect(read_heights(source, wide), *ground.steps(wide))
    inner = np.s_[1:-1, 1:-1]
    turned = (aspect[inner] + np.float32(ground.north)) % np.float32(360)
    return np.stack([slope[inner], np.where(slope[inner] == 0, np.float32(0), turned)])


def _lit(sun, slope, aspect):
    token = tokenize(ALGORITHM_VERSION, slope.name, aspect.name, sun.tolist())
    return da.blockwise(
        _hillshade_block,
        "tyx",
        _by_date(sun),
        "t",
        slope,
        "yx",
        aspect,
        "yx",
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
        name=f"hillshade-{token}",
    )


def _hillshade_block(sun, slope, aspect):
    return hillshade(slope, aspect, float(sun["azimuth"][0]), float(sun["elevation"][0]))[
        np.newaxis
    ]


def _shadow(sun, elevation, geobox, ground, margins: Margins, chunk):
    token = tokenize(
        ALGORITHM_VERSION, elevation.name, margins.source.identity, margins.highest_m, sun.tolist()
    )
    return da.blockwise(
        _shadow_block,
        "tyx",
        _by_date(sun),
        "t",
        elevation,
        "yx",
        _starts(geobox.shape.y, chunk),
        "y",
        _starts(geobox.shape.x, chunk),
        "x",
        align_arrays=False,
        dtype=np.bool_,
        meta=np.empty((0, 0, 0), np.bool_),
        name=f"cast-shadow-{token}",
        site=_Site(
            geobox=geobox, ground=ground, source=margins.source, highest_m=margins.highest_m
        ),
    )


def _starts(size, chunk):
    return da.from_array(np.arange(0, size, chunk), 1, name=f"starts-{tokenize(size, chunk)}")


def _by_date(sun):
    return da.from_array(sun, 1, name=f"suns-{tokenize(sun.tolist())}")


@dataclass(frozen=True, kw_only=True)
class _Site:
    """What the blocks of all dates have in common."""

    geobox: GeoBox
    ground: Ground
    source: Source
    highest_m: float


def _shadow_block(
    sun: np.ndarray,
    own: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    site: _Site,
) -> np.ndarray:
    """Return where one block (y, x) lies in shadow on one date, as (1, y, x)."""
    azimuth, elevation, margin_m = sun[0].item()
    known = ~np.isnan(own)
    if elevation <= 0 or not known.any():
        return known[np.newaxis]
    rows, columns = (
        (int(top[0]), int(top[0]) + own.shape[0]),
        (int(left[0]), int(left[0]) + own.shape[1]),
    )
    block = part_of(site.geobox, rows, columns)
    rise = max(0.0, site.highest_m - float(np.nanmin(own)))
    reach = min(margin_m, rise / math.tan(math.radians(elevation)))
    bearing = azimuth - site.ground.north
    wide_rows, wide_columns = towards(rows, columns, reach, bearing, site.ground.bands(block))
    heights = read_heights(site.source, part_of(site.geobox, wide_rows, wide_columns))
    first, side = rows[0] - wide_rows[0], columns[0] - wide_columns[0]
    out = np.empty(own.shape, np.bool_)
    for run, steps in site.ground.bands(block):
        within = (slice(first + run.start, first + run.stop), slice(side, side + own.shape[1]))
        out[run] = cast_shadow(heights, steps, bearing, elevation, within=within, reach_m=margin_m)
    return out[np.newaxis]
