import numpy as np
import pytest

from glaciercube.errors import SchemaError
from glaciercube.simulate.landscape import make_landscape

VALLEY = {
    "bottom_m": 2000.0, "top_m": 3500.0, "extent_m": 5120.0, "valleys": 2, "head": 0.7,
    "ice_share": 0.4, "debris": 0.5, "centre_y": 0.5, "centre_x": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def valley():
    return make_landscape((256, 256), 20.0, np.random.default_rng(3), **VALLEY)


def test_a_seed_gives_the_same_landscape(valley):
    again = make_landscape((256, 256), 20.0, np.random.default_rng(3), **VALLEY)
    other = make_landscape((256, 256), 20.0, np.random.default_rng(4), **VALLEY)
    for name in ("elevation", "lasts", "debris_score", "basin", "vegetation", "favour_m"):
        np.testing.assert_array_equal(getattr(again, name), getattr(valley, name))
    assert not np.allclose(other.elevation, valley.elevation)


def test_arrays_are_float32_of_the_shape_asked():
    landscape = make_landscape((90, 120), 10.0, np.random.default_rng(5))
    for name in ("elevation", "slope", "aspect", "lasts", "vegetation", "scree", "favour_m"):
        array = getattr(landscape, name)
        assert array.shape == (90, 120), name
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name


def test_retreat_only_takes_ice_away(valley):
    extents = [valley.glacier(retreat) for retreat in np.linspace(0, 1, 9)]
    areas = [extent.sum() for extent in extents]
    for earlier, later in zip(extents, extents[1:], strict=False):
        assert not (later & ~earlier).any()
    assert areas[0] > 0
    assert areas[-1] < 0.97 * areas[0]


def test_retreat_takes_mostly_the_lower_end(valley):
    before, lost = valley.glacier(0), valley.glacier(0) & ~valley.glacier(0.5)
    assert np.median(valley.elevation[lost]) < np.percentile(valley.elevation[before], 35)


def test_a_glacier_reaches_from_above_the_equilibrium_line_to_below(valley):
    heights = valley.elevation[valley.glacier(0)]
    assert heights.max() > valley.ela_m + 100
    assert heights.min() < valley.ela_m - 100
    share = (heights > valley.ela_m).mean()
    assert 0.35 < share < 0.9  # valley glaciers near balance have ratios about 0.6


def test_glaciers_are_flatter_than_the_rock_around(valley):
    glacier = valley.glacier(0)
    assert np.median(valley.slope[glacier]) < np.median(valley.slope[~glacier])


def test_debris_lies_on_the_lower_glacier_and_grows(valley):
    debris = valley.debris(0)
    assert debris.any()
    assert not (debris & ~valley.glacier(0)).any()
    assert valley.elevation[debris].max() < valley.ela_m + 70
    still = valley.glacier(0.6)
    assert (valley.debris(0.6)[still] >= debris[still]).all()
    clean = make_landscape((128, 128), 20.0, np.random.default_rng(3), **{**VALLEY, "debris": 0.0})
    assert not clean.debris(1.0).any()


def test_lakes_grow_as_ice_leaves_and_are_level(valley):
    first, last = valley.lake(0), valley.lake(1)
    assert first.any()
    assert (last >= first).all()
    assert not (last & valley.glacier(1)).any()
    assert np.median(valley.slope[first]) < 3


def test_plants_grow_below_the_treeline():
    landscape = make_landscape(
        (200, 200), 20.0, np.random.default_rng(6), **{**VALLEY, "treeline_m": 2400.0}
    )
    low, high = landscape.elevation < 2250, landscape.elevation > 2900
    assert low.any()
    assert landscape.vegetation[low].mean() > 0.25
    assert landscape.vegetation[high].max() < 0.05


def test_no_ice_share_gives_no_glacier():
    landscape = make_landscape((64, 64), 20.0, np.random.default_rng(7), ice_share=0.0)
    assert not landscape.glacier(0).any()
    assert np.isnan(landscape.ela_m)


def test_small_glaciers_are_left_out():
    knobs = {**VALLEY, "least_km2": 100.0}
    landscape = make_landscape((64, 64), 20.0, np.random.default_rng(3), **knobs)
    assert not landscape.glacier(0).any()


def test_random_landscapes_mostly_show_glaciers():
    shares = []
    for seed in range(24):
        landscape = make_landscape((128, 128), 10.0, np.random.default_rng(seed))
        shares.append(landscape.glacier(0).mean())
    shares = np.array(shares)
    assert 0.5 < (shares > 0).mean() < 1
    assert ((shares > 0.02) & (shares < 0.98)).mean() > 0.4


def test_an_unknown_knob_lists_the_knobs():
    with pytest.raises(SchemaError, match=r"no \['moss'\]; it has \['bottom_m', .*'valleys'"):
        make_landscape((64, 64), 10.0, np.random.default_rng(0), moss=1)


def test_without_border_cuts_every_array(valley):
    inner = valley.without_border(10)
    assert inner.elevation.shape == (236, 236)
    np.testing.assert_array_equal(inner.lasts, valley.lasts[10:-10, 10:-10])
    np.testing.assert_array_equal(inner.basin, valley.basin[10:-10, 10:-10])
    assert inner.resolution == valley.resolution
