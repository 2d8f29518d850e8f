"""The bundled networks, from spectra to weights and card: one call each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch

from glaciercube.errors import WeightsError
from glaciercube.model.authoring import save_weights
from glaciercube.model.card import ModelCard, write_card
from glaciercube.model.fcn import FCN
from glaciercube.model.inspector import inspect
from glaciercube.train import evaluation, loop, spectra
from glaciercube.train.augmentation import Augmentation
from glaciercube.train.samples import Patches, cached, make_patches
from glaciercube.train.scenes import FINE, simulated

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
"""Bands that Sentinel-2 and Landsat 4-9 both measure."""

CARD_BANDS = ("blue", "green", "red", "nir|nir08", "swir16", "swir22")

HELD_OUT = ("Sperry",)
"""Glacier whose spectra are in no training scene, only in those that measure the network."""

TRAINING_GLACIERS = ("Gulkana", "SouthCascade", "Wolverine")

VERSION = "1.0.0"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One bundled network: what it tells apart and from how many scenes it learns."""

    task: Literal["facies", "extent"]
    categories: tuple[str, ...]
    width: int
    dilations: tuple[int, ...]
    unlabelled: tuple[str, ...]
    limits: tuple[str, ...]
    balance: float
    """See `glaciercube.train.loop.Schedule`."""

    scenes: int = 400
    held_out_scenes: int = 60


NEW_SNOW: Mapping[str, str] = MappingProxyType(
    {
        "extent": "a third of the scenes: measured snow made brighter in the short-wave infrared "
        f"(up to {FINE:.1f}, an assumption not checked against its source) and dusted on ice",
        "facies": "none beyond the measured spectra, which are of summer snow",
    }
)
"""What the cards say of new snow; see `glaciercube.train.scenes.with_fresh_snow`."""

_LIMITS = (
    "Trained on simulated scenes only; no image of a glacier was among them.",
    "Cloud, vegetation and the shape of glaciers are simulated; firn is a stated mixture of "
    "the spectra of snow and ice.",
    "Made for pixels of 10 to 30 m and the end of the melt season.",
)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "facies": Recipe(
            task="facies",
            categories=("ice", "snow", "debris", "firn", "shadow", "water", "cloud", "land"),
            width=32,
            dilations=(1, 2, 4, 8),
            balance=0.35,
            unlabelled=("firn", "shadow", "cloud", "land"),
            limits=(
                *_LIMITS,
                "Debris on ice and bare rock have the same spectrum: they are told apart by "
                "their surroundings alone.",
                "It does not know a glacier from a snowy slope; use an extent network or outlines.",
            ),
        ),
        "extent": Recipe(
            task="extent",
            categories=("not_glacier", "glacier", "obscured"),
            width=32,
            dilations=(),
            balance=0.0,
            unlabelled=("not_glacier", "glacier", "obscured"),
            limits=(
                *_LIMITS,
                "One image cannot tell seasonal snow from a glacier: snow is taken for glacier, so "
                "use scenes of the end of the melt season.",
                "It looks at each pixel alone: debris-covered ice is missed. Networks with "
                "surroundings did worse on real ice, as simulated margins are too simple; this "
                "was seen on the two labelled images of Vinciguerra glacier, which are therefore "
                "no independent test of this choice.",
            ),
        ),
    }
)


def train_bundled(
    name: str,
    data: Path | str,
    out: Path | str,
    *,
    steps: int = 2500,
    seed: int = 0,
    cache: Path | str | None = None,
    progress: bool = False,
) -> ModelCard:
    """Train a bundled network, write its weights and its card, and return the card.

    Parameters
    ----------
    name : str
        "facies" or "extent".
    data : path
        Folder with the spectra; see `glaciercube.train.spectra.NEEDED`.
    out : path
        Folder for `<name>.safetensors` and `<name>.json`.
    steps : int
        Training steps of 8 patches.
    seed : int
        Of the scenes, the initial weights and the order of the patches.
    cache : path, optional
        Folder that keeps the patches, so that a second run does not simulate again.
    progress : bool
        Show progress bars.

    Returns
    -------
    ModelCard

    Raises
    ------
    WeightsError
        If there is no such network, or the loss is not a number.
    AcquireError
        If the spectra are missing.
    """
    recipe = recipe_of(name)
    train, test = patches_of(recipe, data, seed=seed, cache=cache, progress=progress)
    arguments: dict[str, Any] = {
        "bands": len(BANDS),
        "categories": len(recipe.categories),
        "width": recipe.width,
        "dilations": list(recipe.dilations),
        "spectral": True,
    }
    torch.manual_seed(seed)
    network = FCN(**arguments)
    schedule = loop.Schedule(steps=steps, seed=seed, balance=recipe.balance)
    losses = loop.fit(network, train, schedule, augmentation=Augmentation(), progress=progress)
    temperature, metrics = measure(network, test)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}.safetensors"
    sha256 = save_weights(network, weights)
    card = ModelCard(
        name=name,
        version=VERSION,
        task=recipe.task,
        architecture="fcn",
        arguments=arguments,
        weights=str(weights.absolute()),
        sha256=sha256,
        bands=CARD_BANDS,
        mean=(0.0,) * len(BANDS),
        std=(1.0,) * len(BANDS),
        categories=recipe.categories,
        halo=network.halo,
        inspection=inspect(network.eval(), len(BANDS)).record(),
        radiometry=("surface", "top-of-atmosphere"),
        temperature=temperature,
        resolution_m=(10.0, 30.0),
        training=_training(recipe, schedule, train, losses),
        metrics=metrics,
        limits=recipe.limits,
        licence="Apache-2.0",
        unlabelled=recipe.unlabelled,
    )
    write_card(card, folder / f"{name}.json")
    return card


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a bundled network.

    Raises
    ------
    WeightsError
        If there is none; the message lists the names.

    Examples
    --------
    >>> recipe_of("extent").categories
    ('not_glacier', 'glacier', 'obscured')
    """
    if name not in RECIPES:
        raise WeightsError(f"there is no recipe {name!r}; there are {sorted(RECIPES)}")
    return RECIPES[name]


def patches_of(
    recipe: Recipe,
    data: Path | str,
    *,
    seed: int = 0,
    cache: Path | str | None = None,
    progress: bool = False,
) -> tuple[Patches, Patches]:
    """Return the patches to learn from and those to measure with.

    Parameters
    ----------
    recipe : Recipe
    data, seed, cache, progress
        As of `train_bundled`.

    Returns
    -------
    train, test : Patches
        From other landscapes each, and from spectra of other glaciers.
    """
    parts = []
    sets = (
        (TRAINING_GLACIERS, recipe.scenes, seed),
        (HELD_OUT, recipe.held_out_scenes, seed + 100_000),
    )
    for glaciers, count, first in sets:
        materials = spectra.materials(data, glaciers=glaciers, seed=first)

        def make(materials=materials, count=count, first=first):
            scenes = simulated(
                recipe.task,
                recipe.categories,
                materials,
                count=count,
                seed=first,
                progress=progress,
            )
            return make_patches(scenes, recipe.categories, bands=BANDS)

        key = {"task": recipe.task, "materials": materials, "count": count, "seed": first}
        parts.append(cached(make, cache, key))
    return parts[0], parts[1]


def measure(network: FCN, patches: Patches) -> tuple[float, dict[str, Any]]:
    """Return the temperature and the metrics of a network on patches it never saw.

    Parameters
    ----------
    network : FCN
    patches : Patches
        The first half sets the temperature, the second half gives the metrics.

    Returns
    -------
    temperature : float
    metrics : dict
        See `glaciercube.train.evaluation.evaluate`.
    """
    half = len(patches.images) // 2
    scores = loop.scores_of(network, patches.images)
    temperature = evaluation.temperature_of(scores[:half], patches.targets[:half])
    found = evaluation.evaluate(
        scores[half:], patches.targets[half:], patches.categories, temperature
    )
    return temperature, {"held_out_simulated": {"glaciers": list(HELD_OUT), **found}}


def _training(recipe, schedule, train, losses):
    return {
        "scenes": "simulated by glaciercube.simulate, rendered at surface and at top of atmosphere",
        "spectra": [
            {
                "name": "USGS benchmark glacier training data, Sentinel-2 surface reflectance 2021",
                "licence": "MIT",
                "glaciers": list(TRAINING_GLACIERS),
                "held_out": list(HELD_OUT),
            },
            {
                "name": "Greenland field spectra (Cook et al. 2020), convolved to Sentinel-2",
                "licence": "not stated by the source",
            },
            {"name": "typical values of glaciercube.simulate.materials (vegetation, cloud)"},
        ],
        "new_snow": NEW_SNOW[recipe.task],
        "normalisation": "none: the network takes logarithms and normalised differences itself",
        "steps": schedule.steps,
        "batch": schedule.batch,
        "crop": schedule.crop,
        "seed": schedule.seed,
        "patches": len(train.images),
        "balance": schedule.balance,
        "scenes_simulated": recipe.scenes,
        "final_loss": round(float(np.mean(losses[-100:])), 4),
    }
