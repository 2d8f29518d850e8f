"""The plan of a whole world of glaciers: time, memory, and how even its tiles are.

Run: python benchmarks/plan.py [--count 280000] [--region ""] [--keep FOLDER]
     python benchmarks/plan.py --constants
The world is made up by tests/cluster/synthetic.py, with the numbers, sizes and places of RGI 7, in
a process of its own, so that the peak memory is that of planning alone: reading the outlines,
planning, writing the plan and reading it again. `--constants` measures instead what
glaciercube/cluster/estimates.py reckons with, on simulated scenes: core seconds and bytes for
each pixel of a date. The first run warms up and does not count.
"""

import argparse
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask
import numpy as np

import glaciercube as gcube
from glaciercube.cluster.plans import Plan, plan, read_plan
from glaciercube.cluster.summaries import balance

WORLD = Path(__file__).resolve().parents[1] / "tests" / "cluster" / "synthetic.py"
DATES = ["2021-07-10", "2021-08-20", "2022-07-15", "2022-08-21"]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=280_000)
    parser.add_argument("--region", default="", help="beginning of RGI's codes, such as 11")
    parser.add_argument("--keep", help="folder that gets the plan")
    parser.add_argument("--constants", action="store_true")
    parser.add_argument("--size", type=int, default=1024, help="pixels, for --constants")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        world = runpy.run_path(str(WORLD))["world"]
        world(options.count, regions=options.region).to_parquet(options.make)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.constants:
            constants(Path(folder), options.size)
            return
        place = Path(options.keep or folder)
        outlines = place / "world.outlines.parquet"
        place.mkdir(parents=True, exist_ok=True)
        what = ["--make", str(outlines), "--count", str(options.count)]
        subprocess.run([sys.executable, __file__, *what, "--region", options.region], check=True)
        planned(outlines, place / "world.parquet")


def planned(outlines: Path, path: Path) -> None:
    """Plan a year of the world and print what it took and what came out."""
    start = time.perf_counter()
    made = plan(
        outlines,
        path,
        catalog="https://earth-search.aws.element84.com/v1",
        period="2023",
        sensor="sentinel-2-l2a",
        dem="cop-dem-glo-30",
        overwrite=True,
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    read_plan(path)
    again = time.perf_counter() - start
    print(made)
    print(f"  time {seconds:.0f} s, peak memory {peak:.2f} GiB; read again in {again:.1f} s")
    print(f"  files: outlines {_mb(outlines)}, plan {_mb(path)}")
    distribution(made)


def distribution(made: Plan) -> None:
    """Print how many tiles are how full, and how much of the work they hold."""
    target = made.options["target_pixels"]
    useful = made.tiles["useful"].to_numpy() / target
    print(f"  {'useful / target':>16} {'tiles':>6} {'of the work':>12}")
    edges = [0, 0.1, 0.25, 0.5, 0.75, 1, 2, 5, 1000]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        some = (useful > low) & (useful <= high)
        share = useful[some].sum() / useful.sum()
        print(f"  {low:7g} - {high:<6g} {some.sum():6d} {share:12.1%}")
    found = balance(made.tiles, target)
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()))


def constants(folder: Path, size: int) -> None:
    """Print core seconds and bytes for each pixel of a date on simulated scenes."""
    archive = gcube.simulate(folder / "archive", size=size, dates=DATES)
    for run in ("warm", "run"):
        items = gcube.search(str(archive.catalog))
        with dask.config.set(scheduler="synchronous"):
            before = time.process_time()
            gcube.write(gcube.load(items, archive.outlines, resolution=10), folder / f"{run}.cube")
            ingest = time.process_time() - before
            cube = gcube.read(folder / f"{run}.cube")
            before = time.process_time()
            gcube.write(gcube.predict(cube, ["extent", "facies"]), folder / f"{run}.layers")
            predict = time.process_time() - before
    pixels = cube.sizes["time"] * cube.sizes["y"] * cube.sizes["x"]
    print(f"{cube.sizes['time']} dates of {cube.sizes['y']} x {cube.sizes['x']} pixels")
    print(f"INGEST_S = {ingest / pixels * 1e6:.2f}   # 10 bands and masks, a million pixels")
    print(f"PREDICT_S = {predict / pixels * 1e6 / 2:.2f}   # each of two networks")
    sizes = {
        name: _bytes(folder / "run.cube" / name) / pixels
        for name in cube.data_vars
        if "time" in cube[name].dims
    }
    bands = cube.sizes["band"]
    print(f"BYTES_PER_BAND = {sizes.pop('reflectance') / bands:.2f}")
    print(f"BYTES_OF_MASKS = {sum(sizes.values()):.2f}   # {', '.join(sizes)}")
    print(f"BYTES_OF_LAYERS = {_bytes(folder / 'run.layers') / pixels:.2f}")


def _bytes(folder: Path) -> int:
    return int(np.sum([path.stat().st_size for path in folder.rglob("*") if path.is_file()]))


def _mb(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
