"""ICEmapper: dates in, one image out."""

import pytest
import torch
from keras_files import seeded

from glaciercube.model.icemapper import HALO, ICEmapper


def series(dates=3, channels=2, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, dates * channels, side, side, generator=generator)


@pytest.mark.parametrize("pooling", ["max", "weighted"])
@pytest.mark.parametrize("dates", [1, 3, 15])
@torch.inference_mode()
def test_any_number_of_dates_gives_one_image(pooling, dates):
    network = seeded(ICEmapper(bands=2 * dates, categories=2, dates=dates, pooling=pooling))
    assert network(series(dates)).shape == (1, 2, 16, 16)


@torch.inference_mode()
def test_channels_come_date_after_date():
    network = seeded(ICEmapper(bands=6, categories=2, dates=3))
    seen = []
    network.down[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = series()
    network(image)
    assert seen[0].shape == (1, 2, 3, 16, 16)
    assert torch.equal(seen[0][0, 1, 2], image[0, 2 * 2 + 1])


@torch.inference_mode()
def test_the_order_of_dates_matters():
    network = seeded(ICEmapper(bands=6, categories=2, dates=3))
    image = series()
    turned = image.unflatten(1, (3, 2)).flip(1).flatten(1, 2)
    assert not torch.allclose(network(image), network(turned), atol=1e-4)


@torch.inference_mode()
def test_the_largest_over_time_sees_no_farther_than_its_halo():
    network = seeded(ICEmapper(bands=2, categories=2, dates=2)).double()
    image = torch.rand(1, 2, 8, 192, dtype=torch.float64)
    changed = image.clone()
    changed[..., :64] = torch.nan
    felt = network(changed).isnan().any(dim=1)[0, 0].nonzero()
    assert 64 < int(felt.max()) < 64 + HALO
    assert (network.halo, network.stride) == (56, 8)


@torch.inference_mode()
def test_the_weights_over_time_look_at_the_whole_tile():
    network = seeded(ICEmapper(bands=2, categories=2, dates=2, pooling="weighted")).double()
    image = torch.rand(1, 2, 8, 192, dtype=torch.float64)
    changed = image.clone()
    changed[..., :8] = 1
    assert not torch.equal(network(image)[..., -1], network(changed)[..., -1])


def test_gradients_reach_every_parameter():
    network = ICEmapper(bands=6, categories=2, dates=3, pooling="weighted").train()
    network(series()).square().sum().backward()
    assert all(each.grad is not None for each in network.parameters())


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="20 channels are no multiple of 15 dates"):
        ICEmapper(bands=20, categories=2)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="'max' or 'weighted', found 'mean'"):
        ICEmapper(bands=15, categories=2, pooling="mean")
