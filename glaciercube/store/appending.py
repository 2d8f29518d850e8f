"""Let a store grow in time: new dates, each seen by readers when it is complete and not before."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from glaciercube.errors import SchemaError, StoreError
from glaciercube.store import claims, dates, ledger, template
from glaciercube.store.filling import Filling
from glaciercube.store.layout import Block
from glaciercube.store.ledger import Header
from glaciercube.store.lineage import fingerprint
from glaciercube.store.places import Place, place_of
from glaciercube.store.planning import Plan, content_differences, differences, plan_of
from glaciercube.store.settling import settled
from glaciercube.store.writing import (
    State,
    WriteReport,
    report_of,
    require_complete,
    warn_of_clipped,
)


def append(
    dataset: xr.Dataset,
    path: str | os.PathLike | Place,
    *,
    take_over: bool = False,
    progress: bool = False,
) -> WriteReport:
    """Add to a store the dates of a cube that it does not have.

    Parameters
    ----------
    dataset : Dataset
        As for `write`, on the grid of the store, with its variables; those without time may
        be left out. Dates that the store has are passed over, whatever they hold.
    path : str or path
        Of a store; made if there is none, and then its dates are seen as they are completed.
    take_over : bool
        Append although another process has said that it writes other content: it is gone.
    progress : bool
        Show a progress bar for each group of dates.

    Returns
    -------
    WriteReport
        Of the new dates; `dates` are those that readers see now.

    Raises
    ------
    SchemaError, GridError
        If the dataset cannot be stored; nothing is written.
    StoreError
        If the store is another cube's; if it cannot be written, or is being written with
        other content; or if blocks failed. The dates before the first failing one are then
        seen, those behind it are kept and not computed again by the next call.

    Notes
    -----
    Dates are stored in the order of their arrival, so that nothing that is written moves;
    `read` gives them in the order of time, a plain reader needs `.sortby("time")`. The data of
    a date are complete before the consolidated metadata, by which readers find it, are
    rewritten: an append that is cut off leaves the store as it was, or with whole dates more.
    """
    started = perf_counter()
    place = place_of(path)
    given = plan_of(settled(dataset, place))
    _require_growable(given)
    if not place.exists() or (ledger.exists(place) and not dates.is_made(place)):
        template.create(given, place, growing=True)
    found = ledger.read_header(place)
    plan, state = _growth(given, place, found)
    failures: dict[Block, Exception] = {}
    if state.pending or len(plan.header.times) > len(found.times):
        with claims.writing(place, _whole_of(given), take_over=take_over):
            now = ledger.read_header(place)
            if now.times != found.times:  # another let it grow before this one's turn
                found, (plan, state) = now, _growth(given, place, now)
            failures = _grow(plan, place, state, progress)
    else:
        claims.clear(place)  # of one that was killed after its last date
    report = report_of(plan, place, state, failures, started)
    seen = ledger.read_header(place).times[len(found.times) :]
    report = replace(report, dates=tuple(sorted(seen)))
    require_complete(report, failures, place)
    warn_of_clipped(report, plan)
    return report


def _whole_of(plan: Plan) -> str:
    """Return the fingerprint of all that a dataset holds, whatever of it a store has."""
    made_of = plan.fingerprints()
    return fingerprint(*(made_of(block) for block in plan.header.layout.all_blocks()))


def _growth(plan: Plan, place: Place, found: Header) -> tuple[Plan, State]:
    """Return the plan behind a store's dates, and what of it is done."""
    continued = _continued(plan, found, place)
    return continued, _state(continued, place, found)


def _require_growable(plan):
    if "time" not in plan.dataset.dims:
        raise SchemaError("append needs a dataset with the dimension 'time', it has none")
    wide = [
        str(name)
        for name, coord in plan.dataset.coords.items()
        if "time" in coord.dims and coord.dims != ("time",)
    ]
    if wide:
        raise SchemaError(
            f"append needs coordinates along time alone, {wide} have more dimensions; drop them "
            "with .drop_vars"
        )


def _continued(plan: Plan, found: Header, place: Place) -> Plan:
    """Return the plan with the store's dates, and the new ones behind them."""
    compared, kept = found, plan.header
    left_out = [
        stored.name for stored in found.layout.of(temporal=False) if stored.name not in plan.dataset
    ]
    if left_out:
        compared = _without(found, left_out)
    lines = [
        *differences(compared, kept),
        *_static_differences(compared, plan),
        *_coordinate_differences(plan, place),
    ]
    if lines:
        raise StoreError(
            f"{str(place)!r} holds a different cube:\n  " + "\n  ".join(lines) + "\n"
            "append what was made in the same way, or write to another path"
        )
    new = tuple(time for time in plan.times if time not in set(found.times))
    return plan.at(replace(found, times=(*found.times, *new)))


def _without(header, names):
    variables = header.identity["variables"]
    kept = {name: entry for name, entry in variables.items() if name not in names}
    return replace(header, identity={**header.identity, "variables": kept})


def _coordinate_differences(plan, place):
    """Return whether a store has other coordinates along time than a dataset."""
    have, want = dates.seen(place).temporal_coords(), set(template.temporal_coords(plan.dataset))
    if have == want:
        return []
    return [f"the store has the coordinates {sorted(have)} along time, the dataset {sorted(want)}"]


def _static_differences(found, plan):
    """Return which variables without time are other arrays than the store's."""
    static = {stored.name for stored in found.layout.of(temporal=False)}
    whole = {name: text for name, text in found.content.items() if name in static}
    return content_differences(replace(found, content=whole), plan)


def _state(plan: Plan, place: Place, found: Header) -> State:
    """Return what of the new dates, and of what has no time, is done."""
    layout, first = plan.header.layout, len(found.times)
    static = sorted(stored.name for stored in layout.of(temporal=False))
    blocks = [block for block in layout.blocks(temporal=True) if (block.time or 0) >= first]
    if set(static) <= set(plan.dataset.data_vars):
        blocks = layout.blocks(temporal=False) + blocks
    state = State.of(plan, place, blocks, retry_unread=False)
    if any(block.time is None for block in state.changed):
        raise StoreError(
            f"{static} of {str(place)!r} were made from other sources than the dataset's; append "
            "without them (.drop_vars), or bring the store up to date with write"
        )
    return replace(state, changed=frozenset())


def _grow(plan, place, state, progress):
    """Compute the pending blocks date by date, and let readers see each date; return failures."""
    if plan.recipe:
        ledger.add_recipe(place, plan.recipe, plan.times)
    filling = Filling(plan, place, state.pending, state.made_of)
    publisher = _Publisher(plan, place, state)
    filling.run(progress, after=publisher.after)
    publisher.after(())
    return filling.failures


class _Publisher:
    """Lets readers see the dates that are complete, those before the first that is not."""

    def __init__(self, plan: Plan, place: Place, state: State):
        self.plan, self.place, self.state = plan, place, state
        self.done = set(state.done)
        seen = dates.seen(place)
        self.coords = {name: seen.coord(name) for name in template.temporal_coords(plan.dataset)}
        self.attrs = seen.attrs
        self.length = len(seen.times)

    def after(self, blocks: Sequence[Block]) -> None:
        """Publish what is complete since some blocks were tried."""
        self.done |= {block for block in blocks if self._is_done(block)}
        layout = self.plan.header.layout
        per_date: dict[int, list[Block]] = {}
        for block in self.state.made_of:
            if block.time is None and block not in self.done:
                return
            if block.time is not None:
                per_date.setdefault(block.time, []).append(block)
        ready = self.length
        while ready < layout.times and self.done.issuperset(per_date.get(ready, ())):
            ready += 1
        if ready > self.length:
            self._publish(ready)

    def _is_done(self, block):
        record = ledger.read_record(self.place, block)
        return record is not None and record.fingerprint == self.state.made_of[block]

    def _publish(self, length):
        fresh = [self.plan.index(slot) for slot in range(self.length, length)]
        added = self.plan.dataset.isel(time=fresh)
        coords = {
            name: np.concatenate([self.coords[name], values])
            for name, values in template.temporal_coords(added).items()
        }
        attrs = _with_provenance(self.attrs, added)
        branch = self.place.writing()
        dates.publish(branch, length, coords, attrs)
        self.place.commit([branch.token()], f"{len(fresh)} dates")
        self.coords, self.attrs, self.length = coords, attrs, length


def _with_provenance(attrs: Mapping[str, Any], added: xr.Dataset) -> dict[str, Any]:
    """Return attributes whose provenance tells of more dates, in the order of time."""
    try:
        known = json.loads(attrs.get("provenance", "[]"))
        fresh = json.loads(added.attrs.get("provenance", "[]"))
        days = {_second(time) for time in added["time"].values}
        more = [entry for entry in fresh if _second(entry["time"]) in days]
        whole = {entry["time"]: entry for entry in [*known, *more]}
    except (ValueError, TypeError, KeyError):
        return dict(attrs)  # of another kind than this package writes
    if not whole:
        return dict(attrs)
    return {**attrs, "provenance": json.dumps([whole[time] for time in sorted(whole)])}


def _second(time):
    """Return a moment in UTC, to the second."""
    return pd.Timestamp(time).tz_localize(None).floor("s")
