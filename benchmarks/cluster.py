"""The same job on one worker process and on more: how much of the added workers arrives.

Run: python benchmarks/cluster.py [--tiles 16] [--block 256] [--workers 2] [--repeats 2]
A plan of equal tiles on a simulated archive is run - ingest, predict, products - by worker
processes of one thread each, in turn; the best of the repeats counts. Starting workers, their
imports and the loading of networks are left out. Efficiency is the time of one worker over
that of n workers times n; the goal is 0.85. With fewer idle cores than workers it says nothing:
the script prints the processor time of all workers too, which grows where they wait for memory
or each other, and the load of the machine before it began.
"""

import argparse
import math
import os
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import shapely

from glaciercube.cluster.memory import demand_of
from glaciercube.cluster.plans import Plan, plan
from glaciercube.cluster.runs import cards_of, run
from glaciercube.cluster.workers import local_client
from glaciercube.model.registry import network_of
from glaciercube.simulate.archive import CRS, NORTH, RESOLUTION, WEST, simulate

DATES = ("2021-07-20", "2021-08-20", "2022-07-20", "2022-08-20")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--block", type=int, default=256, help="rows and columns of a tile")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before: {os.getloadavg()[0]:.2f} runnable processes")
    with tempfile.TemporaryDirectory() as folder:
        job = make_plan(Path(folder), options.tiles, options.block)
        best: dict[int, tuple[float, float]] = {}
        for number in range(options.repeats):
            for count in (1, options.workers):
                found = timed(job, Path(folder) / f"out-{number}-{count}", count)
                best[count] = min(best.get(count, found), found)
    for count, (seconds, processor) in best.items():
        print(f"{count} workers: {seconds:7.2f} s, processor time {processor:7.2f} s")
    (alone, used_alone), (together, used) = best[1], best[options.workers]
    print(f"efficiency {alone / together / options.workers:.3f} (goal 0.85)")
    print(f"processor time of {options.workers} workers over that of one: {used / used_alone:.3f}")


def make_plan(folder: Path, tiles: int, block: int) -> Plan:
    """Return a plan of equal tiles of one block each, one round glacier in each."""
    side = math.ceil(math.sqrt(tiles))
    step = block * RESOLUTION
    # tiles lie on the lattice of blocks, of which the archive's corner is no point
    left, top = math.ceil(WEST / step) * step, math.floor(NORTH / step) * step
    archive = simulate(folder / "archive", size=(side + 1) * block, dates=DATES)
    rows = [
        {
            "rgi_id": f"G{number}",
            "geometry": shapely.Point(
                left + (number % side + 0.5) * step, top - (number // side + 0.5) * step
            ).buffer(step * 0.3),
        }
        for number in range(tiles)
    ]
    made = plan(
        gpd.GeoDataFrame(rows, crs=CRS),
        folder / "plan.parquet",
        catalog=archive.catalog,
        period="2021/2022",
        dem="cop-dem-glo-30",
        buffer_m=step * 0.05,
        block=block,
        target_pixels=int(0.45 * block * block),  # room for one glacier
    )
    print(f"{len(made)} tiles of one block of {block} x {block} pixels, {len(DATES)} dates")
    return made


def timed(job: Plan, out: Path, count: int) -> tuple[float, float]:
    """Return the seconds and the workers' processor time of a run."""
    with local_client(demand_of(job.options, cards_of(job)), workers=count, threads=1) as client:
        client.run(warm, job)
        before = sum(client.run(time.process_time).values())
        started = time.perf_counter()
        report = run(job, out, client=client, spread="tiles")
        seconds = time.perf_counter() - started
        used = sum(client.run(time.process_time).values()) - before
    if len(report.done) != len(job):
        raise SystemExit(str(report))
    return seconds, used


def warm(job: Plan) -> None:
    """Import and load what a step needs; runs on a worker."""
    for card in cards_of(job):
        network_of(card)


if __name__ == "__main__":
    main()
