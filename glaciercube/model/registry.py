"""One copy of each network per process, whatever the number of threads and tasks."""

from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import networks, zoo
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef, ref_of
from glaciercube.model.weights import check_weights_file, refuse_pickle

_networks: dict[tuple[str, ...], nn.Module] = {}
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
    network = _networks.get(ref.key)
    if network is not None:
        return network
    with _lock:
        if ref.key not in _networks:
            _networks[ref.key] = _load(ref)
        return _networks[ref.key]


def load_weights(card: ModelCard) -> dict[str, torch.Tensor]:
    """Return the tensors of a card's weights file, by name.

    Raises
    ------
    WeightsError
        If the file is missing, has another hash, is no whole safetensors file, or holds NaN.
    """
    place = _place(card)
    check_weights_file(place, card.sha256)
    try:
        tensors = load_file(place)
    except SafetensorError as error:
        raise WeightsError(
            f"weights must be a whole safetensors file, found {str(place)!r}: {error}; "
            "download or save it again"
        ) from error
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(
            f"the weights {str(place)!r} must be finite, but {broken} hold NaN or infinity: "
            "training diverged; train again with a smaller learning rate"
        )
    return tensors


def _load(ref):
    if (ref.runtime, ref.precision) != ("torch", "float32"):
        raise WeightsError(
            f"needs the runtime 'torch' in 'float32', found {ref.runtime!r} in {ref.precision!r}"
        )
    network = networks.build(ref.card)
    tensors = load_weights(ref.card)
    _require_same_tensors(ref.card, network.state_dict(), tensors)
    network.load_state_dict(tensors)
    needed = getattr(network, "halo", 0)
    if ref.card.exact and ref.card.halo < needed:
        raise WeightsError(
            f"the card {ref.card.name!r} states a halo of {ref.card.halo}, its network needs "
            f"{needed} pixels; tiles would show seams: write the card with halo={needed}"
        )
    return network.eval().requires_grad_(False)


def _require_same_tensors(card, needed, found):
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
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


def _place(card):
    """Return where the weights lie here: a worker may have the package in another folder."""
    refuse_pickle(card.weights, "weights")
    place = Path(card.weights)
    bundled = zoo.BUNDLED / place.name
    return bundled if not place.is_file() and bundled.is_file() else place
