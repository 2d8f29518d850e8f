from dataclasses import replace

import numpy as np
import pytest
from cards import make_card

from glaciercube.errors import SchemaError
from glaciercube.model.channels import positions, stack


@pytest.fixture
def card(tmp_path):
    return make_card(tmp_path)


@pytest.fixture
def reflectance():
    return np.random.default_rng(0).uniform(-0.05, 1.9, (5, 7, 6)).astype(np.float32)


NAMES = ("swir16", "blue", "nir08", "red", "green")


def test_bands_are_found_by_name_with_alternates(card):
    assert positions(NAMES, card) == (4, 3, 2, 0)
    assert positions(["green", "red", "nir08", "nir", "swir16"], card) == (0, 1, 3, 4)


def test_missing_bands_are_listed(card):
    with pytest.raises(SchemaError, match=r"lacks \['nir or nir08', 'swir16'\]; it has \['green'"):
        positions(["green", "red"], card)


def test_a_band_that_is_there_twice_is_refused(card):
    twice = ["green", "red", "nir", "swir16", "red"]
    with pytest.raises(SchemaError, match=r"each of its bands once, the cube has \['red'\] more"):
        positions(twice, card)
    assert positions(["blue", *NAMES, "blue"], card) == (5, 4, 3, 1)


def test_one_band_is_not_taken_for_two(card):
    both = replace(card, bands=("nir08", "red", "nir|nir08", "swir16"))
    assert positions(["red", "nir", "nir08", "swir16"], both) == (2, 0, 1, 3)
    with pytest.raises(SchemaError, match=r"take \{'nir08': \['nir or nir08', 'nir08'\]\} alike"):
        positions(["red", "nir08", "swir16"], both)
    gray = replace(card, bands=("red", "red", "red", "swir16"))
    assert positions(["red", "swir16"], gray) == (0, 0, 0, 1)


def test_channels_are_normalised_in_the_cards_order(card, reflectance):
    before = reflectance.copy()
    channels, measured = stack(reflectance, NAMES, card)
    assert channels.dtype == np.float32
    assert channels.flags.c_contiguous
    assert measured.all()
    np.testing.assert_allclose(channels[0], (reflectance[4] - 0.5) / 0.3, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(channels[3], (reflectance[0] - 0.2) / 0.2, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(reflectance, before)


def test_a_pixel_without_one_band_is_zero_in_all(card, reflectance):
    reflectance[0, 2, 3] = np.nan
    reflectance[2, 0, 0] = np.inf
    reflectance[1, 5, 5] = np.nan  # blue, which the card does not read
    channels, measured = stack(reflectance, NAMES, card)
    assert (~measured).sum() == 2
    assert not measured[2, 3]
    assert not measured[0, 0]
    assert (channels[:, 2, 3] == 0).all()
    assert (channels[:, 0, 0] == 0).all()
    assert np.isfinite(channels).all()
