"""A cube as networks need it: Dask arrays with the same chunks, and windows of single dates."""

from collections.abc import Callable, Sequence

import dask
import dask.array as da
import numpy as np
import xarray as xr

from glaciercube import schema
from glaciercube.store.reading import source_of
from glaciercube.windows import Window

CHUNK = 1024
"""Rows and columns of a block of a cube that is in memory."""

Valid = Callable[[int, Window], np.ndarray]
"""Gives (y, x), bool, of a date and a window."""

Both = Callable[[int, Window], tuple[np.ndarray, np.ndarray]]
"""Gives reflectance (band, y, x), float32, and `valid` of a date and a window."""


def dask_arrays(cube: xr.Dataset) -> tuple[da.Array, da.Array]:
    """Return reflectance and valid as Dask arrays with the same chunks, all bands in one.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.CUBE`.
    """
    reflectance, valid = cube["reflectance"].data, cube["valid"].data
    if not isinstance(reflectance, da.Array):
        sizes = {"time": 1, "band": -1, "y": CHUNK, "x": CHUNK}
        chunks = tuple(sizes[str(dim)] for dim in cube["reflectance"].dims)
        reflectance = da.from_array(np.asarray(reflectance), chunks=chunks)
    reflectance = reflectance.rechunk({1: -1})
    chunks = (reflectance.chunks[0], *reflectance.chunks[2:])
    if not isinstance(valid, da.Array):
        return reflectance, da.from_array(np.asarray(valid), chunks=chunks)
    return reflectance, valid.rechunk(chunks)


def readers(
    cube: xr.Dataset, arrays: tuple[da.Array, da.Array], positions: Sequence[int]
) -> tuple[Valid, Both]:
    """Return what gives `valid` of a window, and its reflectance and `valid`.

    Parameters
    ----------
    cube : Dataset
        Read from its store if it is what `read` gave; else computed.
    arrays : (Dask array, Dask array)
        Of it, as `dask_arrays` gives them.
    positions : sequence of int
        Of the bands wanted.
    """
    chosen = list(positions)
    sources = {name: source_of(cube[name]) for name in schema.CUBE}
    reflectance, valid = sources["reflectance"], sources["valid"]
    if reflectance is not None and valid is not None:
        return (
            valid.load,
            lambda date, window: (
                reflectance.load(date, window)[chosen],
                valid.load(date, window),
            ),
        )

    def of_graph(date, window):
        place = (date, ..., *window.slices)
        return dask.compute(arrays[0][place][chosen], arrays[1][place])

    return lambda date, window: np.asarray(arrays[1][(date, *window.slices)]), of_graph
