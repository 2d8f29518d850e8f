"""How far beyond a grid terrain may cast shadows into it, and what is known of it there."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from odc.geo.geobox import GeoBox

from glaciercube.acquire.elevation import is_raster, part_of, source_of
from glaciercube.acquire.ground import Ground
from glaciercube.acquire.heights import HIGHEST_M, Source, read_heights
from glaciercube.errors import GlacierCubeWarning, SchemaError

LOOK_M = 90.0
"""Step (m) of the look at the elevation around."""

SLACK = 0.5
"""Steps added to the highest and taken from the lowest of that look (m per m). From overviews,
whose pixels are a third of a step at most, averaging lowers a summit whose sides are at 45
degrees by less than their size. Without overviews the look sees every pixel."""

LOOK_PIXELS = 2048
"""Rows and columns of that look at most."""

VOID_PIXELS = 256
"""Rows and columns at which voids are counted at most."""

MANY = 3
"""Dates shown in a message at most."""

VOID_ALLOWED = 0.01
"""Share of the terrain towards the sun that a raster may miss before it is said."""

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Margins:
    """How far shadows are followed on each date."""

    source: Source
    """Elevation of the grid and its margin."""

    highest_m: float
    """No terrain within the margins is higher (m)."""

    needed_m: np.ndarray
    """(time,), m: what relief and the sun's elevation ask for; 0 with the sun down."""

    allowed_m: np.ndarray
    """(time,), m: the same, capped."""

    void: np.ndarray
    """(time,): share of the terrain towards the sun of which nothing is known."""

    raster: bool
    """Whether the source is one raster of the user's, which may end anywhere."""

    def attrs(self, times: np.ndarray) -> dict[str, Any]:
        """Return what is to be said of them with the shadow."""
        return {
            "margin_m": round(float(self.allowed_m.max(initial=0)), 1),
            "margin_needed_m": round(float(self.needed_m.max(initial=0)), 1),
            "capped": _dates(times[self.needed_m > self.allowed_m]),
            "margin_void_fraction": round(float(self.void.max(initial=0)), 4),
        }


def margins_of(
    geobox: GeoBox,
    dem: str | Path,
    items: Sequence[pystac.Item],
    sun: np.ndarray,
    ground: Ground,
    max_margin_m: float,
) -> Margins:
    """Return how far shadows must be followed around a grid.

    Parameters
    ----------
    geobox : GeoBox
    dem, items
        See `elevation.elevation_on`.
    sun : array (time,), structured
        `azimuth` and `elevation` (degree).
    ground : Ground
        Of the grid.
    max_margin_m : float

    Raises
    ------
    SchemaError
        If `max_margin_m` is no length.

    Notes
    -----
    The elevation is looked at once, coarsely, over the grid and the widest margin that any
    date can need on Earth. Nothing can cast farther than (highest - lowest) / tan(sun
    elevation), the highest taken within that margin and the lowest within the grid; if this
    is less than was looked at, as it nearly always is, the shadow is exact.
    """
    if not max_margin_m >= 0:
        raise SchemaError(f"max_margin_m is a length such as 30000 m, found {max_margin_m!r}")
    up = sun["elevation"] > 0
    tangent = np.tan(np.radians(np.where(up, sun["elevation"], 90.0)))
    reach = float(np.max(np.where(up, np.minimum(max_margin_m, HIGHEST_M / tangent), 0), initial=0))
    rows, columns = _around(geobox, reach, ground)
    wide = part_of(geobox, rows, columns)
    source = source_of(wide, dem, items)
    step = min(abs(ground.step_x), abs(ground.step_y))
    factor = max(1, round(LOOK_M / step), math.ceil(max(wide.shape) / LOOK_PIXELS))
    slack = SLACK * factor * step
    heights = read_heights(source, _coarse(wide, factor), "max")
    highest = float(np.nanmax(heights, initial=-np.inf)) + slack
    lowest = read_heights(source, _coarse(geobox, factor), "min")
    rise = max(0.0, highest - float(np.nanmin(lowest, initial=np.inf)) + slack)
    needed = np.where(up, rise / tangent, 0.0)
    allowed = np.minimum(needed, max_margin_m)
    place = _Place(geobox=geobox, first=(rows[0], columns[0]), factor=factor)
    return Margins(
        source=source,
        highest_m=highest,
        needed_m=needed,
        allowed_m=allowed,
        void=_void(heights, place, sun, allowed, ground),
        raster=is_raster(dem),
    )


def require_margins(margins: Margins, times: np.ndarray) -> None:
    """Warn where shadows may be missing: the cap is too near, or the raster ends too soon.

    Parameters
    ----------
    margins : Margins
    times : array (time,), datetime64

    Warns
    -----
    GlacierCubeWarning
    """
    capped = margins.needed_m > margins.allowed_m
    if capped.any():
        warnings.warn(
            f"cast_shadow is followed over {margins.allowed_m.max() / 1000:.1f} km, but "
            f"{_some(times[capped], len(times))} may need up to "
            f"{margins.needed_m.max() / 1000:.1f} km: shadows of terrain farther away are "
            "missing; leave these dates out, or give terrain_on a larger max_margin_m",
            GlacierCubeWarning,
            stacklevel=3,
        )
    ends = margins.void > VOID_ALLOWED
    if margins.raster and ends.any():
        warnings.warn(
            f"cast_shadow needs elevation up to {margins.allowed_m[ends].max() / 1000:.1f} km "
            f"towards the sun, but {margins.source.name} knows nothing of up to "
            f"{100 * margins.void.max():.0f} % of it on {_some(times[ends], len(times))}: shadows "
            "from there are missing; give a dem= that reaches farther",
            GlacierCubeWarning,
            stacklevel=3,
        )


def towards(
    rows: Span,
    columns: Span,
    reach_m: float,
    bearing: float,
    bands: Sequence[tuple[slice, tuple[float, float]]],
) -> tuple[Span, Span]:
    """Return rows and columns widened towards the sun, as far as rays need elevation.

    Parameters
    ----------
    rows, columns : (int, int)
        First and last + 1.
    reach_m : float
        Length of the rays (m).
    bearing : float
        Of the sun, clockwise from the grid's y axis (degree).
    bands
        Steps (m) along x and y, as `Ground.bands` returns them.

    Examples
    --------
    >>> towards((0, 10), (0, 10), 50, 90, [(slice(0, 10), (10.0, -10.0))])
    ((-1, 11), (-1, 16))
    """
    east, north = _parts(reach_m, bearing)
    across = [east / step_x for _, (step_x, _) in bands]
    down = [north / step_y for _, (_, step_y) in bands]
    return _widened(rows, down), _widened(columns, across)


def _parts(reach_m, bearing):
    angle = math.radians(bearing)
    return round(reach_m * math.sin(angle), 6), round(reach_m * math.cos(angle), 6)


def _widened(span, shifts):
    """Return a span that holds every shift of it, and a pixel to interpolate with."""
    before = math.floor(min(0.0, *shifts)) - 1
    after = math.ceil(max(0.0, *shifts)) + 1
    return span[0] + before, span[1] + after


def _coarse(geobox, factor):
    """Return a grid of larger pixels that covers another."""
    rows, columns = (math.ceil(size / factor) for size in geobox.shape)
    return GeoBox((rows, columns), geobox.zoom_out(factor).affine, geobox.crs)


def _around(geobox, reach_m, ground):
    """Return rows and columns of a grid widened by a reach on all sides."""
    bands = ground.bands(geobox)
    widest = [
        towards((0, geobox.shape.y), (0, geobox.shape.x), reach_m, 90.0 * n, bands)
        for n in range(4)
    ]
    rows = min(one[0][0] for one in widest), max(one[0][1] for one in widest)
    return rows, (min(one[1][0] for one in widest), max(one[1][1] for one in widest))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a grid lies in the coarse look around it."""

    geobox: GeoBox
    first: tuple[int, int]
    """Row and column of the grid (pixels) at which the look starts."""

    factor: int
    """Pixels of the grid per pixel of the look."""

    def edges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the grid's edges in pixels of the look: rows, columns."""
        low_y, low_x = (-start / self.factor for start in self.first)
        shape = self.geobox.shape
        return (low_y, low_y + shape.y / self.factor), (low_x, low_x + shape.x / self.factor)


def _void(heights, place, sun, allowed_m, ground):
    """Return the share of the terrain that rays pass beyond the grid, by date, that is void."""
    out = np.zeros(len(sun))
    every = math.ceil(max(heights.shape) / VOID_PIXELS)
    void = np.isnan(heights[::every, ::every])
    if not void.any():
        return out
    rows, columns = (np.arange(0, size, every) + 0.5 for size in heights.shape)
    (low_y, high_y), (low_x, high_x) = place.edges()
    for number, (azimuth, reach) in enumerate(zip(sun["azimuth"], allowed_m, strict=True)):
        east, north = _parts(reach, azimuth - ground.north)
        down, across = (
            north / (ground.step_y * place.factor),
            east / (ground.step_x * place.factor),
        )
        # A pixel is passed if, moved back by some part of the way, it lies in the grid.
        start_y, end_y = _part(rows[:, np.newaxis], down, low_y, high_y)
        start_x, end_x = _part(columns, across, low_x, high_x)
        start, end = np.maximum(start_y, start_x), np.minimum(end_y, end_x)
        passed = (start <= end) & (end >= 0) & (start <= 1) & ~((start <= 0) & (end >= 0))
        if passed.any():
            out[number] = void[passed].mean()
    return out


def _part(position, shift, low, high):
    """Return between which parts of a shift positions, moved back, lie between two edges."""
    if shift == 0:
        inside = (position >= low) & (position <= high)
        return np.where(inside, -np.inf, np.inf), np.where(inside, np.inf, -np.inf)
    ends = (position - low) / shift, (position - high) / shift
    return np.minimum(*ends), np.maximum(*ends)


def _some(times, total):
    """Return how many dates, and some of them."""
    dates = _dates(times)
    more = ", ..." if len(dates) > MANY else ""
    return f"{len(dates)} of {total} dates ({', '.join(dates[:MANY])}{more})"


def _dates(times):
    return [str(day) for day in np.datetime_as_string(times, "D")]
