"""Polygons in pixels: where they lie on a grid, and which pixels they hold."""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import rasterio.features
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from glaciercube import grid
from glaciercube.errors import GridError
from glaciercube.windows import Window

EDGE = 0.01
"""Edges in degrees that are longer get vertices before they change their CRS (degrees); the middle
of one of this length would be off by less than a centimetre."""


def in_pixels(geometries: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox) -> np.ndarray:
    """Return polygons in the pixel coordinates of a grid.

    Parameters
    ----------
    geometries : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS; invalid ones are repaired.
    geobox : GeoBox

    Returns
    -------
    array (row of the frame,), shapely geometries
        x counts columns and y counts rows from the grid's first corner; empty where a
        row has no polygon.

    Raises
    ------
    GridError
        If the geometries or the grid have no CRS, or all are empty.
    """
    if geobox.crs is None:
        raise GridError(f"the grid has no coordinate reference system: {grid.describe(geobox)}")
    frame = grid.area_frame(geometries)
    if frame.crs.is_geographic:  # long edges, such as a box's, bend on the way
        frame = frame.set_geometry(frame.geometry.segmentize(EDGE))
    frame = frame.to_crs(str(geobox.crs))
    back = ~geobox.affine

    def to_pixels(points):
        x, y = points[:, 0], points[:, 1]
        return np.column_stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f])

    flat = shapely.transform(shapely.force_2d(frame.geometry.to_numpy()), to_pixels)
    return np.array([polygonal(one) for one in flat], dtype=object)


def polygonal(geometry: BaseGeometry | None) -> BaseGeometry:
    """Return the polygons of a geometry, repaired, without its points and lines.

    Examples
    --------
    >>> bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    >>> polygonal(bow).area
    2.0
    """
    if geometry is None or geometry.is_empty:
        return shapely.MultiPolygon()
    whole = geometry if geometry.is_valid else shapely.make_valid(geometry)
    if whole.geom_type in ("Polygon", "MultiPolygon"):
        return whole
    parts = [part for part in shapely.get_parts(whole) if part.area > 0]
    return shapely.union_all(parts) if parts else shapely.MultiPolygon()


def inside(
    geometries: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox, *, touched: bool = False
) -> np.ndarray:
    """Return which pixels lie inside any of several polygons.

    Parameters
    ----------
    geometries : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
    touched : bool
        Count every pixel that a polygon touches; by default those whose centre it holds.

    Returns
    -------
    array (y, x), bool

    Raises
    ------
    GridError
        If the geometries have no CRS or are empty.
    """
    window = Window(0, geobox.shape.y, 0, geobox.shape.x)
    return inside_window(list(in_pixels(geometries, geobox)), window, touched)


def inside_window(
    polygons: Sequence[BaseGeometry], window: Window, touched: bool = False
) -> np.ndarray:
    """Return which pixels of a window lie inside any of several polygons.

    Parameters
    ----------
    polygons : sequence of shapely polygons in pixel coordinates
    window : Window
    touched : bool

    Returns
    -------
    array (y, x) of the window, bool
    """
    some = [one for one in polygons if not one.is_empty]
    if not some or 0 in window.shape:
        return np.zeros(window.shape, bool)
    shift = rasterio.Affine.translation(window.x0, window.y0)
    return rasterio.features.geometry_mask(
        some, out_shape=window.shape, transform=shift, all_touched=touched, invert=True
    )


def require_overlap(
    outlines: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox, name: str = "the outlines"
) -> None:
    """Raise an error if no polygon lies on a grid; cover by them would be zero everywhere.

    Parameters
    ----------
    outlines : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
    name : str
        What the caller calls the outlines, for the message.

    Raises
    ------
    GridError
        With the place of both; or if the outlines have no CRS or are empty.
    """
    whole = shapely.box(0, 0, geobox.shape.x, geobox.shape.y)
    found = in_pixels(outlines, geobox)
    if (shapely.area(shapely.intersection(found, whole)) > 0).any():
        return
    raise GridError(
        f"{name} lie at {_place(outlines)}, but the grid is at {_place(geobox)} "
        f"({grid.describe(geobox)}), so none covers it; take outlines of this place, or check "
        "the CRS of both"
    )


def _place(area):
    return " and ".join(
        f"longitude {west:.2f} to {east:.2f}, latitude {south:.2f} to {north:.2f}"
        for west, south, east, north in grid.geographic_boxes(area)
    )
