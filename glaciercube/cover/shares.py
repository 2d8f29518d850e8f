"""How much of each pixel polygons cover, exactly."""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from glaciercube import optional
from glaciercube.cover.polygons import in_pixels, polygonal
from glaciercube.windows import Window

Zone = tuple[int, Window, np.ndarray]
"""Row of the outlines, window of pixels, share of each pixel that is covered (float32)."""


def fraction(
    geometry: BaseGeometry | gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox
) -> tuple[Window, np.ndarray]:
    """Return the share of each pixel that a polygon covers.

    Parameters
    ----------
    geometry : shapely polygon, GeoDataFrame or GeoSeries
        A shapely polygon is in the grid's CRS; a frame has its own, and its rows count
        together.
    geobox : GeoBox

    Returns
    -------
    window : Window
        The pixels the polygon may touch; of shape (0, 0) where it misses the grid.
    share : array (y, x) of the window, float32
        0 to 1, exact (exactextract; not sampled).

    Examples
    --------
    >>> geobox = GeoBox.from_bbox((0, 0, 40, 30), "EPSG:32632", resolution=10)
    >>> window, share = fraction(shapely.box(10, 5, 25, 20), geobox)
    >>> window
    Window(y0=1, y1=3, x0=1, x1=3)
    >>> share
    array([[1.  , 0.5 ],
           [0.5 , 0.25]], dtype=float32)
    """
    if isinstance(geometry, BaseGeometry):
        geometry = gpd.GeoSeries([geometry], crs=str(geobox.crs))
    whole = polygonal(shapely.union_all(in_pixels(geometry, geobox)))
    outer = Window(0, geobox.shape.y, 0, geobox.shape.x)
    zones = window_fractions([(0, whole)], outer)
    if not zones:
        return Window(0, 0, 0, 0), np.zeros((0, 0), np.float32)
    return zones[0][1], zones[0][2]


def window_fractions(polygons: Sequence[tuple[int, BaseGeometry]], window: Window) -> list[Zone]:
    """Return the cover of polygons within a window of pixels.

    Parameters
    ----------
    polygons : sequence of (number, shapely polygon in pixel coordinates)
    window : Window
        Pixels of the whole grid to look at.

    Returns
    -------
    list of (number, Window, array (y, x) float32)
        One entry per polygon that covers anything; its window lies within `window` and
        counts pixels of the whole grid.
    """
    cut = [(number, _cut_window(one, window)) for number, one in polygons]
    some = [
        (number, shapely.clip_by_rect(one, *box_of(window, 1)), small)
        for (number, one), (_, small) in zip(polygons, cut, strict=True)
        if 0 not in small.shape
    ]
    zones = []
    for number, one, small in some:
        share = _exact(polygonal(one), small)
        if share.any():
            zones.append((number, small, share))
    return zones


def box_of(window: Window, margin: float) -> tuple[float, float, float, float]:
    """Return the bounds of a window in pixel coordinates, wider by a margin."""
    return window.x0 - margin, window.y0 - margin, window.x1 + margin, window.y1 + margin


def _cut_window(polygon, window):
    if polygon.is_empty:
        return Window(window.y0, window.y0, window.x0, window.x0)
    west, north, east, south = polygon.bounds
    y0, x0 = max(window.y0, int(np.floor(north))), max(window.x0, int(np.floor(west)))
    y1, x1 = min(window.y1, int(np.ceil(south))), min(window.x1, int(np.ceil(east)))
    return Window(y0, max(y0, y1), x0, max(x0, x1))


def _exact(polygon, window):
    if polygon.is_empty or polygon.area == 0:
        return np.zeros(window.shape, np.float32)
    exactextract = optional.load("exactextract")
    source = optional.load("exactextract.raster").NumPyRasterSource(
        np.broadcast_to(np.float32(0), window.shape),
        xmin=window.x0,
        xmax=window.x1,
        ymin=-window.y1,
        ymax=-window.y0,
    )
    upright = shapely.transform(polygon, lambda points: points * (1, -1))
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(upright)}
    found = exactextract.exact_extract(source, [feature], ["cell_id", "coverage"])
    share = np.zeros(window.shape[0] * window.shape[1], np.float32)
    share[found[0]["properties"]["cell_id"]] = found[0]["properties"]["coverage"]
    return share.reshape(window.shape)


def relative(window: Window, block: Window) -> Window:
    """Return a window as counted from the first pixel of a block.

    Examples
    --------
    >>> relative(Window(5, 7, 3, 4), Window(4, 8, 2, 6))
    Window(y0=1, y1=3, x0=1, x1=2)
    """
    return Window(
        window.y0 - block.y0, window.y1 - block.y0, window.x0 - block.x0, window.x1 - block.x0
    )


def union_share(polygons: Sequence[BaseGeometry], window: Window) -> np.ndarray:
    """Return the share of each pixel of a window that any of several polygons covers.

    Parameters
    ----------
    polygons : sequence of shapely polygons in pixel coordinates
    window : Window

    Returns
    -------
    array (y, x) of the window, float32
        0 to 1; where polygons overlap the ground counts once.
    """
    out = np.zeros(window.shape, np.float32)
    whole = polygonal(shapely.union_all(list(polygons)))
    for _, small, share in window_fractions([(0, whole)], window):
        inner = relative(small, window)
        out[inner.slices] = share
    return out
