"""The network: its shapes, its halo, and what its spectral channels do not see."""

import numpy as np
import pytest
import torch

from glaciercube.indices import normalized_difference
from glaciercube.model.fcn import FCN, Spectral


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(1, 6, 60, 52, generator=generator) + 0.01


def make_network(**more):
    torch.manual_seed(5)
    network = FCN(bands=6, categories=3, width=8, dilations=(1, 2, 4), **more)
    with torch.no_grad():  # as after training: statistics that are not those of a fresh network
        network.train()(torch.rand(4, 6, 32, 32))
    return network.eval()


@pytest.mark.parametrize("spectral", [False, True])
def test_the_result_has_the_size_of_the_image(image, spectral):
    network = make_network(spectral=spectral)
    scores = network(image)
    assert scores.shape == (1, 3, 60, 52)
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("spectral", [False, True])
def test_a_tile_with_its_halo_gives_what_the_whole_image_gives(image, spectral):
    network = make_network(spectral=spectral)
    halo = network.halo
    assert halo == 7
    with torch.inference_mode():
        whole = network(image)[..., 20:40, 20:35]
        tile = network(image[..., 20 - halo : 40 + halo, 20 - halo : 35 + halo])
    # 1e-5: float32 sums in another order
    torch.testing.assert_close(tile[..., halo:-halo, halo:-halo], whole, rtol=0, atol=1e-5)


def test_one_pixel_less_halo_changes_the_result(image):
    network = make_network()
    less = network.halo - 1
    with torch.inference_mode():
        whole = network(image)[..., 20:40, 20:35]
        tile = network(image[..., 20 - less : 40 + less, 20 - less : 35 + less])
    assert float((tile[..., less:-less, less:-less] - whole).abs().max()) > 1e-4


def test_spectral_channels_are_normalised_differences(image):
    module = Spectral(6)
    channels = module(image).numpy()
    assert channels.shape[1] == module.channels == 28
    pair = [(int(a), int(b)) for a, b in zip(module.first, module.second, strict=True)].index(
        (1, 4)
    )
    expected = normalized_difference(image[0, 1].numpy(), image[0, 4].numpy())
    np.testing.assert_allclose(channels[0, 12 + pair], expected, rtol=0, atol=1e-6)


def test_normalised_differences_do_not_see_illumination(image):
    module = Spectral(6)
    bright, dark = module(image), module(image * 0.3)
    np.testing.assert_allclose(bright[:, 12:], dark[:, 12:], rtol=0, atol=1e-5)


def test_a_pixel_that_was_not_measured_is_told_from_a_dark_one(image):
    image[..., 5, 5] = 0
    image[..., 6, 6] = -0.01
    measured = Spectral(6)(image)[0, -1]
    assert measured[5, 5] == 0
    assert measured[6, 6] == 1
    assert torch.isfinite(Spectral(6)(image)).all()


def test_arguments_may_come_from_json():
    assert FCN(bands=6, categories=8, width=4, dilations=[1, 2]).halo == 3
