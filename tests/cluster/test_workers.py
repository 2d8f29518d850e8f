"""How many workers are started here, and with what memory."""

import pytest

from cluster.test_memory import DEMAND, GIB
from glaciercube.cluster import workers
from glaciercube.cluster.workers import chosen_size
from glaciercube.errors import GlacierCubeError


@pytest.fixture
def machine(monkeypatch):
    """Return a function that sets the memory of this machine (GiB)."""
    system = pytest.importorskip("distributed.system")
    return lambda size: monkeypatch.setattr(system, "MEMORY_LIMIT", size * GIB)


def test_by_default_all_cores_are_used_by_workers_of_one_thread(machine):
    machine(64)
    assert chosen_size(DEMAND, cores=8) == (8, 1, 8 * GIB)


def test_the_memory_bounds_the_number_of_workers(machine):
    machine(16)
    count, threads, limit = chosen_size(DEMAND, cores=8)
    assert (count, threads) == (16 * GIB // DEMAND.limit(1), 1)
    assert count * limit <= 16 * GIB


def test_threads_are_lowered_to_what_fits(machine):
    machine(64)
    count, threads, limit = chosen_size(DEMAND, workers=1, memory_limit="9GiB", cores=8)
    assert (count, limit) == (1, 9 * GIB)
    assert DEMAND.limit(threads) <= 9 * GIB < DEMAND.limit(threads + 1)


def test_threads_that_were_asked_for_are_refused_where_they_do_not_fit(machine):
    machine(64)
    with pytest.raises(GlacierCubeError, match=r"8 threads need .* found 9\.00 GiB, which is en"):
        chosen_size(DEMAND, workers=1, threads=8, memory_limit="9GiB")


def test_a_machine_that_is_too_small_is_refused(machine):
    machine(1)
    with pytest.raises(GlacierCubeError, match=r"one thread needs .* found 1\.00 GiB"):
        chosen_size(DEMAND)


@pytest.mark.parametrize("name", ["workers", "threads"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(GlacierCubeError, match=f"{name} needs a number from 1 on, found 0"):
        chosen_size(DEMAND, **{name: 0})


def test_a_limit_that_is_no_size_is_refused():
    with pytest.raises(GlacierCubeError, match="needs a size such as '4GiB', found 'much'"):
        chosen_size(DEMAND, memory_limit="much")


def test_the_allocator_is_told_before_a_worker_starts():
    assert workers.ENVIRONMENT["MALLOC_TRIM_THRESHOLD_"] == "4294967296"
    assert int(workers.ENVIRONMENT["GDAL_CACHEMAX"]) * 2**20 == workers.GDAL_CACHE
