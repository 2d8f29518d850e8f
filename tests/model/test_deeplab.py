"""DeepLab: its levels, its pyramid, and that it looks no farther than it says."""

import pytest
import torch
from torch import nn

from glaciercube.model.deeplab import DeepLab


@pytest.mark.parametrize(
    ("stride", "rates", "halo"),
    [(16, (6, 12, 18), 560), (8, (6, 12, 18), 400), (16, (2, 4, 6), 368), (8, (2, 4, 6), 304)],
)
def test_the_halo_follows_from_the_rates(stride, rates, halo):
    assert DeepLab(4, 2, width=2, stride=stride, rates=rates).halo == halo


@pytest.mark.parametrize("stride", [8, 16])
@torch.inference_mode()
def test_cells_are_of_the_size_of_the_stride(stride):
    network = DeepLab(4, 3, width=4, stride=stride).eval()
    image = torch.zeros(1, 4, 128, 96)
    near = network.near(network.stem(image))
    assert near.shape == (1, 4, 32, 24)
    assert network.far(near).shape == (1, 32, 128 // stride, 96 // stride)


def test_levels_that_are_not_halved_are_dilated():
    dilations = {
        stride: [
            level[0].first[0].dilation[0] for level in DeepLab(4, 3, width=2, stride=stride).far
        ]
        for stride in (8, 16)
    }
    assert dilations == {8: [1, 2, 4], 16: [1, 1, 2]}


def test_the_pyramid_has_a_branch_for_each_rate_and_one_of_single_pixels():
    branches = DeepLab(4, 3, width=2, rates=(3, 5)).branches
    assert [each[0].kernel_size for each in branches] == [(1, 1), (3, 3), (3, 3)]
    assert [each[0].dilation for each in branches] == [(1, 1), (3, 3), (5, 5)]
    kinds = {type(module) for module in DeepLab(4, 3, width=2).modules()}
    assert nn.AdaptiveAvgPool2d not in kinds


def test_an_image_smaller_than_the_stride_has_its_size():
    with torch.inference_mode():
        assert DeepLab(4, 3, width=2).eval()(torch.zeros(1, 4, 3, 5)).shape == (1, 3, 3, 5)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="stride of 8 or 16, found 4"):
        DeepLab(4, 3, stride=4)
    with pytest.raises(ValueError, match=r"needs blocks and rates, found 0 and \[6, 12, 18\]"):
        DeepLab(4, 3, blocks=0)
    with pytest.raises(ValueError, match=r"needs blocks and rates, found 2 and \[\]"):
        DeepLab(4, 3, rates=[])
