"""Simulated training scenes: the same for a seed, with the truth of their task."""

import numpy as np
import pytest
import xarray as xr

from glaciercube import schema
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate.materials import TYPICAL
from glaciercube.simulate.scene import render
from glaciercube.train import scenes
from glaciercube.train.recipes import RECIPES

EXTENT = RECIPES["extent"].categories
FACIES = RECIPES["facies"].categories


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(scenes, "SIZE", 96)


def test_a_scene_has_ten_bands_and_a_target():
    found = scenes.scene("extent", EXTENT, TYPICAL, seed=(0, 1))
    assert found["reflectance"].dims == ("band", "y", "x")
    assert found["reflectance"].dtype == np.float32
    assert list(found["band"].values) == list(SENTINEL_2_L2A.names)
    assert found["target"].dtype == np.uint8
    assert set(np.unique(found["target"])) <= {0, 1, 2}


def test_both_levels_and_all_categories_occur():
    several = scenes.simulated("extent", EXTENT, TYPICAL, count=8, seed=0)
    assert {one.attrs["level"] for one in several} == {"surface", "top-of-atmosphere"}
    targets = np.concatenate([one["target"].values.ravel() for one in several])
    share = np.bincount(targets, minlength=3) / targets.size
    assert (share > 0.02).all()


def test_a_scene_is_the_same_for_its_seed():
    first, again = (scenes.simulated("facies", FACIES, TYPICAL, count=2, seed=3) for _ in range(2))
    longer = scenes.simulated("facies", FACIES, TYPICAL, count=3, seed=3)
    for one, two, three in zip(first, again, longer, strict=False):
        xr.testing.assert_identical(one, two)
        xr.testing.assert_identical(one, three)
    assert not first[0].equals(first[1])


def test_targets_are_what_is_seen():
    generator = np.random.default_rng(2)
    landscape = scenes.make_landscape((96, 96), 10.0, generator, ice_share=0.3)
    seen = render(landscape, TYPICAL, rng=generator, cloud_fraction=0.4, level="surface")
    extent = scenes.target_of("extent", EXTENT, seen)
    hidden = np.isin(seen.facies, schema.codes(("cloud", "shadow")))
    np.testing.assert_array_equal(extent == 2, hidden)
    np.testing.assert_array_equal(extent[~hidden] == 1, seen.extent[~hidden])
    facies = scenes.target_of("facies", FACIES, seen)
    for number, code in enumerate(schema.codes(FACIES)):
        np.testing.assert_array_equal(facies == number, seen.facies == code)


def test_a_facies_that_is_not_asked_for_is_unknown():
    generator = np.random.default_rng(2)
    landscape = scenes.make_landscape((96, 96), 10.0, generator)
    seen = render(landscape, TYPICAL, rng=generator, level="surface")
    target = scenes.target_of("facies", ("ice", "snow"), seen)
    assert set(np.unique(target)) <= {0, 1, 255}
    assert (target == 255).any()


def test_the_late_snowline_lies_about_the_equilibrium_line():
    generator = np.random.default_rng(0)
    landscape = scenes.make_landscape((96, 96), 10.0, generator, ice_share=0.3)
    low, high = np.percentile(landscape.elevation, (5, 98))
    found = np.array([scenes.late_snowline(landscape, generator) for _ in range(200)])
    assert abs(found.mean() - (landscape.ela_m + 0.08 * (high - low))) < 0.04 * (high - low)
    bare = scenes.make_landscape((96, 96), 10.0, generator, ice_share=0.0)
    low, high = np.percentile(bare.elevation, (5, 98))
    assert all(scenes.late_snowline(bare, generator) > low + 0.7 * (high - low) for _ in range(20))
