"""Cloud over snow by the short-wave infrared."""

import numpy as np

from glaciercube.cube.swir import NDSI_CLOUD, SWIR_CLOUD, cloud_by_swir


def test_both_thresholds_must_be_passed():
    green = np.float32([0.8, 0.8, 0.3, np.nan, 0.8])
    swir16 = np.float32([0.3, 0.08, 0.09, 0.3, np.nan])
    np.testing.assert_array_equal(cloud_by_swir(green, swir16), [True, False, False, False, False])


def test_at_the_thresholds_it_changes():
    assert not cloud_by_swir(np.float32([0.9]), np.float32([SWIR_CLOUD]))[0]
    # NDSI 0.81 and 0.79
    assert 0.79 < NDSI_CLOUD < 0.81
    out = cloud_by_swir(np.float32([1.81, 1.79]), np.float32([0.19, 0.21]))
    np.testing.assert_array_equal(out, [False, True])


def test_bare_ground_passes_too_so_it_is_for_snow_only():
    assert cloud_by_swir(np.float32([0.1]), np.float32([0.25]))[0]
