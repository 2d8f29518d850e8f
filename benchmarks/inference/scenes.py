"""The cube that is predicted, and the networks, one of which has learned such scenes.

Made once, kept.
Run in processes of their own: a large scene takes gigabytes, and torch stays out of the caller.
"""

import shutil
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray as xr
from odc.geo.geobox import GeoBox
from safetensors.torch import save_file

from glaciercube import grid, schema
from glaciercube.infer import calibration
from glaciercube.infer.choices import Sample
from glaciercube.model.card import ModelCard, read_card, write_card
from glaciercube.model.channels import stack
from glaciercube.model.unet import UNet
from glaciercube.model.weights import sha256_of
from glaciercube.model.zoo import card_of, place_of
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate import materials
from glaciercube.simulate.landscape import Landscape, make_landscape
from glaciercube.simulate.scene import Scene, render
from glaciercube.store.reading import read
from glaciercube.store.writing import write
from glaciercube.train import loop
from glaciercube.train.samples import Patches
from inference.processes import serve
from inference.setup import Setup

RESOLUTION = 10.0
SCENES = 48
"""That the U-Net learns from, of 256 x 256 pixels."""

MOST = 3
"""Dates that are simulated; longer cubes have these again and again."""


def make_cube(setup: Setup, size: int, dates: int) -> dict[str, Any]:
    """Write the cube of a size unless it is there."""
    setup.result("any").parent.mkdir(parents=True, exist_ok=True)
    path = setup.cube_of(size, dates)
    if not path.exists():
        draft = path.with_name(f"draft-{path.name}")
        write(cube_of(size, dates, setup.block), draft)
        draft.rename(path)
    return {}


def cube_of(size: int, dates: int, block: int) -> xr.Dataset:
    """Return one landscape at some dates, all of it measured."""
    landscape = _landscape((size, size), seed=0)
    seen = [_scene(landscape, seed=number).reflectance for number in range(min(dates, MOST))]
    chunks = (-1, block, block)
    arrays = [da.from_array(array, chunks=chunks, name=False) for array in seen]
    values = da.stack([arrays[number % MOST] for number in range(dates)])
    valid = da.ones((dates, size, size), chunks=(1, block, block), dtype=bool)
    one = {"units": "1"}
    first = np.datetime64("2021-07-01", "ns")
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values, one),
            "valid": (("time", "y", "x"), valid, one),
        },
        coords={
            "time": first + np.arange(dates) * np.timedelta64(10, "D"),
            "band": list(SENTINEL_2_L2A.names),
        },
        attrs={"sensor": "sentinel-2-l2a", "level": "surface", "simulated": 1},
    )
    return georeferenced(dataset, size)


def georeferenced(dataset: xr.Dataset, size: int) -> xr.Dataset:
    """Return a dataset on a grid of Sentinel-2."""
    span = int(size * RESOLUTION)
    box = (600_000, 5_000_000, 600_000 + span, 5_000_000 + span)
    return grid.georeferenced(dataset, GeoBox.from_bbox(box, "EPSG:32632", resolution=RESOLUTION))


def _landscape(shape: tuple[int, int], seed: int) -> Landscape:
    """Return mountains with glaciers on the higher ground, as wide as the scene."""
    return make_landscape(
        shape,
        RESOLUTION,
        np.random.default_rng((1, seed)),
        bottom_m=1800.0,
        top_m=3400.0,
        extent_m=max(shape) * RESOLUTION,
        ice_share=0.4,
        debris=0.6,
        flow_steps=800,
        centre_y=0.5,
        centre_x=0.5,
    )


def _scene(landscape: Landscape, seed: int) -> Scene:
    generator = np.random.default_rng((2, seed))
    conditions = {
        "snowline_m": landscape.ela_m + float(generator.normal(0, 80)),
        "retreat": float(generator.uniform(0, 0.5)),
        "cloud_fraction": 0.1,
    }
    return render(landscape, materials.TYPICAL, rng=generator, **conditions)


def train(setup: Setup) -> dict[str, Any]:
    """Train the U-Net with a fixed seed unless its weights are there."""
    path = setup.plain("unet")
    if path.exists():
        return {}
    categories = card_of("facies").categories
    patches, mean, std = _patches(categories)
    torch.manual_seed(0)
    network = UNet(len(mean), len(categories), width=setup.width)
    schedule = loop.Schedule(steps=setup.steps, batch=4, crop=128, learning_rate=2e-3)
    losses = loop.fit(network, patches, schedule)
    weights = path.with_suffix(".safetensors")
    save_file(network.state_dict(), weights)
    card = ModelCard(
        name=f"unet-{setup.width}",
        version="1",
        task="facies",
        architecture="unet",
        arguments={"width": setup.width},
        weights=str(weights),
        sha256=sha256_of(weights),
        bands=SENTINEL_2_L2A.names,
        mean=mean,
        std=std,
        categories=categories,
        halo=network.halo,
        stride=network.stride,
        radiometry=("surface",),
        resolution_m=(RESOLUTION, RESOLUTION),
        training={"steps": setup.steps, "final_loss": float(np.mean(losses[-20:]))},
        licence="Apache-2.0",
    )
    write_card(card, path)
    return {"loss": float(np.mean(losses[-20:]))}


def _patches(categories):
    """Return normalised scenes with their facies, and the mean and deviation of each band."""
    scenes = [_scene(_landscape((256, 256), seed), seed) for seed in range(1, SCENES + 1)]
    table = np.full(256, schema.NODATA, np.uint8)
    table[list(schema.codes(categories))] = np.arange(len(categories))
    images = np.stack([scene.reflectance for scene in scenes]).astype(np.float32)
    mean, std = images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3))
    shape = (1, -1, 1, 1)
    patches = Patches(
        images=(images - mean.reshape(shape)) / std.reshape(shape),
        targets=table[np.stack([scene.facies for scene in scenes])],
        bands=SENTINEL_2_L2A.names,
        categories=categories,
    )
    return patches, tuple(map(float, mean)), tuple(map(float, std))


def calibrate(setup: Setup, network: str) -> dict[str, Any]:
    """Calibrate a network for 8-bit integers on tiles of the cube's last date, unless it is."""
    if network == "fcn" and not setup.plain(network).exists():
        bundled = card_of("facies")
        weights = shutil.copy(place_of(bundled), setup.plain(network).with_suffix(".safetensors"))
        write_card(replace(bundled, weights=str(weights)), setup.plain(network))
    if not setup.calibrated(network).exists():
        card = read_card(setup.plain(network))
        calibration.calibrate(card, list(_samples(setup, card)), setup.calibrated(network))
    return {"agreement": read_card(setup.calibrated(network)).quantized["agreement"]}


def _samples(setup, card):
    """Yield tiles of the whole extent, as the network sees them."""
    cube = read(setup.cube)
    side = min(setup.tile, setup.size // 4)
    step = (setup.size - side) // 3
    for y in range(0, setup.size - side + 1, step):
        for x in range(0, setup.size - side + 1, step):
            image = cube["reflectance"][-1, :, y : y + side, x : x + side].to_numpy()
            channels, measured = stack(image, cube["band"].to_numpy(), card)
            yield Sample(channels, measured)


WAYS = {"cube": make_cube, "train": train, "calibrate": calibrate}

if __name__ == "__main__":
    serve(WAYS)
