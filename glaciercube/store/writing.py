"""Write a cube to a store, block by block, and go on where an interrupted write stopped."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4
from warnings import warn

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.diagnostics import ProgressBar

from glaciercube.errors import GlacierCubeWarning, StoreError
from glaciercube.store import arrays, ledger, template
from glaciercube.store.layout import Block, Layout
from glaciercube.store.planning import Plan, differences, plan_of


@dataclass(frozen=True, kw_only=True)
class WriteReport:
    """What a write did."""

    path: Path
    blocks: int
    """Blocks of the whole store."""

    written: int
    """Blocks computed now that hold values."""

    empty: int
    """Blocks computed now that hold none."""

    skipped: int
    """Blocks that were done before."""

    failed: tuple[tuple[str, str], ...] = ()
    """Which blocks failed, and why."""

    clipped: int = 0
    """Values of the whole store that lay beyond the range of their codes."""

    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the report in one line."""
        return (
            f"{self.path.name}: {self.written} of {self.blocks} blocks written, "
            f"{self.empty} empty, {self.skipped} done before, {len(self.failed)} failed, "
            f"{self.clipped} values clipped, {self.seconds:.1f} s"
        )


class IncompleteWriteError(StoreError):
    """Some blocks failed; the others are in the store, and `report` says which."""

    def __init__(self, message: str, report: WriteReport | None = None):
        super().__init__(message)
        self.report = report


class DiskError(StoreError):
    """The store's directory cannot be written; no other block would fare better."""


def write(
    dataset: xr.Dataset, path: str | os.PathLike, *, overwrite: bool = False, progress: bool = False
) -> WriteReport:
    """Write a cube to a Zarr store, or go on with a write that was interrupted.

    Parameters
    ----------
    dataset : Dataset
        Variables (time, ..., y, x) or (y, x) on one grid, lazy or not.
    path : str or path
        A directory; made if it does not exist.
    overwrite : bool
        Replace the store that is there. The new one grows beside it and takes its place
        when it is complete: an interruption loses nothing, and the next call goes on.
    progress : bool
        Show a progress bar (not with a `dask.distributed` client, which has its own).

    Returns
    -------
    WriteReport

    Raises
    ------
    SchemaError, GridError
        If the dataset cannot be stored; nothing is written.
    StoreError
        If the path holds a different cube or something else, which is then left as it is;
        if the directory cannot be written; or if blocks failed, after all others are done.

    Warns
    -----
    GlacierCubeWarning
        If values lay beyond the range of their codes and were stored as its nearest end.

    Notes
    -----
    A block is all variables of one date within one chunk of y and x. Its record in the
    ledger is written after its data, with the fingerprint of the dataset: the names of its
    Dask arrays (the content of NumPy arrays), its grid, dates, bands and encoding. A second
    call with the same dataset computes the blocks without a record, and what these need.
    Values are stored as `schema` says: reflectance in steps of 0.0001, probability in steps
    of 0.004, everything else exactly.
    """
    started = perf_counter()
    plan = plan_of(dataset)
    target = _directory(path)
    place, plan = _place(plan, target, overwrite)
    report = _fill(plan, place, progress, started)
    if report.failed:
        raise IncompleteWriteError(_sentence(report, place), report)
    if place != target:
        _take_the_place(place, target)
    if report.clipped:
        warn(_clipped_sentence(report, plan.header.layout), GlacierCubeWarning, stacklevel=2)
    return WriteReport(**{**vars(report), "path": target})


def _directory(path):
    if "://" in str(path):
        raise StoreError(f"a store is a directory of a file system, found {str(path)!r}")
    return Path(os.path.abspath(path))


def _place(plan, target, overwrite):
    """Return the directory to fill, made if there is none, and the plan as its header says."""
    place = target
    if overwrite:
        beside = target.with_name(f".{target.name}.{plan.header.fingerprint[:16]}.new")
        if target.exists():
            ledger.read_header(target)  # refuses what is not a store
        if target.exists() or beside.exists():
            place = beside
    if not place.exists():
        template.create(plan, place)
    found = ledger.read_header(place)
    if found.fingerprint != plan.header.fingerprint:
        lines = differences(found.identity, plan.header.identity)
        raise StoreError(
            f"{str(target)!r} holds a different cube:\n  " + "\n  ".join(lines) + "\n"
            "write to another path, or replace it with overwrite=True"
        )
    return place, replace(plan, header=found)


def _fill(plan, place, progress, started) -> WriteReport:
    """Compute and write the blocks that have no record."""
    layout = plan.header.layout
    done = ledger.records(place, plan.header)
    every = layout.all_blocks()
    pending = [block for block in every if block not in done]
    failures: dict[Block, Exception] = {}
    if pending:
        with ProgressBar() if progress else nullcontext():
            failures = _attempt(pending, plan, place)
    now = ledger.records(place, plan.header)
    fresh = [record for block, record in now.items() if block not in done]
    return WriteReport(
        path=place,
        blocks=len(every),
        written=sum(record.state == "done" for record in fresh),
        empty=sum(record.state == "empty" for record in fresh),
        skipped=len(done),
        failed=tuple(
            (plan.header.label(block), f"{type(error).__name__}: {error}")
            for block, error in failures.items()
        ),
        clipped=sum(record.clipped for record in now.values()),
        seconds=perf_counter() - started,
    )


def _attempt(blocks: Sequence[Block], plan: Plan, place: Path) -> dict[Block, Exception]:
    """Compute blocks and return those that fail.

    One failure ends a Dask computation, so what is not done is split in halves and tried
    again until the failing blocks stand alone; the others lose only what was under way.
    """
    layout = plan.header.layout
    lattices = [
        _lattice(plan, place, temporal) for temporal in (False, True) if layout.of(temporal)
    ]
    todo = [list(blocks)]
    failures: dict[Block, Exception] = {}
    while todo:
        part = todo.pop()
        try:
            dask.compute(*(_Part(lattice, part) for lattice in lattices))
        except DiskError:
            raise
        except Exception as error:
            done = ledger.records(place, plan.header)
            left = [block for block in part if block not in done]
            if len(left) == 1:
                failures[left[0]] = error
            elif left:
                middle = len(left) // 2
                todo += [left[middle:], left[:middle]]
    return failures


class _Part:
    """Some blocks of a lattice, as a Dask collection: only they, and what they need, are run.

    Dask merges the graphs of all parts that it is given before it optimises them, so what
    two variables of a block share is computed once.
    """

    __dask_optimize__ = staticmethod(da.Array.__dask_optimize__)
    __dask_scheduler__ = staticmethod(da.Array.__dask_scheduler__)

    def __init__(self, lattice: "_Lattice", blocks: Sequence[Block]):
        self.lattice = lattice
        self.keys = [lattice.key(block) for block in blocks if lattice.holds(block)]

    def __dask_graph__(self):
        return self.lattice.array.__dask_graph__()

    def __dask_layers__(self):
        return self.lattice.array.__dask_layers__()

    def __dask_keys__(self):
        return self.keys

    def __dask_postcompute__(self):
        return list, ()


@dataclass(frozen=True)
class _Lattice:
    """A Dask array with one element per block, whose computing writes the block."""

    array: da.Array
    temporal: bool

    def holds(self, block):
        return (block.time is not None) == self.temporal

    def key(self, block):
        middle = (0,) * (self.array.ndim - 3)
        return (self.array.name, block.time or 0, *middle, block.row, block.column)


def _lattice(plan, place, temporal):
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
    return _Lattice(array, temporal)


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
    DiskError
        If the store cannot be written.
    """
    block = layout.block_at(
        tuple(int(i) for i in np.unravel_index(number, layout.counts(temporal))), temporal
    )
    digest = hashlib.blake2b(digest_size=16)
    blank, clipped = True, 0
    for stored, given in zip(layout.of(temporal), values, strict=True):
        codes, beyond = stored.encode(given)
        clipped += beyond
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
    )
    try:
        ledger.write_record(place, block, record)
    except OSError as error:
        raise DiskError(f"the store {str(place)!r} cannot be written: {error}") from error
    return clipped


def _take_the_place(place, target):
    """Put a complete store where another one is."""
    old = target.with_name(f".{target.name}.{uuid4().hex}.old")
    try:
        if target.exists():
            os.rename(target, old)
        os.rename(place, target)
    except OSError as error:
        raise StoreError(
            f"the new store {str(place)!r} is complete but cannot replace {str(target)!r}: {error}"
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def _sentence(report, place):
    lines = [f"{where}: {cause}" for where, cause in report.failed[:10]]
    if len(report.failed) > 10:
        lines.append(f"and {len(report.failed) - 10} more")
    return (
        f"{len(report.failed)} of {report.blocks} blocks failed in {str(place)!r}:\n  "
        + "\n  ".join(lines)
        + "\nthe others are written; write again to compute the missing ones"
    )


def _clipped_sentence(report, layout):
    ranges = [
        f"{stored.name} {stored.ends[0]:.4f} to {stored.ends[1]:.4f}"
        for stored in layout.variables
        if stored.scale_factor is not None
    ]
    return (
        f"{report.clipped} values lay beyond what the store holds ({', '.join(ranges)}) and "
        "were stored as the nearest end"
    )
