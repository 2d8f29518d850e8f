"""Keras weights files (.h5) made from networks of ours, as Keras 2 writes them."""

import numpy as np
import pytest

KERAS = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "position": "positional_embedding",
}


def seeded(network, seed=0):
    """Return a network in evaluation mode with random weights that keep values of order 1."""
    generator = np.random.default_rng(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            values = generator.uniform(0.7, 1.3, tensor.shape)
        elif tensor.ndim > 1:
            values = generator.normal(0, (1 / tensor[0].numel()) ** 0.5, tensor.shape)
        else:
            values = generator.normal(0, 0.1, tensor.shape)
        tensor.copy_(tensor.new_tensor(values.astype(np.float32)))
    return network.eval().requires_grad_(False)


def write_keras(path, network, names, first=0):
    """Write the tensors of a network under the names of the authors' layers.

    The layers of each kind are numbered from `first` on, as in a session that has made others.
    """
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    layers = dict(names)
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.15.0"
        tops = dict.fromkeys(numbered(layer, first).split("/")[0] for layer in layers.values())
        file.attrs["layer_names"] = [name.encode() for name in tops]
        for name, tensor in network.state_dict().items():
            module, _, kind = name.rpartition(".")
            if kind == "num_batches_tracked":
                continue
            layer = numbered(layers[module], first)
            # a layer that stands alone has its arrays in a group of its own name within its group
            layer = layer if "/" in layer else f"{layer}/{layer}"
            file[f"{layer}/{name_of(kind, tensor, layer)}:0"] = turned(tensor.numpy(), layer, kind)
    return path


def numbered(layer, first):
    parts = [part.rsplit(".", 1) for part in layer.split("/")]
    numbers = [(stem, int(rank) + first) for stem, rank in parts]
    return "/".join(stem if not number else f"{stem}_{number}" for stem, number in numbers)


def name_of(kind, tensor, layer):
    if "normalization" in layer.split("/")[-1]:
        return {"weight": "gamma", "bias": "beta"}.get(kind, KERAS.get(kind, kind))
    return {"weight": "kernel"}.get(kind, KERAS.get(kind, kind))


def turned(values, layer, kind):
    """Return an array as Keras has it: output channels last, input channels before them."""
    last = layer.split("/")[-1]
    if "multi_head_attention" in layer:
        return attention(values, last, kind)
    if kind != "weight" or values.ndim == 1:
        return values
    if last.startswith("dense"):
        return values.reshape(values.shape[:2]).T
    if last.startswith("conv3d") and values.ndim == 3:
        values = values[..., np.newaxis, np.newaxis]
    return values.transpose(*range(2, values.ndim), 1, 0)


def attention(values, last, kind):
    if last.startswith("attention_output"):
        return values.T.reshape(4, -1, values.shape[0]) if kind == "weight" else values
    return values.T.reshape(-1, 4, 16) if kind == "weight" else values.reshape(4, 16)
