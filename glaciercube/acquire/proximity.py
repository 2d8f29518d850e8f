"""How far each pixel of a grid is from the nearest glacier, lazily."""

import math
from dataclasses import dataclass

import dask.array as da
import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from affine import Affine
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from glaciercube import grid, schema
from glaciercube.acquire.assembly import chunks_of, require_chunk
from glaciercube.acquire.elevation import grid_token, part_of
from glaciercube.acquire.ground import ground_of
from glaciercube.errors import GridError, SchemaError

ALGORITHM_VERSION = 1
"""Part of every array's name: raised when the same outlines give other distances."""

MAX_DISTANCE_M = 5_000.0
"""How far glaciers are looked for (m): the forefields and slopes that a glacier shaped."""

ROWS = 64
"""Rows of a block whose distances are found together: a point takes some 200 bytes meanwhile."""


def glacier_distance_on(
    geobox: GeoBox,
    outlines: gpd.GeoDataFrame,
    *,
    max_distance_m: float = MAX_DISTANCE_M,
    chunk: int = 1024,
) -> xr.DataArray:
    """Return the distance of each pixel's centre to the nearest glacier.

    Parameters
    ----------
    geobox : GeoBox
    outlines : GeoDataFrame
        Polygons, in any CRS; none on the grid is fine.
    max_distance_m : float
        Farther pixels get this distance.
    chunk : int
        Rows and columns of a block (pixels).

    Returns
    -------
    DataArray (y, x), float32, lazy
        Metres on the ground: 0 in a glacier and on its edge, positive outside, never more
        than `max_distance_m`, which is also an attribute.

    Raises
    ------
    GridError
        If the outlines have no CRS.
    SchemaError
        If there is no polygon among them, or `max_distance_m` is no length.

    Notes
    -----
    The distance to the polygons themselves, not to pixels of them, so that it does not
    depend on the pixel size. It is taken on the grid's plane, its scale at the grid's centre
    taken out; for a grid in degrees, on the plane of the centre's UTM zone (polar
    stereographic beyond). A block takes about 10 seconds per million pixels near glaciers.

    Examples
    --------
    >>> box = GeoBox.from_bbox((6e5, 5e6, 600_040, 5_000_010), "EPSG:32632", resolution=10)
    >>> glacier = gpd.GeoDataFrame(geometry=[shapely.box(6e5, 5e6, 600_010, 5_000_010)], crs=32632)
    >>> glacier_distance_on(box, glacier).values.round(1)
    array([[ 0.,  5., 15., 25.]], dtype=float32)
    """
    require_chunk(chunk)
    if not 0 < max_distance_m < np.inf:
        raise SchemaError(f"max_distance_m is a length such as 5000 m, found {max_distance_m!r}")
    plane = _plane_of(geobox)
    polygons = _polygons(outlines, plane.crs)
    sizes = tuple(chunks_of(size, chunk) for size in geobox.shape)
    near = _by_block(polygons, geobox, sizes, chunk, plane, max_distance_m)
    token = tokenize(
        ALGORITHM_VERSION, grid_token(geobox), chunk, max_distance_m,
        [[one.wkb for one in block] for block in near.flat],
    )  # fmt: skip
    data = da.map_blocks(
        _block,
        da.from_array(near, 1, name=f"outlines-{token}"),
        dtype=np.float32,
        chunks=sizes,
        meta=np.empty((0, 0), np.float32),
        name=f"glacier-distance-{token}",
        geobox=geobox,
        plane=plane,
        max_distance_m=max_distance_m,
        chunk=chunk,
    )
    attrs = {
        "units": "m",
        "long_name": "distance to the nearest glacier, 0 inside",
        "max_distance_m": float(max_distance_m),
    }
    found = xr.Dataset({"glacier_distance": (schema.GRID_DIMS, data, attrs)})
    return grid.georeferenced(found, geobox)["glacier_distance"]


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """On what distances are taken."""

    crs: str
    scale: float
    """Metres on the ground per unit of the plane."""


def _plane_of(geobox):
    if not geobox.crs.geographic:
        return _Plane(crs=str(geobox.crs), scale=_scale(geobox))
    crs = str(grid.crs_for(geobox))
    x, y = _points(geobox.zoom_to((1, 1)), crs, slice(1))
    around = GeoBox((2, 2), Affine(100, 0, x.item() - 100, 0, -100, y.item() + 100), crs)
    return _Plane(crs=crs, scale=_scale(around))


def _scale(geobox):
    """Return metres on the ground per unit of a grid's plane, the mean of both axes."""
    ground, step = ground_of(geobox), geobox.resolution
    return math.sqrt(abs(ground.step_x * ground.step_y / (step.x * step.y)))


def _polygons(outlines, crs):
    if outlines.crs is None:
        raise GridError(
            "glacier_distance needs outlines with a coordinate reference system, these have none; "
            "set it with outlines.set_crs(...)"
        )
    parts = shapely.get_parts(outlines.geometry.to_crs(crs).to_numpy())
    areal = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    areal = areal[~shapely.is_empty(areal)]
    if len(areal) == 0:
        found = sorted({str(one.geom_type) for one in parts}) or ["nothing"]
        raise SchemaError(f"glacier_distance needs polygons, the outlines hold {found}")
    return areal


def _by_block(polygons, geobox, sizes, chunk, plane, max_distance_m):
    """Return an array (block along y, block along x) of the polygons that may be near each."""
    tree = shapely.STRtree(polygons)
    out = np.empty((len(sizes[0]), len(sizes[1])), object)
    for row, column in np.ndindex(out.shape):
        block = _part(geobox, row, column, chunk)
        side = max(block.boundingbox.span_x, block.boundingbox.span_y)
        box = block.extent.to_crs(plane.crs, resolution=side / 16).boundingbox
        # A bent edge may leave the box of its sixteen parts a little.
        wide = max_distance_m / plane.scale + 0.02 * max(box.span_x, box.span_y)
        out[row, column] = polygons[np.sort(tree.query(box.buffered(wide).polygon.geom))]
    return out


def _part(geobox, row, column, chunk):
    rows, columns = geobox.shape
    return part_of(
        geobox,
        (row * chunk, min(rows, (row + 1) * chunk)),
        (column * chunk, min(columns, (column + 1) * chunk)),
    )


def _points(block, crs, rows):
    """Return x and y (y, x) on a plane of the centres of some rows' pixels."""
    affine = block.affine
    x = affine.c + affine.a * (np.arange(block.shape.x) + 0.5)
    y = affine.f + affine.e * (np.arange(block.shape.y)[rows] + 0.5)
    x, y = np.meshgrid(x, y)
    if str(block.crs) == crs:
        return x, y
    return Transformer.from_crs(str(block.crs), crs, always_xy=True).transform(x, y)


def _block(near, geobox, plane, max_distance_m, chunk, block_id=None):
    block = _part(geobox, block_id[0], block_id[1], chunk)
    # GEOS prepares a geometry while it is asked, so threads must not share one: take a copy.
    polygons = shapely.from_wkb(shapely.to_wkb(near.item()))
    out = np.full(tuple(block.shape), max_distance_m, np.float32)
    if len(polygons) == 0:
        return out
    shapely.prepare(polygons)
    edges = shapely.STRtree(_edges(polygons))
    for start in range(0, block.shape.y, ROWS):
        run = slice(start, start + ROWS)
        x, y = _points(block, plane.crs, run)
        out[run] = _distances(x, y, polygons, edges, max_distance_m / plane.scale) * plane.scale
    return np.minimum(out, np.float32(max_distance_m))


def _edges(polygons):
    """Return the edges of polygons as lines of two points."""
    points, ring = shapely.get_coordinates(shapely.get_rings(polygons), return_index=True)
    same = ring[1:] == ring[:-1]
    return shapely.linestrings(np.stack([points[:-1][same], points[1:][same]], axis=1))


def _distances(x, y, polygons, edges, farthest):
    """Return the distance of points to the nearest polygon, or the farthest there is."""
    out = np.full(x.shape, farthest)
    for polygon in polygons:
        west, south, east, north = polygon.bounds
        close = (x >= west) & (x <= east) & (y >= south) & (y <= north)
        out[close] = np.where(shapely.intersects_xy(polygon, x[close], y[close]), 0, out[close])
    outside = out > 0
    points = shapely.points(x[outside], y[outside])
    (which, _), found = edges.query_nearest(
        points, max_distance=farthest, return_distance=True, all_matches=False
    )
    nearest = out[outside]
    nearest[which] = found
    out[outside] = nearest
    return out
