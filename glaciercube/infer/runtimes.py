"""The ways to run a network, behind one small protocol: one loaded copy of each per process."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Lock
from types import MappingProxyType
from typing import Protocol

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.model.card import ONNX, ModelCard
from glaciercube.model.reference import ModelRef, ref_of
from glaciercube.optional import is_installed, load

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
"openvino-int8" takes a card that was calibrated; "onnx" is the one way of a network that comes as
an ONNX file."""

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


_runtimes: dict[tuple[str, ...], Runtime] = {}
_inherited: list[Runtime] = []
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


def _after_fork() -> None:
    """Load anew in a child what has threads of its own: they stay with the parent.

    The parent's are kept, never to be used: to let go of one waits for its threads.
    """
    global _lock
    _lock = Lock()
    for key, runtime in list(_runtimes.items()):
        if not runtime.name.startswith("torch"):
            _inherited.append(_runtimes.pop(key))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
        If there is no such name, or the network comes as ONNX and the way is of another kind, or
        the other way round.

    Examples
    --------
    >>> from glaciercube.model.zoo import card_of
    >>> ref = ref_for(card_of("facies"), "torch-bfloat16")
    >>> ref.runtime, ref.precision, choice_of(ref)
    ('torch', 'bfloat16', 'torch-bfloat16')
    """
    require_choice(choice)
    _require_kind(card, choice)
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
    """Return the way in float32 that every other way of a card's network is compared with.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    str
        "torch", or "onnx" of a network that comes as ONNX.
    """
    return "onnx" if card.architecture == ONNX else "torch"


def written_in_torch(card: ModelCard) -> bool:
    """Return whether a network is no graph of layers, which other libraries could take over.

    The facies network in its exact mode is thousands of products in loops: see
    `model.patch_zones`.
    """
    return card.architecture == "facies-cnn" and card.arguments.get("mode", "exact") == "exact"


def candidates(card: ModelCard) -> tuple[str, ...]:
    """Return the ways in which a network can run in this process and that are worth measuring.

    Nothing of the network is opened, and no package is imported that is not used.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    tuple of str
        Names in `CHOICES`, that of `reference_of` first. Without "torch-eager", which is the
        slowest, and "torch-compile", which takes half a minute to build. A network of which
        OpenVINO lacks an operation is found out when it is opened.
    """
    reference = reference_of(card)
    if reference == "onnx" or written_in_torch(card):
        return (reference,)
    torch = load("glaciercube.infer.runtime_torch")
    here = torch.device()
    can = {"torch-bfloat16": torch.has_bfloat16(here)}
    if here.startswith("cpu") and is_installed("openvino"):
        can["openvino"] = True
        can["openvino-bfloat16"] = torch.has_bfloat16("cpu")
        can["openvino-int8"] = bool(card.quantized)
    return (reference, *(name for name, possible in can.items() if possible))


def scored(
    images: np.ndarray,
    inner: tuple[slice, slice],
    card: ModelCard,
    count: int,
    through: Callable[[np.ndarray], AbstractContextManager[np.ndarray]],
) -> np.ndarray:
    """Return scores as `Runtime.scores` does, some images at a time.

    Parameters
    ----------
    images : array (n, channel, y, x), float32
    inner : tuple of slice
    card : ModelCard
    count : int
        Images that go through at a time.
    through : callable
        Gives the scores (n, category, y, x) of some images, whose memory may be used again once
        they are copied: as a context.

    Raises
    ------
    WeightsError
        If the network's output has not the size of its input.
    """
    rows, columns = images[0, 0][inner].shape if len(images) else (0, 0)
    out = np.empty((len(images), len(card.categories), rows, columns), np.float32)
    for start in range(0, len(images), count):
        batch = images[start : start + count]
        with through(batch) as found:
            require_size(card, batch.shape, found.shape)
            out[start : start + count] = found[:, :, inner[0], inner[1]]
    return out


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


def _require_kind(card, choice):
    if choice == "onnx" and card.architecture != ONNX:
        raise WeightsError(
            f"runtime='onnx' is for networks that come as ONNX files, {card.name!r} is of the "
            f"architecture {card.architecture!r}; use 'torch'"
        )
    if choice != "onnx" and card.architecture == ONNX:
        raise WeightsError(
            f"the network of {card.name!r} comes as ONNX and has no torch module, so it runs with "
            f"runtime='onnx' only, found {choice!r}"
        )


def _loaded(ref, device):
    ref_for(ref.card, choice_of(ref))
    load("glaciercube.infer.allocator").keep_buffers()
    return load(_MODULES[ref.runtime]).open_network(ref, device)
