"""A network tried out before any block: built, held against its weights, run on small images."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import networks, registry
from glaciercube.model.card import WINDOW, ModelCard
from glaciercube.model.inspector import inspect
from glaciercube.model.padding import padded
from glaciercube.model.reference import ref_of
from glaciercube.model.tensors import shapes_of
from glaciercube.model.zoo import place_of

SIDE = 64
"""Pixels: shorter sides are not tried."""

_inspections: dict[tuple[Any, ...], Mapping[str, Any]] = {}
_passed: set[tuple[Any, ...]] = set()


def tried(card: ModelCard) -> ModelCard:
    """Return the card of a network that was built and, if it is not this package's, run.

    Parameters
    ----------
    card : ModelCard
        Of a network of this package, another package's, or held in memory. Its weights may be on
        another machine; then random ones do.

    Returns
    -------
    ModelCard
        With the inspection of a network of others that says to be exact and has none.

    Raises
    ------
    WeightsError
        If it cannot be built, its weights are of another network, or it takes other channels,
        gives other categories or another size, or looks farther than its card says.

    Notes
    -----
    Once in each process, and again when the weights file is another one.
    """
    key = _key(card)
    own = not card.foreign and not registry.is_held(card)
    if key in _passed:
        return card if own else _inspected(card, key, None)
    network = _network(card)
    if not own:
        card = _inspected(card, key, network)
        require_runs(padded(network, card.multiple), card)
    _passed.add(key)
    return card


def _key(card):
    place = place_of(card)
    stamp = (place.stat().st_mtime_ns, place.stat().st_size) if place.is_file() else ()
    claims = (card.halo, card.stride, card.exact, card.window, card.multiple)
    return (*ref_of(card).weights_key, claims, stamp)


def _network(card: ModelCard) -> nn.Module:
    """Return the network as it was written, with its weights where they are here."""
    if registry.is_held(card):
        return registry.own_network_of(ref_of(replace(card, inspection={})))
    network, place = networks.build(card), place_of(card)
    if place.is_file():
        registry.require_fit(card, network, shapes_of(place, card.sha256))
    return network.eval().requires_grad_(False)


def _inspected(card, key, network):
    if card.inspection or not card.exact:
        return card
    if key not in _inspections:
        try:
            _inspections[key] = inspect(network, card.channels, card.window).record()
        except WeightsError as error:
            raise WeightsError(f"{card.name} with the bands {list(card.bands)}: {error}") from error
    return replace(card, inspection=_inspections[key])


def require_runs(network: nn.Module, card: ModelCard) -> None:
    """Raise an error if a network does not give a card's categories for each pixel of an image.

    Parameters
    ----------
    network : Module
        On the CPU and in float32.
    card : ModelCard

    Raises
    ------
    WeightsError
    """
    for image in images(card):
        shape = tuple(image.shape)
        try:
            with torch.inference_mode():
                scores = network(image)
        except Exception as error:  # a network may fail in any way
            raise WeightsError(
                f"the network of {card.name!r} must take images of shape {shape}, its channels "
                f"the bands {list(card.bands)}, but it failed: {type(error).__name__}: {error}"
            ) from error
        needed = (1, len(card.categories), *shape[2:])
        found = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        if found != needed:
            raise WeightsError(
                f"the network of {card.name!r} must give scores of shape {needed} for an image of "
                f"shape {shape}, found {found}: one for each of {list(card.categories)}, and the "
                "size of its input"
            )


def images(card: ModelCard) -> list[torch.Tensor]:
    """Return images of noise (1, channel, y, x) of sizes that a network must take.

    Parameters
    ----------
    card : ModelCard
        One that is exact gets images whose sides differ, the first on its stride, the others
        not, as at the image's border; another its window.
    """
    step = card.stride
    side = -(-SIDE // step) * step
    sizes = [(side, side + step), (side + 1, side)]
    if not card.exact:
        window = card.window or -(-WINDOW // step) * step
        sizes = [(window, window)]
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, card.channels, *size, generator=generator) for size in sizes]
