"""Spectral indices and the plain thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glaciercube.indices import NDSI_SNOW, NIR_SNOW, normalized_difference, snow_by_thresholds

reflectance = st.floats(-0.125, 2, width=32)


@given(arrays(np.float32, (4, 5), elements=reflectance), st.data())
def test_the_ratio_is_the_formula_where_the_sum_is_positive(first, data):
    second = data.draw(arrays(np.float32, (4, 5), elements=reflectance))
    found = normalized_difference(first, second)
    assert found.dtype == np.float32
    total = first + second
    assert np.array_equal(np.isnan(found), ~(total > 0))
    known = total > 0
    expected = (first[known].astype(float) - second[known]) / total[known].astype(float)
    # float32 differences of nearly equal numbers
    np.testing.assert_allclose(found[known], expected, rtol=1e-5, atol=1e-6)


@given(arrays(np.float32, 6, elements=st.floats(0.0078125, 2, width=32)), st.data())
def test_the_ratio_is_between_minus_one_and_one_and_turns_sign(first, data):
    second = data.draw(arrays(np.float32, 6, elements=st.floats(0.0078125, 2, width=32)))
    found = normalized_difference(first, second)
    assert (np.abs(found) <= 1).all()
    np.testing.assert_array_equal(found, -normalized_difference(second, first))


@pytest.mark.parametrize("pair", [(np.nan, 0.5), (0.5, np.nan), (0.0, 0.0), (-0.05, 0.02)])
def test_what_cannot_be_known_is_nan(pair):
    first, second = (np.float32([value]) for value in pair)
    assert np.isnan(normalized_difference(first, second)).all()


def test_nothing_is_said_about_division(recwarn):
    normalized_difference(np.zeros(3, np.float32), np.zeros(3, np.float32))
    snow_by_thresholds(*(np.full(3, np.nan, np.float32) for _ in range(3)))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("surface", "green", "nir", "swir16", "snow"),
    [
        ("fresh snow", 0.95, 0.85, 0.12, True),
        ("bare ice", 0.45, 0.30, 0.04, True),
        ("debris", 0.15, 0.20, 0.22, False),
        ("lake: dark in the near infrared", 0.08, 0.03, 0.01, False),
        ("cloud: bright in the short-wave infrared", 0.60, 0.62, 0.45, False),
        ("not measured", np.nan, np.nan, np.nan, False),
        ("one band not measured", 0.95, np.nan, 0.12, False),
    ],
)
def test_thresholds_see_snow_and_ice_only(surface, green, nir, swir16, snow):
    bands = [np.float32([value]) for value in (green, nir, swir16)]
    assert snow_by_thresholds(*bands).tolist() == [snow], surface


def test_the_thresholds_themselves_are_not_snow():
    swir16 = np.float32([0.3])
    green = swir16 * np.float32((1 + NDSI_SNOW) / (1 - NDSI_SNOW))
    assert normalized_difference(green, swir16) == pytest.approx(NDSI_SNOW, abs=1e-6)
    at_the_limit = np.float32([NIR_SNOW])
    assert not snow_by_thresholds(np.float32([0.9]), at_the_limit, np.float32([0.1]))[0]
    assert snow_by_thresholds(np.float32([0.9]), at_the_limit + 0.01, np.float32([0.1]))[0]
