import math

import numpy as np
import pytest

from glaciercube.terrain import cast_shadow, hillshade, slope_aspect


def plane(rise_east, rise_north, step=10.0, size=9):
    rows, columns = np.mgrid[0:size, 0:size]
    return 1000 + step * (rise_east * columns - rise_north * rows)


@pytest.mark.parametrize(
    ("rise_east", "rise_north", "aspect"),
    [(0, -1, 0), (-1, 0, 90), (0, 1, 180), (1, 0, 270), (-1, -1, 45), (1, 1, 225)],
)
def test_slope_and_aspect_of_a_plane(rise_east, rise_north, aspect):
    slope, direction = slope_aspect(plane(rise_east, rise_north), 10, -10)
    expected = math.degrees(math.atan(math.hypot(rise_east, rise_north)))
    # float32 heights of some 1000 m limit the slope to about 1e-4 degrees
    np.testing.assert_allclose(slope, expected, atol=1e-3)
    np.testing.assert_allclose(direction, aspect, atol=1e-3)


def test_south_up_grids_give_the_same_slope_and_aspect():
    heights = np.random.default_rng(0).normal(0, 30, (20, 30)).cumsum(axis=0)
    slope, aspect = slope_aspect(heights, 10, -10)
    flipped_slope, flipped_aspect = slope_aspect(heights[::-1], 10, 10)
    np.testing.assert_allclose(flipped_slope[::-1], slope, atol=1e-4)
    np.testing.assert_allclose(flipped_aspect[::-1], aspect, atol=1e-3)


def test_steps_may_differ():
    slope, _ = slope_aspect(plane(1, 0), 20, -5)
    np.testing.assert_allclose(slope, math.degrees(math.atan(0.5)), atol=1e-3)


def test_flat_ground_faces_north_by_convention():
    slope, aspect = slope_aspect(np.full((5, 5), 7.0), 10, -10)
    assert (slope == 0).all()
    assert (aspect == 0).all()


def test_a_void_stays_a_void_around_itself_only():
    heights = plane(0.3, 0.1)
    heights[4, 4] = np.nan
    slope, aspect = slope_aspect(heights, 10, -10)
    around = np.zeros((9, 9), bool)
    around[3:6, 3:6] = True
    assert (np.isnan(slope) == around).all()
    assert (np.isnan(aspect) == around).all()


def test_hillshade_is_the_dot_product_of_sun_and_normal():
    rng = np.random.default_rng(1)
    slope, aspect = rng.uniform(0, 80, 50), rng.uniform(0, 360, 50)
    azimuth, height = 140.0, 35.0
    tilt, turn = np.radians(slope), np.radians(aspect)
    normal = np.stack([np.sin(tilt) * np.sin(turn), np.sin(tilt) * np.cos(turn), np.cos(tilt)])
    high, way = math.radians(height), math.radians(azimuth)
    sun = np.array([math.cos(high) * math.sin(way), math.cos(high) * math.cos(way), math.sin(high)])
    expected = np.clip(sun @ normal, 0, 1)
    found = hillshade(slope.astype(np.float32), aspect.astype(np.float32), azimuth, height)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("sun_elevation", [15.0, 30.0, 44.0, 60.0])
@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_a_wall_casts_a_shadow_of_its_height_over_the_tangent(azimuth, sun_elevation):
    heights = np.zeros((161, 161))
    heights[80, :] = 120.0 if azimuth in (0, 180) else 0.0
    if azimuth in (90, 270):
        heights[:, 80] = 120.0
    shadow = cast_shadow(heights, 10, azimuth, sun_elevation)
    line = shadow[:, 40] if azimuth in (0, 180) else shadow[40]
    away = line[81:] if azimuth in (0, 270) else line[:80]
    towards = line[:80] if azimuth in (0, 270) else line[81:]
    expected = 120 / math.tan(math.radians(sun_elevation)) / 10
    assert abs(int(away.sum()) - expected) <= 1
    assert not towards.any()


def test_an_oblique_wall_shadow_is_as_long():
    rows, columns = np.mgrid[0:200, 0:200]
    heights = np.where(np.abs(rows - columns) <= 1, 100.0, 0.0)  # runs to the south-east
    shadow = cast_shadow(heights, 10, 45, 30) & (heights == 0)
    # perpendicular distance from the wall of the farthest shaded pixel, away from borders
    distance = (rows - columns) / math.sqrt(2) * 10
    inner = (rows > 60) & (rows < 140) & (columns > 60) & (columns < 140)
    reach = distance[shadow & inner].max()
    assert abs(reach - 100 / math.tan(math.radians(30))) <= 20  # the wall itself is 3 pixels wide
    assert not (shadow & inner & (distance < -20)).any()


def test_shadow_agrees_with_rays_traced_one_by_one():
    heights = np.random.default_rng(2).normal(0, 1, (40, 50)).cumsum(0).cumsum(1) * 2
    azimuth, sun_elevation, step = 200.0, 20.0, 10.0
    shadow = cast_shadow(heights, step, azimuth, sun_elevation)
    traced = np.zeros_like(shadow)
    east, south = math.sin(math.radians(azimuth)), -math.cos(math.radians(azimuth))
    for row in range(40):
        for column in range(50):
            for number in range(1, 60):
                length = number / abs(south)
                y, x = row + south * length, column + east * length
                low = math.floor(x)
                if not (0 <= round(y) < 40 and 0 <= low and low + 1 < 50):
                    break
                part = x - low
                height = heights[round(y), low] * (1 - part) + heights[round(y), low + 1] * part
                ray = heights[row, column] + length * step * math.tan(math.radians(sun_elevation))
                traced[row, column] |= height > ray
    assert shadow.any()
    assert not shadow.all()
    # rounding of float32 and rays that end between the last two columns
    assert (shadow != traced).mean() < 0.005


def test_shadow_on_a_south_up_grid_is_the_same():
    heights = np.random.default_rng(3).normal(0, 1, (40, 50)).cumsum(0).cumsum(1)
    upright = cast_shadow(heights, 10, 130, 15)
    flipped = cast_shadow(heights[::-1], (10.0, 10.0), 130, 15)
    assert upright.any()
    assert (flipped[::-1] == upright).all()


def test_voids_hide_nothing_and_are_not_in_shadow():
    wall = np.zeros((1, 12))
    wall[0, 8] = 25.0
    wall[0, 6] = np.nan
    shadow = cast_shadow(wall, 10, 90, 45)
    assert shadow[0].tolist() == [False] * 7 + [True] + [False] * 4
    assert not cast_shadow(np.full((3, 3), np.nan), 10, 90, 45).any()


def test_with_the_sun_down_all_is_in_shadow():
    heights = np.zeros((2, 3))
    heights[0, 0] = np.nan
    shadow = cast_shadow(heights, 10, 90, 0)
    assert shadow.sum() == 5
    assert not shadow[0, 0]
