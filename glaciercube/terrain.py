"""Slope, aspect, illumination and cast shadow of a terrain; NumPy in, NumPy out."""

import math
from dataclasses import dataclass

import numpy as np

GRAZE = 1e-6
"""A ray that passes a pixel's centre this near (pixels) passes through it."""

TILE = 128
"""Rows and columns (pixels) whose rays march together: few enough to stay in the processor's
cache, and the higher their own lowest pixel, the sooner all of them are above the terrain."""

SLACK_M = 0.01
"""Rays march on until they are this far (m) above all terrain, well beyond float32's rounding."""

LOOK = 16
"""Steps of a ray between two looks at which pixels still are in the sun."""


def slope_aspect(
    elevation: np.ndarray, step_x: float | np.ndarray, step_y: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and aspect of an elevation grid.

    Parameters
    ----------
    elevation : array (y, x)
        Elevation (m), NaN where unknown.
    step_x, step_y : float or array (y, 1)
        From one column, one row, to the next (m), signed as in a GeoBox's `resolution`:
        `step_y` is negative where rows run south, as they mostly do. By row where the
        length of a degree changes with latitude.

    Returns
    -------
    slope : array (y, x), float32
        Degrees from the horizontal.
    aspect : array (y, x), float32
        Degrees clockwise from north of the direction in which the slope falls; 0 where flat.
        Both are NaN where any of the nine pixels around is unknown.

    Notes
    -----
    Third-order finite differences of Horn (1981, doi:10.1109/PROC.1981.11918). At the
    border the outermost row or column is taken to go on with the same slope.

    Examples
    --------
    >>> rises_east = np.tile(np.arange(4.0) * 10, (3, 1))
    >>> slope, aspect = slope_aspect(rises_east, 10, -10)
    >>> float(slope[1, 1]), float(aspect[1, 1])
    (45.0, 270.0)
    """
    east, north = _gradient(elevation, step_x, step_y)
    slope = np.degrees(np.arctan(np.hypot(east, north)))
    aspect = np.degrees(np.arctan2(-east, -north)) % np.float32(360)
    aspect = np.where(slope == 0, np.float32(0), aspect)
    return slope.astype(np.float32), aspect.astype(np.float32)


def _gradient(elevation, step_x, step_y):
    wide = np.pad(elevation.astype(np.float32), 1, mode="reflect", reflect_type="odd")
    across = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    down = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    east = (across[:, 2:] - across[:, :-2]) / np.float32(8 * step_x)
    north = (down[2:] - down[:-2]) / np.float32(8 * step_y)
    # The centre is no part of the differences; a void there is a void all the same.
    void = np.isnan(elevation)
    east[void] = np.nan
    north[void] = np.nan
    return east, north


def hillshade(
    slope: np.ndarray, aspect: np.ndarray, sun_azimuth: float, sun_elevation: float
) -> np.ndarray:
    """Return the cosine of the angle between the sun and the normal of a slope.

    Parameters
    ----------
    slope, aspect : array
        Degrees, as from `slope_aspect`.
    sun_azimuth, sun_elevation : float
        Degrees clockwise from north, degrees above the horizon.

    Returns
    -------
    array, float32
        0 to 1; 0 where the slope faces away from the sun and everywhere if the sun is not
        above the horizon, NaN where slope is NaN.

    Examples
    --------
    >>> hillshade(np.float32([0, 30]), np.float32([0, 180]), 180, 60).round(3)
    array([0.866, 1.   ], dtype=float32)
    """
    if sun_elevation <= 0:
        return np.where(np.isnan(slope), np.float32(np.nan), np.float32(0))
    tilt = np.radians(slope, dtype=np.float32)
    turn = np.radians(aspect - np.float32(sun_azimuth), dtype=np.float32)
    height = math.radians(sun_elevation)
    cosine = np.cos(tilt) * np.float32(math.sin(height))
    cosine += np.sin(tilt) * np.cos(turn) * np.float32(math.cos(height))
    return np.clip(cosine, 0, 1).astype(np.float32)


def cast_shadow(
    elevation: np.ndarray,
    step: float | tuple[float, float],
    sun_azimuth: float,
    sun_elevation: float,
    *,
    within: tuple[slice, slice] | None = None,
    reach_m: float = math.inf,
) -> np.ndarray:
    """Return where terrain hides the sun.

    Parameters
    ----------
    elevation : array (y, x)
        Elevation (m), NaN where unknown.
    step : float or (float, float)
        Pixel size (m) of rows that run south; or steps in x and y, signed as in
        `slope_aspect`.
    sun_azimuth, sun_elevation : float
        Degrees clockwise from north, degrees above the horizon.
    within : (slice, slice), optional
        Rows and columns to return; those around them only cast. All if None.
    reach_m : float
        Terrain farther away (m, horizontally) hides nothing.

    Returns
    -------
    array (y, x), bool
        True where the ray to the sun meets higher terrain within the grid. A void hides
        nothing and is False itself, nor is anything known between a void and its
        neighbour; what lies beyond the grid hides nothing. All True if the sun is not
        above the horizon.

    Notes
    -----
    Every pixel marches towards the sun, one row or column a step, with heights
    interpolated linearly between the two pixels the ray passes. What one pixel gets
    depends on no other, so a part of a grid gets what the whole gets there, if it has all
    terrain that can cast on it.

    Examples
    --------
    >>> wall = np.zeros((1, 6))
    >>> wall[0, 4] = 25.0
    >>> cast_shadow(wall, 10, 90, 45)
    array([[False, False,  True,  True, False, False]])
    """
    rows, columns = within or (slice(None), slice(None))
    heights = np.asarray(elevation, np.float32)
    known = ~np.isnan(heights[rows, columns])
    if sun_elevation <= 0 or not known.any():
        return known
    step_x, step_y = step if isinstance(step, tuple) else (step, -step)
    across = math.sin(math.radians(sun_azimuth)) / step_x
    down = math.cos(math.radians(sun_azimuth)) / step_y
    length = 1 / max(abs(across), abs(down))  # metres per step of one row or column
    spans = [
        range(*part.indices(size))
        for part, size in zip((rows, columns), heights.shape, strict=True)
    ]
    hidden = np.zeros(known.shape, bool)
    if abs(across) >= abs(down):
        ahead, drift, turned = across, down * length, (heights, hidden)
    else:
        ahead, drift, turned = down, across * length, (heights.T, hidden.T)
        spans.reverse()
    rays = _Rays(
        drift=drift,
        direction=1 if ahead > 0 else -1,
        rise=length * math.tan(math.radians(sun_elevation)),
        steps=int(min(reach_m / length + GRAZE, max(heights.shape))),
    )
    _march(*turned, (spans[0].start, spans[1].start), rays)
    return hidden & known


@dataclass(frozen=True, kw_only=True)
class _Rays:
    """How rays run: along axis 1, one column a step."""

    drift: float
    """Rows per step."""

    direction: int
    """Columns per step: 1 or -1."""

    rise: float
    """Metres per step."""

    steps: int
    """At most."""


def _march(heights, hidden, corner, rays):
    """Mark in `hidden`, whose first pixel is at `corner` of `heights`, what lies in shadow."""
    beyond = _highest_beyond(heights, rays.direction)
    for row in range(0, hidden.shape[0], TILE):
        for column in range(0, hidden.shape[1], TILE):
            tile = hidden[row : row + TILE, column : column + TILE]
            place = (corner[0] + row, corner[1] + column)
            _march_tile(heights, tile, place, beyond, rays)


def _highest_beyond(heights, direction):
    """Return the highest terrain at each column or farther on (m)."""
    top = np.fmax.reduce(heights, axis=0, initial=-np.inf).astype(np.float64)
    return np.maximum.accumulate(top[::-direction])[::-direction]


def _march_tile(heights, hidden, place, beyond, rays):
    (row, column), (height, width) = place, hidden.shape
    rows, columns = heights.shape
    own = heights[row : row + height, column : column + width]
    lowest = _lowest_in_sun(own, hidden)
    for number in range(1, rays.steps + 1):
        if number % LOOK == 0:
            lowest = _lowest_in_sun(own, hidden)
        shift = math.floor(number * rays.drift + GRAZE)
        share = number * rays.drift - shift
        between = share > GRAZE
        low, high = max(row, -shift), min(row + height, rows - shift - between)
        ahead = number * rays.direction
        left, right = max(column, -ahead), min(column + width, columns - ahead)
        if low >= high or left >= right:
            return
        nearest = left + ahead if rays.direction > 0 else right - 1 + ahead
        if beyond[nearest] + SLACK_M <= lowest + number * rays.rise:
            return
        there = slice(left + ahead, right + ahead)
        ray = heights[low + shift : high + shift, there]
        if between:
            ray = ray + (heights[low + shift + 1 : high + shift + 1, there] - ray) * np.float32(
                share
            )
        here = slice(low - row, high - row), slice(left - column, right - column)
        hidden[here] |= ray > own[here] + np.float32(number * rays.rise)


def _lowest_in_sun(heights, hidden):
    """Return the height (m) of the lowest pixel not in shadow so far, infinite if none is."""
    return float(np.fmin.reduce(heights, axis=None, where=~hidden, initial=np.inf))
