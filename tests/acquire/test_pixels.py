"""Digital numbers of a block to reflectance, and quality codes to flags."""

import numpy as np
import pytest

from glaciercube.acquire.pixels import Conversion, Meaning, conversion_of, fill, flag, meaning_of
from glaciercube.acquire.pixels import measure as measure_block
from glaciercube.radiometry import to_reflectance
from glaciercube.sensors import SENTINEL_2_L1C, SENTINEL_2_L2A

CLASSES = Conversion(
    scale=1e-4, offset=-1000, nodata=(0,), defect=Meaning(kind="classes", values=(0, 1))
)


def test_each_band_is_what_radiometry_gives():
    numbers = np.random.default_rng(0).integers(1, 20_000, (3, 4, 5)).astype(np.uint16)
    out = measure_block(numbers, None, CLASSES)
    assert out.dtype == np.float32
    assert out.shape == (4, 4, 5)
    for band in range(3):
        np.testing.assert_array_equal(out[band], to_reflectance(numbers[band], 1e-4, -1000))
    np.testing.assert_array_equal(out[3], 0)


def test_a_pixel_that_lacks_one_band_is_not_measured_in_any():
    numbers = np.full((2, 1, 3), 5000, np.uint16)
    numbers[1, 0, 2] = 0
    out = measure_block(numbers, np.uint8([[4, 4, 4]]), CLASSES)
    np.testing.assert_array_equal(np.isnan(out[:, 0]), [[False, False, True]] * 3)


@pytest.mark.parametrize(
    ("code", "measured"), [(0, False), (1, False), (2, True), (9, True), (11, True)]
)
def test_only_defects_are_not_measured_and_never_cloud(code, measured):
    out = measure_block(np.full((1, 1, 1), 5000, np.uint16), np.uint8([[code]]), CLASSES)
    assert np.isfinite(out[0, 0, 0]) == measured
    assert np.isfinite(out[1, 0, 0]) == measured


def test_reflectance_is_never_clipped():
    out = measure_block(np.uint16([[[20_000, 500]]]), None, CLASSES)
    np.testing.assert_allclose(out[0, 0], [1.9, -0.05], rtol=1e-6)


def test_infinite_and_nan_mean_not_measured():
    conversion = Conversion(scale=1.0, offset=0, nodata=())
    out = measure_block(np.float32([[[np.inf, -np.inf, np.nan, 0.5]]]), None, conversion)
    np.testing.assert_array_equal(np.isfinite(out[0, 0]), [False, False, False, True])


def test_numbers_without_nodata_keep_their_zeros():
    conversion = Conversion(scale=1.0, offset=0, nodata=())
    assert measure_block(np.float32([[[0.0]]]), None, conversion)[0, 0, 0] == 0


def test_codes_survive_as_floats():
    codes = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    numbers = np.ones((1, 256, 256), np.uint16)
    conversion = Conversion(scale=1e-4, offset=0, nodata=(0,))
    np.testing.assert_array_equal(measure_block(numbers, codes, conversion)[1], codes)


def test_bits_are_told_apart_and_nan_is_none():
    codes = np.float32([[1024, 2048, 3072, 4096, np.nan]])
    cloud = meaning_of(SENTINEL_2_L1C.quality, "cloud")
    np.testing.assert_array_equal(flag(codes, cloud), [[True, True, True, False, False]])


def test_a_quality_layer_that_does_not_tell_has_no_meaning():
    assert meaning_of(SENTINEL_2_L1C.quality, "snow") is None
    assert meaning_of(None, "cloud") is None


def test_the_sensor_decides_the_conversion():
    assert conversion_of(SENTINEL_2_L2A, -1000, True) == CLASSES
    assert conversion_of(SENTINEL_2_L2A, 0, False).defect is None


def test_holes_are_filled_and_nothing_else():
    first = np.float32([[1, np.nan], [np.nan, 4]])
    second = np.float32([[9, 8], [np.nan, 7]])
    np.testing.assert_array_equal(fill(first, second), np.float32([[1, 8], [np.nan, 4]]))
