from datetime import date

import numpy as np
import pytest

from glaciercube.radiometry import observed_offset, to_reflectance
from glaciercube.schema import codes
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate import provider
from glaciercube.simulate.landscape import make_landscape
from glaciercube.simulate.materials import TYPICAL
from glaciercube.simulate.provider import baseline_of, classify, deliver, to_numbers
from glaciercube.simulate.scene import render

DEBRIS, SNOW = codes(("debris", "snow"))
BEFORE, AFTER = date(2021, 8, 5), date(2022, 8, 5)


@pytest.fixture(scope="module")
def scene():
    landscape = make_landscape(
        (200, 200), 10.0, np.random.default_rng(3), bottom_m=2000.0, top_m=3500.0,
        extent_m=5000.0, valleys=2, head=0.7, ice_share=0.4, debris=0.6,
    )  # fmt: skip
    return render(
        landscape, TYPICAL, rng=np.random.default_rng(1), level="surface", cloud_fraction=0.25,
        snowline_m=landscape.ela_m + 50, retreat=0.0, sun_elevation=50.0, sun_azimuth=150.0,
    )  # fmt: skip


def given(scene, day, edge=False):
    return deliver(scene, day, 10.0, edge=edge, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("day", "baseline"),
    [
        (date(2020, 8, 1), "02.14"),
        (date(2021, 6, 30), "03.01"),
        (date(2022, 1, 24), "03.01"),
        (date(2022, 1, 25), "04.00"),
        (date(2023, 7, 1), "05.09"),
    ],
)
def test_baselines_follow_the_calendar(day, baseline):
    assert baseline_of(day) == baseline


def test_numbers_are_shifted_by_a_thousand_from_baseline_four_on(scene):
    before, after = given(scene, BEFORE), given(scene, AFTER)
    for name, numbers in before.numbers.items():
        wide = numbers > 1  # below, the old baselines cut off
        difference = after.numbers[name][wide].astype(int) - numbers[wide]
        assert (difference == 1000).all(), name


def test_the_pixels_themselves_show_the_offset(scene):
    for day, offset in ((BEFORE, 0), (AFTER, -1000)):
        numbers = given(scene, day).numbers
        dark = {name: numbers[name] for name in SENTINEL_2_L2A.dark}
        assert observed_offset(dark).offset == offset


def test_numbers_come_back_as_the_reflectance_they_were(scene):
    numbers = given(scene, AFTER).numbers
    for band, layer in zip(SENTINEL_2_L2A.bands, scene.reflectance, strict=True):
        step = int(band.resolution // 10)
        assert numbers[band.name].shape == layer[::step, ::step].shape
        values = to_reflectance(numbers[band.name], 1e-4, -1000)
        # half a digital number, and rounding of float32
        np.testing.assert_allclose(values, layer[::step, ::step], atol=5.1e-5)


def test_negative_reflectance_is_lost_before_and_kept_since():
    values, measured = np.float32([-0.02]), np.array([True])
    assert to_numbers(values, measured, 0).tolist() == [1]
    assert to_numbers(values, measured, -1000).tolist() == [800]
    assert to_numbers(values, ~measured, -1000).tolist() == [0]


def test_the_edge_of_a_swath_is_nodata_in_every_band_and_class(scene):
    cut = given(scene, AFTER, edge=True)
    share = 1 - cut.measured.mean()
    assert 0.08 < share < 0.3
    for name, numbers in cut.numbers.items():
        step = 200 // numbers.shape[0]
        np.testing.assert_array_equal(numbers == 0, ~cut.measured[::step, ::step], err_msg=name)
    np.testing.assert_array_equal(cut.classes == provider.NO_DATA, ~cut.measured[::2, ::2])
    assert given(scene, AFTER).measured.all()


def test_classes_find_most_snow_and_cloud_but_make_known_mistakes(scene):
    classes = classify(scene, 10.0, np.random.default_rng(0))
    cloud = np.isin(classes, (provider.CLOUD_MEDIUM, provider.CLOUD_HIGH))
    clear_snow = (scene.facies == SNOW) & ~scene.cloud_shadow
    assert (classes[clear_snow] == provider.SNOW_CLASS).mean() > 0.6
    assert 0.5 < cloud[scene.cloud].mean() < 0.98  # edges are missed
    assert cloud[clear_snow].any()  # bright snow is called cloud
    assert (classes[(scene.facies == DEBRIS)] != provider.SNOW_CLASS).mean() > 0.8


def test_cloud_cover_is_what_the_classes_say(scene):
    delivery = given(scene, AFTER)
    cloud = np.isin(delivery.classes, (8, 9, 10)).mean() * 100
    assert delivery.cloud_cover == pytest.approx(cloud)
