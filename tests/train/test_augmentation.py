"""Augmentation: image and truth stay together, gaps stay gaps, colours stay physical."""

from dataclasses import replace

import numpy as np
import pytest

from glaciercube.schema import NODATA
from glaciercube.train.augmentation import Augmentation, augment

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
STILL = Augmentation(
    brightness=0, gain=0, air=0, offset=0, noise=0.0006, blur=0, neighbours=0, reflected=0, gaps=0
)


def make_patch(seed=0, size=40):
    generator = np.random.default_rng(seed)
    target = (generator.random((size, size)) > 0.5).astype(np.uint8)
    image = np.broadcast_to(0.2 + 0.5 * target, (6, size, size)).astype(np.float32)
    return image, target


@pytest.mark.parametrize("seed", range(12))
def test_truth_turns_with_the_image(seed):
    image, target = make_patch(seed)
    out, truth = augment(image, target, BANDS, STILL, np.random.default_rng(seed))
    np.testing.assert_array_equal(out[0] > 0.45, truth == 1)
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
    how = replace(STILL, air=1)
    generator = np.random.default_rng(1)
    added = np.stack([augment(dark, target, BANDS, how, generator)[0] for _ in range(60)])
    mean = added.mean(axis=(0, 2, 3)) - 0.02
    assert (np.diff(mean) < 0).all()
    assert mean[0] > 0.02


def test_snow_raises_the_normalised_difference_of_rock_beside_it():
    target = np.zeros((40, 40), np.uint8)
    target[:, 20:] = 1
    rock = np.array([0.10, 0.12, 0.14, 0.18, 0.24, 0.22])[:, np.newaxis, np.newaxis]
    snow = np.array([0.85, 0.85, 0.85, 0.70, 0.02, 0.02])[:, np.newaxis, np.newaxis]
    image = np.where(target == 1, snow, rock).astype(np.float32)
    how = replace(STILL, neighbours=0.08, reflected=0.4)
    for seed in range(8):
        out, truth = augment(image, target, BANDS, how, np.random.default_rng(seed))
        near = (out[1] - out[4])[truth == 0].max()
        assert near > 0.12 - 0.24 + 0.002


def test_the_same_seed_gives_the_same_patch():
    image, target = make_patch()
    first, second = (
        augment(image, target, BANDS, Augmentation(), np.random.default_rng(9)) for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[0].dtype == np.float32
    assert first[1].dtype == np.uint8
