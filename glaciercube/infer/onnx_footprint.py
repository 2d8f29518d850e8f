"""How much memory a network that comes as ONNX needs, found without running it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from glaciercube.infer.runtime_onnx import model_of
from glaciercube.model.card import ModelCard
from glaciercube.optional import load

SIDE = 256
"""Pixels of the image whose way is followed, unless the network has a window of its own."""


def footprint(card: ModelCard) -> tuple[float, int]:
    """Return the most memory that a network's tensors take at a time, and that of its weights.

    Parameters
    ----------
    card : ModelCard
        Of architecture "onnx". Nothing is run.

    Returns
    -------
    activations : float
        Bytes per pixel of the input, without the scratch memory of single operations.
    weights : int
        Bytes.

    Raises
    ------
    WeightsError
        If the file is missing, another one, no ONNX, or refers to other files.
    ImportError
        If ONNX is not installed.

    Notes
    -----
    Shapes follow from the input's (ONNX's own shape inference); a tensor lives from the operation
    that makes it to the last one that reads it. One whose shape does not follow counts as the
    largest of all.
    """
    model, side = model_of(card), card.window or SIDE
    for end in model.graph.input:
        for dim, size in zip(end.type.tensor_type.shape.dim, (1, card.channels, side, side),
                             strict=False):  # fmt: skip
            dim.dim_value = size
    for end in model.graph.output:
        end.type.tensor_type.ClearField("shape")
    inferred = load("onnx").shape_inference.infer_shapes(model, data_prop=True).graph
    weights = {one.name: _bytes(one.data_type, one.dims) for one in inferred.initializer}
    sizes = dict(_sizes(inferred))
    largest = max(sizes.values(), default=0)
    sizes = {name: sizes.get(name, largest) for node in inferred.node for name in node.output} | {
        end.name: sizes.get(end.name, largest) for end in inferred.input if end.name not in weights
    }
    return _most(inferred.node, sizes) / side**2, sum(weights.values())


def _most(nodes, sizes) -> int:
    """Return the most bytes that live at a time; the input of the network lives throughout."""
    last = {name: number for number, node in enumerate(nodes) for name in node.input}
    made = {name for node in nodes for name in node.output}
    now = most = sum(size for name, size in sizes.items() if name not in made)
    for number, node in enumerate(nodes):
        now += sum(sizes[name] for name in node.output)
        most = max(most, now)
        ended = {name for name in (*node.input, *node.output) if last.get(name, -1) <= number}
        now -= sum(sizes[name] for name in ended & made if last.get(name) is not None)
    return most


def _sizes(graph: Any) -> Iterator[tuple[str, int]]:
    """Yield the bytes of each tensor whose shape is known."""
    for one in (*graph.input, *graph.value_info, *graph.output):
        kind = one.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        if kind.HasField("shape") and all(dims):
            yield one.name, _bytes(kind.elem_type, dims)


def _bytes(kind: int, dims: Any) -> int:
    item = load("onnx").helper.tensor_dtype_to_np_dtype(kind).itemsize
    return int(np.prod([*dims], dtype=np.int64)) * item
