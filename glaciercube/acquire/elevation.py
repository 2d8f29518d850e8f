"""Elevation on a cube's grid, from a raster or from a collection beside the scenes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import geopandas as gpd
import numpy as np
import pystac
import rasterio
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from pystac_client import Client
from shapely import box

from glaciercube import grid
from glaciercube.acquire.access import require_trusted
from glaciercube.acquire.assembly import chunks_of, require_chunk
from glaciercube.acquire.heights import (
    ALGORITHM_VERSION,
    HIGHEST_M,
    LOWEST_M,
    Source,
    read_heights,
)
from glaciercube.acquire.identities import version_of
from glaciercube.acquire.items import address_of, asset_of, footprint_of, identity_of
from glaciercube.acquire.overviews import gdal_options
from glaciercube.acquire.reader import Place, ReadError, patiently, plain
from glaciercube.acquire.wanted import Wanted
from glaciercube.errors import AcquireError, GridError
from glaciercube.sensors import SENSORS

DATUMS = {
    "alos-dem": "EGM96",
    **{name: row.vertical_datum for name, row in SENSORS.items() if row.vertical_datum},
}
"""Vertical datum of the elevation in known collections, as their providers state it."""

KEYS = ("data", "elevation", "dem", "DEM")
"""Asset keys of the elevation."""

GLANCE = 64
"""Rows and columns of the read that tells whether there is any height at all."""


def elevation_on(
    geobox: GeoBox, dem: str | Path, *, items: Sequence[pystac.Item] = (), chunk: int = 1024
) -> xr.DataArray:
    """Return elevation on a grid, bilinear between the pixels of its source.

    Parameters
    ----------
    geobox : GeoBox
    dem : path or str
        A raster of one band, metres; or a collection of the catalogue that `items` are from.
    items : sequence of Item
        They lead to the catalogue.
    chunk : int
        Rows and columns of a block (pixels).

    Returns
    -------
    DataArray (y, x), float32, lazy
        Metres, NaN where the source has none: beyond its edge, where it says nodata, and
        where its number is no height on Earth (-9999 or -32768 without a nodata tag,
        infinite), which is never mixed with its neighbours. Attribute `vertical_datum`: of
        the collection, or of the raster's CRS or tags; "unknown" if neither states it.

    Raises
    ------
    AcquireError
        If there is no such raster or collection, it does not cover the grid anywhere, or
        has nothing but voids there, which one small read shows.
    GridError
        If the raster has no coordinate reference system.
    """
    require_chunk(chunk)
    source = source_of(geobox, dem, items)
    require_heights(source, geobox)
    return elevation_of(source, geobox, chunk)


def elevation_of(
    source: Source, geobox: GeoBox, chunk: int, wanted: Wanted | None = None
) -> xr.DataArray:
    """Return elevation on a grid, lazily; see `elevation_on`.

    Parameters
    ----------
    source : Source
    geobox : GeoBox
    chunk : int
        Rows and columns of a block (pixels).
    wanted : Wanted, optional
        Which blocks are read; the others are NaN.
    """
    token = tokenize(ALGORITHM_VERSION, source.identity, grid_token(geobox), chunk, wanted)
    data = da.map_blocks(
        _block,
        dtype=np.float32,
        chunks=tuple(chunks_of(size, chunk) for size in geobox.shape),
        meta=np.empty((0, 0), np.float32),
        name=f"elevation-{token}",
        source=source,
        geobox=geobox,
        chunk=chunk,
        wanted=wanted,
    )
    attrs = {
        "units": "m",
        "long_name": "elevation",
        "standard_name": "surface_altitude",
        "vertical_datum": source.datum,
        "source": Path(source.name).name,
    }
    return xr.DataArray(data, dims=("y", "x"), attrs=attrs)


def _block(source, geobox, chunk, wanted, block_id=None):
    top, left = (number * chunk for number in block_id)
    rows, columns = geobox.shape
    part = part_of(geobox, (top, min(rows, top + chunk)), (left, min(columns, left + chunk)))
    if wanted is not None and not wanted.has(top, left):
        return np.full(tuple(part.shape), np.nan, np.float32)
    return read_heights(source, part)


def part_of(geobox: GeoBox, rows: tuple[int, int], columns: tuple[int, int]) -> GeoBox:
    """Return the grid of some rows and columns of another, which may lie beyond it.

    Parameters
    ----------
    geobox : GeoBox
    rows, columns : (int, int)
        First and last + 1, counted from the first of `geobox`; may be negative.

    Examples
    --------
    >>> whole = GeoBox.from_bbox((0, 0, 100, 50), "EPSG:32632", resolution=10)
    >>> part_of(whole, (-1, 2), (4, 6)).boundingbox.bbox
    (40.0, 30.0, 60.0, 60.0)
    """
    shape = (rows[1] - rows[0], columns[1] - columns[0])
    return GeoBox(shape, geobox.translate_pix(columns[0], rows[0]).affine, geobox.crs)


def require_heights(source: Source, geobox: GeoBox) -> None:
    """Raise an error if a source has nothing but voids over a grid, as one small read shows.

    Raises
    ------
    AcquireError
    """
    small = (min(GLANCE, geobox.shape.y), min(GLANCE, geobox.shape.x))
    if np.isnan(read_heights(source, geobox.zoom_to(small))).all():
        raise AcquireError(
            f"elevation from {source.name!r} must have heights over {grid.describe(geobox)}, but "
            f"has only voids there (nodata, or not between {LOWEST_M:g} and {HIGHEST_M:g} m); "
            "give another dem="
        )


def source_of(geobox: GeoBox, dem: str | Path, items: Sequence[pystac.Item] = ()) -> Source:
    """Return where the elevation of a grid comes from.

    Parameters
    ----------
    geobox : GeoBox
    dem : path or str
        See `elevation_on`.
    items : sequence of Item

    Raises
    ------
    AcquireError
        If there is no such raster or collection, or it does not cover the grid anywhere.
    GridError
        If the raster has no coordinate reference system.
    """
    if is_raster(dem):
        return _raster(geobox, str(dem))
    return _collection(geobox, str(dem), items)


def is_raster(dem: str | Path) -> bool:
    """Return whether elevation is given as a file, else it is a collection's name."""
    address = str(dem)
    return Path(address).exists() or address.split("?")[0].endswith((".tif", ".tiff", ".vrt"))


def _raster(geobox, address):
    try:
        datum, extent = patiently(address, _header, Place(item="elevation"))
    except ReadError as error:
        raise AcquireError(
            f"cannot open the elevation {error.failure.address}: {error.failure.cause}; dem= is a "
            "raster or a collection"
        ) from error
    if extent.crs is None:
        raise GridError(
            f"elevation from {plain(address)} has no coordinate reference system; set it with: "
            f"rio edit-info --crs EPSG:... {Path(plain(address)).name}"
        )
    boxes = tuple(grid.geographic_boxes(extent))
    source = Source(
        name=address,
        datum=datum,
        files=(address if "://" in address else str(Path(address).resolve()),),
        boxes=(boxes,),
        identity=(identity_of(address),),
        options=gdal_options(),
    )
    if not source.near(geobox):
        raise _beside(plain(address), geobox)
    return source


def _header(address):
    """Return the vertical datum of a file and its extent, which has its CRS."""
    with rasterio.open(address) as source:
        crs = None if source.crs is None else source.crs.to_wkt()
        datum = source.tags().get("vertical_datum") or _datum_of(crs or "")
        return datum, gpd.GeoDataFrame(geometry=[box(*source.bounds)], crs=crs)


def _datum_of(text):
    """Return the vertical part of a compound CRS, given as WKT."""
    for name in ("EGM2008", "EGM96"):
        if f"{name} " in text:
            return name
    return "unknown"


def _beside(name, geobox, count=1):
    return AcquireError(
        f"elevation from {str(name)!r} must cover {grid.describe(geobox)}, but none of its "
        f"{count} rasters touches it; give another dem="
    )


def _collection(geobox, name, items):
    found = _collection_items(name, geobox, items)
    touched = grid.touching([footprint_of(item) for item in found], geobox)
    near = sorted(
        (item for item, yes in zip(found, touched, strict=True) if yes), key=lambda item: item.id
    )
    if not near:
        raise _beside(name, geobox, len(found))
    require_trusted(near)
    stated = {str(item.properties.get("vertical_datum", "")) for item in near} - {""}
    keys = [asset_of(item, KEYS) or _first_raster(item) for item in near]
    addresses = [address_of(item, key) for item, key in zip(near, keys, strict=True)]
    return Source(
        name=name,
        datum=stated.pop() if len(stated) == 1 else DATUMS.get(name, "unknown"),
        files=tuple(addresses),
        boxes=tuple(tuple(grid.geographic_boxes(footprint_of(item))) for item in near),
        identity=tuple(
            (item.id, identity_of(address), version_of(item, key))
            for item, key, address in zip(near, keys, addresses, strict=True)
        ),
        options=gdal_options(),
    )


def _collection_items(name, geobox, items):
    roots: list[Any] = [root for item in items if (root := item.get_root()) is not None]
    if not roots:
        raise AcquireError(
            f"elevation {name!r} is no raster here, and the items do not lead to a catalogue "
            "that may have it as a collection; give dem= the path of a raster"
        )
    root = roots[0]
    bounds = [float(v) for v in grid.area_frame(geobox).to_crs(grid.WGS84).total_bounds]
    if isinstance(root, Client) and root.conforms_to("ITEM_SEARCH"):
        found = list(root.search(collections=[name], bbox=bounds).items())
    else:
        found = [i for i in root.get_items(recursive=True) if i.collection_id == name]
    if not found:
        held = sorted(collection.id for collection in root.get_collections())
        raise AcquireError(
            f"elevation needs a raster or a collection, {name!r} is neither with items over "
            f"{grid.describe(geobox)}; the catalogue {root.id!r} has {held}"
        )
    return found


def grid_token(geobox: GeoBox) -> str:
    """Return a name of a grid that is the same in every process."""
    return tokenize(tuple(geobox.shape), tuple(geobox.affine)[:6], str(geobox.crs))


def _first_raster(item):
    key = next((k for k, asset in item.assets.items() if "data" in (asset.roles or [])), None)
    if key is None:
        raise AcquireError(
            f"elevation item {item.id} needs one of the assets {list(KEYS)}, it has "
            f"{list(item.assets)}"
        )
    return key
