"""Where a cube of items lies: its grid, which items are over it, and its longitude."""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely.affinity import affine_transform

from glaciercube import grid
from glaciercube.acquire.inventories import area_of
from glaciercube.acquire.items import footprint_of, stated_footprint
from glaciercube.errors import AcquireError
from glaciercube.sensors import Sensor


def grid_for(
    items: Sequence[pystac.Item],
    rows: Sequence[Sensor],
    area: Any = None,
    *,
    resolution: float | None = None,
    crs: Any = None,
    snap: int | None = None,
) -> GeoBox:
    """Return the grid of a cube of items.

    Parameters
    ----------
    items : sequence of Item
    rows : sequence of Sensor
        Of the items.
    area : GeoBox or anything that `inventories.area_of` takes, optional
        A GeoBox is the grid; None takes the items' footprints.
    resolution : float, optional
        Pixel size (m; degrees if `crs` is geographic); the finest band's if None.
    crs : optional
        See `grid.grid_around`.
    snap : int, optional
        Start on a multiple of this many pixels.
    """
    if isinstance(area, GeoBox):
        return area
    if area is None:
        area = gpd.GeoDataFrame(geometry=[footprint_of(item) for item in items], crs=grid.WGS84)
    finest = min(band.resolution for row in rows for band in row.bands)
    return grid.grid_around(area_of(area), resolution or finest, crs, chunk=snap)


def over_grid(items: Sequence[pystac.Item], geobox: GeoBox) -> list[bool]:
    """Return which items are over a grid.

    Raises
    ------
    AcquireError
        If none is.
    """
    found = grid.touching([stated_footprint(item) for item in items], geobox)
    if not found.any():
        raise AcquireError(
            f"a cube needs items over {grid.describe(geobox)}, but none of the {len(items)} "
            "touches it; search with the same area"
        )
    return [bool(one) for one in found]


def central_longitude(geobox: GeoBox) -> float:
    """Return the longitude (degree) in the middle of a grid, also where it jumps.

    Examples
    --------
    >>> central_longitude(GeoBox.from_bbox((10, 46, 12, 47), "EPSG:4326", resolution=0.1))
    11.0
    """
    boxes = grid.geographic_boxes(geobox)
    west, east = boxes[0][0], boxes[-1][2] + (360 if len(boxes) > 1 else 0)
    return round(((west + east) / 2 + 180) % 360 - 180, 6)


def footprints_on(items: Sequence[pystac.Item], geobox: GeoBox) -> list[shapely.Geometry]:
    """Return the part of a grid that the footprint of each item covers.

    Parameters
    ----------
    items : sequence of Item
    geobox : GeoBox

    Returns
    -------
    list of Geometry
        In columns and rows; all of the grid where a footprint has no place in its CRS.
    """
    whole = shapely.box(0, 0, geobox.shape.x, geobox.shape.y)
    degrees = gpd.GeoSeries([footprint_of(item) for item in items], crs=grid.WGS84)
    drawn = grid.densified(degrees).to_crs(str(geobox.crs)).to_numpy()
    return [_in_pixels(one, geobox).intersection(whole) for one in drawn]


def _in_pixels(outline, geobox):
    """Return an outline in a grid's CRS as columns and rows; all of them if it has no place."""
    a, b, c, d, e, f = tuple(~geobox.affine)[:6]
    pixels = affine_transform(outline, [a, b, d, e, c, f])
    if pixels.is_empty or not np.isfinite(shapely.get_coordinates(pixels)).all():
        return shapely.box(0, 0, geobox.shape.x, geobox.shape.y)
    return pixels if pixels.is_valid else shapely.make_valid(pixels)
