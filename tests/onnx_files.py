"""Small networks as ONNX files, and their cards."""

from pathlib import Path

import numpy as np
import onnx
import torch
from cards import BANDS, fields_of
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from glaciercube.model.card import ModelCard
from glaciercube.model.weights import sha256_of

FLOAT = TensorProto.FLOAT


SIZE = ("n", 4, "y", "x")


def same_network(seed=0, dilations=(1, 2), width=6, categories=5):
    """Return what `onnx_card` is a card of, in torch."""
    torch.manual_seed(seed)
    layers, before = [], len(BANDS)
    for dilation in dilations:
        layers += [nn.Conv2d(before, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.Conv2d(before, categories, 1)).eval().requires_grad_(False)


def model_of(network, size=SIZE, dtype=FLOAT, out=None):
    """Return convolutions and activations in a row as an ONNX model."""
    nodes, tensors, value = [], [], "image"
    for number, layer in enumerate(network):
        result = f"value{number}"
        if isinstance(layer, nn.ReLU):
            nodes.append(helper.make_node("Relu", [value], [result]))
        else:
            for kind in ("weight", "bias"):
                array = getattr(layer, kind).numpy()
                tensors.append(numpy_helper.from_array(array, f"{kind}{number}"))
            inputs = [value, f"weight{number}", f"bias{number}"]
            places = {"pads": [*layer.padding, *layer.padding], "dilations": [*layer.dilation]}
            nodes.append(helper.make_node("Conv", inputs, [result], **places))
        value = result
    last = network[-1].out_channels
    given = helper.make_tensor_value_info("image", dtype, size)
    found = helper.make_tensor_value_info(value, dtype, out or (size[0], last, *size[2:]))
    graph = helper.make_graph(nodes, "network", [given], [found], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def card_of(model, folder, **changes):
    """Write a model and return its card."""
    place = Path(folder) / "network.onnx"
    place.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return ModelCard(**fields_of(place, architecture="onnx", arguments={}, **changes))


def onnx_card(folder, **changes):
    """Return the card of a small network of a halo of 3 pixels."""
    return card_of(model_of(same_network()), folder, **changes)


def moved_outside(model, folder):
    """Return a model whose first tensor lies in another file."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    tensor = changed.graph.initializer[0]
    (Path(folder) / "secret.bin").write_bytes(np.zeros(4096, np.uint8).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "secret.bin"), ("offset", "0"), ("length", "864")):
        tensor.external_data.add(key=key, value=value)
    assert sha256_of(Path(folder) / "secret.bin")
    return changed
