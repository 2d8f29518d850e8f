"""The blocks of a store as one lazy computation: one Dask task each, which writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xxhash

from glaciercube import schema
from glaciercube.errors import StoreError
from glaciercube.store import arrays, ledger
from glaciercube.store.layout import Block, Layout
from glaciercube.store.planning import Plan


class DiskError(StoreError):
    """The store's directory cannot be written; no other block would fare better."""


@dataclass(frozen=True)
class Lattice:
    """A Dask array with one element per block, whose computing writes the block."""

    array: da.Array
    temporal: bool
    """Whether these are the blocks of the variables with time."""

    def holds(self, block: Block) -> bool:
        """Say whether a block is of this kind."""
        return (block.time is not None) == self.temporal

    def key(self, block: Block) -> tuple[str | int, ...]:
        """Return the name of the task that writes a block."""
        middle = (0,) * (self.array.ndim - 3)
        return (self.array.name, block.time or 0, *middle, block.row, block.column)


class Part:
    """Some blocks of a lattice, as a Dask collection: only they, and what they need, are run.

    Dask merges the graphs of all parts that it is given before it optimises them, so what
    two variables of a block share is computed once.
    """

    __dask_optimize__ = staticmethod(da.Array.__dask_optimize__)
    __dask_scheduler__ = staticmethod(da.Array.__dask_scheduler__)

    def __init__(self, lattice: Lattice, blocks: Sequence[Block]):
        """Take the blocks that the lattice holds."""
        self.lattice = lattice
        self.keys = [lattice.key(block) for block in blocks if lattice.holds(block)]

    def __dask_graph__(self):
        """Return the graph of the whole lattice; Dask cuts it to the keys."""
        return self.lattice.array.__dask_graph__()

    def __dask_layers__(self):
        """Return the last layer of the graph."""
        return self.lattice.array.__dask_layers__()

    def __dask_keys__(self):
        """Return the names of the tasks to run."""
        return self.keys

    def __dask_postcompute__(self):
        """Return how the results are handed back: as a list."""
        return list, ()


def lattice_of(plan: Plan, place: Path, temporal: bool) -> Lattice:
    """Return the lattice of the blocks with time, or of those without.

    Bands and categories are whole within a block. They stay dimensions of the result, of
    length one, because Dask would copy what it contracts.
    """
    layout = plan.header.layout
    variables = layout.of(temporal)
    middle = dict.fromkeys(
        dim for stored in variables for dim in stored.dims if dim not in ("time", "y", "x")
    )
    dims = ("time", *middle, "y", "x")
    inputs: list[Any] = [_numbers(layout, temporal), ("time", "y", "x")]
    for stored in variables:
        inputs += [_lazy(plan.dataset[stored.name], layout), stored.dims]
    array = da.blockwise(
        write_block,
        dims,
        *inputs,
        name=f"write-{uuid4().hex}",  # never the same: two writes must not share their tasks
        dtype=np.int64,
        meta=np.empty((0,) * len(dims), np.int64),
        concatenate=True,
        align_arrays=False,
        place=place,
        layout=layout,
        temporal=temporal,
        fingerprint=plan.header.fingerprint,
    )
    return Lattice(array, temporal)


def _lazy(variable, layout):
    """Return a variable's Dask array, its chunks the blocks of the layout."""
    steps = {"time": 1, "y": layout.block[0], "x": layout.block[1]}
    chunks = tuple(steps.get(dim, -1) for dim in variable.dims)
    if isinstance(variable.data, da.Array):
        return variable.data.rechunk(chunks)
    return da.from_array(np.asarray(variable.data), chunks=chunks)


def _numbers(layout, temporal):
    """Return a lazy array that holds each block's place in the lattice."""
    counts = layout.counts(temporal)
    return da.map_blocks(
        _number,
        counts=counts,
        chunks=tuple((1,) * count for count in counts),
        dtype=np.int64,
        meta=np.empty((0, 0, 0), np.int64),
    )


def _number(counts, block_id=None):
    return np.ravel_multi_index(block_id, counts)


def write_block(
    number: int, *values: np.ndarray, place: Path, layout: Layout, temporal: bool, fingerprint: str
) -> int:
    """Write one block and then its record; return how many values were clipped.

    Parameters
    ----------
    number : int
        Of the block in its lattice.
    *values : array
        Of each variable with time (or without), in the order of the layout.
    place : Path
        The store.
    layout : Layout
    temporal : bool
        Whether these are the variables with time.
    fingerprint : str
        Of the dataset.

    Raises
    ------
    StoreError
        If a variable was computed in another shape than its Dask array states.
    DiskError
        If the store cannot be written.
    """
    block = layout.block_at(
        tuple(int(i) for i in np.unravel_index(number, layout.counts(temporal))), temporal
    )
    digest = xxhash.xxh3_128()
    blank, clipped, unread = True, 0, 0
    for stored, given in zip(layout.of(temporal), values, strict=True):
        if given.shape != (wanted := layout.block_shape(stored, block)):
            raise StoreError(f"{stored.name!r} was to be {wanted} and was computed {given.shape}")
        codes, beyond = stored.encode(given)
        clipped += beyond
        if stored.name == schema.READ_FAILED:
            unread = int(np.count_nonzero(given))
        blank = blank and stored.is_blank(codes)
        digest.update(codes.data)
        try:
            array = arrays.array_of(place, stored.name, fingerprint, mode="r+")
            arrays.write_codes(place, array, codes, layout, (stored, block))
        except OSError as error:
            raise DiskError(f"the store {str(place)!r} cannot be written: {error}") from error
    record = ledger.Record(
        state="empty" if blank else "done",
        checksum=digest.hexdigest(),
        fingerprint=fingerprint,
        clipped=clipped,
        unread=unread,
    )
    try:
        ledger.write_record(place, block, record)
    except OSError as error:
        raise DiskError(f"the store {str(place)!r} cannot be written: {error}") from error
    return clipped
