"""The U-Nets: their sizes, and that a tile with its halo gives what the whole image gives."""

import pytest
import torch
from torch import nn

from glaciercube.model.unet import ResUNet, UNet
from glaciercube.windows import Window, expand


def make_network(kind=UNet, **more):
    torch.manual_seed(5)
    network = kind(bands=3, categories=4, width=4, **more)
    with torch.no_grad():  # as after training: statistics that are not those of a fresh network
        network.train()(torch.rand(2, 3, 64, 64))
    return network.eval()


def image_of(rows, columns):
    return torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(3))


NETWORKS = [
    (UNet, {"depth": 1}),
    (UNet, {"depth": 2}),
    (UNet, {"depth": 3}),
    (UNet, {"depth": 2, "nearest": True}),
    (UNet, {"depth": 2, "residual": True}),
    (ResUNet, {"depth": 3}),
]


def tiled(network, image, halo, step):
    """Return the scores of an image from tiles, which start anywhere."""
    rows, columns = image.shape[-2:]
    whole = torch.full((1, 4, rows, columns), torch.nan, dtype=image.dtype)
    for y in range(0, rows, step):
        for x in range(0, columns, step):
            inner = Window(y, min(y + step, rows), x, min(x + step, columns))
            wide = expand(inner, halo, (rows, columns), network.stride)
            scores = network(image[(..., *wide.slices)])
            whole[(..., *inner.slices)] = scores[(..., *inner.inside(wide))]
    return whole


@pytest.mark.parametrize(("kind", "more"), NETWORKS)
@torch.inference_mode()
def test_tiles_give_the_scores_of_the_whole_image_at_any_size(kind, more):
    network = make_network(kind, **more).double()
    image = image_of(3 * network.halo + 7, 2 * network.halo + 29).double()
    step = network.stride * 2 + 5
    found = tiled(network, image, network.halo, step)
    torch.testing.assert_close(found, network(image), rtol=0, atol=1e-12)


@torch.inference_mode()
def test_tiles_of_the_deepest_give_the_scores_of_the_whole_image():
    network = make_network().double()
    image = image_of(285, 250).double()
    found = tiled(network, image, network.halo, 120)
    torch.testing.assert_close(found, network(image), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "more"), NETWORKS)
@torch.inference_mode()
def test_a_stride_less_of_halo_changes_the_scores(kind, more):
    network = make_network(kind, **more).double()
    image = image_of(4 * network.halo, 4 * network.halo).double()
    less = network.halo - network.stride
    found = tiled(network, image, less, network.stride * 2)
    assert not torch.allclose(found, network(image), rtol=0, atol=1e-12)


@torch.inference_mode()
def test_a_shift_by_less_than_the_stride_changes_the_scores():
    network = make_network(depth=2)
    image = image_of(96, 96)
    centre = network(image)[..., 40:56, 40:56]
    shifted = {shift: network(image[..., shift:, shift:]) for shift in (1, 2, 3, 4)}
    near = {
        shift: torch.allclose(
            scores[..., 40 - shift : 56 - shift, 40 - shift : 56 - shift], centre, atol=1e-5
        )
        for shift, scores in shifted.items()
    }
    assert near == {1: False, 2: False, 3: False, 4: True}


def test_the_default_has_the_published_size():
    """As the 32-channel U-Net of the published comparisons: 7.8 million parameters."""
    network = UNet(bands=10, categories=8)
    assert (network.stride, network.halo) == (16, 96)
    assert sum(each.numel() for each in network.parameters()) == pytest.approx(7.8e6, rel=0.01)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.ConvTranspose2d) == 4
    assert kinds.count(nn.Conv2d) == 2 * 9 + 1


def test_an_image_smaller_than_the_stride_has_its_size():
    with torch.inference_mode():
        assert make_network()(image_of(3, 5)).shape == (1, 4, 3, 5)


def test_gradients_reach_every_parameter():
    network = make_network(ResUNet, depth=2).train()
    network(image_of(20, 20)).square().sum().backward()
    assert all(float(each.grad.abs().sum()) > 0 for name, each in network.named_parameters())


def test_a_depth_below_1_is_refused():
    with pytest.raises(ValueError, match="depth of 1 or more, found 0"):
        UNet(bands=3, categories=2, depth=0)
