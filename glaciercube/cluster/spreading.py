"""How the work is spread: steps of tiles as tasks, or the blocks of one tile after the other."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import dask
from dask.base import tokenize

from glaciercube.cluster import states, steps
from glaciercube.cluster.memory import Demand, require_room
from glaciercube.cluster.states import STEPS, State
from glaciercube.cluster.steps import LASTING, Job, Outcome
from glaciercube.errors import GlacierCubeError
from glaciercube.optional import load

TASKS = 20_000
"""With the scheduler at a time at most."""

AHEAD = 4
"""Tiles in flight for each thread of the workers: what is worked on, and what comes next."""

LEAST = 8
"""Tiles in flight, also while no worker has come yet."""

WORK: Mapping[str, Callable[..., Outcome]] = {
    "ingest": steps.ingest,
    "predict": steps.predict,
    "products": steps.products,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How tiles are run."""

    spread: str
    resources: Mapping[str, float] | None
    retries: int
    demand: Demand


def outcomes(client: Any, jobs: Iterator[Job], count: int, options: Options) -> Iterator[Outcome]:
    """Run jobs on the workers of a client, and yield the last outcome of each as it ends.

    Parameters
    ----------
    client : distributed.Client
    jobs : iterator of Job
        Each is taken when there is room for it.
    count : int
        Of the jobs.
    options : Options

    Raises
    ------
    GlacierCubeError
        If the scheduler is lost.
    """
    threads = sum(client.nthreads().values())
    few = count < threads and not options.resources
    if options.spread == "blocks" or (options.spread == "auto" and few):
        yield from _by_blocks(client, jobs, options)
        return
    suspects: list[Job] = []
    yield from _by_tiles(client, jobs, options, suspects)
    if suspects:
        # Workers died with several tasks each; alone, the guilty one shows.
        yield from _by_tiles(client, iter(suspects), options, None)


def window(threads: int, tiles: int = TASKS) -> int:
    """Return how many tiles may be in flight for a number of threads.

    Parameters
    ----------
    threads : int
        Of all workers.
    tiles : int
        More are not there.

    Examples
    --------
    >>> window(16), window(1_000_000) * 3 <= 20_000
    (64, True)
    """
    return min(tiles, max(LEAST, AHEAD * threads), TASKS // len(STEPS))


def _by_tiles(client, jobs, options, suspects) -> Iterator[Outcome]:
    """Run the steps of tiles as tasks; those whose workers died are suspects, if they may be."""
    distributed = load("distributed")
    flying: dict[Any, tuple[Job, list[Any]]] = {}
    ended = distributed.as_completed(loop=client.loop)
    try:
        while True:
            room = 1 if suspects is None else window(sum(_nthreads(client).values()))
            for job in islice(jobs, max(0, room - len(flying))):
                futures = _submit(client, job, options)
                flying[futures[-1].key] = (job, futures)
                ended.add(futures[-1])
            if not flying:
                return
            future = next(ended)
            job, futures = flying.pop(future.key)
            outcome = _outcome(client, future, job, suspects)
            for one in futures:
                one.release()  # before others come, so that there are never more
            if outcome is not None:
                yield outcome
    finally:
        left = [future for _, futures in flying.values() for future in futures]
        if left and client.status == "running":
            client.cancel(left, force=True)


def _nthreads(client):
    try:
        return client.nthreads()
    except OSError as error:
        raise _lost(client) from error


def _submit(client, job: Job, options: Options) -> list[Any]:
    """Hand the steps of a tile to the scheduler, each after the one before."""
    token = tokenize(str(job.out), job.plan)[:8]
    futures: list[Any] = []
    for step in STEPS:
        futures.append(
            client.submit(
                WORK[step],
                job,
                *futures[-1:],
                key=f"{step}-{job.tile.name}-{token}",
                retries=options.retries,
                resources=dict(options.resources or {}) if step == "predict" else None,
                pure=False,
            )
        )
    return futures


def _outcome(client, future, job, suspects) -> Outcome | None:
    """Return how a tile ended; None if it is to be tried again, alone."""
    if future.cancelled():
        raise _lost(client)
    error = future.exception()
    if error is None:
        return future.result()
    died = isinstance(error, load("distributed").KilledWorker)
    if died and suspects is not None:
        suspects.append(job)
        return None
    return _set_aside(job, error, died)


def _lost(client):
    return GlacierCubeError(
        f"the scheduler {_address(client)} was lost; what is done is kept: start it again and run "
        "the same again to go on"
    )


def _address(client):
    return getattr(client.scheduler, "address", "")


def _set_aside(job: Job, error: BaseException, died: bool) -> Outcome:
    """Return that a tile failed; its file says so too where its worker could not."""
    found = states.read_state(job.folder, job.plan)
    done = {} if found is None else dict(found.steps)
    step = next((one for one in STEPS if one not in done), STEPS[-1])
    cause = steps.told(step, error)
    if died:
        cause = f"{step}: its workers died again and again, for want of memory perhaps: {error}"
    elif found is not None and found.state == "failed":
        step, cause = found.step, found.cause
    state = State(plan=job.plan, state="failed", step=step, cause=cause, steps=done)
    states.write_state(job.folder, state)
    return Outcome(tile=job.tile.name, step=step, cause=cause, details=done)


def _by_blocks(client, jobs, options) -> Iterator[Outcome]:
    """Run tile after tile here, its blocks spread over the workers."""
    for job in jobs:
        require_room(client.scheduler_info(n_workers=-1)["workers"], options.demand)
        with dask.config.set(scheduler=client), client.as_current():
            outcome = _here(replace(job, here=False), options.retries)
        if outcome.cause and client.status != "running":
            raise _lost(client)
        yield outcome


def _here(job: Job, retries: int) -> Outcome:
    """Run the steps of a tile in this process."""
    outcome: Outcome | None = None
    for step in STEPS:
        given = () if outcome is None else (outcome,)
        for left in reversed(range(retries + 1)):
            try:
                outcome = WORK[step](job, *given)
                break
            except Exception as error:
                if left == 0 or isinstance(error, LASTING):
                    return _set_aside(job, error, died=False)
    assert outcome is not None
    return outcome
