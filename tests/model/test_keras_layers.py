"""Arrays of Keras files become the tensors of our networks, all of them and no others."""

import numpy as np
import pytest
import torch
from keras_files import seeded, write_keras
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import keras_layers
from glaciercube.model.glavitu import GlaViTU
from glaciercube.model.icemapper import ICEmapper
from glaciercube.model.keras_layers import tensors_of
from glaciercube.model.patch_cnn import PatchCNN

pytest.importorskip("h5py", reason="h5py is not installed: pip install 'glaciercube[keras]'")
keras_weights = pytest.importorskip("glaciercube.model.keras_weights")

NETWORKS = {
    "facies": (lambda: PatchCNN(bands=6, categories=8), keras_layers.facies_cnn),
    "icemapper": (
        lambda: ICEmapper(bands=4, categories=2, dates=4),
        lambda: keras_layers.icemapper(False),
    ),
    "icemapper, weighted": (
        lambda: ICEmapper(bands=6, categories=2, dates=3, pooling="weighted"),
        lambda: keras_layers.icemapper(True),
    ),
    "glavitu": (
        lambda: GlaViTU(bands=5, categories=2, sources=(3, 2), window=32, deep_supervision=True),
        lambda: keras_layers.glavitu(2),
    ),
    "glavitu, three sources and a location": (
        lambda: GlaViTU(
            bands=6, categories=3, sources=(3, 2, 1), window=16, location=[0.5, 0.1, 0, 1]
        ),
        lambda: keras_layers.glavitu(3),
    ),
}


@pytest.mark.parametrize("first", [0, 9])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_from_a_file(tmp_path, name, first):
    make, names = NETWORKS[name]
    network = seeded(make())
    arrays = keras_weights.read(write_keras(tmp_path / "w.h5", network, names(), first))
    found = tensors_of(make(), names(), arrays, "it")
    for key, tensor in network.state_dict().items():
        assert torch.equal(found[key], tensor), key
    make().load_state_dict(found)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 3)


def test_kernels_have_their_output_channels_last():
    arrays = {
        "dense.0/kernel": np.float32([[1, 2, 3], [4, 5, 6]]),
        "dense.0/bias": np.float32([7, 8, 9]),
    }
    found = tensors_of(Dense(), iter([("layer", "dense.0")]), arrays, "it")
    assert found["layer.weight"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found["layer.bias"].tolist() == [7, 8, 9]


def test_all_that_does_not_fit_is_listed():
    arrays = {"dense.0/kernel": np.zeros((2, 4)), "dense.1/kernel": np.zeros((5, 1))}
    with pytest.raises(WeightsError) as raised:
        tensors_of(Dense(), iter([("layer", "dense.0")]), arrays, "w.h5 and facies")
    assert str(raised.value).splitlines() == [
        "w.h5 and facies must have the layers of one another, but:",
        "  'dense.0/kernel' has shape (2, 4), ours (3, 2)",
        "  missing 'dense.0/bias' or 'dense.0/beta'",
        "  unexpected 'dense.1/kernel' of shape (5, 1)",
    ]


def test_a_kernel_of_the_same_size_and_another_shape_is_refused():
    network = nn.ModuleDict({"layer": nn.Conv2d(2, 3, 3, bias=False)})
    arrays = {"conv2d.0/kernel": np.zeros((3, 3, 3, 2), np.float32)}
    with pytest.raises(WeightsError, match=r"has shape \(3, 3, 3, 2\), ours \(3, 2, 3, 3\)"):
        tensors_of(network, iter([("layer", "conv2d.0")]), arrays, "it")


def test_a_long_list_is_cut():
    make, names = NETWORKS["facies"]
    with pytest.raises(WeightsError, match="\n  and 30 more$"):
        tensors_of(make(), names(), {}, "it")
