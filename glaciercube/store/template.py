"""An empty store: every array, coordinate and attribute in place, and no block written."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from zarr.codecs import BloscCodec, ZstdCodec

from glaciercube.errors import StoreError
from glaciercube.store import dates, ledger
from glaciercube.store.layout import Layout, Stored
from glaciercube.store.places import Place
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

OWN_ATTRIBUTES = ("zarr_conventions", "spatial:", "proj:", "multiscales")
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


def create(plan: Plan, place: Place, *, growing: bool = False) -> None:
    """Create the empty store of a plan: all of it, or nothing that readers take for a store.

    Parameters
    ----------
    plan : Plan
    place : Place
        Where there is no store, or one whose making was interrupted. One that another process
        makes meanwhile is left as it is; its header says whether it is the same.
    growing : bool
        Whether readers see no date before it is complete, or all dates from the beginning.

    Raises
    ------
    StoreError
        If the place cannot be written.
    """
    try:
        with nullcontext(place) if place.exists() else place.making() as draft:
            ledger.write_header(draft, plan.header)
            branch = draft.writing()
            _write_arrays(plan, branch, growing)
            draft.commit([branch.token()], "an empty store")
    except OSError as error:
        if not ledger.exists(place):  # else another process has just made it: see its header
            raise StoreError(f"the store {str(place)!r} cannot be created: {error}") from error


def _write_arrays(plan, place, growing):
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
    for stored in layout.variables:
        empty[stored.name].encoding = encoding_of(stored, layout)
    if growing:
        empty.attrs.pop("provenance", None)  # of dates that are not there yet
    with dates.quiet():
        empty.to_zarr(
            place.zarr(writable=True),
            mode="a",  # what an interrupted making left is made again
            compute=False,
            zarr_format=3,
            consolidated=False,
            safe_chunks=False,
        )
    if growing:
        _hide_dates(place)
    dates.consolidate(place)


def _hide_dates(place):
    """Make the time axis empty."""
    group = zarr.open_group(place.zarr(writable=True), mode="r+", use_consolidated=False)
    for array in dates.arrays_of(group):
        array.resize(dates.with_dates(array, 0))


def temporal_coords(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the coordinates along time as they are stored: moments in ns, text as text."""
    found = {}
    for name, coord in dataset.coords.items():
        if coord.dims != ("time",):
            continue
        values = coord.values
        if values.dtype.kind == "M":
            values = values.astype("datetime64[ns]").astype("int64")
        found[str(name)] = values.astype(object) if values.dtype.kind in "UT" else values
    return found


def attributes_of(plan: Plan) -> Mapping[str, Any]:
    """Return the attributes of the dataset, as they are stored; those of the grid stay."""
    return dict(plan.dataset.attrs)


def encoding_of(stored: Stored, layout: Layout) -> dict[str, Any]:
    """Return the encoding of a variable for xarray, the CRS link included.

    It replaces what a variable carries, so the link must be here.
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
    """Return the codec that was measured best for a type: docs/storage.md has the figures."""
    kind = np.dtype(stored.codes)
    if kind.kind == "f":
        return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
    if kind.itemsize == 1:
        return ZstdCodec(level=3)
    return BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")


def _with_storable_coords(dataset: xr.Dataset) -> xr.Dataset:
    """Return text coordinates as variable-length text, the one kind that Zarr 3 specifies.

    Numbers get no `_FillValue`: a coordinate is never missing. Those along time lie in chunks
    that have room for more.
    """
    out = dataset
    for name, coord in dataset.coords.items():
        if coord.dtype.kind in "UT":
            out = out.assign_coords({name: coord.astype(object)})
        encoding: dict[str, Any] = {"_FillValue": None} if coord.dtype.kind == "f" else {}
        if coord.dims == ("time",):
            encoding["chunks"] = (dates.CHUNK,)
        if coord.dtype.kind == "M":
            encoding |= dates.ENCODING
        out[name].encoding.update(encoding)
    return out
