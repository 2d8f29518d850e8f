"""`run`, `resume`, `status` and `verify`: a plan on a cluster, from any shell."""

import argparse
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from glaciercube import api
from glaciercube.cluster import checking, plans, progress, runs, states, workers
from glaciercube.cluster.memory import demand_of
from glaciercube.errors import GlacierCubeError, StoreError


def run(options: argparse.Namespace) -> None:
    """Do what one of the commands says.

    Parameters
    ----------
    options : Namespace
        As `cli` parsed them.

    Raises
    ------
    GlacierCubeError
        If tiles were set aside, or stores are not sound.
    StoreError
        If the folder is of another plan, or there is nothing to go on with.
    """
    {"run": _run, "resume": _resume, "status": _status, "verify": _verify}[options.command](options)


def _resume(options):
    if states.read_run(Path(options.out)) is None:
        raise StoreError(
            f"there is no run to go on with in {options.out!r}; begin one with "
            f"`python -m glaciercube run {options.plan} --out {options.out}`"
        )
    _run(options)


def _run(options):
    plan = plans.read_plan(options.plan)
    before = progress.status(plan, options.out)  # refuses another plan before anything starts
    if before.counts["waiting"] < len(before.table):
        print(before)
    chosen = {
        "spread": options.spread,
        "retries": options.retries,
        "retry_unread": options.retry_unread,
        "resources": {"GPU": 1} if options.gpu else None,
        "halo": options.halo,
        "runtime": options.runtime,
    }
    if options.disagreement is not None:
        chosen["disagreement"] = options.disagreement
    if runs.pending(plan, before.out, options.retry_unread):
        with _client(options, plan) as client:
            print(_cluster(client))
            report = runs.run(
                plan, options.out, client=client, progress=sys.stderr.isatty(), **chosen
            )
    else:
        report = runs.run(plan, options.out, **chosen)
    print(report)
    if report.failed:
        raise GlacierCubeError(
            f"{len(report.failed)} of {report.tiles} tiles were set aside; the same command tries "
            "them again"
        )


def _client(options, plan) -> AbstractContextManager[Any]:
    size = {
        "workers": options.workers,
        "threads": options.threads,
        "memory_limit": options.memory_limit,
    }
    if options.scheduler is None:
        return workers.local_client(demand_of(plan.options, runs.cards_of(plan)), **size)
    given = [f"--{name.replace('_', '-')}" for name, value in size.items() if value is not None]
    if given:
        raise GlacierCubeError(
            f"{', '.join(given)} are of workers that are started here; those of --scheduler "
            f"{options.scheduler} have their own"
        )
    return workers.remote_client(options.scheduler)


def _cluster(client):
    threads = client.nthreads()
    link = getattr(client, "dashboard_link", "")
    return (
        f"{len(threads)} workers, {sum(threads.values())} threads"
        f"{f'; dashboard {link}' if link else ''}"
    )


def _status(options):
    print(progress.status(plans.read_plan(options.plan), options.out))


def _verify(options):
    path = Path(options.path)
    found = states.read_run(path)
    if found is None:
        reports = {"": api.verify(options.path, repair=options.repair)}
    else:
        plan = None
        if options.repair:
            plan = plans.read_plan(options.plan or found.address)
        reports = checking.verify_run(path, plan=plan)
    for name, report in reports.items():
        print(f"{name}: {report}" if name else report)
    damaged = [name or str(path) for name, report in reports.items() if not report.sound]
    if damaged:
        raise StoreError(
            f"{len(damaged)} of {len(reports)} stores are not sound: {', '.join(damaged[:10])}"
        )
