"""Kernels over the blocks of a cube: lazily, with a halo where asked, under names that say what.

A kernel takes NumPy blocks and gives one; here Dask gives it the blocks, or NumPy the whole
arrays at once, with the same numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

PIXELS = (-2, -1)
"""Axes of rows and columns."""


def mapped(
    kernel: Callable[..., np.ndarray],
    arrays: Mapping[str, xr.DataArray],
    *,
    name: str,
    version: int,
    **options: Any,
) -> xr.DataArray:
    """Return what a kernel makes of arrays pixel by pixel, without computing it.

    Parameters
    ----------
    kernel : callable
        Takes a dict of blocks (time, y, x) by name, and the options; returns a bool block.
    arrays : mapping of str to DataArray (time, y, x)
        On one grid; lazy ones may be chunked differently.
    name : str
        What the result is, for its variable and its Dask name.
    version : int
        Of the kernel; another one gives another Dask name.
    **options
        For the kernel; the same for each block.

    Returns
    -------
    DataArray (time, y, x), bool, lazy if any of the arrays is
        With the coordinates of the first array.
    """
    first = next(iter(arrays.values()))
    if not any(isinstance(one.data, da.Array) for one in arrays.values()):
        data = kernel({key: one.values for key, one in arrays.items()}, **options)
    else:
        blocks = _aligned(arrays)
        token = tokenize(name, version, [(k, b.name) for k, b in blocks.items()], options)
        data = da.map_blocks(
            _call,
            *blocks.values(),
            kernel=kernel,
            keys=tuple(blocks),
            options=options,
            name=f"{name}-{token}",
            dtype=bool,
            meta=np.empty((0, 0, 0), bool),
        )
    return xr.DataArray(data, dims=first.dims, coords=first.coords, name=name)


def _aligned(arrays):
    """Return Dask arrays with the chunks of the first lazy one."""
    chunks = next(one.data.chunks for one in arrays.values() if isinstance(one.data, da.Array))
    return {key: as_dask(one.data, chunks) for key, one in arrays.items()}


def _call(*blocks, kernel, keys, options):
    return kernel(dict(zip(keys, blocks, strict=True)), **options)


def as_dask(data: Any, chunks: Any) -> da.Array:
    """Return data as a Dask array with given chunks, under a name that follows from both."""
    if isinstance(data, da.Array):
        return data.rechunk(chunks)
    return da.from_array(np.asarray(data), chunks=chunks)


def with_halo(array: da.Array, halo: int) -> da.Array:
    """Return an array whose blocks overlap their neighbours in rows and columns.

    Parameters
    ----------
    array : dask array (..., y, x)
        Chunks along y and x that are smaller than the halo are joined.
    halo : int
        Pixels on each side that has a neighbour; none beyond the image.
    """
    if halo == 0:
        return array
    axes = {array.ndim + axis: array.chunks[axis] for axis in PIXELS}
    array = array.rechunk({axis: _at_least(halo, sizes) for axis, sizes in axes.items()})
    depth = {axis: halo if array.numblocks[axis] > 1 else 0 for axis in range(array.ndim)}
    depth |= dict.fromkeys(range(array.ndim - 2), 0)
    if not any(depth.values()):
        return array
    return da.overlap.overlap(array, depth=depth, boundary="none", allow_rechunk=False)


def _at_least(halo, sizes):
    if len(sizes) == 1 or sum(sizes) <= halo:
        return (sum(sizes),)
    return da.overlap.ensure_minimum_chunksize(halo, sizes)


def without_halo(
    chunks: tuple[tuple[int, ...], ...], halo: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the chunk sizes along y and x of an array from `with_halo`, less its halo.

    Examples
    --------
    >>> without_halo(((1, 1), (12, 14, 12), (20,)), 2)
    ((10, 10, 10), (20,))
    """
    rows, columns = (
        tuple(
            size - halo * ((number > 0) + (number < len(sizes) - 1))
            for number, size in enumerate(sizes)
        )
        for sizes in chunks[-2:]
    )
    return rows, columns


def inner(block_id: tuple[int, ...], numblocks: tuple[int, ...], halo: int) -> tuple[slice, slice]:
    """Return the rows and columns of a block of `with_halo` that are its own.

    Examples
    --------
    >>> inner((0, 1), (2, 3), 4)
    (slice(0, -4, None), slice(4, -4, None))
    """
    rows, columns = (
        slice(halo if at > 0 else 0, -halo if halo and at < count - 1 else None)
        for at, count in zip(block_id[-2:], numblocks[-2:], strict=True)
    )
    return rows, columns
