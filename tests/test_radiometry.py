"""Digital numbers to reflectance and back, and the offset that pixels show."""

import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from glaciercube import schema
from glaciercube.radiometry import (
    SHIFTED_FROM,
    SHIFTED_TO,
    UNSHIFTED_BELOW,
    observed_offset,
    pack,
    to_reflectance,
    unpack,
)

STORED = {key: schema.REFLECTANCE_ENCODING[key] for key in ("scale_factor", "add_offset")}
SHARE = {key: schema.PROBABILITY_ENCODING[key] for key in ("scale_factor", "add_offset")}


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "float32"])
def test_unsigned_numbers_do_not_wrap(dtype):
    out = to_reflectance(np.array([1, 999, 1000, 20_000], dtype), 1e-4, -1000)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [-0.0999, -0.0001, 0, 1.9], atol=1e-7)


def test_nodata_is_nan_even_if_the_offset_would_make_it_something():
    np.testing.assert_array_equal(
        np.isnan(to_reflectance(np.uint16([0, 1]), 1e-4, -1000)), [True, False]
    )
    np.testing.assert_array_equal(to_reflectance(np.uint16([0]), 1e-4, 0, nodata=None), [0])
    np.testing.assert_array_equal(
        np.isnan(to_reflectance(np.int16([-9999, 0]), 1e-4, 0, -9999)), [True, False]
    )


def test_the_input_is_left_alone():
    numbers = np.float32([0, 5])
    to_reflectance(numbers, 1e-4, 0)
    np.testing.assert_array_equal(numbers, [0, 5])


def test_every_digital_number_survives_the_store():
    """uint16 with scale 1e-4 and offset -0.1 holds each Sentinel-2 number of both kinds."""
    for offset in (0, -1000):
        numbers = np.arange(1, 60_000, dtype=np.uint16)
        values = to_reflectance(numbers, 1e-4, offset)
        codes = pack(values, "uint16", fill=0, **STORED)
        back = unpack(codes, fill=0, **STORED)
        np.testing.assert_array_equal(pack(back, "uint16", fill=0, **STORED), codes)
        np.testing.assert_allclose(back, values, atol=1e-6)
        assert (codes == numbers.astype(int) + 1000 + offset).all()


@given(
    arrays.arrays(
        np.float32,
        st.integers(0, 50),
        elements=st.floats(-10, 10, width=32) | st.just(np.nan),
    )
)
def test_values_within_range_come_back_to_half_a_step(values):
    back = unpack(pack(values, "uint16", fill=0, **STORED), fill=0, **STORED)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    inside = (values > -0.0999) & (values < 6.4535)
    np.testing.assert_allclose(back[inside], values[inside], atol=0.51e-4)


def test_no_value_takes_the_code_of_nan():
    codes = pack(np.float32([-5, 50, np.nan]), "uint16", fill=0, **STORED)
    assert codes.tolist() == [1, 65_535, 0]
    codes = pack(np.float32([-1, 0, 1, 2, np.nan]), "uint8", fill=255, **SHARE)
    assert codes.tolist() == [0, 0, 250, 254, 255]


def test_infinite_values_become_the_ends():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = pack(np.float32([np.inf, -np.inf]), "uint16", fill=0, **STORED)
    assert codes.tolist() == [65_535, 1]


def floor(number):
    return np.full(1000, number, np.uint16)


@pytest.mark.parametrize(
    ("number", "offset"),
    [
        (5, 0),
        (UNSHIFTED_BELOW - 1, 0),
        (UNSHIFTED_BELOW, None),
        (SHIFTED_FROM - 1, None),
        (SHIFTED_FROM, -1000),
        (SHIFTED_TO, -1000),
        (SHIFTED_TO + 1, None),
        (5000, None),
    ],
)
def test_the_floor_decides(number, offset):
    found = observed_offset({"swir22": floor(number)})
    assert found.offset == offset
    assert found.number == number


def test_the_darkest_band_and_the_darkest_percent():
    bright, dark = floor(5000), floor(5000)
    dark[:20] = 1010
    assert observed_offset({"a": bright}).offset is None
    assert observed_offset({"a": bright, "b": dark}).offset == -1000
    dark[:20] = 5000
    dark[:5] = 1010  # half a percent: noise, not a floor
    assert observed_offset({"b": dark}).offset is None


def test_nodata_is_not_dark():
    numbers = floor(1010)
    numbers[:500] = 0
    assert observed_offset({"a": numbers}).offset == -1000


def test_nothing_measured_says_nothing():
    for bands in ({}, {"a": floor(0)}, {"a": np.zeros(0, np.uint16)}):
        found = observed_offset(bands)
        assert found.offset is None
        assert np.isnan(found.number)


@pytest.mark.parametrize(
    ("year", "offset"), [(2019, 0), (2020, 0), (2021, 0), (2022, -1000), (2023, -1000)]
)
@pytest.mark.parametrize("band", ["B11", "B12", "B10"])
def test_real_scenes_show_their_offset_in_each_dark_band(real_data, year, offset, band):
    with rasterio.open(real_data("vinciguerra-s2") / f"vinciguerra_s2_l1c_{year}.tif") as source:
        numbers = source.read(source.descriptions.index(band) + 1)
    assert observed_offset({band: numbers}).offset == offset
