import math

import numpy as np

from glaciercube.simulate.sky import (
    diffuse_share,
    illuminate,
    make_clouds,
    path_reflectance,
    transmittance,
)
from glaciercube.terrain import slope_aspect

SUN = (150.0, 40.0)


def tent():
    """Return a ridge that runs east-west, 40 x 40 pixels of 10 m."""
    rows = np.abs(np.arange(40) - 20)[:, np.newaxis]
    heights = np.broadcast_to(200.0 - 6.0 * rows, (40, 40)).astype(np.float32)
    slope, aspect = slope_aspect(heights, 10, -10)
    return heights, slope, aspect


def test_skylight_is_blue_and_grows_with_haze():
    clear, hazy = diffuse_share(0.0), diffuse_share(0.8)
    assert (np.diff(clear) < 0).all()
    assert (hazy > clear).all()
    assert hazy.max() < 1


def test_path_reflectance_falls_from_blue_to_the_short_wave_infrared():
    for haze, height in ((0.1, 30), (0.3, 50)):
        path = path_reflectance(haze, height)
        assert 0.05 < path[0] < 0.14
        assert path[-1] < 0.004
        assert (np.diff(path) < 0).all()
    assert (path_reflectance(0.1, 20) > path_reflectance(0.1, 60)).all()


def test_air_lets_most_light_through_and_less_when_hazy():
    assert (transmittance(0.0, 60) > 0.75).all()
    assert (transmittance(0.8, 60) <= transmittance(0.0, 60)).all()


def test_sunny_slopes_are_brighter_and_correction_evens_them_out():
    heights, slope, aspect = tent()
    raw = illuminate(heights, slope, aspect, 10, SUN, 0.0).direct
    evened = illuminate(heights, slope, aspect, 10, SUN, 0.6).direct
    south, north = (slice(24, 34), slice(5, 35)), (slice(6, 16), slice(5, 35))
    assert raw[south].mean() > 1.2 > 0.7 > raw[north].mean()
    assert np.ptp([evened[south].mean(), evened[north].mean()]) < 0.6 * np.ptp(
        [raw[south].mean(), raw[north].mean()]
    )


def test_level_ground_is_lit_by_exactly_one():
    flat = np.zeros((10, 10), np.float32)
    light = illuminate(flat, flat, flat, 10, SUN, 0.0)
    np.testing.assert_allclose(light.direct, 1, atol=1e-6)
    np.testing.assert_allclose(light.sky, 1)
    assert light.lit.all()


def test_cast_shadow_takes_the_direct_light():
    heights = np.zeros((40, 40), np.float32)
    heights[30] = 100
    slope = np.zeros_like(heights)
    light = illuminate(heights, slope, slope, 10, (180.0, 45.0), 0.0)
    assert not light.lit[24:29].any()
    assert light.direct[24:28].max() < 0.1
    assert light.lit[:18].all()


def test_clouds_cover_about_the_fraction_and_none_if_none():
    covers = [
        (make_clouds((200, 200), 20, 0.3, SUN, np.random.default_rng(seed)).opacity > 0.35).mean()
        for seed in range(8)
    ]
    assert abs(np.median(covers) - 0.3) < 0.1
    assert not make_clouds((50, 50), 20, 0.0, SUN, np.random.default_rng(0)).opacity.any()


def test_cloud_shadow_falls_away_from_the_sun():
    for seed in range(4):
        clouds = make_clouds((220, 220), 20, 0.15, SUN, np.random.default_rng(seed))
        best, shift = -1.0, (0, 0)
        for metres in range(200, 2600, 40):
            reach = metres / 20
            down = round(math.cos(math.radians(SUN[0])) * reach)
            across = round(-math.sin(math.radians(SUN[0])) * reach)
            moved = np.roll(clouds.opacity, (down, across), (0, 1))
            match = np.corrcoef(moved[60:-60, 60:-60].ravel(), clouds.shade[60:-60, 60:-60].ravel())
            if match[0, 1] > best:
                best, shift = match[0, 1], (down, across)
        # the sun is in the south-east, so shadows lie to the north-west
        assert best > 0.8
        assert shift[0] < 0
        assert shift[1] < 0
