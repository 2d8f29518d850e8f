"""Workers of this machine: how many, with how much memory, in which environment."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import dask
from dask.system import CPU_COUNT
from dask.utils import format_bytes, parse_bytes

from glaciercube.cluster.memory import GDAL_CACHE, Demand
from glaciercube.errors import GlacierCubeError
from glaciercube.optional import load

ENVIRONMENT = MappingProxyType(
    {
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
        "MALLOC_MMAP_THRESHOLD_": "1073741824",
        "MALLOC_ARENA_MAX": "1",
        "GDAL_CACHEMAX": str(GDAL_CACHE // 2**20),  # MB
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
"""Of a worker, before it starts. With the first three the buffers of a network are kept between
blocks (Dask's own setting gives them back after each, which costs a third of the speed); GDAL's
cache is bounded; a thread of Dask is a thread of the network too."""


def chosen_size(
    demand: Demand,
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory_limit: str | int | None = None,
    cores: int = CPU_COUNT,
) -> tuple[int, int, int]:
    """Return how many workers to start, their threads, and the memory limit of each (bytes).

    Parameters
    ----------
    demand : Demand
        Of the job.
    workers : int, optional
        Processes. By default so many that all cores are used and all fit into the memory.
    threads : int, optional
        Of each worker; 1 by default, or as many as `workers` leave cores for.
    memory_limit : str or int, optional
        Of each worker, such as "4GiB"; an equal share of the machine's by default.
    cores : int
        To be used.

    Raises
    ------
    GlacierCubeError
        If the memory is too small for one thread, or a number is none.

    Notes
    -----
    Where `threads` was not asked for, it is lowered to what the memory limit allows.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise GlacierCubeError(f"{name} needs a number from 1 on, found {value}")
    machine = int(load("distributed.system").MEMORY_LIMIT)
    limit = None if memory_limit is None else _limit(memory_limit)
    wanted = threads or (1 if workers is None else max(1, cores // workers))
    if workers is None:
        room = machine // (limit or demand.limit(wanted))
        workers = max(1, min(cores // wanted, int(room)))
    limit = limit or machine // workers
    fits = demand.threads(limit, wanted)
    if threads is not None and fits < threads:
        raise GlacierCubeError(
            f"{threads} threads need a memory limit of {format_bytes(demand.limit(threads))} for "
            f"each worker, found {format_bytes(limit)}, which is enough for {fits}; give more "
            "memory, or take fewer threads or workers"
        )
    return workers, fits, limit


def _limit(text):
    try:
        return int(parse_bytes(text))
    except (ValueError, TypeError) as error:
        raise GlacierCubeError(
            f"a memory limit needs a size such as '4GiB', found {text!r}"
        ) from error


@contextmanager
def local_client(
    demand: Demand,
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory_limit: str | int | None = None,
) -> Iterator[Any]:
    """Give a client of workers on this machine, which end with the context.

    Parameters
    ----------
    demand : Demand
        Of the job.
    workers, threads : int, optional
        See `chosen_size`.
    memory_limit : str or int, optional

    Raises
    ------
    GlacierCubeError
        If the memory is too small.
    ImportError
        If `distributed` is not installed.
    """
    distributed = load("distributed")
    count, each, limit = chosen_size(
        demand, workers=workers, threads=threads, memory_limit=memory_limit
    )
    name = "distributed.nanny.pre-spawn-environ"
    environment: Mapping[str, Any] = {**dask.config.get(name), **ENVIRONMENT}
    with (
        dask.config.set({name: environment}),
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=each,
            memory_limit=limit,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,  # a worker that is slow to end is killed, which is no news
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def remote_client(address: str) -> Iterator[Any]:
    """Give a client of a scheduler that is there.

    Parameters
    ----------
    address : str
        Such as "tcp://10.0.0.1:8786", or the path of a scheduler file (.json).

    Raises
    ------
    GlacierCubeError
        If nobody answers.
    """
    distributed = load("distributed")
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = distributed.Client(**where)
    except (OSError, ValueError, TimeoutError) as error:
        raise GlacierCubeError(
            f"a run needs a scheduler, and none answers at {address!r} ({error}); start one with "
            "`dask scheduler` and give its address"
        ) from error
    with client:
        yield client
