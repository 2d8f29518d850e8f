"""One copy of each network per process, whatever the number of threads and tasks."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import networks
from glaciercube.model.card import ModelCard
from glaciercube.model.identity import sha256_of_network
from glaciercube.model.inspection_probe import copied
from glaciercube.model.padding import padded
from glaciercube.model.reference import IN_MEMORY, ModelRef, ref_of
from glaciercube.model.tensors import not_whole, require_finite
from glaciercube.model.weights import check_weights_file
from glaciercube.model.zoo import place_of

_networks: dict[tuple[str, ...], nn.Module] = {}
_held: dict[str, nn.Module] = {}
_lock = Lock()


def network_of(ref: ModelRef | ModelCard) -> nn.Module:
    """Return the network of a reference in evaluation mode, loaded on first use.

    Parameters
    ----------
    ref : ModelRef or ModelCard

    Returns
    -------
    Module
        Shared by all threads of this process; do not change it.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network, or hold NaN.
    """
    if isinstance(ref, ModelCard):
        ref = ref_of(ref)
    key = ref.weights_key
    network = _networks.get(key)
    if network is not None:
        return network
    with _lock:
        if key not in _networks:
            _networks[key] = _load(ref)
        return _networks[key]


def own_network_of(ref: ModelRef) -> nn.Module:
    """Return a network like `network_of`, but the caller's own: it may be changed.

    Parameters
    ----------
    ref : ModelRef

    Returns
    -------
    Module
        Loaded for this call, so that a runtime that changes it keeps no second copy.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network, or hold NaN.
    """
    return _load(ref)


def hold(network: nn.Module, card: ModelCard) -> ModelCard:
    """Keep a network that has no file in this process, and return the card that stands for it.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to (n, categories, y, x), in evaluation mode. A copy is kept, on
        the CPU and in float32.
    card : ModelCard
        What it needs and gives; its weights, architecture and arguments are not looked at.

    Returns
    -------
    ModelCard
        With the hash of the network. Other processes do not have it: they raise an error that
        says so.

    Raises
    ------
    WeightsError
        If the network is in training mode, cannot be copied, or holds NaN.
    """
    require_ready(network)
    held = replace(
        card,
        weights=IN_MEMORY,
        sha256=sha256_of_network(network),
        architecture=f"{type(network).__module__}.{type(network).__qualname__}",
        arguments={},
        quantized={},
    )
    _held[held.sha256] = copied(network).to("cpu", torch.float32).requires_grad_(False)
    return held


def is_held(card: ModelCard) -> bool:
    """Return whether a card's network has no file and is kept in this process."""
    return card.sha256 in _held


def require_ready(network: nn.Module) -> None:
    """Raise an error if a network is in training mode, or holds NaN or infinity.

    Parameters
    ----------
    network : Module

    Raises
    ------
    WeightsError
        That names the layers, or the tensors.
    """
    require_eval(network)
    _require_finite(network.state_dict(), f"of the network {type(network).__name__}")


def require_eval(network: nn.Module) -> None:
    """Raise an error if a network, or a layer of it that this matters to, is in training mode.

    Parameters
    ----------
    network : Module

    Raises
    ------
    WeightsError
        That names the layers.
    """
    training = [
        f"{name or 'the network'} ({type(module).__name__})"
        for name, module in network.named_modules()
        if module.training and (not name or isinstance(module, _CHANGING))
    ]
    if training:
        raise WeightsError(
            "a network needs to be in evaluation mode, but in training mode are "
            f"{training[:6]}{' and more' if len(training) > 6 else ''}: dropout and batch "
            "statistics would change the result with the tile; call network.eval()"
        )


def load_weights(card: ModelCard) -> dict[str, torch.Tensor]:
    """Return the tensors of a card's weights file, by name.

    Raises
    ------
    WeightsError
        If the file is missing, has another hash, is no whole safetensors file, or holds NaN.
    """
    place = place_of(card)
    check_weights_file(place, card.sha256)
    try:
        tensors = load_file(place)
    except SafetensorError as error:
        raise not_whole(place, error) from error
    _require_finite(tensors, repr(str(place)))
    return tensors


_CHANGING = nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd
"""Layers that do something else in training."""


def _require_finite(tensors, what):
    broken = (name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    require_finite(broken, what)


def _load(ref):
    if is_held(ref.card):
        return padded(deepcopy(_held[ref.card.sha256]), ref.card.multiple)
    if Path(ref.card.weights).name == IN_MEMORY:
        raise WeightsError(
            f"the network of {ref.card.name!r} lives in the memory of the process that made it, "
            "and this is another one; compute with the threaded scheduler, or save its weights "
            "with safetensors.torch.save_file and write a card"
        )
    network = networks.build(ref.card)
    tensors = load_weights(ref.card)
    require_fit(ref.card, network, {name: tuple(one.shape) for name, one in tensors.items()})
    network.load_state_dict(tensors)
    return padded(network.eval().requires_grad_(False), ref.card.multiple)


def require_fit(card: ModelCard, network: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise an error if a card, the network that it builds, and weights are not of one another.

    Parameters
    ----------
    card : ModelCard
    network : Module
    shapes : mapping
        Of the tensors of the weights, by name.

    Raises
    ------
    WeightsError
    """
    _require_same_tensors(card, network.state_dict(), shapes)
    needed = 0 if card.foreign else getattr(network, "halo", 0)
    if card.exact and card.halo < needed:
        raise WeightsError(
            f"the card {card.name!r} states a halo of {card.halo}, its network needs "
            f"{needed} pixels; tiles would show seams: write the card with halo={needed}"
        )


def _require_same_tensors(card, needed, shapes):
    problems = [f"missing {name!r}" for name in needed if name not in shapes]
    problems += [f"unexpected {name!r}" for name in shapes if name not in needed]
    problems += [
        f"{name!r} has shape {shapes[name]}, needs {tuple(tensor.shape)}"
        for name, tensor in needed.items()
        if name in shapes and shapes[name] != tuple(tensor.shape)
    ]
    if problems:
        more = f"\n  and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise WeightsError(
            f"the weights {card.weights!r} are of another network than the card's "
            f"{card.architecture!r} with {dict(card.arguments)}:\n  "
            + "\n  ".join(problems[:12])
            + more
        )
