"""A lazy array of measured blocks: exactly one task per time and block."""

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize


def per_block(
    function: Callable[..., np.ndarray],
    times: Sequence[Any],
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    *,
    layers: int,
    name: str,
    **options: Any,
) -> da.Array:
    """Return an array whose blocks a function makes, each from its time and its first pixel.

    Parameters
    ----------
    function : callable
        Takes arrays of one cell - what there is to know of a time, the first row, the first
        column - and the options; returns (1, layer, y, x), float32.
    times : sequence
        What a block needs to know of each time; small.
    sizes : pair of tuple of int
        Chunk sizes along y and x.
    layers : int
        Size of the second axis.
    name : str
        Of the array: a function of everything that the blocks hold.
    **options
        For the function; the same for each block.

    Returns
    -------
    dask array (time, layer, y, x), float32
    """
    column = np.empty(len(times), object)
    column[:] = times
    rows, columns = sizes
    return da.blockwise(
        function,
        "tbyx",
        da.from_array(column, chunks=1, name=f"times-{tokenize(name)}"),
        "t",
        _starts(rows, "rows"),
        "y",
        _starts(columns, "columns"),
        "x",
        new_axes={"b": layers},
        align_arrays=False,
        adjust_chunks={"y": rows, "x": columns},
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
        name=name,
        **options,
    )


def _starts(sizes, name):
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return da.from_array(starts, chunks=1, name=f"{name}-{tokenize(sizes)}")
