"""An empty store: every array, coordinate and attribute in place, and no block written."""

import os
import shutil
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from zarr.codecs import BloscCodec

from glaciercube.errors import StoreError
from glaciercube.store import ledger
from glaciercube.store.layout import Layout, Stored
from glaciercube.store.planning import Plan

CONVENTIONS = (
    {
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/"
        "schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "description": "Spatial coordinate information",
    },
    {
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/"
        "schema.json",
        "spec_url": "https://github.com/zarr-experimental/geo-proj/blob/v1/README.md",
        "description": "Coordinate reference system information for geospatial data",
    },
)
"""The Zarr conventions that a store declares (GeoZarr)."""

OWN_ATTRIBUTES = ("zarr_conventions", "spatial:", "proj:")
"""Beginnings of the attributes that the store adds, and takes away again on reading."""


def geozarr_attrs(geobox: GeoBox) -> dict[str, Any]:
    """Return the GeoZarr attributes of a group or array on a grid.

    Examples
    --------
    >>> box = GeoBox.from_bbox((0, 0, 100, 50), "EPSG:32632", resolution=10)
    >>> attrs = geozarr_attrs(box)
    >>> attrs["proj:code"], attrs["spatial:transform"]
    ('EPSG:32632', [10.0, 0.0, 0.0, 0.0, -10.0, 50.0])
    """
    if geobox.crs is None:
        raise ValueError("a grid without a coordinate reference system has no GeoZarr attributes")
    code = geobox.crs.epsg
    return {
        "zarr_conventions": [dict(convention) for convention in CONVENTIONS],
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [float(value) for value in tuple(geobox.affine)[:6]],
        "spatial:bbox": [float(value) for value in geobox.boundingbox.bbox],
        "spatial:shape": [int(geobox.shape.y), int(geobox.shape.x)],
        "spatial:registration": "pixel",
        **({"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": geobox.crs.to_wkt()}),
    }


def create(plan: Plan, path: Path) -> None:
    """Create the empty store of a plan: all of it, or nothing after a crash.

    Parameters
    ----------
    plan : Plan
    path : Path
        Must not exist.

    Raises
    ------
    StoreError
        If the directory cannot be written, or another process has just made the store.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_arrays(plan, draft)
        ledger.write_header(draft, plan.header)
        os.rename(draft, path)
    except OSError as error:
        raise StoreError(f"the store {str(path)!r} cannot be created: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_arrays(plan, draft):
    layout = plan.header.layout
    own = geozarr_attrs(plan.geobox)
    empty = plan.dataset.assign(
        {
            stored.name: (
                stored.dims,
                da.empty(stored.shape, dtype=stored.dtype, chunks=stored.shape),
                {**plan.dataset[stored.name].attrs, **own},
            )
            for stored in layout.variables
        }
    )
    empty = _with_storable_coords(empty).assign_attrs(own)
    with warnings.catch_warnings():
        # Zarr 3 says that consolidated metadata are not in its specification yet; they spare
        # readers the listing of the store.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        empty.to_zarr(
            draft,
            mode="w-",
            compute=False,
            zarr_format=3,
            consolidated=True,
            safe_chunks=False,
            encoding={stored.name: encoding_of(stored, layout) for stored in layout.variables},
        )


def encoding_of(stored: Stored, layout: Layout) -> dict[str, Any]:
    """Return the encoding of a variable for xarray, the CRS link included.

    `to_zarr(encoding=...)` replaces what a variable carries, so the link must be here.
    """
    shards, chunks = layout.shards(stored)
    encoding: dict[str, Any] = {
        "dtype": stored.codes,
        "fill_value": stored.blank,
        "chunks": chunks,
        "shards": shards,
        "compressors": [_compressor(stored)],
        "grid_mapping": "spatial_ref",
    }
    if stored.scale_factor is not None:
        encoding |= {
            "scale_factor": stored.scale_factor,
            "add_offset": stored.add_offset,
            "_FillValue": stored.fill,
        }
    elif stored.fill is None:
        encoding["_FillValue"] = np.nan
    return encoding


def _compressor(stored):
    """Return the fastest codec measured for integers, and a closer one for floats."""
    if np.dtype(stored.codes).kind == "f":
        return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
    return BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")


def _with_storable_coords(dataset: xr.Dataset) -> xr.Dataset:
    """Return text coordinates as variable-length text, the one kind that Zarr 3 specifies.

    Numbers get no `_FillValue`: a coordinate is never missing.
    """
    out = dataset
    for name, coord in dataset.coords.items():
        if coord.dtype.kind in "UT":
            out = out.assign_coords({name: coord.astype(object)})
        elif coord.dtype.kind == "f":
            out[name].encoding["_FillValue"] = None
    return out
