"""A plan on the workers of a Dask client: every tile ingested, predicted and reported."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, get_args

from tqdm import tqdm

from glaciercube.acquire import failures
from glaciercube.cluster import (
    choices,
    halo_choice,
    runtime_choice,
    spreading,
    states,
    workers,
)
from glaciercube.cluster.memory import demand_of, require_room
from glaciercube.cluster.plans import Plan
from glaciercube.cluster.states import Run, State
from glaciercube.cluster.steps import Job, Outcome
from glaciercube.errors import SchemaError, WeightsError
from glaciercube.infer.checks import check_cards
from glaciercube.infer.halos import DISAGREEMENT
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ref_of
from glaciercube.model.zoo import card_of
from glaciercube.store.lineage import fingerprint

Spread = Literal["auto", "tiles", "blocks"]
"""What the tasks are that workers share: steps of tiles, or the blocks of one tile."""

FAILURES_KEPT = 10_000
"""Failed reads that a report holds at most; the stores keep all of theirs."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did."""

    out: Path
    tiles: int
    """Of the plan."""

    done: tuple[str, ...]
    """Tiles completed now."""

    skipped: int
    """Tiles that were done before."""

    failed: tuple[tuple[str, str], ...] = ()
    """Tiles set aside, and why."""

    written: int = 0
    """Blocks computed now."""

    resumed: int = 0
    """Blocks of the tiles of this run that were done before."""

    unread: int = 0
    """Pixels of the tiles of this run that are holes because a source could not be read."""

    read_failures: tuple[failures.Failure, ...] = ()
    """What could not be read in this run."""

    seconds: float = 0.0
    asked: Mapping[str, Any] = field(default_factory=dict)
    """How networks were to run when the run began, where it was said: `halo`."""

    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was chosen once for all tiles, by name: "halo", as it was measured and on which tile."""

    def __str__(self) -> str:
        """Return the report: a line, one for each choice and each tile that was set aside."""
        unread = f", {self.unread} pixels unread" if self.unread else ""
        head = (
            f"{self.out.name}: {len(self.done)} of {self.tiles} tiles done now, {self.skipped} "
            f"before, {len(self.failed)} set aside; {self.written} blocks computed, "
            f"{self.resumed} found{unread}, {self.seconds:.1f} s"
        )
        chosen = [f"{name}: {_told(one)}" for name, one in self.choices.items()]
        return "\n  ".join([head, *chosen, *(f"{tile}: {cause}" for tile, cause in self.failed)])


def run(  # noqa: PLR0913 - the verb itself
    plan: Plan,
    out: str | os.PathLike,
    *,
    client: Any = None,
    spread: Spread = "auto",
    resources: Mapping[str, float] | None = None,
    retries: int = 2,
    retry_unread: bool = False,
    progress: bool = False,
    halo: int | Literal["effective"] | None = None,
    disagreement: float = DISAGREEMENT,
    runtime: str | None = None,
) -> RunReport:
    """Run a plan, or go on with a run that was interrupted.

    Parameters
    ----------
    plan : Plan
    out : path
        Folder for all results, seen by the client and all workers under the same path: a
        folder for each tile with `cube.zarr`, `layers.zarr`, `series.parquet`,
        `outlines.parquet`, the scenes it was made of (`items.json`) and `state.json`.
    client : distributed.Client, optional
        By default workers of this machine are started, see `workers.local_client`, and
        stopped in the end. A script needs ``if __name__ == "__main__":`` then.
    spread : {"auto", "tiles", "blocks"}
        "tiles": the tasks are the steps of a tile, three for each, and each keeps one
        thread of a worker busy. "blocks": one tile after the other, its blocks spread over
        all workers. "auto" takes the first if there are at least as many tiles as threads.
        The results are the same.
    resources : mapping, optional
        What a worker must declare to be given the step `predict`, such as ``{"GPU": 1}``.
    retries : int
        How often Dask tries a step again before the tile is set aside.
    retry_unread : bool
        Read again what could not be read in tiles that are done.
    progress : bool
        Show a bar of tiles.
    halo : int or "effective", optional
        Pixels that prediction reads around each block; as the run was begun by default, and the
        exact halo of the networks for a new one. "effective": measured once, on the first tile
        that is predicted, see `predict`; kept in the folder for all tiles, machines and resumes.
    disagreement : float
        Largest share of classes that an effective halo may change.
    runtime : str, optional
        How networks run, as `predict` takes it; as the run was begun by default, and "auto" for a
        new one: measured once, on the first tile that is predicted, and kept in the folder.

    Returns
    -------
    RunReport
        `failed` names the tiles that were set aside and why; the next run tries them again.

    Raises
    ------
    StoreError
        If the folder is of another plan, was begun with other networks or another halo, or holds
        something else; nothing is touched then.
    SchemaError
        If the networks give no extent, or an option is not of use.
    WeightsError
        If the effective halo is asked for of networks that are not exact.
    GlacierCubeError
        If workers have too little memory, or the scheduler is lost on the way: what is done
        is kept, and the same call goes on.

    Notes
    -----
    A step leaves its state in the tile's folder, and the blocks in the ledgers of the stores,
    so that each step may be run again at any time and computes only what is missing. At most
    `spreading.TASKS` tasks are with the scheduler at a time.

    A step that raises is tried again by Dask, and so is a step whose worker died. Errors that
    another try would not change (a schema, a grid, a network) set the tile aside at once. When
    workers die again and again, Dask cannot tell which of their tasks is to blame; these tiles
    are tried once more in the end, one by one.
    """
    started = perf_counter()
    _require_options(spread, resources, retries)
    folder = Path(os.path.abspath(out))
    cards = cards_of(plan)
    demand = demand_of(plan.options, cards)
    asked = halo_choice.asked_of(halo, disagreement, cards)
    asked |= runtime_choice.asked_of(runtime, cards)
    begun = states.begin_run(folder, replace(run_of(plan, cards), asked=asked))
    todo = pending(plan, folder, retry_unread)
    gathered = _Gathered(asked=begun.asked)
    if todo:
        with _client(client, demand) as own, _bar(len(plan), len(todo), progress) as tell:
            jobs = jobs_of(plan, folder, cards, todo, retry_unread)
            options = spreading.Options(
                spread=spread, resources=resources, retries=retries, demand=demand
            )
            for outcome in spreading.outcomes(own, jobs, len(todo), options):
                gathered.add(outcome)
                tell(outcome)
    return gathered.report(plan, folder, len(todo), perf_counter() - started)


def cards_of(plan: Plan) -> tuple[ModelCard, ...]:
    """Return the cards of a plan's networks.

    Parameters
    ----------
    plan : Plan

    Raises
    ------
    WeightsError
        If there is no such network, its weights are others than those of the plan, or two have
        the same task.
    SchemaError
        If none gives an extent.
    """
    cards = tuple(check_cards([card_of(name) for name in plan.options["cards"]]))
    planned = dict(zip([card.name for card in cards], plan.options["weights"], strict=True))
    other = [card.name for card in cards if card.sha256 != planned[card.name]]
    if other:
        raise WeightsError(
            f"{plan.path} was made for other weights of {other}: "
            f"{[planned[name][:12] for name in other]}, found "
            f"{[card.sha256[:12] for card in cards if card.name in other]}; put those back, or "
            "make the plan again"
        )
    if all(card.task != "extent" for card in cards):
        raise SchemaError(
            "a run needs a network with an extent task, such as the bundled 'extent', found "
            f"{[card.name for card in cards]}"
        )
    return cards


def run_of(plan: Plan, cards: Sequence[ModelCard]) -> Run:
    """Return what all tiles of a plan's run share.

    Parameters
    ----------
    plan : Plan
    cards : sequence of ModelCard
    """
    return Run(
        plan=plan.fingerprint,
        address=str(plan.path),
        networks={
            card.name: fingerprint(repr(ref_of(card).__dask_tokenize__()), str(card.halo))
            for card in cards
        },
    )


def pending(plan: Plan, out: Path, retry_unread: bool = False) -> list[str]:
    """Return the names of the tiles that are not done, in the order of the plan.

    Parameters
    ----------
    plan : Plan
    out : Path
    retry_unread : bool
        Whether tiles with pixels that could not be read count as not done.

    Raises
    ------
    StoreError
        If a tile's folder is of another plan.
    """
    found = {
        name: states.read_state(states.folder_of(out, name), plan.fingerprint)
        for name in plan.names()
    }
    return [
        name
        for name, state in found.items()
        if state is None or state.state != "done" or (retry_unread and _unread(state))
    ]


def _unread(state: State) -> int:
    return int(state.steps.get("ingest", {}).get("unread", 0))


def _require_options(spread, resources, retries):
    if spread not in get_args(Spread):
        raise SchemaError(f"spread is one of {list(get_args(Spread))}, found {spread!r}")
    if resources and spread == "blocks":
        raise SchemaError(
            f"resources={dict(resources)} need spread='tiles': blocks of a tile carry none"
        )
    if not isinstance(retries, int) or retries < 0:
        raise SchemaError(f"retries needs a number from 0 on, found {retries!r}")


@contextmanager
def _client(client, demand) -> Iterator[Any]:
    if client is None:
        with workers.local_client(demand) as own:
            yield own
        return
    require_room(client.scheduler_info(n_workers=-1)["workers"], demand)
    yield client


def jobs_of(
    plan: Plan,
    out: Path,
    cards: tuple[ModelCard, ...],
    names: Iterable[str],
    retry_unread: bool = False,
) -> Iterator[Job]:
    """Yield the jobs of tiles, each made when it is asked for.

    Parameters
    ----------
    plan : Plan
    out : Path
    cards : tuple of ModelCard
    names : iterable of str
        Of the tiles.
    retry_unread : bool
        Let tiles begin anew, to read what could not be read.
    """
    for name in names:
        tile = plan.tile(name)
        folder = states.folder_of(out, name)
        if retry_unread and (found := states.read_state(folder, plan.fingerprint)) is not None:
            states.write_state(folder, replace(found, state="running", step="ingest", steps={}))
        yield Job(
            out=out,
            plan=plan.fingerprint,
            tile=tile,
            glaciers=plan.glaciers(tile),
            surroundings=plan.surroundings(tile),
            options=plan.options,
            cards=cards,
            tiles=len(plan),
            retry_unread=retry_unread,
        )


@contextmanager
def _bar(total: int, todo: int, progress: bool) -> Iterator[Callable[[Outcome], Any]]:
    """Give what is to be told of each tile that has ended."""
    context: Any = tqdm(total=total, initial=total - todo, unit="tile") if progress else None
    with context or nullcontext():

        def tell(outcome: Outcome) -> None:
            if context is None:
                return
            if outcome.cause:
                context.write(f"set aside {outcome.tile}: {outcome.cause}")
            context.update()

        yield tell


@dataclass
class _Gathered:
    """What has ended so far."""

    asked: Mapping[str, Any]
    done: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    reads: list[failures.Failure] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take the last outcome of a tile."""
        if outcome.cause:
            self.failed.append((outcome.tile, outcome.cause))
        else:
            self.done.append(outcome.tile)
        for name in ("written", "empty", "skipped", "unread"):
            self.counts[name] = self.counts.get(name, 0) + _sum(outcome.details.values(), name)
        self.reads.extend(outcome.read_failures[: max(0, FAILURES_KEPT - len(self.reads))])

    def report(self, plan: Plan, out: Path, todo: int, seconds: float) -> RunReport:
        """Return all of it."""
        return RunReport(
            out=out,
            tiles=len(plan),
            done=tuple(self.done),
            skipped=len(plan) - todo,
            failed=tuple(self.failed),
            written=self.counts.get("written", 0) + self.counts.get("empty", 0),
            resumed=self.counts.get("skipped", 0),
            unread=self.counts.get("unread", 0),
            read_failures=tuple(self.reads),
            seconds=seconds,
            asked=self.asked,
            choices=choices.all_chosen(out),
        )


def _told(choice: Mapping[str, Any]) -> str:
    """Return a choice in words.

    >>> _told({"halo": 48, "disagreement": 1.25e-05, "tile": "utm32n_3_4"})
    'halo 48, disagreement 1.25e-05, tile utm32n_3_4'
    """
    if "networks" in choice:
        networks = [f"{one['name']} in {one['choice']}" for one in choice["networks"]]
        return ", ".join([*networks, f"tile {choice['tile']}"])
    return ", ".join(
        f"{name} {one:.3g}" if isinstance(one, float) else f"{name} {one}"
        for name, one in choice.items()
    )


def _sum(details: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(int(one.get(name, 0)) for one in details)
