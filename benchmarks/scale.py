"""The whole world's plan through a real Dask scheduler: what a tile costs, where it saturates.

Run: python benchmarks/scale.py [--workers 2 8 32] [--rates 10 0] [--plan world.parquet]
No pixels: a step of a tile sleeps for the seconds that it was measured to need, divided by a
scale, so that the scheduler sees that many times the rate of a real run. The scale follows from
the rate, tiles per second if nothing but the steps took time; at rate 0 no step sleeps. The
client's loop is the one of `run`, with real jobs. Scheduler, workers and client are processes:
one scheduler, one that holds all workers (a thread each, no profiler), and this one. They share
this machine's cores, so the wall shows where the machine saturates, and the processor time of
scheduler and client for a tile what they can do with a core each.
"""

import argparse
import asyncio
import heapq
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from unittest import mock

import dask
import geopandas as gpd
import numpy as np
import pandas as pd
import psutil
import torch
from distributed import Client, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

import glaciercube as gcube
from glaciercube.cluster import estimates, plans, runs, spreading, states
from glaciercube.cluster.memory import demand_of
from glaciercube.cluster.plans import Plan
from glaciercube.cluster.steps import Job, Outcome
from glaciercube.simulate.archive import grid_of_size
from glaciercube.windows import Window

ROOT = Path(__file__).resolve().parents[1]
WORLD = ROOT / "tests" / "cluster" / "synthetic.py"
"""Makes up outlines with the numbers, sizes and places of RGI 7."""

OPTIONS = {
    "catalog": "https://earth-search.aws.element84.com/v1",
    "period": "2021/2021",
    "sensor": "sentinel-2-l2a",
    "dem": "cop-dem-glo-30",
    "cards": ("extent", "facies"),
    "buffer_m": 500,
}
"""Of the plan. Nothing is asked of the catalogue."""

SUMMER = ["2021-07-10", "2021-08-20", "2022-07-15", "2022-08-21"]
HEADS = (
    "workers", "scale", "tiles", "offered/s", "tiles/s", "ratio", "lost ms", "S cores", "W cores",
    "C cores", "S ms", "W ms", "C ms", "S idle %", "tasks", "S MiB", "S more", "C MiB",
    "C more",
)  # fmt: skip
"""S, W, C: scheduler, workers, client. Offered: tiles per second if only the steps took time. Lost:
time of workers for a tile beyond its steps. ms: processor time for a tile."""

SPANS = (32, 64, 128, 256, 512, 1024, 2048)
IDLE_S = 5.0
"""For how long idle workers are watched."""


def main() -> None:
    """Print what a tile takes, what the world takes, and how the scheduler fares."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 0], help="tiles/s")
    parser.add_argument("--tiles", type=int, default=0, help="evenly of the plan; all if 0")
    parser.add_argument("--count", type=int, default=280_000, help="outlines of the world")
    parser.add_argument("--size", type=int, default=1024, help="pixels of the measured tile")
    parser.add_argument("--plan", help="file of the world's plan: made if there is none")
    parser.add_argument("--host", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--scheduler-file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host:
        asyncio.run(host(options.host, options.scheduler_file))
        return
    with tempfile.TemporaryDirectory() as folder:
        rates = measured_rates(Path(folder), options.size)
        world = world_plan(Path(options.plan or f"{folder}/world.parquet"), options.count)
        work = work_of(world, rates)
        cost(world, work, rates)
        spans(work, SPANS)
        print("".join(f"{head:>9}" for head in HEADS))
        every = max(1, len(work) // options.tiles) if options.tiles else 1
        cases = replays(world, work.iloc[::every], options)
    summary(cases, work)


def measured_rates(folder: Path, size: int) -> dict[str, float]:
    """Return core seconds of each step for a million pixels of one date, in one thread.

    Processor time of the real steps on a simulated tile, the second time: imports, weights and
    the first use of every library are not counted.
    """
    torch.set_num_threads(1)
    archive = gcube.simulate(folder / "archive", size=size, dates=SUMMER)
    options = {**OPTIONS, "catalog": str(archive.catalog), "period": "2021/2022"}
    small = plans.plan(archive.outlines, folder / "small.parquet", **options)
    cards = runs.cards_of(small)
    box = grid_of_size(size)
    spent: dict[str, float] = {}
    for out in (folder / "first", folder / "second"):
        states.begin_run(out, runs.run_of(small, cards))
        job = next(iter(runs.jobs_of(small, out, cards, small.names())))
        # The whole archive as one block, instead of those blocks of the lattice that it touches.
        job = replace(
            job,
            tile=replace(job.tile, geobox=box, core=Window(0, size, 0, size)),
            surroundings=gpd.GeoDataFrame(geometry=[box.extent.geom], crs=str(box.crs)),
            options={**job.options, "block": size},
        )
        outcomes: list[Outcome] = []
        for step in states.STEPS:
            before = time.process_time()
            outcomes.append(spreading.WORK[step](job, *outcomes[-1:]))
            spent[step] = time.process_time() - before
        assert not outcomes[-1].cause, outcomes[-1]
    unit = size**2 * len(SUMMER) / 1e6
    return {step: seconds / unit for step, seconds in spent.items()}


def world_plan(path: Path, count: int) -> Plan:
    """Return the plan of a made-up world, and print what it took if it was made now."""
    if path.exists():
        return plans.read_plan(path)
    outlines = path.with_name(f"{path.stem}-outlines.parquet")
    runpy.run_path(str(WORLD))["world"](count).to_parquet(outlines, write_covering_bbox=True)
    started = time.perf_counter()
    made = plans.plan(outlines, path, **OPTIONS)
    print(f"planned {count} outlines in {time.perf_counter() - started:.0f} s")
    return made


def work_of(world: Plan, rates: Mapping[str, float]) -> pd.DataFrame:
    """Return core seconds of each step (column) for each tile (row), as measured here.

    The plan's estimate of core-hours is in proportion to the pixels of all dates.
    """
    assumed = estimates.INGEST_S + len(world.options["cards"]) * estimates.PREDICT_S
    unit = world.tiles["core_hours"].to_numpy() * 3600 / assumed
    return pd.DataFrame({step: unit * rate for step, rate in rates.items()}, index=world.names())


def cost(world: Plan, work: pd.DataFrame, rates: Mapping[str, float]) -> None:
    """Print what a year of the world takes, as the plan estimates and as measured here."""
    each = ", ".join(f"{step} {rate:.2f}" for step, rate in rates.items())
    hours = ", ".join(f"{step} {seconds / 3600:,.0f}" for step, seconds in work.sum().items())
    whole = work.sum(axis=1)
    low, middle, high = np.quantile(whole / 60, (0.1, 0.5, 0.9))
    steps = work.quantile(0.5) / 60
    print(world)
    print(f"measured core seconds for a million pixels of one date: {each}")
    print(
        f"core-hours of the world, of what was measured and the plan's pixels and dates: {hours}, "
        f"together {whole.sum() / 3600:,.0f}\n"
        f"minutes of a tile: 10 % below {low:.0f}, median {middle:.0f}, 10 % above {high:.0f}, "
        f"largest {whole.max() / 60:,.0f}; medians of its steps "
        + ", ".join(f"{step} {minutes:.1f}" for step, minutes in steps.items())
    )


def spans(work: pd.DataFrame, workers: Sequence[int]) -> None:
    """Print how long the world takes on many workers: the most work first, each when it is free.

    Arithmetic, no scheduler: what is lost is that the last tiles leave workers idle.
    """
    seconds = np.sort(work.sum(axis=1).to_numpy())[::-1]
    for count in workers:
        free = [0.0] * count
        for one in seconds:
            heapq.heapreplace(free, free[0] + one)
        share = seconds.sum() / count / max(free)
        print(f"on {count:5} workers: {max(free) / 3600:8.1f} hours, {share:.0%} of them at work")


class Most(SchedulerPlugin):
    """Counts the tasks that the scheduler holds whenever some come in."""

    name = "most"

    def __init__(self):
        self.tasks = 0

    def update_graph(self, scheduler, **given):
        """Count the tasks that are there now."""
        self.tasks = max(self.tasks, len(scheduler.tasks))


def most_tasks(dask_scheduler) -> int:
    """Return the most tasks that the scheduler held, and begin anew."""
    counter = dask_scheduler.plugins["most"]
    found, counter.tasks = counter.tasks, 0
    return found


@dataclass
class Cluster:
    """The processes of a case."""

    client: Client
    processes: tuple[psutil.Process, ...]
    """Scheduler, workers, client."""

    def clocks(self) -> np.ndarray:
        """Return seconds of the wall, then of the processor for each process."""
        used = [sum(process.cpu_times()[:2]) for process in self.processes]
        return np.array([time.perf_counter(), *used])


@contextmanager
def cluster_of(count: int) -> Iterator[Cluster]:
    """Start a scheduler and workers; end them."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/scheduler.json"
        scheduler = [
            "-m", "dask", "scheduler", "--no-dashboard", "--host", "127.0.0.1", "--port", "0",
            "--scheduler-file", file,
        ]  # fmt: skip
        workers = [__file__, "--host", str(count), "--scheduler-file", file]
        # The scheduler imports the plugin above, and workers the step below, from this file.
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        started = []
        try:
            for command in (scheduler, workers):
                started.append(
                    subprocess.Popen([sys.executable, *command], env=env, stderr=subprocess.DEVNULL)
                )
                while not os.path.exists(file):
                    time.sleep(0.05)
            with Client(scheduler_file=file) as client:
                client.wait_for_workers(count)
                client.register_plugin(Most())
                ids = [*(process.pid for process in started), os.getpid()]
                yield Cluster(client, tuple(psutil.Process(pid) for pid in ids))
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


async def host(count: int, file: str) -> None:
    """Hold workers until the scheduler goes."""
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        async with AsyncExitStack() as stack:
            workers = [
                await stack.enter_async_context(
                    Worker(scheduler_file=file, nthreads=1, name=f"worker-{i}", dashboard=False)
                )
                for i in range(count)
            ]
            await asyncio.gather(*(worker.finished() for worker in workers))


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[float]]:
    """Give a list that grows with the memory of a process (MiB)."""
    seen, end = [process.memory_info().rss / 2**20], Event()

    def look() -> None:
        while not end.wait(0.2):
            seen.append(process.memory_info().rss / 2**20)

    thread = Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def rest(step: str, job: Job, before: Outcome | None = None) -> Outcome:
    """Sleep as long as a step of a tile is to last."""
    if seconds := job.options["rest"][step]:
        time.sleep(seconds)
    return Outcome(tile=job.tile.name, step=step, details=before.details if before else {})


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a replay of a plan took."""

    workers: int
    scale: float
    tiles: int
    wall: float
    work: float
    """Seconds that steps slept."""

    cpu: np.ndarray
    """Seconds of scheduler, workers and client."""

    idle: np.ndarray
    """Share of a core of the three while nothing is to be done."""

    most: int
    """Tasks with the scheduler at a time."""

    memory: tuple[float, ...]
    """Of scheduler and client (MiB): before, and how much more at most."""

    def line(self) -> str:
        """Return the case as a line of the table."""
        offered = self.workers * self.tiles / self.work if self.work else np.inf
        rate = self.tiles / self.wall
        numbers = (
            self.workers, self.scale, self.tiles, offered, rate, rate / offered,
            1e3 * (self.workers * self.wall - self.work) / self.tiles, *(self.cpu / self.wall),
            *(1e3 * self.cpu / self.tiles), 100 * self.idle[0], self.most, *self.memory,
        )  # fmt: skip
        return "".join(f"{number:9.4g}" for number in numbers)


def replays(world: Plan, work: pd.DataFrame, options: argparse.Namespace) -> list[Case]:
    """Replay a plan on clusters of some sizes at some scales."""
    cases = []
    world.glaciers(world.names()[0])  # reads the outlines, once in a process
    for count in options.workers:
        with cluster_of(count) as cluster:
            for rate in options.rates:
                scale = rate * work.sum(axis=1).mean() / count
                cases.append(replayed(cluster, world, work, (count, scale)))
                print(cases[-1].line(), flush=True)
    return cases


def replayed(cluster: Cluster, world: Plan, work: pd.DataFrame, case: tuple[int, float]) -> Case:
    """Replay a plan once."""
    count, scale = case
    before = cluster.clocks()
    time.sleep(IDLE_S)
    idle = cluster.clocks() - before
    slept: list[float] = []
    cards = runs.cards_of(world)
    demand = demand_of(world.options, cards)
    given = spreading.Options(spread="tiles", resources=None, retries=2, demand=demand)
    jobs = runs.jobs_of(world, Path("/nowhere"), cards, work.index)
    jobs = resting(jobs, work, scale, slept)
    steps = {step: partial(rest, step) for step in states.STEPS}
    with (
        watched(cluster.processes[0]) as scheduler,
        watched(cluster.processes[2]) as client,
        mock.patch.object(spreading, "WORK", steps),
    ):
        before = cluster.clocks()
        ended = spreading.outcomes(cluster.client, jobs, len(work), given)
        done = sum(not one.cause for one in ended)
        took = cluster.clocks() - before
    assert done == len(work), f"{done} of {len(work)} tiles were done"
    return Case(
        workers=count,
        scale=scale,
        tiles=done,
        wall=took[0],
        work=sum(slept),
        cpu=took[1:],
        idle=idle[1:] / idle[0],
        most=cluster.client.run_on_scheduler(most_tasks),
        memory=tuple(n for seen in (scheduler, client) for n in (seen[0], max(seen) - seen[0])),
    )


def resting(
    jobs: Iterable[Job], work: pd.DataFrame, scale: float, slept: list[float]
) -> Iterator[Job]:
    """Yield jobs that say how long their steps are to last."""
    for job in jobs:
        whole = work.loc[job.tile.name]
        seconds = {step: float(s) / scale if scale else 0.0 for step, s in whole.items()}
        slept.append(sum(seconds.values()))
        yield replace(job, options={**job.options, "rest": seconds})


def summary(cases: Sequence[Case], work: pd.DataFrame) -> None:
    """Print what one scheduler and one client can feed."""
    median = float(work.sum(axis=1).median())
    for case in cases:
        if case.scale == 0:
            scheduler, _, client = case.cpu / case.tiles
            most = 1 / max(scheduler, client)
            feeds = ", ".join(f"{most * s:,.0f} for {s:,.0f} s" for s in (60, 600, median))
            print(
                f"{case.workers} workers: scheduler {1e3 * scheduler:.1f} ms and client "
                f"{1e3 * client:.1f} ms of a core for a tile, so with a core each at most "
                f"{most:.0f} tiles/s ({3 * most:.0f} tasks/s), by the length of a tile: {feeds}"
            )


if __name__ == "__main__":
    import scale

    scale.main()
