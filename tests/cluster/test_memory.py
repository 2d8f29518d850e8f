"""The memory of a worker: its formula, what follows from it, and that it holds."""

import os
import resource
from dataclasses import replace

import distributed
import pytest
from cards import make_card

from cluster.dask_processes import scheduler, workers
from cluster.made import DATES, archive_of, plan_of
from glaciercube.cluster import memory
from glaciercube.cluster.memory import Demand, demand_of, require_room
from glaciercube.cluster.runs import cards_of, run
from glaciercube.cluster.workers import ENVIRONMENT
from glaciercube.errors import GlacierCubeError

GIB = 2**30
DEMAND = Demand(block=1024, bands=10, halo=15, networks=1e6, activations=1072.0)


def test_the_formula_adds_threads_to_what_a_process_has():
    process = memory.PROCESS + memory.GDAL_CACHE + DEMAND.networks
    outer = 1024 + 30
    each = memory.THREAD + outer**2 * (2 * 1072 + 16 * 10) + 1024**2 * 64
    assert DEMAND.bytes(3) == pytest.approx(process + 3 * each)


def test_dates_that_a_network_sees_at_once_are_held_together():
    more = replace(DEMAND, dates=5).bytes(1) - DEMAND.bytes(1)
    assert more == pytest.approx((1024 + 30) ** 2 * 16 * 10 * 4)


def test_the_dates_of_several_networks_are_added(tmp_path):
    three, five = {"count": 3}, {"count": 5, "anchor": "past"}
    cards = [make_card(tmp_path, n, dates=dates) for n, dates in enumerate((three, five, three))]
    options = {"block": 48, "sensor": "sentinel-2-l2a"}
    assert demand_of(options, cards).dates == 1 + 2 + 4
    assert demand_of(options, [make_card(tmp_path, 9)]).dates == 1


def test_a_small_network_leaves_the_reading_to_count():
    small = Demand(block=1024, bands=10, halo=0, networks=0, activations=4.0)
    each = memory.THREAD + 1024**2 * (24 * 11 + 48)
    assert small.bytes(2) - small.bytes(1) == pytest.approx(each)


def test_a_limit_is_what_a_worker_still_takes_tasks_under():
    assert memory.pause() == 0.8
    assert DEMAND.limit(2) == pytest.approx(DEMAND.bytes(2) / 0.8)


def test_threads_follow_from_the_limit():
    assert DEMAND.threads(DEMAND.limit(3), 8) == 3
    assert DEMAND.threads(DEMAND.limit(4) - 1, 8) == 3
    assert DEMAND.threads(100 * GIB, 8) == 8


def test_a_limit_that_is_too_small_says_what_is_needed():
    with pytest.raises(GlacierCubeError, match=r"one thread needs a memory limit of 4\.\d+ GiB .*"
                       r"blocks of 1024 pixels and 10 bands, found 2\.00 GiB"):  # fmt: skip
        DEMAND.threads(2 * GIB, 8)


def test_workers_are_measured_by_it():
    fits = {"nthreads": 2, "memory_limit": DEMAND.limit(2)}
    require_room({"a": fits, "b": {"nthreads": 64, "memory_limit": 0}}, DEMAND)
    with pytest.raises(GlacierCubeError, match=r"c has 2 threads and 4\.00 GiB"):
        require_room({"a": fits, "c": {"nthreads": 2, "memory_limit": 4 * GIB}}, DEMAND)


def test_the_demand_of_a_plan_is_of_its_networks(plan):
    demand = demand_of(plan.options, cards_of(plan))
    assert (demand.block, demand.bands, demand.halo) == (48, 10, 15)
    assert demand.activations > 4 * 6  # more than the input alone
    assert demand.networks > 200_000


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_real_workers_stay_below_the_formula_and_none_is_killed(tmp_path, threads):
    archive = archive_of(tmp_path, size=768, dates=DATES[:1])
    plan = plan_of(archive, tiles=2, block=384)
    demand = demand_of(plan.options, cards_of(plan))
    limit = demand.limit(threads)
    with (
        scheduler(tmp_path) as (_, address),
        workers(tmp_path, address, threads=threads, limit=str(limit), environment=ENVIRONMENT),
        distributed.Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(1)
        before = client.run(os.getpid)
        report = run(plan, tmp_path / "out", client=client, spread="tiles")
        peaks = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        assert client.run(os.getpid) == before
    assert len(report.done) == 2
    (peak,) = peaks.values()
    assert demand.bytes(threads) / 4 < peak < demand.bytes(threads)
