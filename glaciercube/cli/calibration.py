"""`calibrate`: a network in 8-bit integers, with ranges from a cube or from simulated scenes."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from glaciercube import api
from glaciercube.model.card import write_card
from glaciercube.model.zoo import card_of
from glaciercube.optional import load

SEED = 500_000
"""Of simulated scenes: others than those that the bundled networks learned from."""

SCENES = 24
"""Simulated to find ranges with, and as many to count agreement on."""


def run(options: Namespace) -> None:
    """Run the command."""
    calibration = load("glaciercube.infer.calibration")
    card = card_of(options.model)
    if options.cube:
        images = calibration.tiles_of(api.read(options.cube), card)
        given = {"images": images, "source": f"cut from {Path(options.cube).name}"}
    else:
        given = _simulated(card, options.spectra)
    found = calibration.calibrate(card, folder=options.out, **given)
    path = write_card(found, Path(options.out) / f"{card.name}.json")
    share, pixels = found.quantized["agreement"], found.quantized["pixels"]
    print(f"wrote {path}; {share:.3%} of {pixels} held-out pixels have the class of float32")


def _simulated(card, spectra):
    """Return what the recipe of a bundled network would train and measure it with."""
    recipes = load("glaciercube.train.recipes")
    recipe = replace(recipes.recipe_of(card.name), scenes=SCENES, held_out_scenes=SCENES)
    train, test = recipes.patches_of(recipe, spectra, seed=SEED, progress=True)
    source = (
        f"{len(train.images)} patches of scenes simulated by the training recipe with seed {SEED}; "
        f"agreement on {len(test.images)} with the spectra of {', '.join(recipes.HELD_OUT)}, which "
        "no training scene used"
    )
    return {"images": train.images, "held_out": test.images, "source": source}
