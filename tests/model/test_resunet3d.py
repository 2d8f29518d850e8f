"""The U-Net over dates: that what is not measured changes nothing, and what pooling does."""

import pytest
import torch

from glaciercube.model.resunet3d import POOLINGS, ResUNet3D

PLANES = 4 + 2


def make_network(count=3, pooling="max", **more):
    torch.manual_seed(5)
    sizes = {"width": 4, "depth": 2, "day": True} | more
    network = ResUNet3D(count * PLANES, 5, count=count, pooling=pooling, **sizes)
    with torch.no_grad():
        network.train()(image_of(count, number=2))
    return network.eval()


def image_of(count=3, number=1, padded=()):
    """Return an image 33 x 41 whose dates have holes; those padded are all hole."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(number, count, PLANES, 33, 41, generator=generator)
    image[:, :, 4] = (image[:, :, 4] > -1).float()
    image[:, list(padded)] = 0
    return image.flatten(1, 2)


def test_sizes():
    network = ResUNet3D(bands=35, categories=8, count=5)
    assert (network.stride, network.halo) == (16, 96)
    assert ResUNet3D(bands=35, categories=8, count=5, depth=3).halo == 48


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.inference_mode()
def test_what_was_not_measured_changes_nothing(pooling):
    network, image = make_network(pooling=pooling), image_of(padded=[0])
    other = image.unflatten(1, (3, PLANES)).clone()
    hidden = (other[:, :, 4:5] == 0).expand_as(other).clone()
    hidden[:, :, 4] = False
    other[hidden] = torch.randn(int(hidden.sum())) * 50
    assert float((other.flatten(1, 2) - image).abs().max()) > 50
    assert torch.equal(network(other.flatten(1, 2)), network(image))


@pytest.mark.parametrize("padded", [[0], [3], [0, 3]])
@pytest.mark.parametrize("pooling", POOLINGS)
@torch.inference_mode()
def test_a_padded_date_is_no_date(pooling, padded):
    network, fewer = make_network(4, pooling), make_network(4 - len(padded), pooling)
    fewer.load_state_dict(network.state_dict())
    image = image_of(4, padded=padded)
    kept = [date for date in range(4) if date not in padded]
    part = image.unflatten(1, (4, PLANES))[:, kept].flatten(1, 2)
    torch.testing.assert_close(network(image), fewer(part), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.inference_mode()
def test_dates_are_seen_beside_their_neighbours(pooling):
    network, image = make_network(pooling=pooling), image_of()
    mixed = image.unflatten(1, (3, PLANES))[:, [1, 0, 2]].flatten(1, 2)
    assert float((network(mixed) - network(image)).abs().max()) > 1e-3


@torch.inference_mode()
def test_pooling_is_over_dates_alone():
    one, other = make_network().over[0], make_network(pooling="weighted").over[0]
    generator = torch.Generator().manual_seed(1)
    measured = (torch.rand(6, 1, 5, 5, generator=generator) > 0.3).float()
    dates = torch.rand(6, 4, 5, 5, generator=generator) * measured
    parts, seen = dates.unflatten(0, (2, 3)), measured.unflatten(0, (2, 3))
    assert torch.equal(one(dates, measured), parts.max(dim=1).values)
    score = other.score(dates).unflatten(0, (2, 3)).exp() * seen
    weights = score / score.sum(1, keepdim=True).clamp(min=1e-30)
    torch.testing.assert_close(other(dates, measured), (parts * weights).sum(1))


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.inference_mode()
def test_without_any_date_scores_are_finite(pooling):
    assert torch.isfinite(make_network(pooling=pooling)(image_of(padded=[0, 1, 2]))).all()


def test_arguments_that_do_not_fit_are_named():
    sizes = {"bands": 10, "categories": 2, "count": 2}
    with pytest.raises(ValueError, match="needs the mask of each date, found mask=False"):
        ResUNet3D(**sizes, mask=False)
    with pytest.raises(ValueError, match="depth of 1 or more, found 0"):
        ResUNet3D(**sizes, depth=0)
    with pytest.raises(ValueError, match=r"one of \['max', 'weighted'\], found 'mean'"):
        ResUNet3D(**sizes, pooling="mean")
