"""Networks in OpenVINO: float32, bfloat16, or 8-bit integers whose ranges the card carries.

The model is made in memory from the torch network, or for int8 read from the calibrated file
beside the weights (`calibration`), whose hashes are compared first. Nothing is unpickled, and no
cache is left on disk. CPU only.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import LifoQueue
from threading import Lock
from typing import Any

import numpy as np
import torch

from glaciercube.errors import WeightsError
from glaciercube.infer import threads
from glaciercube.infer.runtime_torch import BATCH_PIXELS, has_bfloat16
from glaciercube.infer.runtimes import require_size
from glaciercube.model import registry
from glaciercube.model.reference import ModelRef
from glaciercube.model.weights import sha256_of
from glaciercube.optional import load

HINTS = {"float32": "f32", "bfloat16": "bf16"}

SHAPES = 64
"""Shapes of tiles for which OpenVINO keeps what it prepared; a bound of memory."""

TOLERANCE = 1e-3
"""Largest difference of a score, as a share of the largest, that counts as the same network."""

_converting = Lock()
_core: Any = None


def open_network(ref: ModelRef, place: str = "") -> "OpenVinoRuntime":
    """Return the network of a reference, ready to run.

    Parameters
    ----------
    ref : ModelRef
        Whose runtime is "openvino".
    place : str
        Nothing but "" and "cpu" is possible.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network or hold NaN; if this processor has
        no bfloat16; if the card has no 8-bit integers; or if OpenVINO gives other scores.
    """
    if place not in ("", "cpu"):
        raise WeightsError(f"OpenVINO runs on 'cpu' only, found the device {place!r}")
    if ref.precision == "bfloat16" and not has_bfloat16("cpu"):
        raise WeightsError(
            "'openvino-bfloat16' needs a processor with AVX512-BF16 or AMX; take runtime='auto'"
        )
    if ref.precision == "int8":
        return OpenVinoRuntime(ref, _read_quantized(ref))
    network = registry.own_network_of(ref)
    runtime = OpenVinoRuntime(ref, _converted(network, ref.card))
    if ref.precision == "float32":
        _require_same(runtime, network, ref)
    return runtime


def model_of(ref: ModelRef) -> Any:
    """Return the network of a reference as a model of OpenVINO, in float32.

    Parameters
    ----------
    ref : ModelRef

    Returns
    -------
    openvino.Model
        That takes any number and size of images.

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt, of another network or hold NaN.
    """
    return _converted(registry.own_network_of(ref), ref.card)


@contextmanager
def untold() -> Iterator[None]:
    """Keep OpenVINO and nncf from telling their makers that they are used, as they do by default.

    By the variables of the environment that they heed; one thread at a time.
    """
    with _converting:
        before = {name: os.environ.get(name) for name in SILENCE}
        os.environ.update(SILENCE)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


SILENCE = {"CI": "true", "NNCF_CI": "1"}


def _converted(network, card):
    openvino = load("openvino")
    channels = card.channels
    side = card.window or 2 * card.stride + 32
    shape = openvino.PartialShape([-1, channels, -1, -1])
    example = torch.zeros((1, channels, side, side))
    with untold(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: what it misses is found by comparing
        return openvino.convert_model(network, example_input=example, input=[shape])


class OpenVinoRuntime:
    """A network in OpenVINO; see `runtimes.Runtime`.

    Parameters
    ----------
    ref : ModelRef
    model : openvino.Model

    Attributes
    ----------
    name, precision : str
    """

    def __init__(self, ref: ModelRef, model: Any):
        self.name, self.precision = ref.runtime, ref.precision
        self._card, self._model = ref.card, model
        self._lock = Lock()
        self._ready: tuple[threads.Policy, LifoQueue] | None = None

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
        rows, columns = images[0, 0][inner].shape if len(images) else (0, 0)
        out = np.empty((len(images), len(self._card.categories), rows, columns), np.float32)
        step = max(1, BATCH_PIXELS["cpu"] // max(1, images.shape[2] * images.shape[3]))
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            with threads.slot() as policy:
                free = self._requests(policy)
                request = free.get()
                try:
                    found = request.infer([batch], share_inputs=True, share_outputs=True)[0]
                    require_size(self._card, batch.shape, found.shape)
                    out[start : start + step] = found[:, :, inner[0], inner[1]]
                finally:
                    free.put(request)
        return out

    def _requests(self, policy: threads.Policy) -> LifoQueue:
        """Return what is free to run, as many as may run at a time; made in the first pass."""
        with self._lock:
            if self._ready is None or self._ready[0] != policy:
                compiled = _compiled(self._model, self.precision, policy)
                free: LifoQueue = LifoQueue()
                for _ in range(policy.slots):
                    free.put(compiled.create_infer_request())
                self._ready = (policy, free)
            return self._ready[1]


def _compiled(model, precision, policy):
    global _core
    if _core is None:
        _core = load("openvino").Core()
    hint = HINTS.get(precision, "bf16" if has_bfloat16("cpu") else "f32")
    return _core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": policy.cores,
            "NUM_STREAMS": policy.slots,
            "ENABLE_CPU_PINNING": False,  # two processes would share one core
            "CPU_RUNTIME_CACHE_CAPACITY": SHAPES,
        },
    )


def _read_quantized(ref):
    """Return the calibrated model of a card, both of whose files have the card's hashes."""
    told = ref.card.quantized
    if not told:
        raise WeightsError(
            f"{ref.card.name} has no 8-bit integers: 'openvino-int8' needs a card that was "
            "calibrated, with glaciercube.infer.calibration.calibrate; or take runtime='auto'"
        )
    graph = registry.place_of(ref.card, str(told["file"]))
    weights = graph.with_suffix(".bin")
    for place, key in ((graph, "sha256"), (weights, "sha256_bin")):
        if not place.is_file():
            raise WeightsError(
                f"{ref.card.name} needs its 8-bit integers at {str(place)!r}, but there is no such "
                "file; put it back, or calibrate the card again"
            )
        if sha256_of(place) != told[key]:
            raise WeightsError(
                f"the 8-bit integers {str(place)!r} need sha256 {told[key]}, found "
                f"{sha256_of(place)}: the file is corrupt or another one; calibrate the card again"
            )
    global _core
    if _core is None:
        _core = load("openvino").Core()
    return _core.read_model(model=str(graph), weights=str(weights))


def _require_same(runtime, network, ref):
    """Raise an error if OpenVINO has not understood a network; on two small tiles."""
    for shape in _small_shapes(ref.card):
        tile = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        whole = (slice(0, shape[2]), slice(0, shape[3]))
        found = runtime.scores(tile, whole)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(tile)).numpy()
        if abs(found - wanted).max() > TOLERANCE * max(1.0, float(abs(wanted).max())):
            raise WeightsError(
                f"OpenVINO gives other scores than the network of {ref.card.name!r} itself, by "
                f"{abs(found - wanted).max():.2g} on a tile of {shape[2]} x {shape[3]} pixels "
                "(a branch of its code that depends on the size?); take runtime='torch'"
            )


def _small_shapes(card) -> Sequence[tuple[int, int, int, int]]:
    if card.window:
        return [(1, card.channels, card.window, card.window)]
    side = 2 * card.stride + 32
    return [(2, card.channels, side + 3, side + card.stride), (1, card.channels, side, side)]
