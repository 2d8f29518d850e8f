import guests
import pytest
import torch

from glaciercube.model.padding import Padded, padded


@pytest.fixture
def network():
    return guests.seeded(guests.Plain(2, 3))


@torch.inference_mode()
def test_any_size_goes_through(network):
    image = torch.rand(2, 2, 13, 22)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        network(image)
    assert Padded(network, 4)(image).shape == (2, 3, 13, 22)


@torch.inference_mode()
def test_a_size_that_fits_is_as_it_was(network):
    image = torch.rand(1, 2, 12, 20)
    assert torch.equal(Padded(network, 4)(image), network(image))


@torch.inference_mode()
def test_a_tile_that_ends_at_the_border_is_as_the_whole(network):
    image = torch.rand(1, 2, 45, 50)
    whole = Padded(network, 4)(image)
    tile = Padded(network, 4)(image[..., 20:, 16:])
    torch.testing.assert_close(tile[..., 8:, 8:], whole[..., 28:, 24:], rtol=0, atol=1e-6)


def test_a_network_of_any_size_is_given_back(network):
    assert padded(network, 1) is network
    assert isinstance(padded(network, 4), Padded)
