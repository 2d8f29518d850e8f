"""Polygons on a grid: which pixels lie inside, and how much of each pixel is covered."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import rasterio.features
import shapely
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from glaciercube import grid, optional
from glaciercube.errors import GridError
from glaciercube.windows import Window, edges

ALGORITHM_VERSION = 1
"""Goes into the names of lazy results; raised when the same polygons give other numbers."""

Zone = tuple[int, Window, np.ndarray]
"""Row of the outlines, window of pixels, share of each pixel that is covered (float32)."""


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
    frame = grid.area_frame(geometries).to_crs(str(geobox.crs))
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
    return _inside_window(list(in_pixels(geometries, geobox)), window, touched)


def _inside_window(polygons, window, touched):
    some = [one for one in polygons if not one.is_empty]
    if not some or 0 in window.shape:
        return np.zeros(window.shape, bool)
    shift = rasterio.Affine.translation(window.x0, window.y0)
    return rasterio.features.geometry_mask(
        some, out_shape=window.shape, transform=shift, all_touched=touched, invert=True
    )


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
        (number, shapely.clip_by_rect(one, *_box_of(window, 1)), small)
        for (number, one), (_, small) in zip(polygons, cut, strict=True)
        if 0 not in small.shape
    ]
    zones = []
    for number, one, small in some:
        share = _exact(polygonal(one), small)
        if share.any():
            zones.append((number, small, share))
    return zones


def _box_of(window, margin):
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


def lazy_inside(
    frame: gpd.GeoDataFrame | gpd.GeoSeries,
    geobox: GeoBox,
    chunks: Mapping[str, Any],
    *,
    touched: bool = False,
) -> xr.DataArray:
    """Return which pixels lie inside any of several polygons, block by block.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
    chunks : mapping
        Of y and x: a size or the sizes of the chunks.
    touched : bool
        Count every pixel that a polygon touches; by default those whose centre it holds.

    Returns
    -------
    DataArray (y, x), bool, lazy
        Each block carries only the polygons near it, cut to the block.
    """
    sizes = da.core.normalize_chunks(
        (chunks["y"], chunks["x"]), shape=(geobox.shape.y, geobox.shape.x), dtype=bool
    )
    pieces, token = lazy_pieces(frame, geobox, sizes)
    mask = da.blockwise(
        _inside_block,
        "yx",
        pieces,
        "yx",
        touched=touched,
        name=f"inside-{tokenize(token, touched)}",
        dtype=bool,
        adjust_chunks={"y": sizes[0], "x": sizes[1]},
        meta=np.empty((0, 0), bool),
    )
    out = xr.Dataset({"inside": (("y", "x"), mask, {"units": "1"})})
    return grid.georeferenced(out, geobox)["inside"]


def _inside_block(cells, touched):
    window, pieces = cells[0, 0]
    return _inside_window([shapely.from_wkb(data) for _, data in pieces], window, touched)


def lazy_zones(
    frame: gpd.GeoDataFrame | gpd.GeoSeries | None,
    geobox: GeoBox,
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
) -> tuple[da.Array, str]:
    """Return how polygons cover the pixels of each block, as an array of one cell per block.

    Parameters
    ----------
    frame : GeoDataFrame, GeoSeries or None
        Polygons with a CRS, in any CRS; None is one zone that covers the whole grid.
    geobox : GeoBox
    sizes : two tuples of int
        Chunk sizes of y and x.

    Returns
    -------
    array (block row, block column), object
        Each cell the zones of a block: their windows reach one pixel beyond the block on
        each side, beyond the grid too, and count from the first of these.
    token : str
        Names the polygons, the grid and the chunks.
    """
    pieces, token = lazy_pieces(frame, geobox, sizes)
    # Dask fuses a layer into its consumer, which would cover each block anew at every date;
    # layers of different annotations it leaves apart.
    with dask.annotate(once_per_block=True):
        zones = da.map_blocks(
            _zones_block,
            pieces,
            name=f"zones-{token}",
            dtype=object,
            meta=np.empty((0, 0), object),
        )
    return zones, token


def _zones_block(cells):
    out = np.empty((1, 1), object)
    out[0, 0] = zones_of(*cells[0, 0])
    return out


def zones_of(block: Window, pieces: Iterable[tuple[int, bytes]] | None) -> list[Zone]:
    """Return how the polygons of one cell of `lazy_pieces` cover its block.

    Parameters
    ----------
    block : Window
    pieces : iterable of (number, polygon as WKB), or None
        None covers everything.

    Returns
    -------
    list of (number, Window, array (y, x) float32)
        Windows reach one pixel beyond the block on each side and count from there.
    """
    wide = Window(block.y0 - 1, block.y1 + 1, block.x0 - 1, block.x1 + 1)
    if pieces is None:
        found = [(0, wide, np.broadcast_to(np.float32(1), wide.shape))]
    else:
        found = window_fractions([(number, shapely.from_wkb(wkb)) for number, wkb in pieces], wide)
    return [(number, relative(one, wide), share) for number, one, share in found]


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


def lazy_pieces(
    frame: gpd.GeoDataFrame | gpd.GeoSeries | None,
    geobox: GeoBox,
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    *,
    halo: int = 2,
) -> tuple[da.Array, str]:
    """Return the polygons cut to each block, as an array of one cell per block.

    Parameters
    ----------
    frame : GeoDataFrame, GeoSeries or None
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
    sizes : two tuples of int
        Chunk sizes of y and x.
    halo : int
        Pixels around a block that its pieces reach.

    Returns
    -------
    array (block row, block column), object
        Each cell the block's Window and a tuple of (row of the frame, polygon in pixel
        coordinates as WKB), or None instead of the tuple where `frame` is None.
    token : str
        Names the polygons, the grid and the chunks.
    """
    polygons = in_pixels(frame, geobox) if frame is not None else np.empty(0, object)
    tree = shapely.STRtree(polygons)
    tall, wide = edges(sizes[0]), edges(sizes[1])
    cells = np.empty((len(tall), len(wide)), object)
    for row, (y0, y1) in enumerate(tall):
        for column, (x0, x1) in enumerate(wide):
            window = Window(y0, y1, x0, x1)
            pieces = None if frame is None else _pieces(polygons, tree, _box_of(window, halo))
            cells[row, column] = (window, pieces)
    whole = shapely.to_wkb(polygons).tolist()
    known = (frame is None, whole, grid.describe(geobox), tuple(geobox.affine), sizes, halo)
    token = tokenize(ALGORITHM_VERSION, known)
    return da.from_array(cells, chunks=1, name=f"pieces-{token}"), token


def _pieces(polygons, tree, bounds):
    """Return the polygons cut to a rectangle, with their numbers."""
    cell = shapely.box(*bounds)
    near = sorted(int(number) for number in tree.query(cell, predicate="intersects"))
    parts = [(number, polygonal(shapely.intersection(polygons[number], cell))) for number in near]
    return tuple((number, shapely.to_wkb(part)) for number, part in parts if part.area > 0)
