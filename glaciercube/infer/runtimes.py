"""The ways to run a network, behind one small protocol: one loaded copy of each per process."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from threading import Lock
from types import MappingProxyType
from typing import Protocol

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef, ref_of
from glaciercube.optional import load

CHOICES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "torch": ("torch", "float32"),
        "torch-eager": ("torch-eager", "float32"),
        "torch-bfloat16": ("torch", "bfloat16"),
        "torch-compile": ("torch-compile", "float32"),
        "openvino": ("openvino", "float32"),
        "openvino-bfloat16": ("openvino", "bfloat16"),
        "openvino-int8": ("openvino", "int8"),
        "onnx": ("onnx", "float32"),
    }
)
"""Runtime and precision of each way by its name. "torch" keeps channels last and has batch
normalisation within the convolutions; "torch-eager" is the network as it was written, which every
other way is compared with; "torch-compile" takes a C++ compiler and half a minute to build;
"openvino-int8" takes a card that was calibrated; "onnx" is for networks that come as such."""

_TORCH = ("torch", "torch-eager", "torch-bfloat16")

_MODULES = {
    "torch": "glaciercube.infer.runtime_torch",
    "torch-eager": "glaciercube.infer.runtime_torch",
    "torch-compile": "glaciercube.infer.runtime_torch",
    "openvino": "glaciercube.infer.runtime_openvino",
    "onnx": "glaciercube.infer.runtime_onnx",
}


class Runtime(Protocol):
    """A loaded network that takes NumPy arrays; shared by all threads of a process."""

    name: str
    """As in `CHOICES`: "torch", "torch-eager"."""

    precision: str
    """Of the arithmetic: "float32", "bfloat16" or "int8"."""

    def scores(self, images: np.ndarray, inner: tuple[slice, slice]) -> np.ndarray:
        """Return the scores before the softmax.

        Parameters
        ----------
        images : array (n, channel, y, x), float32
            Normalised, C-contiguous.
        inner : tuple of slice
            Rows and columns to give.

        Returns
        -------
        array (n, category, rows, columns), float32
            C-contiguous. Waits for a turn of `threads.slot` itself.

        Raises
        ------
        WeightsError
            If the network's output has not the size of its input.
        """


ONNX = "onnx"
"""Architecture of a card whose weights are a whole network in ONNX."""

_runtimes: dict[tuple[str, ...], Runtime] = {}
_lock = Lock()

loads: Counter[tuple[str, ...]] = Counter()
"""How often each runtime was loaded in this process, by the key of its reference and its device."""


def runtime_of(ref: ModelRef, device: str = "") -> Runtime:
    """Return the loaded network of a reference, loaded on first use.

    Parameters
    ----------
    ref : ModelRef
    device : str
        Such as "cuda:0", for torch; where `runtime_torch.device` says by default.

    Returns
    -------
    Runtime
        Shared by all threads of this process.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network or hold NaN, or there is no such
        runtime.
    """
    key = (*ref.key, device)
    found = _runtimes.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _runtimes:
            loaded = _loaded(ref, device)
            loads[key] += 1
            _runtimes[key] = loaded
        return _runtimes[key]


def drop(ref: ModelRef) -> None:
    """Drop the loaded network of a reference, if there is one, and with it its memory."""
    with _lock:
        for key in [key for key in _runtimes if key[:-1] == ref.key]:
            del _runtimes[key]


def forget() -> None:
    """Drop all loaded networks of this process, and with them their memory."""
    with _lock:
        _runtimes.clear()


def ref_for(card: ModelCard, choice: str = "torch") -> ModelRef:
    """Return the reference of a card that runs in a way given by name.

    Parameters
    ----------
    card : ModelCard
    choice : str
        A name in `CHOICES`.

    Raises
    ------
    WeightsError
        If there is no such name.

    Examples
    --------
    >>> from glaciercube.model.zoo import card_of
    >>> ref = ref_for(card_of("facies"), "torch-bfloat16")
    >>> ref.runtime, ref.precision, choice_of(ref)
    ('torch', 'bfloat16', 'torch-bfloat16')
    """
    require_choice(choice)
    if (choice == "onnx") != (card.architecture == ONNX):
        raise WeightsError(
            f"{card.name} is {card.architecture!r}, so it runs in {reference_of(card)!r} or "
            f"'auto', found runtime {choice!r}; networks that come as ONNX run in 'onnx' only"
        )
    if written_in_torch(card) and choice not in _TORCH:
        raise WeightsError(
            f"{card.name} with {dict(card.arguments)} is written in operations of torch that no "
            f"other library takes over: it needs one of the runtimes {[*_TORCH]} or 'auto', found "
            f"{choice!r}"
        )
    runtime, precision = CHOICES[choice]
    return replace(ref_of(card), runtime=runtime, precision=precision)


def choice_of(ref: ModelRef) -> str:
    """Return the name of the way in which a reference runs.

    Raises
    ------
    WeightsError
        If this version has no such way.
    """
    for name, how in CHOICES.items():
        if how == (ref.runtime, ref.precision):
            return name
    raise WeightsError(
        f"needs one of the runtimes {list(CHOICES)}, found {ref.runtime!r} in {ref.precision!r}"
    )


def require_choice(choice: str, more: tuple[str, ...] = ()) -> None:
    """Raise an error if there is no way of this name.

    Parameters
    ----------
    choice : str
    more : tuple of str
        What else is understood where the error is shown.

    Raises
    ------
    WeightsError
    """
    if choice not in CHOICES:
        raise WeightsError(f"runtime needs one of {[*more, *CHOICES]}, found {choice!r}")


def reference_of(card: ModelCard) -> str:
    """Return the name of the way in float32 that other ways of a network are compared with."""
    return "onnx" if card.architecture == ONNX else "torch"


def written_in_torch(card: ModelCard) -> bool:
    """Return whether a network is no graph of layers, which other libraries could take over.

    The facies network in its exact mode is thousands of products in loops: see
    `model.patch_zones`.
    """
    return card.architecture == "facies-cnn" and card.arguments.get("mode", "exact") == "exact"


def candidates(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the ways that a network can run here and that are worth measuring.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    tuple of str
        The one in float32 that others are compared with comes first.
    """
    if card.architecture == ONNX or written_in_torch(card):
        return (reference_of(card),)
    torch = load("glaciercube.infer.runtime_torch")
    place = torch.device()
    found = ["torch", "torch-bfloat16"] if torch.has_bfloat16(place) else ["torch"]
    if place != "cpu" or find_spec("openvino") is None:
        return tuple(found)
    found += ["openvino", "openvino-bfloat16"] if len(found) > 1 else ["openvino"]
    return (*found, *(["openvino-int8"] if card.quantized else []))


def require_size(card: ModelCard, images: tuple[int, ...], found: tuple[int, ...]) -> None:
    """Raise an error if a network's output has not the size of its input.

    Parameters
    ----------
    card : ModelCard
    images, found : tuple of int
        Shapes (n, channel, y, x) of what went in and came out.

    Raises
    ------
    WeightsError
    """
    needed = (images[0], len(card.categories), *images[2:])
    if tuple(found) != needed:
        raise WeightsError(
            f"the network of {card.name!r} must give scores of shape {needed}, found "
            f"{tuple(found)}; its output must have the size of its input"
        )


def _loaded(ref, device):
    ref_for(ref.card, choice_of(ref))
    load("glaciercube.infer.allocator").keep_buffers()
    return load(_MODULES[ref.runtime]).open_network(ref, device)
