"""The blocks of a store as one lazy computation: one Dask task each, which writes it."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xxhash
from dask.highlevelgraph import HighLevelGraph
from dask.layers import ArrayValuesDep
from dask.optimization import cull

from glaciercube import schema
from glaciercube.errors import StoreError
from glaciercube.store import arrays, ledger
from glaciercube.store.layout import Block, Layout
from glaciercube.store.places import Place
from glaciercube.store.planning import Plan

CELL = np.dtype(
    [
        ("time", np.int64),
        ("row", np.int64),
        ("column", np.int64),
        ("made_of", "U32"),
        ("date", "U32"),
    ]
)
"""What a task knows of its block: where its date lies on disk (-1 if it has none), its place,
what it is made of, its date."""


PLANE = "plane"
"""Dimension of a stack, its number added: the codes of several variables."""

Feed = tuple[int, tuple[int, ...] | None]
"""Which of the arrays that a task is given holds a variable, and in which planes its codes are;
None if it holds the variable's values alone."""


class DiskError(StoreError):
    """The store cannot be written; no other block would fare better."""


@dataclass(frozen=True)
class Lattice:
    """A Dask array with one element per block, whose computing writes the block."""

    array: da.Array
    temporal: bool
    """Whether these are the blocks of the variables with time."""

    index: Callable[[int], int]
    """Index in the dataset of a date on disk."""

    def holds(self, block: Block) -> bool:
        """Say whether a block is of this kind."""
        return (block.time is not None) == self.temporal

    def key(self, block: Block) -> tuple[str | int, ...]:
        """Return the name of the task that writes a block."""
        middle = (0,) * (self.array.ndim - 3)
        first = 0 if block.time is None else self.index(block.time)
        return (self.array.name, first, *middle, block.row, block.column)


class Work:
    """The tasks that write some blocks, made once, of which parts can be run.

    What two variables of a block share is computed once.
    """

    def __init__(self, lattices: Sequence[Lattice], blocks: Sequence[Block]):
        """Take the lattices that hold the blocks, and the blocks."""
        self._lattices = lattices
        graph = HighLevelGraph.merge(*(one.array.__dask_graph__() for one in lattices))
        keys = [self.key(block) for block in blocks]
        with uncollected():
            self._graph = dict(da.Array.__dask_optimize__(graph, keys)) if keys else {}

    def key(self, block: Block) -> tuple[str | int, ...]:
        """Return the name of the task that writes a block."""
        return next(one.key(block) for one in self._lattices if one.holds(block))

    def part(self, blocks: Sequence[Block]) -> "Part":
        """Return some blocks as a Dask collection."""
        keys = [self.key(block) for block in blocks]
        return Part(cull(self._graph, keys)[0], keys)

    def size(self, blocks: Sequence[Block]) -> int:
        """Return the number of tasks that some blocks need."""
        return len(cull(self._graph, [self.key(block) for block in blocks])[0])


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python not look for cycles meanwhile: of a million tasks that takes a third of the time.

    They hold none, and what is not needed any more is freed all the same.
    """
    found = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if found:
            gc.enable()


class Part:
    """Some blocks as a Dask collection: only they, and what they need, are run."""

    __dask_scheduler__ = staticmethod(da.Array.__dask_scheduler__)
    __dask_optimize__ = None  # the tasks are optimised already

    def __init__(self, graph: dict[Any, Any], keys: list[tuple[str | int, ...]]):
        """Take tasks, and the names of those whose results count."""
        self.graph, self.keys = graph, keys

    def __dask_graph__(self):
        """Return the tasks."""
        return self.graph

    def __dask_keys__(self):
        """Return the names of the tasks to run."""
        return self.keys

    def __dask_postcompute__(self):
        """Return how the results are handed back: as a list."""
        return list, ()


def lattice_of(
    plan: Plan, place: Place, temporal: bool, made_of: Callable[[Block], str]
) -> Lattice:
    """Return the lattice of the blocks with time, or of those without.

    Bands and categories are whole within a block. They stay dimensions of the result, of
    length one, because Dask would copy what it contracts.
    """
    layout = plan.header.layout
    variables = layout.of(temporal)
    feeds, given = _feeds(plan, variables)
    more = dict.fromkeys(dim for _, own in given for dim in own if dim not in ("time", "y", "x"))
    dims = ("time", *more, "y", "x")
    inputs: list[Any] = [_cells(plan, temporal, made_of), ("time", "y", "x")]
    for lazy, own in given:
        inputs += [lazy, own]
    array = da.blockwise(
        write_block,
        dims,
        *inputs,
        name=f"write-{place.name}-{uuid4().hex}",  # two writes must not share their tasks
        dtype=object,
        meta=np.empty((0,) * len(dims), object),
        concatenate=True,
        align_arrays=False,
        place=place,
        layout=layout,
        fingerprint=plan.header.fingerprint,
        feeds=feeds,
    )
    return Lattice(array, temporal, plan.index)


def _feeds(plan, variables):
    """Return which array each variable comes from, and these arrays with their dimensions.

    Variables of one stack share it, so that one task computes and writes all of them.
    """
    feeds: list[Feed] = []
    given: list[tuple[da.Array, tuple[str, ...]]] = []
    stacks: dict[str, int] = {}
    for stored in variables:
        making = plan.makings.get(stored.name)
        planes = None if making is None else making.planes
        if planes is None:
            feeds.append((len(given), None))
            given.append((_lazy(plan.dataset[stored.name], plan.header.layout), stored.dims))
            continue
        name = planes.stack.name
        if name not in stacks:
            stacks[name] = len(given)
            dims = ("time", f"{PLANE}{len(stacks)}", "y", "x")
            given.append((_in_blocks(planes.stack, dims, plan.header.layout), dims))
        feeds.append((stacks[name], planes.numbers))
    return tuple(feeds), given


def _lazy(variable, layout):
    """Return a variable's Dask array, its chunks the blocks of the layout."""
    return _in_blocks(variable.data, variable.dims, layout)


def _in_blocks(data, dims, layout):
    steps = {"time": 1, "y": layout.block[0], "x": layout.block[1]}
    chunks = tuple(steps.get(dim, -1) for dim in dims)
    if isinstance(data, da.Array):
        return data.rechunk(chunks)
    return da.from_array(np.asarray(data), chunks=chunks)


def _cells(plan, temporal, made_of):
    """Return what each task knows of its block.

    Its dates are those of the dataset, in its order; dates that the store does not have stay
    without a block.
    """
    layout = plan.header.layout
    times = len(plan.times) if temporal else 1
    cells = np.zeros((times, *layout.counts(temporal)[1:]), CELL)
    for block in layout.blocks(temporal):
        if block.time is not None and plan.header.times[block.time] not in plan.times:
            continue
        first = 0 if block.time is None else plan.index(block.time)
        slot = -1 if block.time is None else block.time
        date = "" if block.time is None else plan.header.times[block.time]
        made = made_of(block)
        cells[first, block.row, block.column] = (slot, block.row, block.column, made, date)
    return ArrayValuesDep(tuple((1,) * size for size in cells.shape), cells)


def write_block(
    cell: np.void,
    *given: np.ndarray,
    place: Place,
    layout: Layout,
    fingerprint: str,
    feeds: Sequence[Feed] = (),
) -> Any:
    """Write one block and then its record; return what the place needs to commit it.

    Parameters
    ----------
    cell : record of type CELL
        Which block it is.
    *given : array
        What holds the variables with time (or without).
    place : Place
        To write to.
    layout : Layout
    fingerprint : str
        Of the store.
    feeds : sequence of Feed
        Where each variable is in them, in the order of the layout; by default each is one.

    Raises
    ------
    StoreError
        If a variable was computed in another shape than its Dask array states.
    DiskError
        If the store cannot be written.
    """
    place = place.writing()
    time = None if cell["time"] < 0 else int(cell["time"])
    block = Block(int(cell["row"]), int(cell["column"]), time=time)
    started = perf_counter()
    values = _values(block, given, layout, feeds)
    try:
        known = ledger.read_record(place, block)
        if known is not None and not known.unread and _unread(block, values, layout):
            return place.token()  # what was read once is not given up for a hole
        if known is not None and (known.fingerprint != str(cell["made_of"]) or known.unread):
            ledger.forget(place, [block])  # what it says does not hold while the block is written
        record = _write_values(block, values, place, layout, fingerprint)
        done = ledger.Record(
            **record,
            fingerprint=str(cell["made_of"]),
            date=str(cell["date"]),
            seconds=round(perf_counter() - started, 6),
        )
        ledger.write_record(place, block, done)
        ledger.forget(place, [block], failed=True)
    except StoreError:
        raise
    except OSError as error:
        raise DiskError(f"the store {str(place)!r} cannot be written: {error}") from error
    return place.token()


@dataclass(frozen=True)
class Codes:
    """Codes of a variable as they lie on disk, in place of its values."""

    codes: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        return self.codes.shape


def _values(block, given, layout, feeds):
    """Return the values, or the codes, of each variable in the order of the layout."""
    feeds = feeds or [(number, None) for number in range(len(given))]
    found: list[Any] = []
    for stored, (number, planes) in zip(layout.of(block.time is not None), feeds, strict=True):
        if planes is None:
            found.append(given[number])
            continue
        whole = (
            given[number][:, list(planes)] if len(stored.dims) > 3 else given[number][:, planes[0]]
        )
        found.append(Codes(np.ascontiguousarray(whole, dtype=stored.codes)))
    return found


def _unread(block, values, layout):
    """Return how many pixels of a block could not be read."""
    named = zip(layout.of(block.time is not None), values, strict=True)
    return sum(
        int(np.count_nonzero(given)) for stored, given in named if stored.name == schema.READ_FAILED
    )


def _write_values(block, values, place, layout, fingerprint):
    """Write the shards of a block; return what its record says of them."""
    digest = xxhash.xxh3_128()
    blank, clipped = True, 0
    for stored, given in zip(layout.of(block.time is not None), values, strict=True):
        if given.shape != (wanted := layout.block_shape(stored, block)):
            raise StoreError(f"{stored.name!r} was to be {wanted} and was computed {given.shape}")
        codes, beyond = (given.codes, 0) if isinstance(given, Codes) else stored.encode(given)
        clipped += beyond
        blank = blank and stored.is_blank(codes)
        digest.update(codes.data)
        array = arrays.array_of(place, stored, fingerprint, mode="r+")
        arrays.write_codes(place, array, codes, layout, (stored, block))
    return {
        "state": "empty" if blank else "done",
        "checksum": digest.hexdigest(),
        "clipped": clipped,
        "unread": _unread(block, values, layout),
    }
