"""Glacier extent from facies, inside known outlines."""

import dask.array as da
import numpy as np
import xarray as xr

from glaciercube import schema


def extent_of_facies(facies: np.ndarray) -> np.ndarray:
    """Return glacier extent of facies codes that lie inside glacier outlines.

    Parameters
    ----------
    facies : array, uint8
        Codes of `schema.FACIES`, 255 nodata.

    Returns
    -------
    array, uint8
        1 where a glacier surface is seen, 0 where land or water is, 255 where cloud,
        unreadable shadow or nodata leave it open.

    Examples
    --------
    >>> extent_of_facies(np.uint8([0, 1, 2, 8, 6, 7, 4, 255]))
    array([  1,   1,   1,   0,   0, 255, 255, 255], dtype=uint8)
    """
    table = np.full(256, schema.NODATA, np.uint8)
    table[list(schema.codes(schema.ROLLUPS["glacier"]))] = 1
    table[list(schema.codes(schema.ROLLUPS["not_glacier"]))] = 0
    return table[facies]


def extent_within(facies: xr.DataArray) -> xr.DataArray:
    """Return glacier extent of a facies layer that is nodata outside glacier outlines.

    Parameters
    ----------
    facies : DataArray (time, y, x), uint8
        As `predict(..., within=outlines)` gives it; lazy stays lazy.

    Returns
    -------
    DataArray (time, y, x), uint8
        With the CF flags of `extent`.
    """
    if isinstance(facies.data, da.Array):
        codes = da.map_blocks(
            extent_of_facies, facies.data, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
        )
    else:
        codes = extent_of_facies(facies.data)
    extent = facies.copy(data=codes)
    extent.attrs = schema.flag_attrs("extent")
    extent.encoding = dict(facies.encoding)
    return extent.rename("extent")
