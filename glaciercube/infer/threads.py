"""How many forward passes run at a time in this process, and with how many threads each.

One policy for every runtime. A process may use the cores that it was given: those of a Dask
worker's threads, one in a child of a pool of processes, all of the machine's (affinity and
container limits count) elsewhere. A forward pass takes the threads that `OMP_NUM_THREADS` says
(Dask's nanny says 1), else that torch is set to, else all of these cores, and as many passes run
at a time as fill the cores. The other threads of Dask read, decode and write meanwhile.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock, local

from dask.system import cpu_count

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Of the environment: how many threads each library starts for one call. Dask's nanny sets the
first three."""


@dataclass(frozen=True)
class Policy:
    """How the forward passes of a process share its cores."""

    slots: int
    """Forward passes at a time."""

    threads: int
    """Of each."""

    @property
    def cores(self) -> int:
        """How many cores all forward passes use together."""
        return self.slots * self.threads


def environment(threads: int = 1) -> dict[str, str]:
    """Return what keeps the libraries of a worker at some threads for each call.

    Parameters
    ----------
    threads : int

    Examples
    --------
    >>> environment()["NUMBA_NUM_THREADS"]
    '1'
    """
    return dict.fromkeys(VARIABLES, str(threads))


def policy_of(cores: int, stated: int | None) -> Policy:
    """Return the policy for a number of cores.

    Parameters
    ----------
    cores : int
        That the process may use.
    stated : int, optional
        Threads of a forward pass as the environment says.

    Examples
    --------
    >>> policy_of(8, None), policy_of(8, 1), policy_of(8, 3)
    (Policy(slots=1, threads=8), Policy(slots=8, threads=1), Policy(slots=2, threads=3))
    """
    threads = max(1, cores if stated is None else stated)
    return Policy(max(1, cores // threads), threads)


def stated_threads(environ: Mapping[str, str]) -> int | None:
    """Return how many threads `OMP_NUM_THREADS` says, None if it says nothing of use.

    Parameters
    ----------
    environ : mapping
        The environment.

    Examples
    --------
    >>> stated_threads({"OMP_NUM_THREADS": "4,2"}), stated_threads({"OMP_NUM_THREADS": "all"})
    (4, None)
    """
    first = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdigit() and int(first) else None


def cores_of_process() -> int:
    """Return how many cores this process may use.

    Those of the machine within affinity and container limits; in a Dask worker no more than its
    threads; one in another child of `multiprocessing`, which has siblings that nobody counts.
    """
    cores = max(1, cpu_count())
    given = _worker_threads()
    if given:
        return min(cores, given)
    return 1 if multiprocessing.parent_process() is not None else cores


def policy() -> Policy:
    """Return the policy of this process, settled when it is first asked for.

    The first forward pass asks: by then a Dask worker knows its threads.
    """
    if _shared.policy is None:
        with _shared.lock:
            if _shared.policy is None:
                _settle(_found())
    assert _shared.policy is not None
    return _shared.policy


def set_policy(chosen: Policy | None) -> None:
    """Set the policy of this process; None lets the next forward pass find it anew.

    Parameters
    ----------
    chosen : Policy or None

    Notes
    -----
    Passes that run keep the slot they have. A runtime that is loaded keeps its threads where its
    library cannot change them (OpenVINO, ONNX Runtime), so set it before the first prediction.
    """
    with _shared.lock:
        _settle(chosen)


@contextmanager
def slot() -> Iterator[Policy]:
    """Wait for a turn of a forward pass, and give the policy.

    A thread that has a turn gets another at once.
    """
    now = policy()
    depth = getattr(_own, "depth", 0)
    slots = _shared.slots
    if depth == 0:
        slots.acquire()
    _own.depth = depth + 1
    try:
        yield now
    finally:
        _own.depth = depth
        if depth == 0:
            slots.release()


class _Shared:
    """Of all threads of this process."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.policy: Policy | None = None
        self.slots = BoundedSemaphore(1)


_shared = _Shared()
_own = local()


def _found():
    machine, cores = max(1, cpu_count()), cores_of_process()
    stated = stated_threads(os.environ)
    if stated is not None:
        return policy_of(cores, min(stated, machine))
    torch = sys.modules.get("torch")
    return policy_of(cores, None if torch is None else min(cores, torch.get_num_threads()))


def _settle(chosen):
    if chosen is not None:
        _shared.slots = BoundedSemaphore(chosen.slots)
    _shared.policy = chosen


def _after_fork() -> None:
    """Forget the parent's policy and slots: a pass of another thread may have held one."""
    _shared.__init__()  # type: ignore[misc]
    _own.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _worker_threads() -> int:
    """Return the threads of all Dask workers in this process, 0 if there is none."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return 0
    return sum(
        worker.state.nthreads
        for worker in tuple(distributed.Worker._instances)
        if worker.status == distributed.Status.running
    )
