"""Elevation on a cube's grid, from a raster or from a collection beside the scenes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import odc.stac
import pystac
import rasterio
import shapely
import xarray as xr
from affine import Affine
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from pystac_client import Client
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from glaciercube import grid
from glaciercube.acquire.assembly import ALGORITHM_VERSION, chunks_of
from glaciercube.acquire.items import address_of, asset_of, footprint_of, identity_of
from glaciercube.acquire.reader import ItemDriver
from glaciercube.errors import AcquireError, GridError

DATUMS = {
    "cop-dem-glo-30": "EGM2008",
    "cop-dem-glo-90": "EGM2008",
    "nasadem": "EGM96",
    "alos-dem": "EGM96",
}
"""Vertical datum of the elevation in known collections, as their providers state it."""

KEYS = ("data", "elevation", "dem", "DEM")
"""Asset keys of the elevation."""


TOLERANCE = 0.001
"""Error of a position allowed in warping (pixels); GDAL's own 0.125 would let chunks differ."""


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
        Metres, NaN where the source has none. Attribute `vertical_datum`: of the
        collection, or of the raster's CRS or tags; "unknown" if neither states it.

    Raises
    ------
    AcquireError
        If there is no such raster or collection, or it does not cover the grid anywhere.
    GridError
        If the raster has no coordinate reference system.
    """
    if _is_raster(dem):
        data, datum = _of_raster(geobox, str(dem), chunk)
    else:
        data, datum = _of_collection(geobox, str(dem), items, chunk)
    attrs = {
        "units": "m",
        "long_name": "elevation",
        "standard_name": "surface_altitude",
        "vertical_datum": datum,
        "source": Path(str(dem)).name,
    }
    return xr.DataArray(data, dims=("y", "x"), attrs=attrs)


def _is_raster(dem):
    address = str(dem)
    return Path(address).exists() or address.split("?")[0].endswith((".tif", ".tiff", ".vrt"))


def _of_raster(geobox, address, chunk):
    """Return the elevation of a raster, lazily, and its vertical datum."""
    try:
        with rasterio.open(address) as source:
            if source.crs is None:
                raise GridError(
                    f"elevation from {address} has no coordinate reference system; set it with: "
                    f"rio edit-info --crs EPSG:... {Path(address).name}"
                )
            datum = source.tags().get("vertical_datum") or _datum_of(source.crs)
            box = shapely.box(*source.bounds)
            extent = grid.area_frame(geobox).to_crs(source.crs.to_wkt()).geometry.iloc[0]
    except rasterio.errors.RasterioIOError as error:
        raise AcquireError(
            f"cannot open the elevation {address}: {error}; dem= is a raster or a collection"
        ) from error
    if not box.intersects(extent):
        raise _beside(address, geobox)
    return _warped(geobox, address, chunk), datum


def _warped(geobox, address, chunk):
    rows, columns = chunks_of(geobox.shape.y, chunk), chunks_of(geobox.shape.x, chunk)
    token = tokenize(ALGORITHM_VERSION, identity_of(address), grid_token(geobox), chunk)
    return da.map_blocks(
        warp_block,
        dtype=np.float32,
        chunks=(rows, columns),
        meta=np.empty((0, 0), np.float32),
        name=f"elevation-{token}",
        address=address if "://" in address else str(Path(address).resolve()),
        grid_of_all=(tuple(geobox.shape), tuple(geobox.affine)[:6], str(geobox.crs)),
        chunk=chunk,
    )


def warp_block(address, grid_of_all, chunk, block_id=None):
    """Return one block of a raster on another grid, bilinear, NaN where it has no value.

    Parameters
    ----------
    address : str
    grid_of_all : tuple
        Shape, affine and CRS of the whole grid.
    chunk : int
        Rows and columns of a whole block.
    block_id : tuple of int
        Number of the block along y and x.

    Returns
    -------
    array (y, x), float32
    """
    (rows, columns), affine, crs = grid_of_all
    top, left = (number * chunk for number in block_id)
    window = Window(left, top, min(chunk, columns - left), min(chunk, rows - top))
    target = {"crs": crs, "transform": Affine(*affine), "height": rows, "width": columns}
    with rasterio.open(address) as source:
        with WarpedVRT(
            source, resampling=Resampling.bilinear, nodata=np.nan, dtype="float32",
            src_nodata=source.nodata, tolerance=TOLERANCE, **target,
        ) as warped:  # fmt: skip
            return warped.read(1, window=window)


def _beside(name, geobox, count=1):
    return AcquireError(
        f"elevation from {str(name)!r} must cover {grid.describe(geobox)}, but none of its "
        f"{count} rasters touches it; give another dem="
    )


def _of_collection(geobox, name, items, chunk):
    """Return the elevation of a collection, lazily, and its vertical datum."""
    found = _collection_items(name, geobox, items)
    extent = shapely.box(*grid.area_frame(geobox).to_crs(grid.WGS84).total_bounds)
    near = [item for item in found if footprint_of(item).intersects(extent)]
    if not near:
        raise _beside(name, geobox, len(found))
    stated = {str(item.properties.get("vertical_datum", "")) for item in near} - {""}
    datum = stated.pop() if len(stated) == 1 else DATUMS.get(name, "unknown")
    return _load(near, geobox, chunk), datum


def _datum_of(crs):
    """Return the vertical part of a compound CRS."""
    text = crs.to_wkt()
    for name in ("EGM2008", "EGM96"):
        if f"{name} " in text:
            return name
    return "unknown"


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


def _load(items, geobox, chunk):
    """Return one mosaic of the items, lazily, under a name of our own."""
    keys = {item.id: asset_of(item, KEYS) or _first_raster(item) for item in items}
    ordered = sorted(items, key=lambda item: item.id)
    key = keys[ordered[0].id]
    if set(keys.values()) != {key}:
        raise AcquireError(f"elevation needs one asset key in all items, found {keys}")
    loaded = odc.stac.load(
        ordered,
        bands=[key],
        geobox=geobox,
        chunks={"time": 1, "y": chunk, "x": chunk},
        groupby=_one_layer,
        resampling="bilinear",
        driver=ItemDriver(),
        dtype="float32",
        nodata=np.nan,
        stac_cfg={"*": {"assets": {"*": {"data_type": "float32"}}, "warnings": "ignore"}},
    )[key].data
    identities = [(item.id, identity_of(address_of(item, key))) for item in ordered]
    token = tokenize(ALGORITHM_VERSION, identities, grid_token(geobox), chunk)
    return da.map_blocks(
        _only_layer,
        loaded,
        drop_axis=0,
        chunks=loaded.chunks[1:],
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
        name=f"elevation-{token}",
    )


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


def _one_layer(item, parsed, index):
    return 0


def _only_layer(block):
    layer = block[0]
    return np.where(np.isfinite(layer), layer, np.float32(np.nan))
