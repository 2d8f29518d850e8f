"""Patches: their shape, what they leave out, and that a second run does not make them again."""

import numpy as np
import pytest
import xarray as xr

from glaciercube.errors import SchemaError
from glaciercube.train.samples import cached, make_patches

BANDS = ("green", "nir", "swir16")


def make_scene(rows=70, columns=100, seed=0):
    generator = np.random.default_rng(seed)
    names = ["blue", *BANDS]
    values = generator.uniform(0.01, 1, (4, rows, columns)).astype(np.float32)
    values[1, :5, :5] = np.nan
    target = generator.integers(0, 2, (rows, columns)).astype(np.uint8)
    return xr.Dataset(
        {"reflectance": (("band", "y", "x"), values), "target": (("y", "x"), target)},
        coords={"band": names},
    )


def test_patches_tile_the_scene_in_the_order_of_bands_asked_for():
    scene = make_scene()
    patches = make_patches([scene], ("a", "b"), bands=("swir16", "green"), size=32)
    assert patches.images.shape == (6, 2, 32, 32)
    assert patches.targets.shape == (6, 32, 32)
    assert patches.images.dtype == np.float32
    assert patches.bands == ("swir16", "green")
    np.testing.assert_array_equal(
        patches.images[5, 0], scene["reflectance"].sel(band="swir16")[32:64, 64:96]
    )
    np.testing.assert_array_equal(patches.targets[5], scene["target"][32:64, 64:96])


def test_what_was_not_measured_in_one_band_has_no_truth():
    patches = make_patches([make_scene()], ("a", "b"), bands=BANDS, size=32)
    assert (patches.images[0, :, :5, :5] == 0).all()
    assert (patches.targets[0, :5, :5] == 255).all()
    assert np.isfinite(patches.images).all()


def test_a_missing_band_and_a_small_scene_are_refused():
    with pytest.raises(SchemaError, match=r"it lacks \['red'\]; has \['blue', 'green'"):
        make_patches([make_scene()], ("a",), bands=("green", "red"))
    with pytest.raises(SchemaError, match="128 x 128 pixels .* found 70 rows x 100 columns"):
        make_patches([make_scene()], ("a",), bands=BANDS)


def test_patches_are_made_once_for_a_key(tmp_path):
    made = []

    def make():
        made.append(1)
        return make_patches([make_scene()], ("a", "b"), bands=BANDS, size=32)

    key = {"seed": 1, "materials": {"snow": np.ones((2, 10), np.float32)}}
    first, second = cached(make, tmp_path, key), cached(make, tmp_path, key)
    assert len(made) == 1
    np.testing.assert_array_equal(first.images, second.images)
    assert second.bands == BANDS
    assert second.categories == ("a", "b")
    other = {"seed": 1, "materials": {"snow": np.zeros((2, 10), np.float32)}}
    cached(make, tmp_path, other)
    assert len(made) == 2
    assert cached(make, None, key).images.shape == first.images.shape
    assert len(made) == 3
