"""Check the stores of a run, and compute again what is missing or corrupt."""

import os
from dataclasses import replace
from pathlib import Path

from glaciercube.cluster import runs, states, steps
from glaciercube.cluster.plans import Plan
from glaciercube.errors import StoreError
from glaciercube.store.verification import VerifyReport, verify


def verify_run(out: str | os.PathLike, *, plan: Plan | None = None) -> dict[str, VerifyReport]:
    """Read every block of a run's stores again and compare it with its checksum.

    Parameters
    ----------
    out : path
        As given to `run`.
    plan : Plan, optional
        Of the run: missing and corrupt blocks are computed again, from the same scenes and
        networks, and the products of such tiles are made again by the next `run`.

    Returns
    -------
    dict of str to VerifyReport
        By "tile/store", of the stores there are; as they are now.

    Raises
    ------
    StoreError
        If the folder is no run, or of another plan.
    """
    folder = Path(os.path.abspath(out))
    found = states.read_run(folder)
    if found is None:
        raise StoreError(
            f"{str(folder)!r} is neither a store nor the folder of a run: it has no {states.RUN}"
        )
    cards = () if plan is None else runs.cards_of(plan)
    if plan is not None:
        states.require_same(found, runs.run_of(plan, cards), folder)
    reports = {}
    for tile in sorted(path.parent.name for path in folder.glob(f"*/{states.STATE}")):
        job = None
        if plan is not None:
            job = next(runs.jobs_of(plan, folder, cards, [tile]))
        for step, name in steps.STORES.items():
            path = folder / tile / name
            if path.exists():
                reports[f"{tile}/{name}"] = _verify(path, step, job)
    return reports


def _verify(path: Path, step: str, job: steps.Job | None) -> VerifyReport:
    """Check a store; repair it where a job tells how."""
    if job is None:
        return verify(path)
    report = verify(path)
    if report.sound:
        return report
    report = verify(path, repair=steps.REMAKE[step](job))
    if report.repaired:
        _forget_after(job, step)
    return report


def _forget_after(job: steps.Job, step: str) -> None:
    """Let the next run make again what is made of a step that was repaired."""
    found = states.read_state(job.folder, job.plan)
    if found is None:
        return
    later = states.STEPS[states.STEPS.index(step) + 1 :]
    kept = {name: one for name, one in found.steps.items() if name not in later}
    states.write_state(job.folder, replace(found, state="running", step=later[0], steps=kept))
