"""U-TAE: its published size, and that a padded date changes nothing."""

import pytest
import torch

from glaciercube.model.utae import UTAE

PLANES = 4 + 2


def make_network(count=3, **more):
    torch.manual_seed(5)
    sizes = {"width": 8, "heads": 4, "depth": 2} | more
    network = UTAE(bands=count * PLANES, categories=5, count=count, **sizes)
    with torch.no_grad():
        network.train()(image_of(count, number=2))
    return network.eval()


def image_of(count=3, number=1, padded=()):
    """Return an image 33 x 41 whose dates have holes; those padded are all hole."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(number, count, PLANES, 33, 41, generator=generator)
    image[:, :, 4] = (image[:, :, 4] > -1).float()
    image[:, :, 5] = (torch.arange(count).sub(count - 1) * 11 / 365)[:, None, None]
    image[:, list(padded)] = 0
    return image.flatten(1, 2)


def weights_of(network, image):
    """Return the weights (count, heads, y, x) of the dates at the coarsest level."""
    seen = []
    hook = network.attend.register_forward_hook(lambda *given: seen.append(given[-1][1]))
    network(image)
    hook.remove()
    return seen[0]


def test_it_has_the_published_size():
    """1.1 million parameters, of 10 bands and 20 categories; here the mask is one band more."""
    network = UTAE(bands=7 * 12, categories=20, count=7)
    assert (network.stride, network.halo) == (8, 64)
    assert sum(each.numel() for each in network.parameters()) == 1_086_228


@torch.inference_mode()
def test_what_a_padded_date_holds_changes_nothing():
    network, image = make_network(), image_of(padded=[0])
    other = image.clone()
    other[:, :4] = torch.randn(1, 4, 33, 41) * 50
    other[:, 5] = 0.7
    assert torch.equal(network(other), network(image))


@torch.inference_mode()
def test_padded_dates_weigh_nothing_at_any_place():
    network = make_network()
    weights = weights_of(network, image_of(padded=[0, 2]))
    assert weights.shape == (3, 4, 9, 11)
    assert (weights[[0, 2]] == 0).all()
    torch.testing.assert_close(weights[1], torch.ones(4, 9, 11))
    assert (weights_of(network, image_of()) > 0).all()


@pytest.mark.parametrize("padded", [[0], [3], [0, 3]])
@torch.inference_mode()
def test_a_padded_date_is_no_date(padded):
    network, fewer = make_network(4), make_network(4 - len(padded))
    fewer.load_state_dict(network.state_dict())
    image = image_of(4, padded=padded)
    kept = [date for date in range(4) if date not in padded]
    part = image.unflatten(1, (4, PLANES))[:, kept].flatten(1, 2)
    torch.testing.assert_close(network(image), fewer(part), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_order_of_dates_does_not_matter_but_their_days_do():
    network, image = make_network().double(), image_of().double()
    mixed = image.unflatten(1, (3, PLANES))[:, [2, 0, 1]]
    torch.testing.assert_close(network(mixed.flatten(1, 2)), network(image), rtol=0, atol=1e-10)
    mixed[:, 0, 5] = 0.3
    assert float((network(mixed.flatten(1, 2)) - network(image)).abs().max()) > 1e-4


@torch.inference_mode()
def test_without_any_date_scores_are_finite():
    assert torch.isfinite(make_network()(image_of(padded=[0, 1, 2]))).all()


def test_arguments_that_do_not_fit_are_named():
    sizes = {"bands": 12, "categories": 2, "count": 2}
    with pytest.raises(ValueError, match="needs the mask and the day of each date"):
        UTAE(**sizes, day=False)
    with pytest.raises(ValueError, match="even width that is a multiple of 16 heads, found 24"):
        UTAE(**sizes, width=24)
    with pytest.raises(ValueError, match="even width that is a multiple of 1 heads, found 5"):
        UTAE(**sizes, width=5, heads=1)
    with pytest.raises(ValueError, match="depth of 1 or more, found 0"):
        UTAE(**sizes, depth=0)
