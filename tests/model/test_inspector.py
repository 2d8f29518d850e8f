import re

import pytest
import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model.fcn import FCN
from glaciercube.model.inspector import findings, receptive_field, stride


def test_the_measured_halo_of_the_fcn_is_the_stated_one():
    for options in ({"dilations": (1,)}, {"dilations": (1, 2, 4)}, {"spectral": True, "width": 4}):
        network = FCN(3, 2, **{"width": 4} | options)
        assert receptive_field(network, 3) == network.halo


def test_the_fcn_has_stride_1_and_no_findings():
    network = FCN(3, 2, width=4, dilations=(1, 2)).eval()
    assert stride(network, 3) == 1
    assert findings(network) == ()


def test_weights_that_cancel_do_not_hide_a_neighbour():
    network = nn.Conv2d(1, 1, 5, padding=2, bias=False)
    with torch.no_grad():
        network.weight.zero_()
    assert receptive_field(network, 1) == 2


def test_an_asymmetric_kernel_counts_its_longer_side():
    network = nn.Sequential(nn.ZeroPad2d((0, 3, 0, 0)), nn.Conv2d(1, 1, (1, 4)))
    assert receptive_field(network, 1) == 3


class Careful(nn.Module):
    """A network that lets no NaN through."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image):
        return self.convolution(torch.nan_to_num(image))


def test_a_network_that_stops_nan_is_measured_all_the_same():
    assert receptive_field(Careful(), 1) == 1


@pytest.mark.parametrize(("pools", "step"), [(1, 2), (2, 4)])
def test_the_stride_of_poolings_is_their_product(pools, step):
    layers = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.MaxPool2d(2)) for _ in range(pools)]
    network = nn.Sequential(*layers, nn.Upsample(scale_factor=step))
    assert stride(network, 2) == step
    # up to step - 1 pixels from pooling, and a pixel of each level's kernel
    assert receptive_field(network, 2) == (step - 1) + sum(2**level for level in range(pools))


class Squeeze(nn.Module):
    """A network that looks at the whole tile without a layer for it."""

    def forward(self, image):
        return image * image.mean(dim=(2, 3), keepdim=True)


def test_a_network_that_looks_at_the_whole_tile_is_refused():
    with pytest.raises(
        WeightsError, match="more than 240 away, or on the whole tile: no layer says why"
    ):
        receptive_field(Squeeze(), 2)
    with pytest.raises(WeightsError, match=r"\['norm \(GroupNorm\): normalises by the statistics"):
        receptive_field(Normed(), 4)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, image):
        return self.norm(image)


def test_an_irregular_stride_is_refused():
    class Wide(nn.Module):
        def forward(self, image):
            rows, columns = image.shape[-2:]
            padded = nn.functional.pad(image, (0, -columns % 48, 0, -rows % 48))
            small = nn.functional.max_pool2d(padded, 48)
            return nn.functional.interpolate(small, scale_factor=48)[..., :rows, :columns]

    with pytest.raises(WeightsError, match="stride is above 32 pixels or irregular"):
        stride(Wide(), 1)


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (nn.AdaptiveAvgPool2d(1), "pools the whole tile"),
        (nn.AdaptiveMaxPool2d(3), "pools the whole tile"),
        (nn.GroupNorm(2, 4), "statistics of the tile"),
        (nn.InstanceNorm2d(4), "statistics of the tile"),
        (nn.LayerNorm((4, 8, 8)), "statistics of the tile"),
        (nn.MultiheadAttention(4, 2), "attends to the whole tile"),
        (nn.Upsample(size=(64, 64)), r"resizes to \(64, 64\) pixels"),
        (nn.BatchNorm2d(4, track_running_stats=False).eval(), "statistics of the batch"),
        (nn.BatchNorm2d(4).train(), "statistics of the batch"),
        (nn.Dropout2d(0.1).train(), "drops values at random"),
    ],
)
def test_layers_that_forbid_tiling_are_found_by_name(layer, line):
    network = nn.Sequential()
    network.add_module("stem", nn.Conv2d(3, 4, 3, padding=1))
    network.add_module("odd", layer)
    (found,) = findings(network)
    assert found.startswith(f"odd ({type(layer).__name__}): ")
    assert re.search(line, found)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(4).eval(),
        nn.Dropout(0.5).eval(),
        nn.LayerNorm(4),
        nn.Upsample(scale_factor=2),
    ],
)
def test_layers_that_tile_exactly_are_not_found(layer):
    assert findings(nn.Sequential(layer).eval()) == ()


def test_the_network_is_left_as_it_was():
    network = FCN(2, 2, width=4, dilations=(1,)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    receptive_field(network, 2)
    assert network.training
    assert next(network.parameters()).dtype == torch.float32
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
