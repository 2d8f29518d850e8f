"""A grid on the ground: metres per column and row, and where its north points."""

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from glaciercube import grid

BAND = 0.05
"""Height (degree of latitude) of the bands in which a degree of longitude has one length. The
bands are counted from the equator, so that all cuts of a grid share them."""

_GEOD = Geod(ellps="WGS84")
_NEAR_POLE = 90.0 - BAND


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the steps of a grid are on the ground; the same for all its blocks."""

    step_x: float
    """From one column to the next at the grid's centre (m), signed as the grid's resolution."""

    step_y: float
    """From one row to the next at the grid's centre (m), signed."""

    north: float
    """Degrees clockwise from true north in which the grid's y axis points at its centre."""

    geographic: bool
    """Whether steps change with latitude."""

    def steps(self, block: GeoBox) -> tuple[float | np.ndarray, float | np.ndarray]:
        """Return the steps (m) along x and y in a block: floats, or by row as (y, 1)."""
        if not self.geographic:
            return self.step_x, self.step_y
        latitude = block.affine.f + block.affine.e * (np.arange(block.shape.y) + 0.5)
        across, down = _degrees(latitude, block.resolution.x, block.resolution.y)
        return across[:, np.newaxis], down[:, np.newaxis]

    def bands(self, block: GeoBox) -> list[tuple[slice, tuple[float, float]]]:
        """Return runs of a block's rows, and the steps (m) along x and y in each."""
        if not self.geographic:
            return [(slice(0, block.shape.y), (self.step_x, self.step_y))]
        latitude = block.affine.f + block.affine.e * (np.arange(block.shape.y) + 0.5)
        number = np.floor(latitude / BAND)
        starts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), block.shape.y]
        middle = (number[starts[:-1]] + 0.5) * BAND
        across, down = _degrees(middle, block.resolution.x, block.resolution.y)
        return [
            (slice(first, last), (float(x), float(y)))
            for first, last, x, y in zip(starts[:-1], starts[1:], across, down, strict=True)
        ]


def ground_of(geobox: GeoBox) -> Ground:
    """Return what the steps of a grid are on the ground.

    Parameters
    ----------
    geobox : GeoBox

    Returns
    -------
    Ground
        Lengths and directions are geodesics on the WGS84 ellipsoid at the grid's centre,
        so that scale and meridian convergence of the projection are taken out. Away from
        the centre true north turns against the grid, by 0.45 degree times the tangent of
        the latitude 50 km to the east. Sunbeams do not: they are parallel, so one
        direction on the grid is right for all of it.

    Examples
    --------
    >>> box = GeoBox.from_bbox((-10, -1e6 - 10, 10, -1e6 + 10), "EPSG:3413", resolution=10)
    >>> ground = ground_of(box)
    >>> round(ground.north, 3), round(ground.step_x, 2)  # below the pole on 45 degrees west
    (0.0, 10.24)
    """
    affine, step = geobox.affine, geobox.resolution
    x = affine.c + affine.a * geobox.shape.x / 2
    y = affine.f + affine.e * geobox.shape.y / 2
    to_degrees = Transformer.from_crs(str(geobox.crs), grid.WGS84, always_xy=True)
    half_x, half_y = step.x / 2, abs(step.y) / 2
    longitude, latitude = to_degrees.transform(
        [x - half_x, x + half_x, x, x], [y, y, y - half_y, y + half_y]
    )
    azimuth, _, length = _GEOD.inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])
    return Ground(
        step_x=float(np.copysign(length[0], step.x)),
        step_y=float(np.copysign(length[1], step.y)),
        north=float(azimuth[1]),
        geographic=bool(geobox.crs is not None and geobox.crs.geographic),
    )


def _degrees(latitude, step_x, step_y):
    """Return the lengths (m) of steps in degrees at latitudes, signed."""
    latitude = np.clip(latitude, -_NEAR_POLE, _NEAR_POLE)
    zero, half = np.zeros_like(latitude), abs(step_y) / 2
    across = _GEOD.inv(zero, latitude, zero + abs(step_x), latitude)[2]
    down = _GEOD.inv(zero, latitude - half, zero, latitude + half)[2]
    return np.copysign(across, step_x), np.copysign(down, step_y)
