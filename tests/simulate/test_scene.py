import numpy as np
import pytest

from glaciercube.errors import SchemaError
from glaciercube.schema import codes
from glaciercube.simulate.landscape import make_landscape
from glaciercube.simulate.materials import BANDS, TYPICAL
from glaciercube.simulate.scene import CLOUD, SHADOW, UNREADABLE, block_mean, render

ICE, SNOW, FIRN, WATER, LAND = codes(("ice", "snow", "firn", "water", "land"))
FIXED = {
    "retreat": 0.1, "sun_azimuth": 150.0, "sun_elevation": 45.0, "haze": 0.1,
    "cloud_fraction": 0.0, "level": "surface",
}  # fmt: skip


@pytest.fixture(scope="module")
def valley():
    return make_landscape(
        (160, 160), 20.0, np.random.default_rng(3), bottom_m=2000.0, top_m=3500.0,
        extent_m=4800.0, valleys=2, head=0.7, ice_share=0.4, debris=0.4,
    )  # fmt: skip


def scene_of(valley, seed=0, **conditions):
    given = {**FIXED, "snowline_m": valley.ela_m + 60, **conditions}
    return render(valley, TYPICAL, rng=np.random.default_rng(seed), **given)


def band(scene, name):
    return scene.reflectance[BANDS.index(name)]


def test_a_seed_gives_the_same_scene(valley):
    first, again, other = (scene_of(valley, seed, cloud_fraction=0.2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.reflectance, again.reflectance)
    np.testing.assert_array_equal(first.facies, again.facies)
    assert not np.allclose(first.reflectance, other.reflectance)


def test_reflectance_is_float32_finite_and_physical(valley):
    values = scene_of(valley).reflectance
    assert values.shape == (len(BANDS), 160, 160)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert -0.03 < values.min()
    assert 1.0 < values.max() < 1.9  # snow that faces the sun is never clipped


def test_snow_is_bright_in_the_visible_and_dark_in_the_short_wave_infrared(valley):
    scene = scene_of(valley)
    lit = (scene.facies == SNOW) & (valley.slope < 20)
    assert np.median(band(scene, "green")[lit]) > 0.7
    assert np.median(band(scene, "swir16")[lit]) < 0.15
    ice = scene.facies == ICE
    assert np.median(band(scene, "green")[ice]) < 0.65


def test_cloud_is_bright_in_the_short_wave_infrared(valley):
    scene = scene_of(valley, cloud_fraction=0.3)
    assert (scene.facies[scene.cloud] == CLOUD).all()
    assert np.median(band(scene, "swir16")[scene.cloud]) > 0.2
    assert np.median(band(scene, "green")[scene.cloud]) > 0.4
    assert not (scene.cloud & scene.cloud_shadow).any()
    assert scene.cloud_shadow.any()


def test_cloud_changes_what_is_seen_not_what_is_there(valley):
    scene = scene_of(valley, cloud_fraction=0.4)
    assert CLOUD not in scene.surface
    assert SHADOW not in scene.surface
    seen = ~np.isin(scene.facies, (CLOUD, SHADOW))
    np.testing.assert_array_equal(scene.facies[seen], scene.surface[seen])
    np.testing.assert_array_equal(scene.extent, valley.glacier(0.1))
    clear = scene_of(valley, cloud_fraction=0.0)
    assert abs(scene.aar - clear.aar) < 0.02


def test_unreadable_shadow_is_dark_and_shadowed_snow_stays_readable_and_blue(valley):
    scene = scene_of(valley, sun_azimuth=200.0, sun_elevation=25.0, correction=0.0)
    hidden = scene.facies == SHADOW
    assert hidden.sum() > 50
    visible = scene.reflectance[:3].max(axis=0)
    # noise, the blur of the sensor and 20 m bands blur the margin
    assert np.percentile(visible[hidden], 90) < UNREADABLE * 1.4
    direct = band(scene, "swir16") + band(scene, "nir")
    shaded_snow = (scene.facies == SNOW) & (direct < 0.25)
    assert shaded_snow.sum() > 20
    ratio = band(scene, "blue")[shaded_snow] / band(scene, "red")[shaded_snow]
    assert np.median(ratio) > 1.3
    assert np.median(band(scene, "blue")[shaded_snow]) > UNREADABLE


def test_the_air_adds_blue_light_at_the_top_of_the_atmosphere(valley):
    surface = scene_of(valley, correction=0.0)
    top = scene_of(valley, level="top-of-atmosphere")
    dark = surface.surface == WATER
    assert dark.any()
    added = np.median(band(top, "blue")[dark]) - np.median(band(surface, "blue")[dark])
    assert 0.02 < added < 0.13
    assert (
        abs(np.median(band(top, "swir22")[dark]) - np.median(band(surface, "swir22")[dark])) < 0.01
    )


def test_coarse_bands_are_blocks_on_a_fine_grid():
    landscape = make_landscape((64, 64), 10.0, np.random.default_rng(3))
    scene = render(landscape, TYPICAL, rng=np.random.default_rng(0))
    swir, nir = band(scene, "swir16"), band(scene, "nir")
    assert (swir[::2, ::2] == swir[1::2, 1::2]).all()
    assert (swir[::2] == swir[1::2]).all()
    assert (nir[::2] != nir[1::2]).any()


def test_real_spectra_may_take_the_place_of_typical_ones(valley):
    grey = {name: np.full((1, len(BANDS)), 0.3, np.float32) for name in TYPICAL}
    given = {**FIXED, "snowline_m": 2800.0}
    scene = render(valley, grey, rng=np.random.default_rng(0), **given)
    flat = (valley.slope < 8) & (scene.facies != SHADOW)
    assert abs(np.median(scene.reflectance[:, flat]) - 0.3) < 0.05


def test_what_is_not_given_is_drawn(valley):
    rng = np.random.default_rng(5)
    drawn = [render(valley, TYPICAL, rng=rng, level="surface").conditions for _ in range(6)]
    assert len({conditions.snowline_m for conditions in drawn}) == 6
    assert {conditions.level for conditions in drawn} == {"surface"}
    assert all(25 <= conditions.sun_elevation <= 65 for conditions in drawn)


def test_an_unknown_condition_lists_the_conditions(valley):
    with pytest.raises(SchemaError, match=r"no condition \['rain'\]; it has \['retreat', 'snow"):
        render(valley, TYPICAL, rng=np.random.default_rng(0), rain=1.0)


def test_an_unknown_level_is_refused(valley):
    with pytest.raises(SchemaError, match="'surface' or 'top-of-atmosphere', found 'toa'"):
        render(valley, TYPICAL, rng=np.random.default_rng(0), level="toa")


def test_block_mean_handles_sizes_that_do_not_divide():
    layer = np.arange(15, dtype=np.float32).reshape(3, 5)
    means = block_mean(layer, 2)
    assert means.shape == (2, 3)
    np.testing.assert_allclose(means[0, 0], layer[:2, :2].mean())
    np.testing.assert_allclose(means[1, 2], layer[2, 4])
