"""The loop: it learns, it repeats itself for a seed, and it stops when the loss is no number."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glaciercube.errors import WeightsError
from glaciercube.model.fcn import FCN
from glaciercube.train import loop
from glaciercube.train.augmentation import Augmentation
from glaciercube.train.samples import Patches

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SHORT = loop.Schedule(steps=30, batch=4, crop=24)


@pytest.fixture
def patches():
    """Return bright snow beside dark rock, and a corner that was not measured."""
    generator = np.random.default_rng(0)
    targets = np.zeros((10, 32, 32), np.uint8)
    for target in targets:
        target[:, int(generator.integers(6, 26)) :] = 1
    spectra = np.array([[0.1, 0.1, 0.1, 0.15, 0.2, 0.2], [0.8, 0.8, 0.8, 0.7, 0.03, 0.02]])
    images = spectra[targets].transpose(0, 3, 1, 2) + generator.normal(0, 0.02, (10, 6, 32, 32))
    images[:, :, :4, :4] = 0
    targets[:, :4, :4] = 255
    return Patches(
        images=images.astype(np.float32), targets=targets, bands=BANDS, categories=("rock", "snow")
    )


def trained(patches, schedule=SHORT, augmentation=None):
    torch.manual_seed(1)
    network = FCN(bands=6, categories=2, width=6, dilations=(1, 2), spectral=True)
    return network, loop.fit(network, patches, schedule, augmentation=augmentation)


def test_thirty_steps_reduce_the_loss(patches):
    network, losses = trained(patches, augmentation=Augmentation())
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:3])
    assert not network.training


def test_what_was_learned_is_right(patches):
    network, _ = trained(patches)
    scores = loop.scores_of(network, patches.images)
    assert scores.shape == (10, 2, 32, 32)
    known = patches.targets != 255
    assert (scores.argmax(axis=1) == patches.targets)[known].mean() > 0.95


def test_a_seed_gives_the_same_weights(patches):
    first, _ = trained(patches, augmentation=Augmentation())
    second, _ = trained(patches, augmentation=Augmentation())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    third, _ = trained(patches, replace(SHORT, seed=8), augmentation=Augmentation())
    assert not torch.equal(next(first.parameters()), next(third.parameters()))


def test_a_loss_that_is_no_number_stops_at_its_step(patches):
    patches.images[:, 2, 10, 10] = np.nan
    schedule = replace(SHORT, crop=32)
    with pytest.raises(WeightsError, match="the loss at step 0 of 30 is nan; needs a finite"):
        trained(patches, schedule)


def test_unknown_pixels_do_not_count():
    torch.manual_seed(0)
    scores, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    target[:, :4] = 255
    other = scores.clone()
    other[:, :, :4] += torch.randn(2, 3, 4, 8)
    weights = torch.ones(3)
    assert loop.loss(scores, target, weights, 0.5) == pytest.approx(
        float(loop.loss(other, target, weights, 0.5)), abs=1e-6
    )
    assert float(loop.loss(scores, torch.full_like(target, 255), weights, 0.5)) == 0


def test_rare_categories_weigh_more(patches):
    targets = np.zeros((1, 10, 10), np.uint8)
    targets[0, 0] = 1
    patches = replace(patches, targets=targets, categories=("a", "b", "c"))
    np.testing.assert_array_equal(loop.category_weights(patches, 0.0), [1, 1, 0])
    weights = loop.category_weights(patches, 0.5)
    assert weights[1] == pytest.approx(3 * weights[0], rel=1e-5)
    assert weights[2] == 0
    assert 0.9 * weights[0] + 0.1 * weights[1] == pytest.approx(1, rel=1e-5)


def test_a_patch_smaller_than_the_crop_is_taken_whole(patches):
    network, losses = trained(patches, replace(SHORT, steps=2, crop=64))
    assert len(losses) == 2
