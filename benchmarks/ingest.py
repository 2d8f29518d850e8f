"""Local COGs to a Zarr cube, against bare reading and writing and against odc-stac.

Run: python benchmarks/ingest.py [--size 4096] [--dates 12] [--chunk 1024] [--repeats 1]
Every way runs in a process of its own, two threads each, in turn; the best of the repeats counts.
Read the ratios, not the seconds. The floor reads the same windows of the same files with rasterio
and writes the same numbers with zarr, the same chunks and codec, nothing else. The files are made
first (and kept with --folder): ten bands of 10 m, uint16, DEFLATE with predictor, blocks of 512.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import dask
import numpy as np
import odc.stac
import pystac
import rasterio
import zarr
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from rasterio.windows import Window
from zarr.codecs import BloscCodec

from glaciercube import grid
from glaciercube.acquire.scenes import load
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.store.writing import write

WEST, NORTH, STEP = 600_000, 5_200_000, 10
BANDS = SENTINEL_2_L2A.names
INNER = 256
"""Rows and columns of a chunk inside a shard, as the store has them."""

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


def main() -> None:
    """Make the files, run every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--dates", type=int, default=12)
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run_way(options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        make_files(folder, options.size, options.dates)
        report(options, folder)


def report(options: argparse.Namespace, folder: Path) -> None:
    """Print the table of all ways."""
    few = max(options.dates // 3, 1)
    jobs = [(way, options.dates) for way in WAYS] + [("glaciercube", few)]
    results: dict[tuple[str, int], list[dict]] = {job: [] for job in jobs}
    for _ in range(options.repeats):
        for way, dates in jobs:
            command = [
                sys.executable, __file__, "--way", way, "--folder", str(folder),
                "--size", str(options.size), "--dates", str(dates), "--chunk", str(options.chunk),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[way, dates].append(json.loads(done.stdout.splitlines()[-1]))
    best = {job: min(runs, key=lambda run: run["wall"]) for job, runs in results.items()}
    floor = best["floor", options.dates]
    print(
        f"{len(BANDS)} bands, {options.dates} dates, {options.size} x {options.size} pixels, "
        f"blocks of {options.chunk}, {os.cpu_count()} cores; floor {floor['wall']:.1f} s"
    )
    print(f"{'way':38} {'dates':>5} {'time':>6} {'CPU':>6} {'peak MiB':>9} {'tasks/block':>12}")
    for (way, dates), run in best.items():
        share = options.dates / dates
        print(
            f"{WAYS[way][1]:38} {dates:5} {run['wall'] * share / floor['wall']:6.2f} "
            f"{run['cpu'] * share / floor['cpu']:6.2f} {run['peak']:9.0f} {run['tasks']:>12}"
        )
    print("time and CPU: against the floor, of as many dates")


def run_way(options: argparse.Namespace) -> dict[str, float | str]:
    """Run one way in this process and return what it took."""
    folder = Path(options.folder)
    target = Path(tempfile.mkdtemp(dir=folder)) / "cube.zarr"
    items = items_of(folder, options.size, options.dates)
    dask.config.set(scheduler="threads", num_workers=2)
    odc.stac.configure_rio(cloud_defaults=True)
    started, cpu = time.perf_counter(), time.process_time()
    tasks = WAYS[options.way][0](items, target, options)
    wall = time.perf_counter() - started
    shutil.rmtree(target.parent)
    return {
        "wall": wall,
        "cpu": time.process_time() - cpu,
        "peak": peak_mib(),
        "tasks": tasks,
    }


def peak_mib() -> float:
    """Return the most memory this process held (MiB); its parent's does not count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def geobox_of(size: int) -> GeoBox:
    """Return the grid of the files."""
    bounds = (WEST, NORTH - size * STEP, WEST + size * STEP, NORTH)
    return GeoBox.from_bbox(bounds, "EPSG:32632", resolution=STEP)


def make_files(folder: Path, size: int, dates: int) -> None:
    """Write the files that are missing: snow, ice and rock with the noise of a sensor."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    profile = {
        "driver": "COG", "count": 1, "dtype": "uint16", "crs": "EPSG:32632", "nodata": 0,
        "height": size, "width": size, "transform": from_origin(WEST, NORTH, STEP, STEP),
        "compress": "DEFLATE", "predictor": 2, "level": 6, "blocksize": 512, "overviews": "NONE",
        "num_threads": 2,
    }  # fmt: skip
    for date in range(dates):
        for place, band in enumerate(BANDS):
            path = path_of(folder, size, date, band)
            if path.exists():
                continue
            rng = np.random.default_rng(date * 100 + place)
            ground = 4000 + 3000 * np.sin(y / (150 + 9 * place)) * np.cos(x / (210 + 5 * date))
            numbers = ground + rng.normal(0, 40, (size, size)).astype(np.float32)
            partial = path.with_suffix(".partial.tif")
            with rasterio.open(partial, "w", **profile) as file:
                file.write(np.clip(numbers, 1, 65535).astype(np.uint16), 1)
            os.replace(partial, path)


def path_of(folder: Path, size: int, date: int, band: str) -> Path:
    """Return the file of a band."""
    return folder / f"{size}-{date:02}-{band}.tif"


def items_of(folder: Path, size: int, dates: int) -> list[pystac.Item]:
    """Return one STAC item per date."""
    extent = grid.area_frame(geobox_of(size)).to_crs(grid.WGS84).geometry.iloc[0]
    items = []
    for date in range(dates):
        item = pystac.Item(
            f"S2A_32TMS_{date:02}_L2A", extent.__geo_interface__, list(extent.bounds),
            datetime(2021, 7, 1, 10, 30) + timedelta(days=5 * date),
            {"platform": "sentinel-2a", "s2:processing_baseline": "03.00"},
            stac_extensions=[PROJECTION], collection="sentinel-2-l2a",
        )  # fmt: skip
        for band in BANDS:
            fields = {
                "proj:code": "EPSG:32632", "proj:shape": [size, size],
                "proj:transform": [STEP, 0, WEST, 0, -STEP, NORTH],
                "raster:bands": [{"data_type": "uint16", "nodata": 0}],
            }  # fmt: skip
            path = str(path_of(folder, size, date, band))
            item.add_asset(
                band,
                pystac.Asset(path, media_type="image/tiff", roles=["data"], extra_fields=fields),
            )
        items.append(item)
    return items


def by_floor(items: list[pystac.Item], target: Path, options: argparse.Namespace) -> str:
    """Read the windows with rasterio and write the numbers with zarr."""
    size, chunk = options.size, options.chunk
    array = zarr.create_array(
        str(target), shape=(len(items), len(BANDS), size, size), dtype="uint16", fill_value=0,
        chunks=(1, len(BANDS), INNER, INNER), shards=(1, len(BANDS), chunk, chunk),
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")],
    )  # fmt: skip

    def one(job):
        date, row, column = job
        height, width = min(chunk, size - row), min(chunk, size - column)
        numbers = np.empty((len(BANDS), height, width), np.uint16)
        for place, band in enumerate(BANDS):
            with rasterio.open(items[date].assets[band].href) as file:
                file.read(1, out=numbers[place], window=Window(column, row, width, height))
        array[date, :, row : row + height, column : column + width] = numbers

    starts = range(0, size, chunk)
    jobs = [
        (date, row, column) for date in range(len(items)) for row in starts for column in starts
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, jobs))
    return "-"


def by_odc(items: list[pystac.Item], target: Path, options: argparse.Namespace) -> str:
    """Load digital numbers with odc-stac and write them with xarray."""
    chunk = options.chunk
    cube = odc.stac.load(
        items, bands=list(BANDS), geobox=geobox_of(options.size),
        chunks={"time": 1, "y": chunk, "x": chunk}, groupby="solar_day",
    )  # fmt: skip
    encoding = {
        band: {
            "chunks": (1, INNER, INNER), "shards": (1, chunk, chunk),
            "compressors": [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")],
        }
        for band in BANDS
    }  # fmt: skip
    lazy = cube.to_zarr(target, encoding=encoding, zarr_format=3, compute=False, consolidated=False)
    (graph,) = dask.optimize(lazy)
    blocks = len(items) * (-(-options.size // chunk)) ** 2
    graph.compute()
    return f"{len(graph.__dask_graph__()) / blocks:.1f}"


def by_glaciercube(items: list[pystac.Item], target: Path, options: argparse.Namespace) -> str:
    """Load reflectance with this package and write it to its store."""
    cube = load(items, geobox_of(options.size), chunk=options.chunk, check=False)
    variables = [cube[name].data for name in cube.data_vars]
    (graph,) = dask.optimize(variables)
    tasks = len({key for array in graph for key in array.__dask_graph__()})
    blocks = variables[0].numblocks[0] * variables[0].numblocks[2] * variables[0].numblocks[3]
    write(cube, target)
    return f"{tasks / blocks:.1f}"


WAYS = {
    "floor": (by_floor, "rasterio windows, bare zarr (floor)"),
    "odc": (by_odc, "odc.stac.load(...).to_zarr, numbers only"),
    "glaciercube": (by_glaciercube, "load, write (reflectance and flags)"),
}
"""Functions and what the table calls them."""


if __name__ == "__main__":
    main()
