import re

import pytest
import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model.fcn import FCN
from glaciercube.model.inspector import Inspection, findings, inspect, receptive_field, stride
from glaciercube.model.unet import UNet


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
    with pytest.raises(WeightsError, match="Squeeze.*takes the mean over the whole tile"):
        receptive_field(Squeeze(), 2)
    with pytest.raises(WeightsError, match=r"norm \(GroupNorm\): normalises by the statistics"):
        receptive_field(Normed(), 4)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, image):
        return self.norm(image)


class Pooled(nn.Module):
    """A network whose halves, thirds or tenths of an image come from pooling."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, image):
        rows, columns = image.shape[-2:]
        padded = nn.functional.pad(image, (0, -columns % self.size, 0, -rows % self.size))
        small = nn.functional.max_pool2d(padded, self.size)
        return nn.functional.interpolate(small, scale_factor=self.size)[..., :rows, :columns]


def test_a_large_stride_is_found():
    assert stride(Pooled(48), 1) == 48


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


# --- the whole inspection


class Resized(nn.Module):
    """A network that halves its image and takes its size again."""

    def __init__(self, **how):
        super().__init__()
        self.small = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.how = how

    def forward(self, image):
        size = {} if "scale_factor" in self.how else {"size": image.shape[-2:]}
        return nn.functional.interpolate(self.small(image), **size, **self.how)


class Gated(nn.Module):
    """A squeeze-and-excite block."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, image):
        wide = self.wide(image)
        return wide * self.pool(wide).sigmoid()


class Attending(nn.Module):
    def forward(self, image):
        count, channels, rows, columns = image.shape
        pixels = image.flatten(2).transpose(1, 2)
        seen = nn.functional.scaled_dot_product_attention(pixels, pixels, pixels)
        return seen.transpose(1, 2).reshape(count, channels, rows, columns)


class Placed(nn.Module):
    """A network that knows each pixel's place."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))

    def forward(self, image):
        return image + self.place


@pytest.mark.parametrize(
    ("network", "halo", "step"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, 1, 4, dilation=4), nn.Conv2d(4, 2, 5, padding=2)), 6, 1),
        (nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.ConvTranspose2d(4, 2, 2, stride=2)), 0, 2),
        (nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"), 1, 1),
        (nn.Conv2d(3, 2, 3, padding=300, dilation=300), 300, 1),
        (Resized(mode="nearest"), 2, 2),
        (Resized(mode="bilinear"), 4, 2),
    ],
    ids=["dilated", "transposed", "reflect", "wide", "nearest", "bilinear"],
)  # fmt: skip
def test_exact_networks_as_their_operations_say_and_as_measured(network, halo, step):
    found = inspect(network.eval(), 3)
    assert found.exact
    assert found.reasons == ()
    assert (found.halo, found.stride) == (halo, step)
    assert found.analytic_halo == found.measured_halo == halo
    assert Inspection.of_record(found.record()) == found


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Gated(), r"pool \(AdaptiveAvgPool2d\): pools the whole tile"),
        (Attending(), "attends to the whole tile"),
        (Squeeze(), "takes the mean over the whole tile"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)), "statistics of the tile"),
        (Resized(scale_factor=2, mode="bilinear", align_corners=True), "aligns corners"),
    ],
    ids=["gate", "attention", "mean", "group norm", "corners"],
)
def test_what_forbids_tiling_is_said(network, reason):
    found = inspect(network.eval(), 3)
    assert not found.exact
    assert found.halo is None
    assert re.search(reason, " ".join(found.reasons))


def test_a_network_of_one_size_is_not_exact():
    found = inspect(Placed().eval(), 3, window=64)
    assert not found.exact
    assert "takes images of 64 x 64 pixels" in found.reasons[0]


def test_a_network_that_is_not_in_evaluation_mode_is_not_exact():
    found = inspect(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Dropout(0.5)).train(), 3)
    assert not found.exact
    assert "1 (Dropout): drops values at random; call eval()" in found.reasons


def test_a_network_that_loses_its_borders_is_refused():
    with pytest.raises(WeightsError, match=r"size of its input.*found \(1, 2, 62, 30\)"):
        inspect(nn.Conv2d(3, 2, 3).eval(), 3)


def test_a_record_needs_all_values():
    record = inspect(nn.Conv2d(3, 2, 1).eval(), 3).record()
    record.pop("halo")
    with pytest.raises(WeightsError, match=r"inspection needs \['halo'\]"):
        Inspection.of_record(record)


@pytest.mark.parametrize("residual", [False, True])
def test_the_u_net_tiles_exactly_on_its_lattice(residual):
    network = UNet(4, 3, width=4, residual=residual).eval()
    found = inspect(network, 4)
    assert found.exact
    assert found.stride == 16
    assert found.halo == network.halo
