"""How much memory a network needs for its activations, found without computing anything."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glaciercube.model import networks
from glaciercube.model.card import ModelCard
from glaciercube.model.padding import padded

SIDE = 256
"""Pixels of the image that is traced; far more than a network's own bookkeeping."""


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that are alive between operations."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self._see(one.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self._known:
            return
        self._known.add(name)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, name, size)

    def _forget(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.now -= size


def activation_bytes(card: ModelCard) -> float:
    """Return the most memory that the network's tensors take at a time, per pixel.

    Parameters
    ----------
    card : ModelCard
        Its weights are not opened.

    Returns
    -------
    float
        Bytes per pixel of the input, at float32: input, outputs and everything that an
        operation between them keeps. Without the scratch memory of single operations, such
        as copies of an input in another layout.

    Notes
    -----
    The network is run on a "meta" tensor, which has a shape and no numbers, and the storages
    that live at a time are counted.

    Examples
    --------
    >>> from glaciercube.model.zoo import card_of
    >>> 4 * 32 < activation_bytes(card_of("facies")) < 4 * 32 * 16
    True
    """
    network = padded(networks.build(card), card.multiple).to("meta").eval()
    image = torch.empty((1, card.channels, SIDE, SIDE), device="meta")
    live = _Live()
    with torch.no_grad(), live:
        network(image)
    return (live.peak + image.untyped_storage().nbytes()) / SIDE**2


def weight_bytes(card: ModelCard) -> int:
    """Return how much memory the weights of a network take (bytes).

    Parameters
    ----------
    card : ModelCard
        Its weights are not opened.
    """
    tensors = networks.build(card).state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
