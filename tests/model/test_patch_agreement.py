"""How the two modes of the facies network compare is counted pixel by pixel."""

import numpy as np
import pytest
import torch
from keras_files import seeded
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import patch_agreement
from glaciercube.model.card import ModelCard
from glaciercube.model.patch_agreement import agreement
from glaciercube.model.patch_cnn import PatchCNN


@pytest.fixture
def card(tmp_path):
    return ModelCard(
        name="patches", version="1", task="facies", architecture="facies-cnn", arguments={},
        weights=str(tmp_path / "w.safetensors"), sha256="0" * 64, bands=("green", "nir"),
        mean=(0.0, 0.1), std=(1.7, 2.0), categories=("ice", "snow", "water"), halo=16,
        radiometry=("surface",), resolution_m=(10.0, 30.0), licence="CC0-1.0",
    )  # fmt: skip


@pytest.fixture
def network():
    return seeded(PatchCNN(bands=2, categories=3))


def image_of(rows, columns):
    return np.random.default_rng(0).uniform(0, 1, (2, rows, columns)).astype(np.float32)


def test_pixels_are_compared_that_see_nothing_beyond_the_image(network, card):
    image = image_of(62, 59)
    image[1, 30, 30] = np.nan
    found = agreement(network, card, image)
    measured = np.isfinite(image).all(axis=0)
    seen = (image - np.float32([0, 0.1])[:, None, None]) / np.float32([1.7, 2])[:, None, None]
    seen = np.where(measured, seen, 0)
    probability = []
    for mode in ("exact", "convolutional"):
        one = PatchCNN(2, 3, mode)
        one.load_state_dict(network.state_dict())
        with torch.inference_mode():
            scores = one.eval()(torch.from_numpy(seen[None].astype(np.float32)))
        probability.append(scores.softmax(dim=1)[0, :, 28:34, 28:31].numpy())
    one, other = (each[:, measured[28:34, 28:31]] for each in probability)
    assert found["pixels"] == 6 * 3 - 1
    assert found["labels_equal"] == np.mean(one.argmax(axis=0) == other.argmax(axis=0))
    np.testing.assert_allclose(found["mean_difference"], np.abs(one - other).mean(), rtol=1e-4)
    np.testing.assert_allclose(found["largest_difference"], np.abs(one - other).max(), rtol=1e-4)
    assert 0 < found["largest_difference"] < 1


def test_a_network_agrees_with_itself(network, card, monkeypatch):
    monkeypatch.setattr(patch_agreement, "_in_mode", lambda network, card, mode: network)
    found = agreement(network, card, image_of(40, 40))
    assert (found["labels_equal"], found["largest_difference"]) == (1, 0)


def test_another_network_is_refused(card):
    with pytest.raises(WeightsError, match="for the facies network, which has two modes; patches"):
        agreement(nn.Identity(), card, image_of(60, 60))


def test_other_bands_are_refused(network, card):
    with pytest.raises(WeightsError, match=r"of the bands \['green', 'nir'\], found \(1, 60, 60\)"):
        agreement(network, card, image_of(60, 60)[:1])


@pytest.mark.parametrize("shape", [(56, 80), (20, 20)])
def test_a_small_image_is_refused(network, card, shape):
    with pytest.raises(
        WeightsError, match=rf"28 pixels or more from its edge, found one of {shape[0]}"
    ):
        agreement(network, card, image_of(*shape))
