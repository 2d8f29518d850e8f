import math

import numpy as np
import pytest

from glaciercube.simulate.landscape import make_landscape
from glaciercube.simulate.surface import (
    DEBRIS,
    FIRN,
    ICE,
    LAND,
    SNOW,
    WATER,
    accumulation_area_ratio,
    cover,
    snowline,
)


@pytest.fixture(scope="module")
def valley():
    return make_landscape(
        (200, 200), 25.0, np.random.default_rng(3), bottom_m=2000.0, top_m=3500.0,
        extent_m=5000.0, valleys=2, head=0.7, ice_share=0.4, debris=0.4,
    )  # fmt: skip


def covered(valley, offset_m, retreat=0.0):
    return cover(valley, retreat, valley.ela_m + offset_m, np.random.default_rng(0))


def test_every_pixel_has_one_facies_and_shares_that_sum_to_one(valley):
    surface = covered(valley, 0)
    assert set(np.unique(surface.facies)) <= {ICE, SNOW, DEBRIS, FIRN, WATER, LAND}
    np.testing.assert_allclose(sum(surface.shares.values()), 1, atol=1e-5)
    assert min(part.min() for part in surface.shares.values()) >= 0


def test_facies_fit_the_extent(valley):
    surface = covered(valley, 0)
    on, off = surface.facies[surface.extent], surface.facies[~surface.extent]
    assert set(np.unique(on)) <= {ICE, SNOW, DEBRIS, FIRN}
    assert set(np.unique(off)) <= {LAND, SNOW, WATER}
    assert (off == SNOW).any()  # snow that is no glacier


def test_snow_shrinks_as_the_snowline_climbs(valley):
    snow = [(covered(valley, offset).facies == SNOW).sum() for offset in (-300, -100, 100, 300)]
    assert snow[0] > snow[1] > snow[2] > snow[3] > 0


def test_a_snowline_above_the_equilibrium_line_bares_firn(valley):
    late = covered(valley, 200)
    assert (late.facies == FIRN).sum() > 100
    firn = valley.elevation[late.facies == FIRN]
    ice = valley.elevation[late.facies == ICE]
    assert np.median(firn) > np.median(ice)


@pytest.mark.parametrize("offset_m", [-60, 50, 150])
def test_the_true_snowline_is_near_the_one_asked(valley, offset_m):
    surface = covered(valley, offset_m)
    found = snowline(valley.elevation, surface.facies, surface.extent)
    assert abs(found - (valley.ela_m + offset_m)) < 60  # shade and drift shift it


def test_snowline_leaves_the_fewest_pixels_on_the_wrong_side():
    rng = np.random.default_rng(1)
    heights = rng.uniform(2000, 3000, (30, 30))
    facies = np.where(heights + rng.normal(0, 80, heights.shape) > 2600, SNOW, ICE).astype(np.uint8)
    glacier = np.ones(heights.shape, bool)

    def wrong(line):
        return ((heights >= line) & (facies != SNOW)).sum() + (
            (heights < line) & (facies == SNOW)
        ).sum()

    found = snowline(heights, facies, glacier)
    assert wrong(found) == min(wrong(line) for line in np.sort(heights.ravel()) - 1e-6)


def test_snowline_of_all_or_no_snow_is_unknown():
    heights, glacier = np.arange(4.0).reshape(2, 2), np.ones((2, 2), bool)
    assert math.isnan(snowline(heights, np.full((2, 2), SNOW, np.uint8), glacier))
    assert math.isnan(snowline(heights, np.full((2, 2), ICE, np.uint8), glacier))


def test_accumulation_area_ratio_counts_glacier_pixels_only():
    facies = np.uint8([[SNOW, SNOW, ICE, SNOW]])
    glacier = np.array([[True, True, True, False]])
    assert accumulation_area_ratio(facies, glacier) == pytest.approx(2 / 3)
    assert math.isnan(accumulation_area_ratio(facies, np.zeros((1, 4), bool)))
