"""Real schedulers and workers that are killed: the job ends as if nothing had happened."""

import os
import signal
import threading

import distributed
import pytest

from cluster.conftest import SIX
from cluster.dask_processes import scheduler, wait_for, workers
from cluster.made import plan_of, record_times, same_stores, same_tables
from glaciercube.cluster import states
from glaciercube.cluster.progress import status
from glaciercube.cluster.runs import run
from glaciercube.errors import GlacierCubeError

pytestmark = pytest.mark.slow

TILES = 3
BLOCKS = len(SIX) * 4 + 4
"""Of a store of a tile."""


@pytest.fixture
def plan(longer):
    """Return a plan of three tiles of six dates."""
    return plan_of(longer, tiles=TILES)


@pytest.fixture(scope="module")
def whole(longer, tmp_path_factory, cluster_in_process):
    """Return the folder of a run of that plan that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    report = run(plan_of(longer, tiles=TILES), out, client=cluster_in_process)
    assert report.written == TILES * 2 * BLOCKS
    return out


def records_of(out, store="layers.zarr"):
    """Return how many blocks of each tile's store have a record."""
    found = {}
    for key in record_times(out):
        tile, name, *_ = key.split("/")
        if name == store:
            found[tile] = found.get(tile, 0) + 1
    return found


def begun(out, plan):
    """Return the state of a tile whose layers are being written; None if there is none."""
    for tile, count in records_of(out).items():
        state = states.read_state(out / tile, plan.fingerprint)
        if count < BLOCKS // 2 and state.state == "running" and state.step == "predict":
            return tile, state
    return None


def assert_equal(out, whole, plan):
    same_stores(out, whole, plan.names())
    for name in plan.names():
        same_tables(out, whole, name)


def in_background(work):
    """Start some work in a thread; return what gives its result, or raises its error."""
    told = {}

    def target():
        try:
            told["result"] = work()
        except BaseException as error:  # for the test that waits for it
            told["error"] = error

    thread = threading.Thread(target=target, daemon=True)
    thread.start()

    def result(seconds=120):
        thread.join(seconds)
        assert not thread.is_alive(), "the run does not end"
        if "error" in told:
            raise told["error"]
        return told["result"]

    return result


def test_a_worker_killed_in_the_middle_of_a_task_costs_only_the_block_in_flight(
    plan, whole, tmp_path
):
    out = tmp_path / "out"
    with (
        scheduler(tmp_path) as (_, address),
        workers(tmp_path, address, count=2),
        distributed.Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2)
        result = in_background(lambda: run(plan, out, client=client, spread="tiles"))
        tile, state = wait_for(lambda: begun(out, plan), "a tile in the middle of its layers")
        os.kill(state.process, signal.SIGKILL)
        done_by_then = record_times(out)
        done_by_then = {key: time for key, time in done_by_then.items() if key.startswith(tile)}
        report = result()
    layers = [key for key in done_by_then if "/layers.zarr/" in key]
    assert 0 < len(layers) < BLOCKS
    assert (sorted(report.done), report.failed) == (plan.names(), ())
    assert report.resumed >= len(layers)
    after = record_times(out)
    assert {key: after[key] for key in done_by_then} == done_by_then
    assert_equal(out, whole, plan)


def test_a_scheduler_killed_loses_nothing_and_the_next_goes_on(plan, whole, tmp_path):
    out = tmp_path / "out"
    with (
        scheduler(tmp_path) as (process, address),
        workers(tmp_path, address),
        distributed.Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(1)
        result = in_background(lambda: run(plan, out, client=client, spread="tiles"))
        wait_for(lambda: begun(out, plan), "a tile in the middle of its layers")
        os.killpg(process.pid, signal.SIGKILL)
        with pytest.raises(GlacierCubeError, match=r"scheduler tcp://127.0.0.1:\d+ was lost"):
            result()
    wait_for(lambda: status(plan, out).counts["interrupted"], "the worker's end")
    left = status(plan, out)
    assert left.counts["done"] < TILES
    before = record_times(out)
    assert 0 < len(before) < TILES * 2 * BLOCKS
    with (
        scheduler(tmp_path) as (_, address),
        workers(tmp_path, address),
        distributed.Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(1)
        report = run(plan, out, client=client, spread="tiles")
    after = record_times(out)
    assert {key: after[key] for key in before} == before  # nothing was computed twice
    assert len(after) == TILES * 2 * BLOCKS
    assert report.failed == ()
    assert report.skipped == left.counts["done"]
    assert_equal(out, whole, plan)


def test_blocks_spread_over_workers_survive_a_killed_worker(plan, whole, tmp_path):
    out = tmp_path / "out"
    with (
        scheduler(tmp_path) as (_, address),
        workers(tmp_path, address, count=2),
        distributed.Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2)
        result = in_background(lambda: run(plan, out, client=client, spread="blocks"))
        wait_for(lambda: begun(out, plan), "a tile in the middle of its layers")
        first = next(iter(client.run(os.getpid).values()))
        os.kill(first, signal.SIGKILL)
        report = result()
    assert (report.done, report.failed) == (tuple(plan.names()), ())
    assert_equal(out, whole, plan)
