"""Write a cube to a store, block by block, and go on where an interrupted write stopped."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import xarray as xr

from glaciercube.errors import GlacierCubeWarning, StoreError
from glaciercube.store import claims, dates, ledger, template
from glaciercube.store.filling import Filling
from glaciercube.store.layout import Block
from glaciercube.store.ledger import Record
from glaciercube.store.lineage import fingerprint
from glaciercube.store.places import Place, place_of
from glaciercube.store.planning import (
    Plan,
    content_differences,
    differences,
    plan_of,
    time_differences,
)
from glaciercube.store.settling import settled


@dataclass(frozen=True, kw_only=True)
class WriteReport:
    """What a write did."""

    path: Path | str
    blocks: int
    """Blocks of the whole store."""

    written: int
    """Blocks computed now that hold values."""

    empty: int
    """Blocks computed now that hold none."""

    skipped: int
    """Blocks that were done before."""

    changed: int = 0
    """Blocks computed now although they were done before: their inputs have changed since."""

    kept: int = 0
    """Blocks that stay as they were, although their inputs have changed: these could not be read
    in full now, and were read in full before."""

    failed: tuple[tuple[str, str], ...] = ()
    """Which blocks failed, and why."""

    clipped: int = 0
    """Values of the whole store that lay beyond the range of their codes."""

    unread: int = 0
    """Pixels of the whole store that are holes because a source could not be read."""

    read_failures: tuple[Any, ...] = ()
    """What could not be read in this write, as far as the caller recorded it."""

    dates: tuple[str, ...] = ()
    """Dates that readers see since this `append`."""

    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the report in one line."""
        unread = f"{self.unread} pixels unread, " if self.unread else ""
        changed = f"{self.changed} changed, " if self.changed else ""
        changed += f"{self.kept} kept as they were, " if self.kept else ""
        return (
            f"{Path(self.path).name}: {self.written} of {self.blocks} blocks written, "
            f"{self.empty} empty, {self.skipped} done before, {changed}{len(self.failed)} failed, "
            f"{self.clipped} values clipped, {unread}{self.seconds:.1f} s"
        )


class IncompleteWriteError(StoreError):
    """Some blocks failed; the others are in the store, and `report` says which."""

    def __init__(self, message: str, report: WriteReport | None = None):
        super().__init__(message)
        self.report = report


def write(
    dataset: xr.Dataset,
    path: str | os.PathLike | Place,
    *,
    overwrite: bool = False,
    retry_unread: bool = False,
    take_over: bool = False,
    progress: bool = False,
) -> WriteReport:
    """Write a cube to a Zarr store, or go on with a write that was interrupted.

    Parameters
    ----------
    dataset : Dataset
        Variables (time, ..., y, x) or (y, x) on one grid, lazy or not.
    path : str or path
        A directory, made if it does not exist; or the address of an object store or of an
        Icechunk repository, see `places.place_of`.
    overwrite : bool
        Replace the store that is there. The new one grows beside it and takes its place
        when it is complete: an interruption loses nothing, and the next call goes on. Of
        directories only.
    retry_unread : bool
        Compute blocks again that have holes because a source could not be read.
    take_over : bool
        Write although another process has said that it writes other content: it is gone.
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
        if it cannot be written, or is being written with other content; or if blocks failed,
        after all others are done.

    Warns
    -----
    GlacierCubeWarning
        If values lay beyond the range of their codes and were stored as its nearest end.

    Notes
    -----
    A block is all variables of one date within one chunk of y and x. Its record in the
    ledger is written after its data, with the fingerprint of what it was made from. A second
    call computes the blocks without a record, and those whose inputs have changed. Grid,
    bands, encoding, and what a network or a catalogue was asked for - weights, halo,
    parameters - hold for the whole store: a dataset that differs there is another cube. Where
    it is not known what an array is made of, its Dask name (the content, of a NumPy array)
    stands for all of it.
    Values are stored as `schema` says: reflectance in steps of 0.0001, probability in steps
    of 0.004, everything else exactly.

    An overwrite that is given up leaves its unfinished store beside the old one, as a hidden
    directory whose name ends in `.new`; it may be deleted.
    """
    started = perf_counter()
    target = place_of(path)
    plan = plan_of(settled(dataset, None if overwrite else target))
    place = _place(plan, target, overwrite)
    found = _header(plan, place, target)
    _require_same(found, plan, target)
    plan = plan.at(found)
    state = State.of(plan, place, found.layout.all_blocks(), retry_unread)
    failures = _fill(plan, place, state, progress, take_over)
    report = report_of(plan, place, state, failures, started)
    require_complete(report, failures, place)
    if place != target:
        target.replace(place)
    warn_of_clipped(report, plan)
    return replace(report, path=target.address)


@dataclass(frozen=True)
class State:
    """What of a store is done, and what is to be computed."""

    made_of: Mapping[Block, str]
    """Fingerprint of each block, as it is to be."""

    done: Mapping[Block, Record]
    """Blocks that stay."""

    changed: frozenset[Block]
    """Blocks whose inputs are others than those they were made from."""

    unread: frozenset[Block] = frozenset()
    """Blocks with holes that are to be filled."""

    revision: str = ""
    """Of the store, before it was looked at."""

    @staticmethod
    def of(plan: Plan, place: Place, blocks: Sequence[Block], retry_unread: bool) -> "State":
        """Return the state of some blocks of a store for a plan."""
        revision = ledger.revision(place)
        made = plan.fingerprints()
        made_of = {block: made(block) for block in blocks}
        before = ledger.records(place, blocks)
        same = {block: r for block, r in before.items() if r.fingerprint == made_of[block]}
        unread = frozenset(block for block, r in same.items() if retry_unread and r.unread)
        done = {block: r for block, r in same.items() if block not in unread}
        return State(made_of, done, frozenset(before.keys() - same.keys()), unread, revision)

    @property
    def anew(self) -> frozenset[Block]:
        """Blocks that are done and to be computed again."""
        return self.changed | self.unread

    @property
    def pending(self) -> list[Block]:
        """Blocks to compute."""
        return [block for block in self.made_of if block not in self.done]

    @property
    def fingerprint(self) -> str:
        """Of all blocks as they are to be."""
        return fingerprint(*(f"{block.key} {made}" for block, made in self.made_of.items()))


def _place(plan, target, overwrite):
    """Return the place to fill, made if there is none."""
    place = target
    if overwrite and target.exists():
        ledger.read_header(target)  # refuses what is not a store
        place = target.beside(plan.header.fingerprint[:16])
    elif overwrite:
        place = _unfinished(plan, target)
    if not place.exists():
        template.create(plan, place)
    return place


def _unfinished(plan, target):
    """Return the place of an overwrite that was cut off between its last two steps, or target."""
    try:
        beside = target.beside(plan.header.fingerprint[:16])
    except StoreError:
        return target
    return beside if beside.exists() else target


def _header(plan, place, target):
    """Return the header of a store, whose making is completed if it was interrupted."""
    if ledger.exists(place) and not dates.is_made(place):
        found = ledger.read_header(place, times=plan.times)
        _require_same(found, plan, target)
        template.create(plan.at(found), place)
    return ledger.read_header(place)


def _require_same(found, plan, target):
    lines = [
        *differences(found, plan.header),
        *time_differences(found, plan),
        *content_differences(found, plan),
    ]
    if lines:
        raise StoreError(
            f"{str(target)!r} holds a different cube:\n  " + "\n  ".join(lines) + "\n"
            "write to another path, or replace it with overwrite=True"
        )


def _fill(plan, place, state, progress, take_over):
    """Compute and write what is pending; return the blocks that fail."""
    if not state.pending:
        claims.clear(place)  # of one that was killed after its last block
        return {}
    with claims.writing(place, state.fingerprint, take_over=take_over):
        if ledger.revision(place) != state.revision:
            raise StoreError(
                f"{str(place)!r} was changed by another writer since this one looked at what is "
                "done; write again"
            )
        if plan.recipe:
            ledger.add_recipe(place, plan.recipe, plan.times)
        if state.anew:
            unread = sorted(block.key for block in state.unread)
            ledger.revise(place, fingerprint(state.fingerprint, *unread))
        if state.changed:
            _tell_changes(plan, place)  # first: a resume sees no change in blocks that are done
        filling = Filling(plan, place, state.pending, state.made_of)
        filling.run(progress)
    return filling.failures


def _tell_changes(plan, place):
    """Let coordinates and attributes say what the dataset's now say."""
    order = [plan.index(slot) for slot in range(len(plan.header.times))]
    coords = template.temporal_coords(plan.dataset.isel(time=order)) if order else {}
    branch = place.writing()
    dates.publish(branch, len(order), coords, template.attributes_of(plan))
    place.commit([branch.token()], "changed inputs")


def report_of(
    plan: Plan,
    place: Place,
    state: State,
    failures: Mapping[Block, Exception],
    started: float,
) -> WriteReport:
    """Return what was done, as the ledger says: a task that was cut short tells nothing."""
    now = ledger.records(place, state.pending)
    fresh = {b: r for b, r in now.items() if r.fingerprint == state.made_of[b]}
    every = [*state.done.values(), *fresh.values()]
    return WriteReport(
        path=place.address,
        blocks=len(state.made_of),
        written=sum(record.state == "done" for record in fresh.values()),
        empty=sum(record.state == "empty" for record in fresh.values()),
        skipped=len(state.done),
        changed=len(state.changed & fresh.keys()),
        kept=len(state.changed & now.keys() - fresh.keys() - failures.keys()),
        failed=tuple(
            (plan.header.label(block), f"{type(error).__name__}: {error}")
            for block, error in failures.items()
        ),
        clipped=sum(record.clipped for record in every),
        unread=sum(record.unread for record in every),
        seconds=perf_counter() - started,
    )


def require_complete(
    report: WriteReport, failures: Mapping[Block, Exception], place: Place
) -> None:
    """Raise if blocks failed.

    Raises
    ------
    IncompleteWriteError
        That names the first of them, and carries the report.
    """
    if not failures:
        return
    lines = [_line(where, cause) for where, cause in report.failed[:10]]
    if len(report.failed) > 10:
        lines.append(f"and {len(report.failed) - 10} more")
    sentence = (
        f"{len(report.failed)} of {report.blocks} blocks failed in {str(place)!r}:\n  "
        + "\n  ".join(lines)
        + "\nthe others are written; write again to compute the missing ones"
    )
    raise IncompleteWriteError(sentence, report) from list(failures.values())[-1]


def _line(where, cause):
    """Return where a block lies and why it failed, the place once if the cause has it already."""
    rows_and_columns = where.split(", ")[-2:]
    return cause if all(part in cause for part in rows_and_columns) else f"{where}: {cause}"


def warn_of_clipped(report: WriteReport, plan: Plan) -> None:
    """Warn of values beyond the range of their codes."""
    if not report.clipped:
        return
    ranges = [
        f"{stored.name} {stored.ends[0]:.4f} to {stored.ends[1]:.4f}"
        for stored in plan.header.layout.variables
        if stored.scale_factor is not None
    ]
    warnings.warn(
        f"{report.clipped} values lay beyond what the store holds ({', '.join(ranges)}) and "
        "were stored as the nearest end",
        GlacierCubeWarning,
        stacklevel=3,
    )
