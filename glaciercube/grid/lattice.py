"""New grids: around an area, their pixels and chunks on one lattice."""

import math
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from glaciercube.errors import GridError
from glaciercube.grid.areas import area_frame
from glaciercube.grid.geoboxes import describe
from glaciercube.grid.globe import densified, geographic_boxes

ON_EDGE = 1e-6
"""An area that ends this close to an edge of pixels ends there (pixels); in floats 10.7 / 0.001
is a little less than 10700."""

UTM_NORTH, UTM_SOUTH = 84.0, -80.0
"""Latitudes (degrees) that UTM reaches; beyond lies polar stereographic."""

POLAR_NORTH, POLAR_SOUTH = "EPSG:3413", "EPSG:3031"
"""NSIDC polar stereographic north, and Antarctic polar stereographic."""


def grid_around(
    area: Any, resolution: float, crs: Any = None, *, chunk: int | None = None
) -> GeoBox:
    """Return the grid that covers an area, its pixels on multiples of the resolution.

    Parameters
    ----------
    area : GeoDataFrame, GeoBox, shapely geometry or (west, south, east, north)
        A geometry or box without CRS is longitude and latitude.
    resolution : float
        Pixel size (m; degrees if `crs` is geographic).
    crs : optional
        Of the grid; see `crs_for` if None.
    chunk : int, optional
        Start the grid on a multiple of this many pixels; see `snapped`.

    Returns
    -------
    GeoBox
        Anchored at coordinate (0, 0) of its CRS, so that grids of neighbouring areas and
        of other sensors share pixels.

    Raises
    ------
    GridError
        If the area is empty or has no CRS, has no place in the CRS, or crosses the
        antimeridian and the CRS is geographic.
    """
    frame = area_frame(area)
    target = CRS.from_user_input(crs if crs is not None else crs_for(frame))
    if target.is_geographic:
        bounds = _bounds_in_degrees(frame, target)
    else:
        bounds = densified(frame).to_crs(target).total_bounds
    west, south, east, north = (float(edge) for edge in bounds)
    if not all(math.isfinite(edge) for edge in bounds):
        raise GridError(
            f"the area has no place in {target.name}: its bounds become "
            f"{(west, south, east, north)}; choose another crs="
        )
    low_x, low_y = (math.floor(edge / resolution + ON_EDGE) for edge in (west, south))
    high_x, high_y = (math.ceil(edge / resolution - ON_EDGE) for edge in (east, north))
    edges = (low_x * resolution, low_y * resolution, high_x * resolution, high_y * resolution)
    geobox = GeoBox.from_bbox(edges, target.to_string(), resolution=resolution)
    return geobox if chunk is None else snapped(geobox, chunk)


def _bounds_in_degrees(frame, target):
    boxes = geographic_boxes(frame)
    if len(boxes) > 1:
        raise GridError(
            f"the area crosses the antimeridian (longitude {boxes[0][0]:g} to {boxes[1][2]:g}), "
            "where degrees jump; choose a projected crs=, or None for the right one"
        )
    bounds = frame.to_crs(target).total_bounds
    plain = frame.crs.is_geographic and -180 <= bounds[0] and bounds[2] <= 180
    return bounds if plain else boxes[0]


def crs_for(area: Any) -> str:
    """Return the CRS in which the pixels of an area are nearly square metres.

    Parameters
    ----------
    area : GeoDataFrame, GeoBox, shapely geometry or (west, south, east, north)

    Returns
    -------
    str
        The UTM zone (WGS84) of the area's centre; where the area reaches beyond UTM (north
        of 84 or south of 80 degrees) polar stereographic, EPSG:3413 or EPSG:3031.

    Examples
    --------
    >>> crs_for((10.7, 46.7, 10.9, 46.9)), crs_for((-60, 82, -50, 85))
    ('EPSG:32632', 'EPSG:3413')
    >>> crs_for((179.5, -17, -179, -16))
    'EPSG:32701'
    """
    boxes = geographic_boxes(area)
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    middle = (south + north) / 2
    if north > UTM_NORTH or south < UTM_SOUTH:
        return POLAR_NORTH if middle > 0 else POLAR_SOUTH
    west, east = boxes[0][0], boxes[-1][2] + (360 if len(boxes) > 1 else 0)
    centre = ((west + east) / 2 + 180) % 360
    return f"EPSG:{(32600 if middle >= 0 else 32700) + int(centre // 6) + 1}"


def snapped(geobox: GeoBox, chunk: int) -> GeoBox:
    """Return a grid enlarged so that its first corner lies on the lattice of chunks.

    Parameters
    ----------
    geobox : GeoBox
        With its axes along those of the CRS.
    chunk : int
        Rows and columns of a chunk.

    Returns
    -------
    GeoBox
        First row and first column at a multiple of `chunk` pixels from coordinate (0, 0) of
        the CRS; the far sides stay, so the last chunks may be partial.

    Raises
    ------
    GridError
        If the grid is rotated, its pixels do not lie on multiples of their size, or `chunk`
        is less than one.

    Notes
    -----
    Grids of the same resolution, CRS and chunk share the chunks themselves. Two resolutions
    share the lattice where `chunk * resolution` of one is a multiple of the other's: 30 m
    with 1024 (30720 m) nests three by three chunks of 10 m with 1024 (10240 m); 20 m with
    1024 (20480 m) and 30 m with 1024 meet only every 61440 m.

    Examples
    --------
    >>> snapped(GeoBox.from_bbox((110, 50, 400, 290), "EPSG:32632", resolution=10), 16)
    GeoBox((27, 40), Affine(10.0, 0.0, 0.0,
           0.0, -10.0, 320.0), CRS('EPSG:32632'))
    """
    if chunk < 1:
        raise GridError(f"a chunk has at least one pixel, found chunk={chunk}")
    affine = geobox.affine
    if affine.b or affine.d:
        raise GridError(f"a rotated grid has no lattice of chunks: {tuple(affine)[:6]}")
    columns, x = _before(affine.c, affine.a, chunk, geobox)
    rows, y = _before(affine.f, affine.e, chunk, geobox)
    shape = (geobox.shape.y + rows, geobox.shape.x + columns)
    return GeoBox(shape, Affine(affine.a, 0, x, 0, affine.e, y), geobox.crs)


def _before(start, step, chunk, geobox):
    """Return how many pixels to add before a start, and where the grid then starts."""
    position = start / step
    whole = round(position)
    if abs(position - whole) > 1e-3:
        raise GridError(
            f"a lattice of chunks needs pixels on multiples of their size, {describe(geobox)} "
            f"starts {position - math.floor(position):.3f} of a pixel off; make it with "
            "grid.grid_around"
        )
    first = chunk * math.floor(whole / chunk)
    return whole - first, first * step
