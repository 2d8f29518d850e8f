"""Our ways, and the bare network that they are compared with; each runs in its own process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from shutil import rmtree
from typing import Any
from unittest.mock import patch

import dask
import numpy as np
import shapely
import torch
import xarray as xr

from glaciercube.cluster.memory import demand_of
from glaciercube.cluster.workers import local_client
from glaciercube.cover.regions import Region
from glaciercube.infer import allocator, block, runtimes, threads
from glaciercube.infer.choices import Choice
from glaciercube.infer.layers import networks_of
from glaciercube.infer.lazy import predict
from glaciercube.model.channels import stack
from glaciercube.model.reference import ModelRef
from glaciercube.model.registry import network_of
from glaciercube.store.reading import read
from glaciercube.store.settling import settled
from glaciercube.store.writing import write
from inference.processes import clocked, memory, serve
from inference.setup import Setup

OUTPUTS = ("facies", "confidence")


def tiles_of(setup: Setup, network: str, side: int, size: int) -> list[np.ndarray]:
    """Return normalised tiles (1, channel, y, x) of the corner of the first date."""
    card, cube = setup.card(network), read(setup.cube)
    image = cube["reflectance"][0, :, :size, :size].to_numpy()
    channels, _ = stack(image, cube["band"].to_numpy(), card)
    return [
        np.ascontiguousarray(channels[np.newaxis, :, y : y + side, x : x + side])
        for y in range(0, size, side)
        for x in range(0, size, side)
    ]


def whole(tile: np.ndarray) -> tuple[slice, slice]:
    """Return all rows and columns of a tile."""
    return slice(0, tile.shape[2]), slice(0, tile.shape[3])


def floor(setup: Setup, network: str, runtime: str, dates: int) -> dict[str, Any]:
    """Time the forward passes alone over blocks without halo, their input in memory."""
    run = runtimes.runtime_of(runtimes.ref_for(setup.card(network), runtime)).scores
    tiles = tiles_of(setup, network, setup.block, setup.size)
    run(tiles[0], whole(tiles[0]))
    found: dict[str, Any] = {"policy": str(threads.policy())}
    with clocked(found):
        for _ in range(dates):  # the numbers do not matter to the time
            for tile in tiles:
                run(tile, whole(tile))
    return found


def speed(
    setup: Setup, network: str, runtime: str, side: int, repeats: int, name: str = ""
) -> dict[str, Any]:
    """Time a runtime on the tiles of the corner, and keep what classes it sees."""
    ref = runtimes.ref_for(setup.card(network), runtime)
    found: dict[str, Any] = {}
    with clocked(build := {}):
        run = runtimes.runtime_of(ref).scores
        tiles = tiles_of(setup, network, side, setup.corner)
        codes = [run(tile, whole(tile))[0].argmax(axis=0) for tile in tiles[:1]]
    for _ in range(repeats):
        with clocked(once := {}):
            scores = [run(tile, whole(tile)) for tile in tiles]
        if not found or once["seconds"] < found["seconds"]:
            found = once
    codes = np.stack([score[0].argmax(axis=0).ravel() for score in scores])
    result = f"speed-{network}-{name or runtime}"
    np.save(setup.result(result), codes.astype(np.uint8))
    kept = allocator.keep_buffers()
    told = {"build": build["seconds"], "pixels": codes.size, "kept": kept, "result": result}
    return found | told


def truth(setup: Setup, network: str) -> dict[str, Any]:
    """Keep the classes of the corner of the first date, from one eager forward pass.

    What lies beyond the corner is seen as far as the halo reaches.
    """
    card, cube = setup.card(network), read(setup.cube)
    reach = -(-card.halo // card.stride) * card.stride
    side = min(setup.size, setup.corner + reach)
    image = cube["reflectance"][0, :, :side, :side].to_numpy()
    channels, _ = stack(image, cube["band"].to_numpy(), card)
    with torch.inference_mode():
        scores = network_of(card)(torch.from_numpy(channels[np.newaxis]))[0]
    codes = np.array(card.codes, np.uint8)[scores.argmax(dim=0).numpy()]
    codes = codes[: setup.corner, : setup.corner]
    np.save(setup.result(f"truth-{network}"), codes)
    numbers = np.unique(codes, return_counts=True)
    shares = {str(code): float(count / codes.size) for code, count in zip(*numbers, strict=True)}
    return {"shares": shares}


@contextmanager
def counted() -> Iterator[list[tuple[int, int]]]:
    """Give a list that grows by the shape of what is read for each pass through a network here."""
    original, shapes = block.predict_block, []

    def predict_block(read: block.Read, *more: Any, **named: Any) -> np.ndarray:
        shapes.append(read.window.shape)
        return original(read, *more, **named)

    with patch.object(block, "predict_block", predict_block):
        yield shapes


def layers_of(
    setup: Setup, network: str, cube: xr.Dataset, runtime: str, **options: Any
) -> xr.Dataset:
    """Return what is to be written, class and confidence; the runtime is settled if it is named."""
    more = {"runtime": (Choice(runtime),)} if runtime else {}
    layers = predict(cube, [setup.card(network)], outputs=OUTPUTS, **more, **options)
    return layers[list(OUTPUTS)]


def choose(setup: Setup, network: str) -> dict[str, Any]:
    """Time how the runtime of a store is chosen, which is done before its first block."""
    layers = layers_of(setup, network, read(setup.cube), "")
    found: dict[str, Any] = {}
    with clocked(found):
        (network_told,) = networks_of(settled(layers, None).attrs)
    (name,) = [name for name, how in runtimes.CHOICES.items() if how == _how(network_told)]
    return found | {"runtime": name, "agreement": network_told.get("agreement", 1.0)}


def reach(setup: Setup, network: str, runtime: str) -> dict[str, Any]:
    """Time how the effective halo of a store is measured, which is done before its first block."""
    found: dict[str, Any] = {}
    with clocked(found):
        layers = layers_of(setup, network, read(setup.cube), runtime, halo="effective")
    told = {key: layers.attrs[key] for key in ("halo", "halo_disagreement", "halo_sample_pixels")}
    return found | {key: float(value) for key, value in told.items()}


def _how(told):
    return told["runtime"], told["precision"]


def region_of(setup: Setup, share: float) -> tuple[Region, float]:
    """Return a square that covers a share of the pixels, and the share of blocks it touches.

    It starts at a block's corner, or lies within a block if it is smaller.
    """
    side = round(setup.size * share**0.5)
    start = min(setup.block, setup.size - side)
    if side < setup.block:
        start += min(setup.block, setup.size - start) // 2 - side // 2
    region = Region((shapely.to_wkb(shapely.box(start, start, start + side, start + side)),))
    along = (start + side - 1) // setup.block - start // setup.block + 1
    return region, along**2 / setup.blocks


def ours(  # noqa: PLR0913 - each figure varies one of them
    setup: Setup,
    network: str,
    runtime: str = "",
    halo: int | None = None,
    dates: int = 0,
    share: float = 1.0,
    cube: tuple[int, int] = (0, 0),
    warm: bool = True,
) -> dict[str, Any]:
    """Time predict and write, from Zarr to Zarr.

    Parameters
    ----------
    setup : Setup
    network : str
    runtime : str
        That the store has; "" for the default, which is chosen first.
    halo : int, optional
        Pixels; the exact one by default.
    dates : int
        How many, from the first on; all if 0.
    share : float
        Of the pixels that are of interest.
    cube : tuple of int
        Size and dates of another cube than the usual one.
    warm : bool
        Whether the runtime, if it is named, is loaded before the clock runs, and has seen tiles
        of the sizes to come, as the floor's has; and the file of the weights is checked.
    """
    path = setup.cube_of(*cube) if cube[0] else setup.cube
    given = read(path)
    if dates:
        given = read(path, time=list(given["time"].to_numpy()[:dates]))
    options: dict[str, Any] = {} if halo is None else {"halo": halo}
    found: dict[str, Any] = {}
    if share < 1:
        options["region"], found["touched"] = region_of(setup, share)
    name = f"{network}-{runtime or 'default'}-{halo}-{share}"
    target = setup.result(name).with_suffix(".zarr")
    rmtree(target, ignore_errors=True)
    if runtime and warm:
        reach = setup.card(network).halo if halo is None else halo
        warmed(runtimes.ref_for(setup.card(network), runtime), setup.block, reach)
        layers_of(setup, network, given, runtime, **options)  # reads and checks its weights' file
    with counted() as shapes, clocked(found):
        layers = layers_of(setup, network, given, runtime, **options)
        report = write(layers, target)
    found["forwarded"] = sum(rows * columns for rows, columns in shapes)
    found["largest"] = max(shapes, key=lambda shape: shape[0] * shape[1])
    found["useful"] = report.written * setup.block**2 if share == 1 else 0
    found["blocks"] = report.written
    kept = read(target)
    found["attrs"] = {key: str(value) for key, value in kept.attrs.items() if key != "provenance"}
    codes = kept["facies"][0, : setup.corner, : setup.corner].to_numpy()
    np.save(setup.result(name), codes)
    rmtree(target)
    return found | {"result": name}


def activations(
    setup: Setup, network: str, runtime: str, rows: int, columns: int
) -> dict[str, Any]:
    """Measure what one forward pass of a tile adds to the memory of a process."""
    ref = runtimes.ref_for(setup.card(network), runtime)
    baseline = memory()["VmRSS"]
    run = runtimes.runtime_of(ref).scores
    loaded = memory()["VmRSS"]
    tile = np.zeros((1, len(ref.card.bands), rows, columns), np.float32) + np.float32(0.1)
    found: dict[str, Any] = {"baseline": baseline, "model": loaded - baseline}
    with clocked(found):
        run(tile, whole(tile))
    policy = threads.policy()
    return found | {"slots": policy.slots, "threads": dask.system.CPU_COUNT}


def spread(setup: Setup, network: str, runtime: str, workers: int) -> dict[str, Any]:
    """Time predict and write on worker processes of one thread each."""
    card = setup.card(network)
    demand = demand_of({"sensor": "sentinel-2-l2a", "block": setup.block}, [card])
    target = setup.result(f"spread-{network}-{workers}").with_suffix(".zarr")
    rmtree(target, ignore_errors=True)
    ref = runtimes.ref_for(card, runtime)
    found: dict[str, Any] = {}
    with local_client(demand, workers=workers, threads=1) as client:
        client.run(warmed, ref, setup.block, card.halo)
        before = sum(client.run(time.process_time).values())
        with clocked(found):
            write(layers_of(setup, network, read(setup.cube), runtime), target)
        found["cpu"] = sum(client.run(time.process_time).values()) - before
    rmtree(target)
    return found


def warmed(ref: ModelRef, block: int, halo: int) -> str:
    """Load a network and run it once on each size of tile to come; in a worker or here."""
    run = runtimes.runtime_of(ref).scores
    for rows, columns in product((block + halo, block + 2 * halo), repeat=2):
        tile = np.zeros((1, len(ref.card.bands), rows, columns), np.float32)
        run(tile, whole(tile))
    return str(threads.policy())


WAYS = {
    "floor": floor,
    "speed": speed,
    "truth": truth,
    "choose": choose,
    "reach": reach,
    "ours": ours,
    "activations": activations,
    "spread": spread,
}

if __name__ == "__main__":
    serve(WAYS)
