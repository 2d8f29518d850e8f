"""Sums by glacier and date from lazy layers: the Dask side of `areas`."""

import dask.array as da
import geopandas as gpd
import numpy as np
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid, schema
from glaciercube.products import areas
from glaciercube.schema import extent_of_facies

ALGORITHM_VERSION = 1
"""Goes into the names of lazy results; raised when the same layers give other numbers."""

ALONGSIDE = ("facies", "confidence", "glacier_probability")
MERGED_AT_ONCE = 16


def lazy_tables(
    layers: xr.Dataset,
    glaciers: gpd.GeoDataFrame | None,
    geobox: GeoBox,
    elevation: xr.DataArray | None,
    bin_height_m: float,
) -> da.Array:
    """Return the sums of each glacier at each date, without computing them.

    Parameters
    ----------
    layers : Dataset
        `extent` or `facies` (time, y, x), and what `ALONGSIDE` names.
    glaciers : GeoDataFrame or None
        Outlines; None takes the whole grid as one.
    geobox : GeoBox
    elevation : DataArray (y, x) or None
        On the same grid (m).
    bin_height_m : float

    Returns
    -------
    array (time,), object
        Each cell a dict of glacier number to `areas.Sums`.

    Notes
    -----
    A task holds one block of each layer; what it hands on is small. A glacier's cover is
    computed once per block, for all dates.
    """
    codes = layers["extent" if "extent" in layers else "facies"]
    if codes.chunks is None:
        codes = codes.chunk()
    sizes = codes.chunksizes["y"], codes.chunksizes["x"]
    variables = {name: layers[name] for name in ALONGSIDE if name in layers}
    arrays = {name: _like(one, codes).data for name, one in variables.items()}
    if elevation is not None:
        arrays["elevation"] = _like(elevation, codes).data
    zones, zone_token = cover.lazy_zones(glaciers, geobox, sizes)
    names = [codes.data.name, *(array.name for array in arrays.values())]
    token = tokenize(ALGORITHM_VERSION, names, zone_token, bin_height_m, "extent" in layers)
    wide = with_neighbours(codes.data)
    row_area = da.from_array(grid.pixel_area(geobox), chunks=(sizes[0],), name=f"area-{token}")
    indexed = [part for name in arrays for part in (arrays[name], "tyx"[-arrays[name].ndim :])]
    tables = da.blockwise(
        _block_tables, "tyx", wide, "tyx", zones, "yx", row_area, "y",
        *indexed, names=tuple(arrays), is_extent="extent" in layers, bin_height_m=bin_height_m,
        outlined=glaciers is not None, name=f"sums-{token}", dtype=object, align_arrays=False,
        adjust_chunks={"y": 1, "x": 1}, meta=np.empty((0, 0, 0), object),
    )  # fmt: skip
    return da.reduction(
        tables, _same, _merge, axis=(1, 2), combine=_merge, dtype=object,
        split_every=MERGED_AT_ONCE, meta=np.empty(0, object), name=f"merged-{token}",
    )  # fmt: skip


def with_neighbours(codes: da.Array) -> da.Array:
    """Return codes (time, y, x) whose blocks hold one pixel of their neighbours on each side.

    Beyond the image lies nodata.
    """
    edge = {0: "none", 1: schema.NODATA, 2: schema.NODATA}
    return da.overlap.overlap(codes, depth={0: 0, 1: 1, 2: 1}, boundary=edge)


def _like(variable, codes):
    """Return a variable lazy, in the chunks of another."""
    wanted = {dim: codes.chunksizes[dim] for dim in variable.dims}
    return variable.chunk(wanted)


def _block_tables(wide, zones, row_area, *arrays, names, is_extent, bin_height_m, outlined):
    """Return the sums of one block at all its dates (date, 1, 1)."""
    layers = dict(zip(names, arrays, strict=True))
    out = np.empty((len(wide), 1, 1), object)
    for place, codes in enumerate(wide):
        block = areas.Block(
            state=codes if is_extent else extent_of_facies(codes),
            row_area=row_area,
            layers={name: one[place] if one.ndim == 3 else one for name, one in layers.items()},
            bin_height_m=bin_height_m,
            outlined=outlined,
        )
        out[place, 0, 0] = areas.block_sums(block, zones[0, 0])
    return out


def _same(tables, axis, keepdims):
    return tables


def _merge(tables, axis, keepdims):
    out = np.empty(len(tables), object)
    for place, row in enumerate(tables):
        out[place] = areas.merged(row.ravel().tolist())
    return out[:, np.newaxis, np.newaxis] if keepdims else out
