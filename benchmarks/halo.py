"""The effective halo of a U-Net: how small it is, how often classes differ, what it saves.

Run: python benchmarks/halo.py [--size 1024] [--block 256] [--width 8] [--steps 600] [--data DIR]
A U-Net of depth 4 (stride 16, exact halo 96) is trained briefly on simulated scenes, with the
spectra of DATA/usgs-benchmark-spectra. Then a simulated archive of three dates that it never saw is
ingested, and `predict(..., halo="effective")` is called for several bounds, as a user would. The
table says what the layers tell of it, and beside it the truth: how many of all classes of the cube
differ from those of the exact halo, and the time of the whole prediction as a share of the exact
one's. Everything runs in one process, in turn; read ratios, not seconds. All images are simulated.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from safetensors.torch import save_file

import glaciercube as gcube
from glaciercube.infer.halos import of_attrs
from glaciercube.model.card import ModelCard, read_card, write_card
from glaciercube.model.unet import UNet
from glaciercube.model.weights import sha256_of
from glaciercube.schema import NODATA
from glaciercube.train import loop, recipes

DATES = ("2021-08-10", "2022-08-20", "2023-08-30")
BOUNDS = (1e-2, 1e-3, 1e-4, 3e-5)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=1024, help="pixels of a side (1024)")
    parser.add_argument("--block", type=int, default=256, help="pixels of a side (256)")
    parser.add_argument("--width", type=int, default=8, help="filters at full resolution (8)")
    parser.add_argument("--steps", type=int, default=600, help="of training (600)")
    parser.add_argument("--scenes", type=int, default=40, help="to learn from (40)")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--keep", help="folder for the network and the cube, found there again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        card = trained(folder, options)
        report(card, stored(folder, options), options)


def trained(folder, options):
    """Return the card of a U-Net that was trained for a while."""
    path = folder / f"unet-{options.width}-{options.steps}-{options.scenes}.json"
    if path.exists():
        return read_card(path)
    recipe = replace(recipes.recipe_of("facies"), scenes=options.scenes, held_out_scenes=8)
    train, test = recipes.patches_of(recipe, options.data)
    torch.manual_seed(0)
    arguments = {"width": options.width, "depth": 4}
    network = UNet(len(recipes.BANDS), len(recipe.categories), **arguments)
    loop.fit(network, train, loop.Schedule(steps=options.steps, crop=128), progress=True)
    said = loop.scores_of(network, test.images).argmax(axis=1)
    known = test.targets != NODATA
    print(f"{(said == test.targets)[known].mean():.1%} of the held-out pixels are right")
    weights = path.with_suffix(".safetensors")
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
    card = ModelCard(
        name="unet",
        version="0",
        task="facies",
        architecture="unet",
        arguments=arguments,
        weights=str(weights.absolute()),
        sha256=sha256_of(weights),
        bands=recipes.CARD_BANDS,
        mean=(0.0,) * len(recipes.BANDS),
        std=(1.0,) * len(recipes.BANDS),
        categories=recipe.categories,
        halo=network.halo,
        stride=network.stride,
        radiometry=("surface", "top-of-atmosphere"),
        resolution_m=(10.0, 30.0),
        licence="Apache-2.0",
    )
    write_card(card, path)
    return card


def stored(folder, options):
    """Return a simulated cube as read from its store."""
    path = folder / f"cube-{options.size}-{options.block}.zarr"
    archive = gcube.simulate(folder / f"archive-{options.size}", size=options.size, dates=DATES)
    cube = gcube.load(gcube.search(archive.catalog), chunk=options.block)
    gcube.write(cube[["reflectance", "valid"]], path)
    return gcube.read(path)


def report(card, cube: xr.Dataset, options) -> None:
    """Print what was measured, and what is true."""
    start = time.perf_counter()
    exact = gcube.predict(cube, card, outputs=["facies"])["facies"].values
    whole = time.perf_counter() - start
    measured = int((exact != NODATA).sum())
    side = options.block
    print(
        f"U-Net of width {options.width}, exact halo {card.halo}, {len(DATES)} simulated dates of "
        f"{options.size} x {options.size} pixels in blocks of {side}, {measured} measured, "
        f"{torch.get_num_threads()} threads; exact {whole:.1f} s"
    )
    print("| bound | halo | differ in the sample | at most (95 %) | differ in the cube | "
          "pixels read | time | measuring |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for bound in BOUNDS:
        start = time.perf_counter()
        layers = gcube.predict(cube, card, outputs=["facies"], halo="effective", disagreement=bound)
        asked = time.perf_counter() - start
        found = of_attrs(layers.attrs)
        start = time.perf_counter()
        codes = layers["facies"].values
        seconds = time.perf_counter() - start
        read = ((side + 2 * found.halo) / (side + 2 * found.exact)) ** 2
        print(
            f"| {bound:g} | {found.halo} | {found.disagreement:.2g} | {found.upper:.2g} | "
            f"{np.count_nonzero(codes != exact) / measured:.2g} | {read:.2f} | "
            f"{seconds / whole:.2f} | {asked / whole:.2f} |"
        )
    for halo in range(0, card.halo, card.stride):
        codes = gcube.predict(cube, card, outputs=["facies"], halo=halo)["facies"].values
        print(f"halo {halo}: {np.count_nonzero(codes != exact) / measured:.2g} differ in the cube")


if __name__ == "__main__":
    main()
