"""Polygons on a grid block by block, lazily: each block carries only the polygons near it."""

from collections.abc import Iterable, Mapping
from typing import Any

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.cover.polygons import in_pixels, inside_window, polygonal, require_overlap
from glaciercube.cover.shares import Zone, box_of, relative, union_share, window_fractions
from glaciercube.windows import Window, edges

ALGORITHM_VERSION = 1
"""Goes into the names of lazy results; raised when the same polygons give other numbers."""


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
    sizes = _sizes(geobox, chunks)
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
    return inside_window([shapely.from_wkb(data) for _, data in pieces], window, touched)


def lazy_fraction(
    frame: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox, chunks: Mapping[str, Any]
) -> xr.DataArray:
    """Return the share of each pixel that any of several polygons covers, block by block.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
        Its resolution is the one that counts: 10 m and 30 m each get their own share.
    chunks : mapping
        Of y and x: a size or the sizes of the chunks.

    Returns
    -------
    DataArray (y, x), float32, lazy
        `glacier_fraction`, 0 to 1, exact (exactextract; not sampled); where polygons overlap
        the ground counts once.
    """
    sizes = _sizes(geobox, chunks)
    pieces, token = lazy_pieces(frame, geobox, sizes)
    share = da.blockwise(
        _fraction_block,
        "yx",
        pieces,
        "yx",
        name=f"fraction-{tokenize(token)}",
        dtype=np.float32,
        adjust_chunks={"y": sizes[0], "x": sizes[1]},
        meta=np.empty((0, 0), np.float32),
    )
    attrs = {"units": "1", "long_name": "share of the pixel inside a glacier outline"}
    out = xr.Dataset({"glacier_fraction": (("y", "x"), share, attrs)})
    return grid.georeferenced(out, geobox)["glacier_fraction"]


def lazy_glaciers(
    frame: gpd.GeoDataFrame | gpd.GeoSeries,
    geobox: GeoBox,
    chunks: Mapping[str, Any],
    *,
    fraction: bool = False,
) -> xr.Dataset:
    """Return outlines as layers of a cube.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
    chunks : mapping
        Of y and x: a size or the sizes of the chunks.
    fraction : bool
        With the share of each pixel too; see `lazy_fraction`.

    Returns
    -------
    Dataset (y, x), lazy
        `glacier`, bool: the centre of the pixel lies inside an outline; `glacier_fraction`,
        float32, on request.

    Raises
    ------
    GridError
        If no outline lies on the grid; see `require_overlap`.
    """
    require_overlap(frame, geobox)
    mask = lazy_inside(frame, geobox, chunks)
    mask.attrs["long_name"] = "pixel centre inside a glacier outline"
    layers = {"glacier": mask}
    if fraction:
        layers["glacier_fraction"] = lazy_fraction(frame, geobox, chunks)
    return xr.Dataset(layers)


def _fraction_block(cells):
    window, pieces = cells[0, 0]
    return union_share([shapely.from_wkb(data) for _, data in pieces], window)


def _sizes(geobox, chunks):
    shape = (geobox.shape.y, geobox.shape.x)
    return da.core.normalize_chunks((chunks["y"], chunks["x"]), shape=shape, dtype=bool)


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
            pieces = None if frame is None else _pieces(polygons, tree, box_of(window, halo))
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
