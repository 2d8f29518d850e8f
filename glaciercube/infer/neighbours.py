"""Dates that networks see together, brought to each block of a graph. No torch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from glaciercube.infer.work import Work


def mapped(
    function: Callable[..., np.ndarray],
    token: str,
    work: Work,
    shared: Delayed,
    wide: da.Array,
) -> da.Array:
    """Return the stacked planes of blocks that are given chunks of other dates as well.

    Parameters
    ----------
    function : callable
        Takes the number of a block, the chunks that `Work.time_chunks` names in order, and `work`.
    token : str
        Of the names in the graph.
    work : Work
        Of the overlap strategy.
    shared : Delayed
        The work, as one key of the graph.
    wide : Dask array (time, band, y, x)
        Chunks with their surroundings, NaN where not valid.

    Returns
    -------
    Dask array (time, plane, y, x)
        One task for each block, as with one date: what it is given are the chunks as they are.
    """
    name = f"predict-{token}"
    sources: list[Any] = [shared, wide]
    graph: dict[Any, Any] = {}
    for number in range(wide.numblocks[0]):
        near = work.time_chunks(number)
        for row, column in np.ndindex(wide.numblocks[2:]):
            block = (number, 0, row, column)
            given = [(wide.name, other, 0, row, column) for other in near]
            graph[(name, *block)] = (partial(_run, function, block), shared.key, *given)
    return da.Array(
        HighLevelGraph.from_collections(name, graph, dependencies=sources),
        name,
        chunks=(work.chunks[0], (len(work.planes),), *work.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), work.dtype),
    )


def by_date(given: Sequence[np.ndarray], work: Work, number: int) -> dict[int, np.ndarray]:
    """Return the dates (band, y, x) that a block was given.

    Parameters
    ----------
    given : sequence of array (time, band, y, x)
        Chunks in the order of `work.time_chunks`.
    work : Work
    number : int
        Of the block along time.

    Returns
    -------
    dict of int to array
        By the place of the date in the cube.
    """
    return {
        date: values
        for chunk, near in zip(given, work.time_chunks(number), strict=True)
        for date, values in zip(work.dates_in(near), chunk, strict=True)
    }


def _run(function, block, work, *given):
    return function(block, *given, work=work)
