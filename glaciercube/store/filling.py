"""Compute blocks and write them: a bounded number of tasks at once, failures set apart."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import dask
from dask.base import get_scheduler
from dask.diagnostics import ProgressBar
from dask.system import CPU_COUNT

from glaciercube.store import blanks, ledger
from glaciercube.store.blocks import DiskError, Part, Work, lattice_of
from glaciercube.store.layout import Block
from glaciercube.store.places import Place
from glaciercube.store.planning import Plan

TASKS_AT_ONCE = 20_000
"""Of a graph that Dask is given; more slow its scheduler down."""


class Filling:
    """The blocks of a store that are to be computed, and how it went."""

    def __init__(
        self, plan: Plan, place: Place, pending: Sequence[Block], made_of: Mapping[Block, str]
    ):
        """Take a plan, its place, the blocks to compute and the fingerprint of each."""
        self.plan, self.place, self.made_of = plan, place, made_of
        known = ledger.records(place, pending)
        self.untouched = blanks.untouched(plan, [block for block in pending if block not in known])
        without = set(self.untouched)
        self.pending = [block for block in pending if block not in without]
        self.failures: dict[Block, Exception] = {}
        layout = plan.header.layout
        here = place.writing()
        kinds = {block.time is not None for block in self.pending}
        lattices = [
            lattice_of(plan, here, temporal, lambda block: made_of.get(block, ""))
            for temporal in sorted(kinds)
            if layout.of(temporal)
        ]
        self._here = here
        self._work = Work(lattices, self.pending)

    def run(self, progress: bool, after: Callable[[Sequence[Block]], None] | None = None) -> None:
        """Compute all blocks, part by part.

        Parameters
        ----------
        progress : bool
            Show a bar for each part.
        after : callable, optional
            Called with the blocks of each part that has been tried; parts are then whole
            dates, and few of them.
        """
        self._record_untouched()
        for part in self._parts(dates=after is not None):
            with ProgressBar() if progress else nullcontext():
                self._attempt(part)
            if after is not None:
                after(part)

    def _record_untouched(self) -> None:
        """Say of the blocks outside a region of interest that they hold nothing."""
        if self.untouched:
            here = self.place.writing()
            blanks.record(self.plan, here, self.untouched, self.made_of)
            self.place.commit([here.token()], f"{len(self.untouched)} empty blocks")

    def _parts(self, dates: bool) -> Iterator[list[Block]]:
        """Cut the blocks into parts of so many tasks, and of whole dates where asked."""
        todo = self.pending
        while todo:
            count = self._count(todo)
            if dates:
                count = _whole_dates(todo, min(count, _width()))
            yield todo[:count]
            todo = todo[count:]

    def _count(self, todo):
        """Return how many of the first blocks may be computed at once; at least one."""
        count = min(len(todo), max(1, TASKS_AT_ONCE // max(1, self._work.size(todo[:1]))))
        while count > 1 and self._work.size(todo[:count]) > TASKS_AT_ONCE:
            count //= 2
        return count

    def _attempt(self, blocks: Sequence[Block]) -> None:
        """Compute blocks, and keep those that fail.

        One failure ends a Dask computation, so what is not done is split in halves and tried
        again until the failing blocks stand alone; the others lose only what was under way.
        """
        todo = [list(blocks)]
        while todo:
            part = todo.pop()
            try:
                self._compute(self._work.part(part))
            except DiskError:
                raise
            except Exception as error:
                left = [block for block in part if not self._is_done(block)]
                if len(left) == 1:
                    self._fail(left[0], error)
                elif left:
                    middle = len(left) // 2
                    todo += [left[middle:], left[:middle]]

    def _compute(self, part: Part) -> None:
        # Libraries beneath (rasterio) change the process's warning filters in threads, which
        # may leave them changed: what was set before is set again.
        with warnings.catch_warnings():
            (tokens,) = dask.compute(part)
        self.place.commit(tokens, f"{len(tokens)} blocks")

    def _is_done(self, block):
        record = ledger.read_record(self.place, block)
        return record is not None and record.fingerprint == self.made_of[block]

    def _fail(self, block, error):
        self.failures[block] = error
        cause = f"{type(error).__name__}: {error}"
        record = ledger.Record(
            state="failed", checksum="", fingerprint=self.made_of[block], cause=cause
        )
        try:
            ledger.write_record(self.place, block, record)
        except OSError as full:
            raise DiskError(f"the store {str(self.place)!r} cannot be written: {full}") from full


def _width():
    """Return how many blocks keep all of Dask's threads busy between two publications."""
    threads_of = getattr(getattr(get_scheduler(), "__self__", None), "nthreads", None)
    if threads_of is not None:
        return 4 * max(1, sum(threads_of().values()))
    return 4 * (dask.config.get("num_workers", None) or CPU_COUNT)


def _whole_dates(todo, least):
    """Return the number of the first blocks that make whole dates, of a count at least."""
    count = min(least, len(todo))
    while count < len(todo) and todo[count].time == todo[count - 1].time:
        count += 1
    return count
