"""Networks that come as ONNX files, in ONNX Runtime: on the CPU, or on a GPU of CUDA.

A file is checked before it is opened: nothing outside it is read, no library is loaded with it.
The threads are those of `threads.policy`; memory goes back to the allocator after each pass, as
ONNX Runtime's own pool only grows.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.infer import threads
from glaciercube.infer.runtime_fusion import probe_image
from glaciercube.infer.runtime_torch import BATCH_PIXELS, device
from glaciercube.infer.runtimes import ref_for, scored
from glaciercube.model import inspector, registry
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef
from glaciercube.model.weights import check_weights_file
from glaciercube.optional import load

LARGEST = 2**31 - 1
"""Bytes of an ONNX file: protobuf reads no more."""

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of the operations that ONNX Runtime has itself."""

OUTSIDE = ("EPContext",)
"""Operations of these domains that read other files."""


def open_network(ref: ModelRef, place: str = "") -> "OnnxRuntime":
    """Return the network of a reference, ready to run.

    Parameters
    ----------
    ref : ModelRef
        Whose card has the architecture "onnx".
    place : str
        "cpu" or "cuda:0"; as `runtime_torch.device` says by default. The CPU where ONNX Runtime
        was built without CUDA.

    Raises
    ------
    WeightsError
        If the file is missing, another one, no ONNX, or refers to other files; if its input or
        output is not what the card says.
    ImportError
        If ONNX Runtime or ONNX is not installed.
    """
    content = _content_of(ref.card)
    session = _session(content, place or device(), ref.card)
    _require_ends(session, ref.card)
    runtime = OnnxRuntime(ref, session)
    image = probe_image(ref.card).numpy()
    found = runtime.scores(image, (slice(None), slice(None)))
    if not np.isfinite(found).all():
        raise WeightsError(
            f"the network of {ref.card.name!r} must give finite scores, found NaN or infinity on "
            "an image of noise between 0 and 1; look for NaN in its weights"
        )
    return runtime


class OnnxRuntime:
    """A network in ONNX Runtime; see `runtimes.Runtime`.

    Parameters
    ----------
    ref : ModelRef
    session : onnxruntime.InferenceSession

    Attributes
    ----------
    name, precision : str
    batch_pixels : int
        That go through at a time, at least one image.
    """

    def __init__(self, ref: ModelRef, session: Any):
        self.name, self.precision = ref.runtime, ref.precision
        self.batch_pixels = BATCH_PIXELS["cpu"]
        self._card, self._session = ref.card, session
        given, found = session.get_inputs()[0], session.get_outputs()[0]
        self._input, self._output = given.name, found.name
        self._one = isinstance(given.shape[0], int)

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
            If the network does not take images of this size, or its output has another one.
        """
        count = max(1, self.batch_pixels // max(1, images.shape[2] * images.shape[3]))
        return scored(images, inner, self._card, 1 if self._one else count, self._through)

    @contextmanager
    def _through(self, batch: np.ndarray) -> Iterator[np.ndarray]:
        try:
            with threads.slot():
                found = self.run(batch)
        except Exception as error:  # ONNX Runtime has an exception for each kind of failure
            raise WeightsError(
                f"the network of {self._card.name!r} does not take images of "
                f"{batch.shape[2]} x {batch.shape[3]} pixels: {_line(error)}"
            ) from error
        yield found

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the scores of whole images in one pass.

        Parameters
        ----------
        images : array (n, channel, y, x), float32

        Returns
        -------
        array (n, category, y, x), float32
        """
        return self._session.run([self._output], {self._input: images})[0]


def inspect(card: ModelCard) -> inspector.Inspection:
    """Return how far a network that comes as ONNX looks, as measured on it.

    Parameters
    ----------
    card : ModelCard
        Its halo, stride and exactness are not looked at.

    Returns
    -------
    Inspection
        Its operations are not followed, so the measured values alone count: see
        `inspector.inspect`.

    Raises
    ------
    WeightsError
        If the file cannot be opened, or takes no image of the sizes tried.
    """
    runtime = open_network(ref_for(card, "onnx"))
    return inspector.inspect(_Called(runtime), card.channels, card.window)


class _Called(nn.Module):
    """A network in ONNX Runtime that is called as one of torch."""

    def __init__(self, runtime: OnnxRuntime):
        super().__init__()
        self._runtime = runtime
        self.eval()

    def __deepcopy__(self, memo):
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores of images in float32."""
        if images.dtype != torch.float32:
            raise TypeError(f"it takes float32, not {images.dtype}")
        found = [torch.from_numpy(self._runtime.run(one.numpy())) for one in images.split(1)]
        return torch.cat(found)


def model_of(card: ModelCard) -> Any:
    """Return the network of a card as ONNX has it; nothing outside its file is read.

    Parameters
    ----------
    card : ModelCard
        Of architecture "onnx".

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    WeightsError
        If the file is missing, another one, no ONNX, or refers to other files.
    """
    return load("onnx").load_model_from_string(_content_of(card))


def _content_of(card: ModelCard) -> bytes:
    """Return an ONNX file that refers to nothing outside it."""
    place = registry.place_of(card)
    if place.suffix.lower() != ".onnx":
        raise WeightsError(
            f"the card {card.name!r} has the architecture 'onnx', so its weights must be an .onnx "
            f"file, found {str(place)!r}"
        )
    check_weights_file(place, card.sha256)
    if place.stat().st_size > LARGEST:
        raise WeightsError(f"{str(place)!r} may have {LARGEST} bytes, more than protobuf reads")
    content = place.read_bytes()
    try:
        model = load("onnx").load_model_from_string(content)
    except Exception as error:  # protobuf's own kinds
        raise WeightsError(f"{str(place)!r} is no whole ONNX file: {_line(error)}") from error
    problems = [*_problems(model)]
    if problems:
        raise WeightsError(
            f"the ONNX file {str(place)!r} must be whole in itself, but {problems[0]}; save it "
            "with all tensors inside and with operations of ONNX"
        )
    return content


def _problems(model: Any) -> Iterator[str]:
    """Yield what in a model is not in it."""
    for part in (model.graph, *model.functions):
        for holder in _holders(part):
            for tensor in _tensors(holder):
                if tensor.data_location or tensor.external_data:
                    yield f"its tensor {tensor.name!r} lies in another file"
            if hasattr(holder, "op_type"):
                own = {(one.domain, one.name) for one in model.functions}
                if (holder.domain, holder.op_type) in own:
                    continue
                if holder.domain not in DOMAINS or holder.op_type in OUTSIDE:
                    yield f"it needs the operation {holder.domain}::{holder.op_type}"


def _holders(part: Any) -> Iterator[Any]:
    """Yield a graph or function, its nodes, and those of the graphs within."""
    yield part
    for node in part.node:
        yield node
        for attribute in node.attribute:
            inner = (
                [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
            )
            for graph in inner:
                yield from _holders(graph)


def _tensors(holder: Any) -> Iterable[Any]:
    """Return the tensors that a graph or a node holds itself."""
    if hasattr(holder, "op_type"):
        found = []
        for attribute in holder.attribute:
            sparse = [attribute.sparse_tensor, *attribute.sparse_tensors]
            found += [attribute.t, *attribute.tensors]
            found += [tensor for one in sparse for tensor in (one.values, one.indices)]
        return found
    sparse = [
        tensor for one in _of(holder, "sparse_initializer") for tensor in (one.values, one.indices)
    ]
    return [*_of(holder, "initializer"), *sparse]


def _of(part, name):
    """Return a list of a graph; a function has none."""
    return getattr(part, name, ())


def _session(content, place, card):
    """Return a session that keeps to the threads of this process."""
    onnxruntime = load("onnxruntime")
    policy = threads.policy()
    options = onnxruntime.SessionOptions()
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = policy.cores - policy.slots + 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    onnxruntime.disable_telemetry_events()
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=providers_of(place, onnxruntime.get_available_providers())
        )
    except Exception as error:  # ONNX Runtime has an exception for each kind of failure
        raise WeightsError(
            f"ONNX Runtime {onnxruntime.__version__} does not take the network of {card.name!r}: "
            f"{_line(error)}"
        ) from error


def providers_of(place: str, available: Iterable[str]) -> list[Any]:
    """Return what is to run a network, the first that can.

    Parameters
    ----------
    place : str
        As `runtime_torch.device` gives it.
    available : iterable of str
        What ONNX Runtime was built with.

    Examples
    --------
    >>> providers_of("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"])
    ['CPUExecutionProvider']
    """
    found: list[Any] = ["CPUExecutionProvider"]
    if torch.device(place).type == "cuda" and "CUDAExecutionProvider" in available:
        settings = {
            "device_id": torch.device(place).index or 0,
            "use_tf32": 0,
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        found.insert(0, ("CUDAExecutionProvider", settings))
    return found


def _require_ends(session, card: ModelCard) -> None:
    """Raise one error that lists what of a network's input and output does not fit the card."""
    problems = []
    for what, ends, size in (
        ("input", session.get_inputs(), card.channels),
        ("output", session.get_outputs(), len(card.categories)),
    ):
        if len(ends) != 1:
            problems.append(f"one {what} is needed, found {[end.name for end in ends]}")
            continue
        problems += _end_problems(f"{what} {ends[0].name!r}", ends[0], size, card)
    if problems:
        raise WeightsError(
            f"the ONNX network of {card.name!r} does not fit its card:\n  " + "\n  ".join(problems)
        )


def _end_problems(name, end, size, card):
    if end.type != "tensor(float)":
        yield f"{name} must be float32, tensor(float), found {end.type}"
    shape = end.shape
    if len(shape) != 4:
        yield f"{name} must be (n, {size}, y, x), found {shape}"
        return
    if isinstance(shape[0], int) and shape[0] != 1:
        yield f"{name} must take any number of images, or one, found {shape[0]}"
    if isinstance(shape[1], int) and shape[1] != size:
        yield f"{name} must have {size} channels, found {shape[1]}"
    fixed = [side for side in shape[2:] if isinstance(side, int)]
    if fixed and (card.exact or {*fixed} != {card.window}):
        yield (
            f"{name} has a fixed size, {shape[2:]} pixels, so the card needs exact=False and that "
            f"window, found exact={card.exact} and window={card.window}"
        )


def _line(error):
    """Return the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
