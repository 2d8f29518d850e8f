"""Augmentation: image and truth stay together, gaps stay gaps, colours stay physical."""

import numpy as np
import pytest

from glaciercube.schema import NODATA
from glaciercube.train.augmentation import Augmentation, augment

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
STILL = Augmentation(brightness=0, gain=0, air=0, offset=0, noise=0.0006, gaps=0)


def make_patch(seed=0, size=40):
    generator = np.random.default_rng(seed)
    target = (generator.random((size, size)) > 0.5).astype(np.uint8)
    image = np.broadcast_to(0.2 + 0.5 * target, (6, size, size)).astype(np.float32)
    return image, target


@pytest.mark.parametrize("seed", range(12))
def test_truth_turns_with_the_image(seed):
    image, target = make_patch(seed)
    out, truth = augment(image, target, BANDS, STILL, np.random.default_rng(seed))
    # a blur by two pixels may move the brightest of a block, so the bulk is compared
    assert np.corrcoef(out[0].ravel(), truth.ravel())[0, 1] > 0.45
    assert np.bincount(truth.ravel()).tolist() == np.bincount(target.ravel()).tolist()


def test_what_was_not_measured_stays_so_and_has_no_truth():
    image, target = make_patch()
    image = image.copy()
    image[:, :3] = 0
    out, truth = augment(image, target, BANDS, Augmentation(gaps=0), np.random.default_rng(2))
    gap = (out == 0).all(axis=0)
    assert gap.sum() == 3 * 40
    np.testing.assert_array_equal(gap, truth == NODATA)


def test_gaps_are_cut_as_often_as_asked():
    image, target = make_patch()
    generator = np.random.default_rng(0)
    how = Augmentation(gaps=0.3)
    cut = [augment(image, target, BANDS, how, generator)[1].max() == NODATA for _ in range(300)]
    assert 0.2 < np.mean(cut) < 0.4


def test_air_is_blue():
    image, target = make_patch()
    dark = np.full_like(image, 0.02)
    how = Augmentation(brightness=0, gain=0, air=1, offset=0, noise=0.0006, gaps=0)
    generator = np.random.default_rng(1)
    added = np.stack([augment(dark, target, BANDS, how, generator)[0] for _ in range(60)])
    mean = added.mean(axis=(0, 2, 3)) - 0.02
    assert (np.diff(mean) < 0).all()
    assert mean[0] > 0.02


def test_the_same_seed_gives_the_same_patch():
    image, target = make_patch()
    first, second = (
        augment(image, target, BANDS, Augmentation(), np.random.default_rng(9)) for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[0].dtype == np.float32
    assert first[1].dtype == np.uint8
