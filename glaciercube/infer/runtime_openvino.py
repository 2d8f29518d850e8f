"""Networks in OpenVINO, on the CPU: in float32, in bfloat16, or calibrated in 8-bit integers.

Made in memory from the torch network of the card, or read from the file that calibration wrote.
Its threads are those of `threads.policy` and are not pinned: two processes that pin take the same
core. Nothing is reported over the net and nothing is kept on disk.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.infer import threads
from glaciercube.infer.runtime_fusion import TOLERANCE, fuse
from glaciercube.infer.runtime_torch import BATCH_PIXELS, has_bfloat16, intra_op
from glaciercube.infer.runtimes import require_size, scored
from glaciercube.model import registry
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef
from glaciercube.optional import load

openvino = load("openvino")

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""OpenVINO's name of the precision of what is not in integers."""

CACHED_SHAPES = 64
"""Kernels kept for shapes seen before, of a whole network with all its layers; OpenVINO's own
number, 5000, is memory that grows with each new size of a block."""

SIDE = 64
"""Pixels of the images of noise that the network is followed and compared on."""

MARK = ["glaciercube", "weights"]
"""Where a calibrated file says of which weights it is."""

LARGEST = {".xml": 2**26, ".bin": 2**32}
"""Bytes of a calibrated file that are read into memory at most."""


def open_network(ref: ModelRef, place: str = "") -> "OpenVinoRuntime":
    """Return the network of a reference, ready to run.

    Parameters
    ----------
    ref : ModelRef
        Whose runtime is "openvino", in "float32", "bfloat16" or "int8".
    place : str
        Not looked at: it runs on the CPU.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network or hold NaN; if OpenVINO does not
        take the network or gives other scores; if the CPU has no bfloat16; if the card has no
        calibrated network.
    """
    if ref.precision == "int8":
        return OpenVinoRuntime(ref, compiled(calibrated(ref.card), ref.precision))
    if ref.precision == "bfloat16" and not has_bfloat16("cpu"):
        raise WeightsError(
            "the runtime 'openvino-bfloat16' needs a CPU that computes in bfloat16 (AVX512-BF16 or "
            "AMX), this one does not; use 'openvino'"
        )
    model, plain = checked(ref)
    if ref.precision == "float32":
        return OpenVinoRuntime(ref, plain)
    return OpenVinoRuntime(ref, compiled(model, ref.precision))


class OpenVinoRuntime:
    """A network in OpenVINO; see `runtimes.Runtime`.

    Parameters
    ----------
    ref : ModelRef
    network : openvino.CompiledModel

    Attributes
    ----------
    name, precision : str
    batch_pixels : int
        That go through at a time, at least one image.
    """

    def __init__(self, ref: ModelRef, network: Any):
        self.name, self.precision = ref.runtime, ref.precision
        self.batch_pixels = BATCH_PIXELS["cpu"]
        self._card, self._network = ref.card, network
        self._idle: list[Any] = []

    def scores(self, images: np.ndarray, inner: tuple[slice, slice]) -> np.ndarray:
        """Return the scores before the softmax; see `runtimes.Runtime.scores`.

        Parameters
        ----------
        images : array (n, channel, y, x), float32
            Normalised, C-contiguous.
        inner : tuple of slice
            Rows and columns to give.

        Returns
        -------
        array (n, category, rows, columns), float32

        Raises
        ------
        WeightsError
            If the network's output has not the size of its input.
        """
        count = max(1, self.batch_pixels // max(1, images.shape[2] * images.shape[3]))
        return scored(images, inner, self._card, count, self._through)

    @contextmanager
    def _through(self, batch: np.ndarray) -> Iterator[np.ndarray]:
        with threads.slot(), self._request() as request:
            yield request.infer([batch], share_outputs=True)[0]

    @contextmanager
    def _request(self) -> Iterator[Any]:
        """Lend a request, which has buffers of its own; one is made for each slot.

        Its input is always copied: OpenVINO 2026.4 keeps a pointer to an input that is shared,
        and may copy the next request's there.
        """
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._network.create_infer_request()
        yield request  # one that failed is not used again
        self._idle.append(request)


def checked(ref: ModelRef) -> tuple[Any, Any]:
    """Return a network that gives the scores that it has in torch.

    Parameters
    ----------
    ref : ModelRef

    Returns
    -------
    model : openvino.Model
        In float32, of images of any size; batch normalisation is within the convolutions.
    network : openvino.CompiledModel
        The same, ready to run in float32.

    Raises
    ------
    WeightsError
        If OpenVINO does not know an operation, or gives other scores.
    """
    with intra_op(threads.policy().threads):
        model = _converted(fuse(registry.own_network_of(ref)), ref.card)
        network = compiled(model, "float32")
        _require_same_scores(network, registry.own_network_of(ref), ref.card)
    return model, network


def compiled(model: Any, precision: str) -> Any:
    """Return a network ready to run on the threads of this process.

    Parameters
    ----------
    model : openvino.Model
    precision : str
        "float32", "bfloat16" or "int8".

    Returns
    -------
    openvino.CompiledModel
    """
    policy = threads.policy()
    settings: Mapping[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "NUM_STREAMS": policy.slots,
        "INFERENCE_NUM_THREADS": policy.cores,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
        "CPU_RUNTIME_CACHE_CAPACITY": CACHED_SHAPES,
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def calibrated(card: ModelCard) -> Any:
    """Return the network of a card in 8-bit integers, as calibration wrote it.

    Parameters
    ----------
    card : ModelCard

    Returns
    -------
    openvino.Model

    Raises
    ------
    WeightsError
        If the card has none; if a file is missing, too large, or another one than the card
        says; if it is of other weights.
    """
    name = card.quantized.get("file", "")
    if not name:
        raise WeightsError(
            f"the runtime 'openvino-int8' needs a network in 8-bit integers, the card "
            f"{card.name!r} has none; make it with glaciercube.infer.calibration.calibrate(card, "
            "images)"
        )
    place = registry.place_of(card, name)
    graph = _bytes_of(place, ".xml", card.quantized["sha256"])
    weights = _bytes_of(place, ".bin", card.quantized["sha256_bin"])
    tensor = openvino.Tensor(np.frombuffer(weights, np.uint8))
    try:
        model = openvino.Core().read_model(model=graph, weights=tensor)
    except RuntimeError as error:
        raise WeightsError(
            f"OpenVINO cannot read {str(place)!r}: {_line(error)}; calibrate the network again "
            "with this version of OpenVINO"
        ) from error
    made_of = model.get_rt_info(MARK).astype(str) if model.has_rt_info(MARK) else ""
    if made_of != card.sha256:
        raise WeightsError(
            f"the 8-bit network {str(place)!r} must be of the weights with sha256 {card.sha256}, "
            f"found {made_of!r}; calibrate the network again"
        )
    return model


def _bytes_of(place: Path, suffix: str, sha256: str) -> bytes:
    """Return the content of a file, the very bytes that have the hash."""
    file = place.with_suffix(suffix)
    if place.suffix != ".xml" or not file.is_file():
        raise WeightsError(
            f"the card needs its 8-bit network at {str(file)!r} (.xml and .bin), but there is no "
            "such file; put it back beside the weights, or calibrate again"
        )
    size = file.stat().st_size
    if size > LARGEST[suffix]:
        raise WeightsError(f"{str(file)!r} may have {LARGEST[suffix]} bytes, found {size}")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"the 8-bit network {str(file)!r} needs sha256 {sha256}, found {found}: the file is "
            "corrupt or another one; copy it again, or calibrate again"
        )
    return content


def _converted(network: nn.Module, card: ModelCard) -> Any:
    """Return a network of torch as one of OpenVINO."""
    decoder = load("openvino.frontend.pytorch.ts_decoder")
    frontend = load("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
    try:
        with torch.inference_mode():
            traced = decoder.TorchScriptPythonDecoder(network, example_input=next(_images(card)))
            model = frontend.convert(frontend.load(traced))
        model.reshape(openvino.PartialShape([-1, card.channels, -1, -1]))
    except Exception as error:  # what a foreign network does cannot be foreseen
        raise WeightsError(
            f"OpenVINO does not take the network of {card.name!r}; run it with runtime='torch': "
            f"{_line(error)}"
        ) from error
    return model


def _images(card: ModelCard) -> Iterator[torch.Tensor]:
    """Yield images of noise of several sizes: the first to follow the network on."""
    step, generator = card.stride, torch.Generator().manual_seed(0)
    side = -(-SIDE // step) * step
    sizes = [(1, side, side), (2, side + step, 2 * side), (1, side - 3, side + 5)]
    if card.window:
        sizes = [(1, card.window, card.window), (2, card.window, card.window)]
    for number, rows, columns in sizes:
        yield torch.rand(number, card.channels, rows, columns, generator=generator)


def _require_same_scores(network, origin, card):
    """Raise an error if a converted network does not give the scores of torch.

    A forward that counts in Python may be followed for one size of the image only.
    """
    request = network.create_infer_request()
    for image in _images(card):
        wanted = _tried(lambda image=image: _forward(origin, image))
        if not isinstance(wanted, np.ndarray):
            continue  # a size that torch does not take either
        found = _tried(lambda image=image: request.infer([image.numpy()])[0])
        if not isinstance(found, np.ndarray):
            raise WeightsError(
                f"OpenVINO cannot run the network of {card.name!r} on an image of "
                f"{tuple(image.shape)}; run it with runtime='torch': {_line(found)}"
            )
        require_size(card, image.shape, found.shape)
        largest = float(np.abs(wanted - found).max())
        if not largest <= TOLERANCE * (1 + float(np.abs(wanted).max())):
            raise WeightsError(
                f"OpenVINO gives other scores than the network of {card.name!r} has on an image "
                f"of {tuple(image.shape)}, by up to {largest:.3g}; run it with runtime='torch'"
            )


def _tried(function):
    """Return what a function gives, or the error that it raised."""
    try:
        return function()
    except Exception as error:
        return error


@torch.inference_mode()
def _forward(network, image):
    return network(image).numpy()


def _line(error):
    """Return the first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
