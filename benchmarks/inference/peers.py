"""The same job as others do it today, as their users write it; nothing of `infer` is used.

Each takes the store as xarray opens it and the network as PyTorch has it (float32, no allocator
settings), and writes class and confidence to Zarr.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray as xr

from glaciercube.model.channels import positions
from glaciercube.model.registry import network_of
from inference.processes import clocked, serve
from inference.setup import Setup


@dataclass(frozen=True)
class Model:
    """A network with what a user writes around it."""

    network: torch.nn.Module
    mean: np.ndarray
    std: np.ndarray
    """(band, 1, 1)."""

    codes: np.ndarray
    temperature: float
    halo: int

    def normalised(self, image: np.ndarray) -> torch.Tensor:
        """Return images (..., band, y, x) as the network takes them."""
        return torch.from_numpy(((image - self.mean) / self.std).astype(np.float32))

    def reported(self, scores: torch.Tensor) -> np.ndarray:
        """Return class and confidence (n, 2, y, x) of scores (n, category, y, x)."""
        confidence, number = (scores / self.temperature).softmax(dim=1).max(dim=1)
        return np.stack([self.codes[number.numpy()], confidence.numpy()], axis=1)

    def predict(self, image: np.ndarray) -> np.ndarray:
        """Return class and confidence (n, 2, y, x) of images (n, band, y, x)."""
        with torch.inference_mode():
            return self.reported(self.network(self.normalised(image)))


def model_of(setup: Setup, network: str) -> Model:
    """Return a network as it was written, in evaluation mode."""
    card = setup.card(network)
    return Model(
        network=network_of(card),
        mean=np.array(card.mean)[:, np.newaxis, np.newaxis],
        std=np.array(card.std)[:, np.newaxis, np.newaxis],
        codes=np.array(card.codes, np.float32),
        temperature=card.temperature,
        halo=-(-card.halo // card.stride) * card.stride,
    )


def scenes_of(setup: Setup, network: str, chunks: dict[str, int] | None) -> xr.DataArray:
    """Return reflectance (time, band, y, x) of some dates as xarray decodes it."""
    store = xr.open_zarr(setup.cube, chunks=chunks, consolidated=False)
    bands = list(positions(store["band"].to_numpy(), setup.card(network)))
    return store["reflectance"].isel(time=slice(setup.peer_dates), band=bands)


def blocks(setup: Setup) -> dict[str, int]:
    """Return chunks of whole blocks."""
    return {"time": 1, "band": -1, "y": setup.block, "x": setup.block}


def layers_of(scenes: xr.DataArray, reported: Any) -> xr.Dataset:
    """Return class and confidence of an array (time, 2, y, x), to be written."""
    dims = ("time", "y", "x")
    layers = {
        "facies": (dims, reported[:, 0].astype(np.uint8)),
        "confidence": (dims, reported[:, 1]),
    }
    return xr.Dataset(layers, coords={dim: scenes[dim] for dim in dims})


def map_overlap(setup: Setup, network: str, target: Path) -> None:
    """Write what `overlap` and `map_blocks` give, the model in the closure."""
    model, scenes = model_of(setup, network), scenes_of(setup, network, blocks(setup))
    depth = {0: 0, 1: 0, 2: model.halo, 3: model.halo}
    wide = da.overlap.overlap(scenes.data, depth=depth, boundary="none")
    found = wide.map_blocks(
        lambda block: model.predict(block),
        dtype=np.float32,
        chunks=(wide.chunks[0], (2,), *wide.chunks[2:]),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    whole = da.overlap.trim_overlap(found, depth=depth, boundary="none")
    layers_of(scenes, whole).to_zarr(target, consolidated=False)


def apply_ufunc(setup: Setup, network: str, target: Path) -> None:
    """Write what `apply_ufunc` gives, block by block without halo."""
    model, scenes = model_of(setup, network), scenes_of(setup, network, blocks(setup))

    def predict(block: np.ndarray) -> np.ndarray:
        return np.moveaxis(model.predict(np.moveaxis(block, -1, 1)), 1, -1)

    found = xr.apply_ufunc(
        predict,
        scenes,
        input_core_dims=[["band"]],
        output_core_dims=[["layer"]],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"layer": 2}},
        output_dtypes=[np.float32],
    ).transpose("time", "layer", "y", "x")
    layers_of(scenes, found.data).to_zarr(target, consolidated=False)


def xbatcher_loop(setup: Setup, network: str, target: Path) -> None:
    """Write what a loop over overlapping batches gives; what no batch covers stays empty."""
    xbatcher = import_module("xbatcher")
    model, scenes = model_of(setup, network), scenes_of(setup, network, None)
    shape = (scenes.sizes["time"], 2, scenes.sizes["y"], scenes.sizes["x"])
    reported = np.full(shape, 255, np.float32)
    halo, side = model.halo, setup.tile + 2 * model.halo
    numbered = scenes.assign_coords(
        time=np.arange(shape[0]), y=np.arange(shape[2]), x=np.arange(shape[3])
    )
    batches = xbatcher.BatchGenerator(
        numbered,
        input_dims={"time": 1, "band": scenes.sizes["band"], "y": side, "x": side},
        input_overlap={"y": 2 * halo, "x": 2 * halo},
        preload_batch=False,
    )
    for batch in batches:
        found = model.predict(batch.to_numpy())
        time, top, left = (int(batch[dim][0]) for dim in ("time", "y", "x"))
        above, before = (halo if top else 0), (halo if left else 0)
        inner = found[0, :, above : side - halo, before : side - halo]
        y, x = top + above, left + before
        reported[time, :, y : y + inner.shape[1], x : x + inner.shape[2]] = inner
    write_blocks(setup, scenes, reported, target)


def monai_window(setup: Setup, network: str, target: Path) -> None:
    """Write what a sliding window with blended overlaps gives, a date at a time in memory."""
    inferers = import_module("monai.inferers")
    model, scenes = model_of(setup, network), scenes_of(setup, network, None)
    reported = []
    with torch.inference_mode():
        for scene in scenes:
            scores = inferers.sliding_window_inference(
                model.normalised(scene.to_numpy()[np.newaxis]),
                roi_size=(setup.tile, setup.tile),
                sw_batch_size=4,
                predictor=model.network,
                overlap=0.25,
                mode="gaussian",
            )
            reported.append(model.reported(scores))
    write_blocks(setup, scenes, np.concatenate(reported), target)


def write_blocks(setup: Setup, scenes: xr.DataArray, reported: np.ndarray, target: Path) -> None:
    """Write an array in blocks as the others do."""
    chunks = (1, min(setup.block, setup.size), min(setup.block, setup.size))
    encoding = {name: {"chunks": chunks} for name in ("facies", "confidence")}
    layers_of(scenes, reported).to_zarr(target, encoding=encoding, consolidated=False)


PEERS: dict[str, Callable[[Setup, str, Path], None]] = {
    "map_overlap": map_overlap,
    "apply_ufunc": apply_ufunc,
    "xbatcher": xbatcher_loop,
    "monai": monai_window,
}


def peer(setup: Setup, name: str, network: str) -> dict[str, Any]:
    """Time one of them."""
    target = setup.result(f"peer-{name}-{network}").with_suffix(".zarr")
    rmtree(target, ignore_errors=True)
    found: dict[str, Any] = {}
    with clocked(found):
        PEERS[name](setup, network, target)
    layers = xr.open_zarr(target, chunks=None, consolidated=False, mask_and_scale=False)
    codes = layers["facies"].to_numpy()
    np.save(setup.result(f"peer-{name}-{network}"), codes[0, : setup.corner, : setup.corner])
    rmtree(target)
    return found | {"useful": int((codes != 255).sum()), "result": f"peer-{name}-{network}"}


WAYS = {"peer": peer}

if __name__ == "__main__":
    serve(WAYS)
