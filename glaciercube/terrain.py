"""Slope, aspect, illumination and cast shadow of a terrain; NumPy in, NumPy out."""

import math

import numpy as np

GRAZE = 1e-6
"""A ray that passes a pixel's centre this near (pixels) passes through it."""


def slope_aspect(
    elevation: np.ndarray, step_x: float, step_y: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and aspect of an elevation grid.

    Parameters
    ----------
    elevation : array (y, x)
        Elevation (m), NaN where unknown.
    step_x, step_y : float
        From one column, one row, to the next (m), signed as in a GeoBox's `resolution`:
        `step_y` is negative where rows run south, as they mostly do.

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
        0 to 1; 0 where the slope faces away from the sun, NaN where slope is NaN.

    Examples
    --------
    >>> hillshade(np.float32([0, 30]), np.float32([0, 180]), 180, 60).round(3)
    array([0.866, 1.   ], dtype=float32)
    """
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

    Returns
    -------
    array (y, x), bool
        True where the ray to the sun meets higher terrain within the grid. A void hides
        nothing and is False itself; what lies beyond the grid hides nothing. All True if
        the sun is not above the horizon.

    Notes
    -----
    Every pixel marches towards the sun, one row or column a step, with heights
    interpolated linearly between the two pixels the ray passes.

    Examples
    --------
    >>> wall = np.zeros((1, 6))
    >>> wall[0, 4] = 25.0
    >>> cast_shadow(wall, 10, 90, 45)
    array([[False, False,  True,  True, False, False]])
    """
    if sun_elevation <= 0:
        return ~np.isnan(elevation)
    step_x, step_y = step if isinstance(step, tuple) else (step, -step)
    columns = math.sin(math.radians(sun_azimuth)) / step_x
    rows = math.cos(math.radians(sun_azimuth)) / step_y
    length = 1 / max(abs(columns), abs(rows))  # metres per step of one row or column
    rise = length * math.tan(math.radians(sun_elevation))
    heights = np.where(np.isnan(elevation), -np.inf, elevation).astype(np.float32)
    measured = np.isfinite(heights)
    hidden = np.zeros(heights.shape, bool)
    if not measured.any():
        return hidden
    relief = float(heights[measured].max() - heights[measured].min())
    void = np.float32(heights[measured].min() - 1)
    heights[~measured] = void
    if abs(columns) >= abs(rows):
        _march(heights, hidden, rows * length, int(np.sign(columns)), relief, rise)
    else:
        _march(heights.T, hidden.T, columns * length, int(np.sign(rows)), relief, rise)
    return hidden & measured


def _march(heights, hidden, drift, direction, relief, rise):
    """Mark in `hidden` what lies in shadow; rays go along axis 1 and drift along axis 0."""
    rows, columns = heights.shape
    for number in range(1, columns):
        if number * rise > relief:
            return
        shift = math.floor(number * drift + GRAZE)
        share = np.float32(number * drift - shift) if number * drift - shift > GRAZE else 0
        near = _overlap(rows, shift)
        far = _overlap(rows, shift + (share > 0))
        low, high = max(near[0], far[0]), min(near[1], far[1])
        if low >= high:
            return
        here = slice(number, columns) if direction < 0 else slice(0, columns - number)
        there = slice(0, columns - number) if direction < 0 else slice(number, columns)
        ray = heights[low + shift : high + shift, there]
        if share > 0:
            next_ray = heights[low + shift + 1 : high + shift + 1, there]
            ray = ray + (next_ray - ray) * share
        hidden[low:high, here] |= ray > heights[low:high, here] + np.float32(number * rise)


def _overlap(size, shift):
    """Return the first and last + 1 index whose shifted index lies within the axis."""
    return max(0, -shift), min(size, size - shift)
