"""What can be known of networks when `predict` is called: before any block, without torch."""

import sys
from pathlib import Path
from typing import Any

from dask.base import get_scheduler

from glaciercube.errors import WeightsError
from glaciercube.infer import runtimes
from glaciercube.model.card import ModelCard
from glaciercube.model.ends import require_ends
from glaciercube.model.reference import IN_MEMORY
from glaciercube.model.tensors import shapes_of
from glaciercube.model.zoo import place_of
from glaciercube.optional import load


def ready(card: ModelCard) -> ModelCard:
    """Return a card whose network can run, as far as that can be told here.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    ModelCard
        With the inspection of a network of another package that says to be exact and has none.

    Raises
    ------
    WeightsError
        If the weights are corrupt, not finite, of a kind that is refused, or of another network;
        if a network that is not this package's cannot be built, does not give scores of the size
        of its input, or looks farther than its card says; or if a network in memory would be
        computed in another process.

    Notes
    -----
    Weights that are not on this machine may be on the one that computes: not an error here.

    Of a network of this package channels and categories are told from the weights file, so that
    torch is not loaded for it; where it is loaded already, all tensors are compared. A network
    that comes as ONNX is opened and run once on a small image.
    """
    if Path(card.weights).name == IN_MEMORY:
        _require_here(card)
        return _tried(card)
    place = place_of(card)
    if card.architecture == runtimes.ONNX:
        if place.is_file():
            runtimes.runtime_of(runtimes.ref_for(card, runtimes.ONNX))
        return card
    shapes = shapes_of(place, card.sha256) if place.is_file() else None
    if card.foreign or "torch" in sys.modules:
        return _tried(card)
    if shapes is not None:
        require_ends(card, shapes)
    return card


def _tried(card):
    return load("glaciercube.model.trial").tried(card)


def _require_here(card):
    """Raise an error if a network in memory is not here, or Dask would compute elsewhere."""
    if "torch" not in sys.modules or not load("glaciercube.model.registry").is_held(card):
        raise WeightsError(
            f"the network of {card.name!r} lives in the memory of the process that made it, and "
            "this is another one; " + _SAVE
        )
    elsewhere = _elsewhere()
    if elsewhere:
        raise WeightsError(
            f"the network of {card.name!r} lives in the memory of this process, but {elsewhere} "
            "computes in others; predict and compute within "
            'dask.config.set(scheduler="threads"), or ' + _SAVE
        )


_SAVE = "save it with glaciercube.model.write_network, which gives a card that any process can load"


def _elsewhere() -> str:
    """Return what computes in other processes, as Dask is set; empty if nothing does."""
    scheduler = get_scheduler()
    if getattr(scheduler, "__module__", "") == "dask.multiprocessing":
        return "Dask's scheduler 'processes'"
    client: Any = getattr(scheduler, "__self__", None)
    if not hasattr(client, "scheduler_info"):
        return ""
    addresses = [client.scheduler.address, *client.scheduler_info().get("workers", ())]
    return "" if addresses[-1].startswith("inproc://") else f"the Dask client at {addresses[0]}"
