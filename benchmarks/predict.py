"""Lazy prediction of a stored cube, against the bare network and the ways users write it.

Run: python benchmarks/predict.py [--size 2048] [--chunk 1024] [--card facies] [--repeats 3]
Everything runs in one process with the same threads, in turn; the best of the repeats counts.
Read the ratios, not the seconds; on a shared machine read those of processor time.
The floor is the network's forward pass alone, over the same useful pixels, in the same blocks
without halo, its input in memory. "seams" says whether the result depends on the blocks: the
largest difference of a probability from the whole image.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import torch
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.infer.lazy import predict
from glaciercube.model.card import ModelCard
from glaciercube.model.channels import positions, stack
from glaciercube.model.registry import network_of
from glaciercube.model.zoo import card_of
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.store.reading import read
from glaciercube.store.writing import write

BLOCK_META = np.empty((0, 0, 0), np.float32)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--card", default="facies")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    card = card_of(options.card)
    network_of(card)
    with tempfile.TemporaryDirectory() as folder:
        write(make_cube(options.size, options.chunk), Path(folder) / "cube.zarr")
        cube = read(Path(folder) / "cube.zarr")
        print(
            f"{card.name}: halo {card.halo}, {options.size} x {options.size} pixels in blocks of "
            f"{options.chunk}, {torch.get_num_threads()} threads"
        )
        report(ways_of(cube, card, Path(folder)), options.repeats, truth_of(cube, card))


def make_cube(size: int, chunk: int) -> xr.Dataset:
    """Return a cube of one date: smooth random reflectance, all of it measured."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 1.2, (1, len(SENTINEL_2_L2A.names), size // 16, size // 16))
    values = np.kron(coarse, np.ones((16, 16))) + generator.normal(0, 0.01, (1, 1, size, size))
    one = {"units": "1"}
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values.astype(np.float32), one),
            "valid": (("time", "y", "x"), np.ones((1, size, size), bool), one),
        },
        coords={"time": [np.datetime64("2021-08-01", "ns")], "band": list(SENTINEL_2_L2A.names)},
        attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
    )
    box = (600_000, 5_000_000, 600_000 + 10 * size, 5_000_000 + 10 * size)
    out = grid.georeferenced(dataset, GeoBox.from_bbox(box, "EPSG:32632", resolution=10))
    return out.chunk(time=1, band=-1, y=chunk, x=chunk)


def ways_of(cube: xr.Dataset, card: ModelCard, folder: Path) -> dict[str, Any]:
    """Return what to time, by name: a lazy array of best probabilities, or a function."""
    layer = ["facies" if card.task == "facies" else "extent", "confidence"]
    direct = predict(cube, [card], outputs=layer, strategy="direct")
    overlap = predict(cube, [card], outputs=layer, strategy="overlap")

    def written() -> None:
        write(direct, folder / f"layers-{time.monotonic_ns()}.zarr")

    return {
        "bare forward pass (floor)": bare(cube, card),
        "predict, direct": direct["confidence"].data,
        "predict, overlap": overlap["confidence"].data,
        "predict, direct, to a store": written,
        "map_overlap, model in the closure": closure(cube, card),
        "apply_ufunc, no halo": no_halo(cube, card),
    }


def bare(cube: xr.Dataset, card: ModelCard) -> Callable[[], None]:
    """Return the forward pass alone over blocks that are in memory."""
    step = cube["valid"].data.chunksize[1]
    image, _ = stack(cube["reflectance"].values[0], cube["band"].values, card)
    rows, columns = image.shape[1:]
    tiles = [
        torch.from_numpy(np.ascontiguousarray(image[np.newaxis, :, y : y + step, x : x + step]))
        for y in range(0, rows, step)
        for x in range(0, columns, step)
    ]
    network = network_of(card)

    def run() -> None:
        with torch.inference_mode():
            for tile in tiles:
                network(tile)

    return run


def best_of(block: np.ndarray, network: torch.nn.Module, card: ModelCard) -> np.ndarray:
    """Return the best probability (1, y, x) of a block (band, y, x), as users write it."""
    mean = np.array(card.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(card.std, np.float32)[:, np.newaxis, np.newaxis]
    with torch.inference_mode():
        scores = network(torch.from_numpy(((block - mean) / std)[np.newaxis]))[0]
        return (scores / card.temperature).softmax(0).amax(0).numpy()[np.newaxis]


def closure(cube: xr.Dataset, card: ModelCard) -> da.Array:
    """Return the model in the closure of `map_overlap`."""
    network = network_of(card)
    bands = list(positions(cube["band"].values, card))
    return da.map_overlap(
        lambda block: best_of(block, network, card),
        cube["reflectance"].data[0, bands],
        depth={1: card.halo, 2: card.halo},
        boundary="none",
        dtype=np.float32,
        chunks=(1, *cube["reflectance"].data.chunks[2:]),
        meta=BLOCK_META,
    )


def no_halo(cube: xr.Dataset, card: ModelCard) -> da.Array:
    """Return `apply_ufunc` over chunks, which shows seams."""
    network = network_of(card)
    chosen = cube["reflectance"].isel(time=0, band=list(positions(cube["band"].values, card)))
    return xr.apply_ufunc(
        lambda array: da.map_blocks(
            lambda block: best_of(block, network, card),
            array,
            dtype=np.float32,
            chunks=(1, *array.chunks[1:]),
            meta=BLOCK_META,
        ),
        chosen,
        input_core_dims=[["band", "y", "x"]],
        output_core_dims=[["one", "y", "x"]],
        dask="allowed",
    ).data


def truth_of(cube: xr.Dataset, card: ModelCard) -> np.ndarray:
    """Return the best probability of the upper half of the image, from one forward pass."""
    rows = cube.sizes["y"] // 2
    above = cube["reflectance"].isel(time=0, y=slice(0, rows + card.halo)).values
    image, _ = stack(above, cube["band"].values, card)
    network = network_of(card)
    with torch.inference_mode():
        scores = network(torch.from_numpy(image[np.newaxis]))[0, :, :rows]
        return (scores / card.temperature).softmax(0).amax(0).numpy()


def report(ways: dict[str, Any], repeats: int, truth: np.ndarray) -> None:
    """Time all ways in turn and print them as ratios to the first."""
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = clocks()
            way.compute() if isinstance(way, da.Array) else way()
            seconds[name].append(clocks() - start)
    best = {name: np.min(found, axis=0) for name, found in seconds.items()}
    floor = best[next(iter(ways))]
    titles = ("wall s", "ratio", "CPU s", "ratio", "tasks/block", "graph kB", "seams")
    print(f"{'':36}" + "".join(f"{title:>12}" for title in titles))
    for name, way in ways.items():
        numbers = np.stack([best[name], best[name] / floor], axis=1).ravel()
        line = f"{name:36}" + "".join(f"{number:12.2f}" for number in numbers)
        print(line + (graph_of(way, truth) if isinstance(way, da.Array) else ""))


def clocks() -> np.ndarray:
    """Return seconds of the wall and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def graph_of(array: da.Array, truth: np.ndarray) -> str:
    """Return tasks per block, bytes of the graph, and the seams."""
    (ready,) = dask.optimize(array)
    graph = dict(ready.__dask_graph__())
    size = sum(len(cloudpickle.dumps(task)) for task in graph.values()) / 1e3
    found = np.asarray(array)[0][: len(truth)]
    seams = float(np.abs(found - truth).max())
    return f"{len(graph) / array.npartitions:12.1f}{size:12.1f}{seams:12.1e}"


if __name__ == "__main__":
    main()
