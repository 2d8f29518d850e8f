"""How the layers of a prediction are described: units, flags, encoding, provenance."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import xarray as xr

from glaciercube import grid, schema
from glaciercube.infer.choices import Choice
from glaciercube.model.card import ModelCard

KEPT = ("sensor", "level", "provenance", "simulated")
"""Attributes of the cube that its layers have too."""

LONG_NAMES = {
    "confidence": "probability of the reported category",
    "valid_fraction": "share of the receptive field that was measured",
    "glacier_probability": "probability of glacier",
    "entropy": "predictive entropy as a share of its largest value",
    "mutual_information": "disagreement of the members as a share of its largest value",
    "probability": "probability of each surface facies",
}


def dataset_of(
    arrays: Mapping[str, da.Array],
    cube: xr.Dataset,
    cards: Sequence[ModelCard],
    halo: int,
    *,
    choices: Sequence[Choice] = (),
    quantized: bool = False,
) -> xr.Dataset:
    """Return layers as a georeferenced dataset.

    Parameters
    ----------
    arrays : mapping of str to Dask array
        By name of the layer.
    cube : Dataset
        What they were made of; its `valid` and `elevation` travel along.
    cards : sequence of ModelCard
    halo : int
        Pixels that were read around each block.
    choices : sequence of Choice
        How each network runs; empty if that is measured later.
    quantized : bool
        The arrays of shares hold codes: their attributes say how they are decoded.
    """
    facies = next((card for card in cards if card.task == "facies"), None)
    kept = {"time", "y", "x"}
    coords = {
        name: coord
        for name, coord in cube.coords.items()
        if set(coord.dims) <= kept and name not in {"band", "category"}
    }
    if "probability" in arrays and facies is not None:
        coords["category"] = xr.DataArray(list(facies.categories), dims="category")
    variables = {
        name: xr.Variable(schema.LAYERS[name].dims, array, _attrs(name, cards, arrays))
        for name, array in arrays.items()
    }
    out = xr.Dataset(variables, coords=coords, attrs=_global_attrs(cube, cards, halo, choices))
    for name in ("valid", "elevation"):
        if name in cube:
            out[name] = cube[name].variable
    out = grid.georeferenced(out, grid.grid_of(cube, "the cube"))
    for name in arrays:
        coding = dict(schema.LAYERS[name].encoding)
        if quantized and coding:
            out[name].attrs |= {key: coding[key] for key in coding if key != "dtype"}
        else:
            out[name].encoding |= coding
    return out


def _attrs(name: str, cards: Sequence[ModelCard], arrays: Mapping[str, Any]) -> dict[str, Any]:
    if name not in schema.TASKS:
        return {"units": schema.LAYERS[name].units, "long_name": LONG_NAMES[name]}
    more = [other for other in ("confidence", "valid_fraction") if other in arrays]
    if name == "extent" and "glacier_probability" in arrays:
        more.append("glacier_probability")
    own = [card for card in cards if card.task == name] or list(cards)
    source = ", ".join(f"{card.name} {card.version}" for card in own)
    attrs = schema.flag_attrs(name) | {"source": source}
    return attrs | ({"ancillary_variables": " ".join(more)} if more else {})


def networks_of(attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the attributes of layers say of their networks; empty if they say nothing.

    Parameters
    ----------
    attrs : mapping
        Of a dataset; anybody may have changed them.
    """
    try:
        found = json.loads(attrs.get("cards", "[]"))
    except (TypeError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _global_attrs(cube, cards, halo, choices):
    named: list[dict[str, Any]] = [
        {"name": card.name, "version": card.version, "sha256": card.sha256}
        | ({"dates": dict(card.dates)} if card.dates else {})
        for card in cards
    ]
    told = {"runtime": "auto"}
    if choices:
        named = [one | choice.record() for one, choice in zip(named, choices, strict=True)]
        told["runtime"] = ", ".join(dict.fromkeys(choice.runtime for choice in choices))
    kept = {key: cube.attrs[key] for key in KEPT if key in cube.attrs}
    return {"cards": json.dumps(named), "halo": halo, **told, **kept}
