"""Write a cube to a store, block by block, and go on where an interrupted write stopped."""

import os
import shutil
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import dask
import xarray as xr
from dask.diagnostics import ProgressBar

from glaciercube.errors import GlacierCubeWarning, StoreError
from glaciercube.store import ledger, template
from glaciercube.store.blocks import DiskError, Part, lattice_of
from glaciercube.store.layout import Block
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

    unread: int = 0
    """Pixels of the whole store that are holes because a source could not be read."""

    read_failures: tuple[Any, ...] = ()
    """What could not be read in this write, as far as the caller recorded it."""

    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the report in one line."""
        unread = f"{self.unread} pixels unread, " if self.unread else ""
        return (
            f"{self.path.name}: {self.written} of {self.blocks} blocks written, "
            f"{self.empty} empty, {self.skipped} done before, {len(self.failed)} failed, "
            f"{self.clipped} values clipped, {unread}{self.seconds:.1f} s"
        )


class IncompleteWriteError(StoreError):
    """Some blocks failed; the others are in the store, and `report` says which."""

    def __init__(self, message: str, report: WriteReport | None = None):
        super().__init__(message)
        self.report = report


def write(
    dataset: xr.Dataset,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    retry_unread: bool = False,
    progress: bool = False,
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
    retry_unread : bool
        Compute blocks again that have holes because a source could not be read.
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

    An overwrite that is given up leaves its unfinished store beside the old one, as a hidden
    directory whose name ends in `.new`; it may be deleted.
    """
    started = perf_counter()
    plan = plan_of(dataset)
    target = _directory(path)
    place, plan = _place(plan, target, overwrite)
    before = ledger.records(place, plan.header)
    if retry_unread:
        again = [block for block, record in before.items() if record.unread]
        ledger.forget(place, again)
        before = {block: record for block, record in before.items() if not record.unread}
    failures = _fill(plan, place, before, progress)
    report = _report(plan, place, failures, before, started)
    if failures:
        raise IncompleteWriteError(_sentence(report, place), report) from failures.popitem()[1]
    if place != target:
        _take_the_place(place, target)
    if report.clipped:
        sentence = _clipped_sentence(report, plan.header.layout)
        warnings.warn(sentence, GlacierCubeWarning, stacklevel=2)
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


def _fill(plan, place, before, progress) -> dict[Block, Exception]:
    """Compute and write the blocks that have no record; return those that fail."""
    pending = [block for block in plan.header.layout.all_blocks() if block not in before]
    if not pending:
        return {}
    with ProgressBar() if progress else nullcontext():
        return _attempt(pending, plan, place)


def _attempt(blocks: Sequence[Block], plan: Plan, place: Path) -> dict[Block, Exception]:
    """Compute blocks and return those that fail.

    One failure ends a Dask computation, so what is not done is split in halves and tried
    again until the failing blocks stand alone; the others lose only what was under way.
    """
    layout = plan.header.layout
    kinds = [temporal for temporal in (False, True) if layout.of(temporal)]
    lattices = [lattice_of(plan, place, temporal) for temporal in kinds]
    todo = [list(blocks)]
    failures: dict[Block, Exception] = {}
    while todo:
        part = todo.pop()
        try:
            # Libraries beneath (rasterio) change the process's warning filters in threads, which
            # may leave them changed: what was set before is set again.
            with warnings.catch_warnings():
                dask.compute(*(Part(lattice, part) for lattice in lattices))
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


def _report(plan, place, failures, before, started) -> WriteReport:
    """Return what was done, as the ledger says: a task that was cut short tells nothing."""
    now = ledger.records(place, plan.header)
    fresh = [record for block, record in now.items() if block not in before]
    return WriteReport(
        path=place,
        blocks=len(plan.header.layout.all_blocks()),
        written=sum(record.state == "done" for record in fresh),
        empty=sum(record.state == "empty" for record in fresh),
        skipped=len(before),
        failed=tuple(
            (plan.header.label(block), f"{type(error).__name__}: {error}")
            for block, error in failures.items()
        ),
        clipped=sum(record.clipped for record in now.values()),
        unread=sum(record.unread for record in now.values()),
        seconds=perf_counter() - started,
    )


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
