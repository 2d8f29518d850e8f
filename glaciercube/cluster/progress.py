"""How far a run is, from its files alone."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from glaciercube.cluster import states
from glaciercube.cluster.plans import Plan
from glaciercube.cluster.states import State
from glaciercube.cluster.steps import STORES
from glaciercube.errors import StoreError
from glaciercube.store import ledger
from glaciercube.store.places import place_of

LABELS = ("done", "running", "interrupted", "failed", "waiting")
"""What a tile may be. One that another machine works on, or did when it died, is "running"."""

COLUMNS = (
    "tile", "state", "step", "ingested", "predicted", "blocks", "unread", "seconds", "where",
    "since", "cause",
)  # fmt: skip

SHOWN = 20
"""Tiles listed of each kind at most."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is."""

    out: Path
    table: pd.DataFrame
    """A row for each tile of the plan: its state, the step, blocks in its cube (`ingested`) and
    layers (`predicted`) of so many (`blocks`), pixels that could not be read, seconds of the
    finished steps, where and since when it is worked on, and why it failed."""

    @property
    def counts(self) -> dict[str, int]:
        """Tiles of each kind."""
        found = self.table["state"].value_counts()
        return {label: int(found.get(label, 0)) for label in LABELS}

    def __str__(self) -> str:
        """Return the counts, and a line for each tile that is neither done nor waiting."""
        counts = self.counts
        head = f"{self.out}: {len(self.table)} tiles: " + ", ".join(
            f"{count} {label}" for label, count in counts.items() if count
        )
        blocks = f"{self.table['ingested'].sum()} blocks ingested"
        lines = [head, f"  {blocks}, {self.table['predicted'].sum()} predicted"]
        for label in ("failed", "interrupted", "running"):
            rows = self.table[self.table["state"] == label]
            lines += [f"  {_line(row)}" for row in rows[:SHOWN].itertuples()]
            if len(rows) > SHOWN:
                lines.append(f"  and {len(rows) - SHOWN} more {label}")
        return "\n".join(lines)


def _line(row):
    done = f"{row.tile}: {row.state} in {row.step}, {row.ingested} ingested and "
    done += f"{row.predicted} predicted of {row.blocks or '?'} blocks"
    return f"{done}: {row.cause}" if row.cause else f"{done}, on {row.where} since {row.since}"


def status(plan: Plan, out: str | os.PathLike) -> Status:
    """Return how far a run is; nothing is computed and no client is needed.

    Parameters
    ----------
    plan : Plan
    out : path
        As given to `run`.

    Returns
    -------
    Status

    Raises
    ------
    StoreError
        If the folder is of another plan.

    Notes
    -----
    Each tile's `state.json` tells its state. The blocks of a tile that is not done are counted
    in the ledgers of its stores. A tile is "interrupted" where the process that worked on it has
    ended; of a process on another machine this cannot be seen, and it counts as "running".
    """
    folder = Path(os.path.abspath(out))
    found = states.read_run(folder)
    if found is not None:
        wanted = states.Run(plan=plan.fingerprint, address=str(plan.path), networks=found.networks)
        states.require_same(found, wanted, folder)
    rows = [_row(name, states.folder_of(folder, name), plan.fingerprint) for name in plan.names()]
    return Status(out=folder, table=pd.DataFrame(rows, columns=list(COLUMNS)))


def _row(name: str, folder: Path, plan: str) -> dict[str, object]:
    state = states.read_state(folder, plan)
    row: dict[str, object] = {column: "" for column in COLUMNS}
    row |= {"tile": name, "state": "waiting"}
    row |= {"ingested": 0, "predicted": 0, "blocks": 0, "unread": 0, "seconds": 0.0}
    if state is None:
        return row
    for step, column in (("ingest", "ingested"), ("predict", "predicted")):
        done, blocks = _blocks(state, step, folder)
        row |= {column: done, "blocks": blocks or row["blocks"]}
    return row | {
        "state": _label(state),
        "step": state.step,
        "unread": int(state.steps.get("ingest", {}).get("unread", 0)),
        "seconds": round(sum(float(one.get("seconds", 0)) for one in state.steps.values()), 3),
        "where": f"{state.machine} ({state.process})",
        "since": state.since,
        "cause": state.cause,
    }


def _label(state: State) -> str:
    if state.state == "running":
        return "interrupted" if state.is_gone else "running"
    return state.state


def _blocks(state: State, step: str, folder: Path) -> tuple[int, int]:
    """Return how many blocks of a store are done, and how many it has; 0 where it has not begun."""
    if step in state.steps:
        blocks = int(state.steps[step].get("blocks", 0))
        return blocks, blocks
    place = place_of(folder / STORES[step])
    try:
        header = ledger.read_header(place)
        return ledger.count_records(place, header), len(header.layout.all_blocks())
    except StoreError:
        return 0, 0
