"""Networks that come as ONNX, in ONNX Runtime. Their file is read as data; it holds no code."""

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.infer import threads
from glaciercube.infer.runtime_torch import BATCH_PIXELS, device
from glaciercube.infer.runtimes import require_size
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef
from glaciercube.model.registry import place_of
from glaciercube.model.weights import check_weights_file
from glaciercube.optional import load


def open_network(ref: ModelRef, place: str = "") -> "OnnxRuntime":
    """Return the network of a reference, ready to run.

    Parameters
    ----------
    ref : ModelRef
        Whose runtime is "onnx".
    place : str
        Device; where `runtime_torch.device` says by default.

    Raises
    ------
    WeightsError
        If the file is missing, has another hash, is no ONNX, keeps its weights in other files,
        or takes and gives something else than the card says.
    """
    file = place_of(ref.card)
    check_weights_file(file, ref.card.sha256)
    _require_whole(file)
    runtime = OnnxRuntime(ref, file, place or device())
    runtime.check()
    return runtime


class OnnxRuntime:
    """A network in ONNX Runtime; see `runtimes.Runtime`.

    Parameters
    ----------
    ref : ModelRef
    file : Path
    place : str
        "cpu", or a GPU of CUDA.

    Attributes
    ----------
    name, precision : str
    """

    def __init__(self, ref: ModelRef, file: Path, place: str):
        self.name, self.precision = ref.runtime, ref.precision
        self._card, self._file, self._place = ref.card, file, place
        self._lock = Lock()
        self._ready: tuple[threads.Policy, Any] | None = None

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
                (found,) = self._session(policy).run(None, {self._name(policy): batch})
            require_size(self._card, batch.shape, found.shape)
            out[start : start + step] = found[:, :, inner[0], inner[1]]
        return out

    def check(self) -> None:
        """Raise an error if the network takes or gives something else than its card says.

        Raises
        ------
        WeightsError
        """
        session = self._session(threads.policy())
        given, found = session.get_inputs(), session.get_outputs()
        problems = [*_input_problems(given, self._card)]
        if len(found) != 1:
            problems.append(f"it needs one output, found {[one.name for one in found]}")
        if problems:
            raise WeightsError(
                f"the ONNX network {str(self._file)!r} is not the one of {self._card.name!r}:\n  "
                + "\n  ".join(problems)
            )
        side = self._card.window or 2 * self._card.stride + 32
        other = side if self._card.window else side + self._card.stride
        tile = np.zeros((1, self._card.channels, side, other), np.float32)
        try:
            self.scores(tile, (slice(0, 1), slice(0, 1)))
        except WeightsError:
            raise
        except Exception as error:
            raise WeightsError(
                f"the ONNX network {str(self._file)!r} does not take an image of {side} x {other} "
                f"pixels: {str(error).splitlines()[0]}; export it with dynamic axes, or state its "
                "fixed size as the card's window"
            ) from error

    def _name(self, policy):
        return self._session(policy).get_inputs()[0].name

    def _session(self, policy: threads.Policy) -> Any:
        with self._lock:
            if self._ready is None or self._ready[0] != policy:
                self._ready = (policy, self._opened(policy))
            return self._ready[1]

    def _opened(self, policy):
        onnx = load("onnxruntime")
        options = onnx.SessionOptions()
        options.intra_op_num_threads = policy.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnx.ExecutionMode.ORT_SEQUENTIAL
        options.enable_cpu_mem_arena = False  # it keeps the largest of every shape
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnx.InferenceSession(str(self._file), options, providers=self._providers(onnx))
        except Exception as error:
            raise WeightsError(
                f"the ONNX network {str(self._file)!r} cannot be opened: "
                f"{str(error).splitlines()[0]}; export it again"
            ) from error

    def _providers(self, onnx):
        cuda = "CUDAExecutionProvider"
        if self._place.startswith("cuda") and cuda in onnx.get_available_providers():
            number = self._place.partition(":")[2] or "0"
            return [(cuda, {"device_id": int(number)}), "CPUExecutionProvider"]
        return ["CPUExecutionProvider"]


def _input_problems(given: Any, card: ModelCard):
    if len(given) != 1:
        yield f"it needs one input, found {[one.name for one in given]}"
        return
    (one,) = given
    if one.type != "tensor(float)":
        yield f"its input needs to be float32, found {one.type}"
    shape = list(one.shape)
    if len(shape) != 4:
        yield f"its input needs (n, channel, y, x), found {shape}"
        return
    if isinstance(shape[1], int) and shape[1] != card.channels:
        yield f"its input has {shape[1]} channels, the card {card.channels}"
    if isinstance(shape[0], int) and shape[0] != 1:
        yield f"it takes {shape[0]} images at a time only; export it with a dynamic first axis"
    fixed = [size for size in shape[2:] if isinstance(size, int)]
    if fixed and set(fixed) != {card.window}:
        yield (
            f"it takes tiles of {shape[2]} x {shape[3]} pixels only, the card's window is "
            f"{card.window}; export it with dynamic axes, or state the window"
        )


def _require_whole(file: Path) -> None:
    """Raise an error if a file is no ONNX, or names other files as the place of its weights."""
    onnx = load("onnx")
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:
        raise WeightsError(
            f"weights of 'onnx' must be a whole ONNX file, found {str(file)!r}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    graphs, outside = [model.graph], []
    while graphs:
        graph = graphs.pop()
        tensors = [*graph.initializer]
        for node in graph.node:
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors]
                graphs += [attribute.g, *attribute.graphs] if attribute.HasField("g") else []
        outside += [one.name for one in tensors if one.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise WeightsError(
            f"the ONNX network {str(file)!r} keeps {outside[:3]} in other files, which may lie "
            "anywhere; save it as one file (onnx.save_model(..., save_as_external_data=False))"
        )
