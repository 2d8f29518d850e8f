"""An area, however a user gives it, as outlines with a coordinate reference system."""

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Geod
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from glaciercube.errors import GridError

WGS84 = "EPSG:4326"

MAX_LONGITUDE = 360.0
"""Largest longitude that is understood (degrees); providers count -180 to 180 or 0 to 360."""


def area_frame(area: Any) -> gpd.GeoDataFrame:
    """Return an area, however given, as a GeoDataFrame with a CRS.

    Parameters
    ----------
    area : GeoDataFrame, GeoSeries, GeoBox, shapely geometry or (west, south, east, north)
        A geometry or box without CRS is longitude and latitude (degrees). A box whose west
        is larger than its east crosses the antimeridian: (179, -17, -179, -16) is two
        degrees wide.

    Raises
    ------
    GridError
        If it is empty, has no CRS, is something else, or its degrees are none.
    """
    if isinstance(area, GeoBox):
        frame = _of_grid(area)
    elif isinstance(area, gpd.GeoDataFrame | gpd.GeoSeries):
        frame = gpd.GeoDataFrame(geometry=area.geometry)
    elif isinstance(area, BaseGeometry):
        frame = gpd.GeoDataFrame(geometry=[area], crs=WGS84)
    elif isinstance(area, tuple | list | np.ndarray) and len(area) == 4:
        frame = gpd.GeoDataFrame(geometry=[_of_box(area)], crs=WGS84)
    else:
        raise GridError(
            "an area is outlines (GeoDataFrame), a geometry, a grid or "
            f"(west, south, east, north); found {type(area).__name__}"
        )
    if frame.crs is None:
        raise GridError(
            "the area's outlines have no coordinate reference system; use .set_crs(...)"
        )
    if frame.empty or frame.is_empty.all():
        raise GridError("the area is empty: it has no geometry")
    if frame.crs.is_geographic:
        _require_degrees(frame.total_bounds, "the area")
    return frame


def ground_area(outlines: gpd.GeoDataFrame | gpd.GeoSeries) -> np.ndarray:
    """Return the area of outlines on the WGS84 ellipsoid, whatever their CRS.

    Parameters
    ----------
    outlines : GeoDataFrame or GeoSeries
        With a CRS.

    Returns
    -------
    array (row,), float64
        Square kilometres; 0 where a row has no polygon. Of a polygon that crosses itself,
        what its rings hold by their direction.

    Examples
    --------
    >>> ground_area(gpd.GeoSeries([box(10, 46, 10.1, 46.1)], crs=WGS84)).round(2)
    array([86.02])
    """
    geod = Geod(ellps="WGS84")
    shapes = outlines.geometry.to_crs(WGS84).to_numpy()
    parts, row = shapely.get_parts(shapes, return_index=True)
    total = np.zeros(len(shapes))
    for part, number in zip(parts, row, strict=True):
        if part.geom_type == "Polygon" and not part.is_empty:
            total[number] += abs(geod.geometry_area_perimeter(orient(part))[0]) / 1e6
    return total


def _of_grid(geobox):
    if geobox.crs is None:
        raise GridError("the area's grid has no coordinate reference system")
    return gpd.GeoDataFrame(geometry=[geobox.extent.geom], crs=str(geobox.crs))


def _of_box(edges):
    """Return a box in degrees as a polygon, split at the antimeridian if it crosses."""
    try:
        west, south, east, north = (float(edge) for edge in edges)
    except (TypeError, ValueError) as error:
        raise GridError(f"(west, south, east, north) are four numbers, found {edges!r}") from error
    if not np.isfinite([west, south, east, north]).all():
        raise GridError(f"(west, south, east, north) are four numbers, found {edges!r}")
    _require_degrees((min(west, east), south, max(west, east), north), "the box")
    if south > north:
        raise GridError(
            f"a box is (west, south, east, north), found south {south:g} north of north {north:g}; "
            "swap the two"
        )
    if west <= east:
        return box(west, south, east, north)
    if east < -180 or west > 180:
        raise GridError(
            f"a box whose west ({west:g}) is larger than its east ({east:g}) crosses the "
            "antimeridian and needs longitudes of -180 to 180"
        )
    return shapely.MultiPolygon([box(west, south, 180, north), box(-180, south, east, north)])


def _require_degrees(bounds, what):
    """Raise an error if bounds cannot be longitude and latitude."""
    west, south, east, north = (float(edge) for edge in bounds)
    if max(abs(south), abs(north)) > 90 + 1e-6 or max(abs(west), abs(east)) > MAX_LONGITUDE:
        raise GridError(
            f"{what} is said to be longitude and latitude, but its coordinates are "
            f"x {west:g} to {east:g} and y {south:g} to {north:g}; state the CRS they are in "
            "(GeoDataFrame.set_crs(..., allow_override=True)), and longitude before latitude"
        )
