"""How layers can be predicted again: the cube that was read, and the networks, as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from glaciercube import schema
from glaciercube.infer.halos import EffectiveHalo, Halo
from glaciercube.model import zoo
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import IN_MEMORY, ref_of
from glaciercube.model.weights import check_weights_file
from glaciercube.store import ledger
from glaciercube.store.lineage import lineage_of
from glaciercube.store.places import place_of
from glaciercube.store.reading import read, source_of
from glaciercube.windows import Window

VERSION = 1
"""Of recipes; a newer one is refused."""


def card_record(card: ModelCard) -> dict[str, Any]:
    """Return what inference needs of a card, and where its weights lie, as JSON.

    Parameters
    ----------
    card : ModelCard
        Its weights are not opened.
    """
    return json.loads(json.dumps(asdict(ref_of(card).card)))


def card_of_record(record: Mapping[str, Any]) -> ModelCard:
    """Return the card of a record, its weights the ones that it names.

    Parameters
    ----------
    record : mapping
        As `card_record` makes it. A network that comes with the package is found there; one in
        memory is only in the process that made it, which `predict` looks at.

    Raises
    ------
    WeightsError
        If the weights are gone or other ones; the message names the file and both hashes.
    """
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    card = ModelCard(**fields)
    if card.name in zoo.names() and (bundled := zoo.card_of(card.name)).sha256 == card.sha256:
        return bundled
    if Path(card.weights).name != IN_MEMORY:
        check_weights_file(card.weights, card.sha256)
    return card


def cube_record(cube: xr.Dataset) -> dict[str, Any]:
    """Return how a cube can be had again, as JSON; empty if there is no way.

    Parameters
    ----------
    cube : Dataset
        As `read` gave it, or made by a verb that keeps its recipe.
    """
    source = source_of(cube["reflectance"])
    if source is not None and source_of(cube["valid"]) is not None:
        window = source.window
        return {
            "verb": "read",
            "version": VERSION,
            "path": source.path,
            "window": [window.y0, window.y1, window.x0, window.x1],
            "time": [str(time) for time in cube["time"].values],
            "bands": [str(name) for name in cube["band"].values],
        }
    lineages = [lineage_of(cube[name]) for name in schema.CUBE]
    recipes = [{} if one is None else dict(one.recipe) for one in lineages]
    return recipes[0] if all(one == recipes[0] for one in recipes) else {}


def read_again(recipe: Mapping[str, Any]) -> xr.Dataset:
    """Return the part of a store that a recipe tells of, lazily.

    Parameters
    ----------
    recipe : mapping
        As `cube_record` makes it of what `read` gave.

    Raises
    ------
    StoreError
        If there is no such store, or it lacks a date or band.
    """
    geobox = ledger.read_header(place_of(recipe["path"])).geobox
    rows, columns = Window(*recipe["window"]).slices
    times = np.array(recipe["time"], "datetime64[ns]")
    return read(recipe["path"], area=geobox[rows, columns], time=times, bands=recipe["bands"])


def predict_record(
    cube: Mapping[str, Any],
    cards: Sequence[ModelCard],
    outputs: Sequence[str] | None,
    halo: Halo,
    strategy: str,
) -> dict[str, Any]:
    """Return how layers can be predicted again, as JSON.

    Parameters
    ----------
    cube : mapping
        How the cube can be had again.
    cards : sequence of ModelCard
    outputs, strategy
        As given to `predict`.
    halo : int or EffectiveHalo, optional
        As given to `predict`, or as it was measured.
    """
    measured = {"measured_halo": halo.as_json()} if isinstance(halo, EffectiveHalo) else {}
    pixels = halo.halo if isinstance(halo, EffectiveHalo) else halo
    return {
        "verb": "predict",
        "version": VERSION,
        "cube": dict(cube),
        "cards": [card_record(card) for card in cards],
        "outputs": None if outputs is None else list(outputs),
        "halo": None if pixels is None else int(pixels),
        "strategy": strategy,
        **measured,
    }


def halo_of_record(recipe: Mapping[str, Any]) -> int | EffectiveHalo | None:
    """Return the halo of a recipe; nothing is measured again.

    Parameters
    ----------
    recipe : mapping
        As `predict_record` makes it.
    """
    measured = recipe.get("measured_halo")
    return recipe["halo"] if measured is None else EffectiveHalo(**measured)
