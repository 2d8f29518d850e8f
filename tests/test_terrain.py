import math

import numpy as np
import pytest

from glaciercube import terrain
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


def rough(seed=4, shape=(300, 340)):
    return np.random.default_rng(seed).normal(0, 1, shape).cumsum(0).cumsum(1) + 2000


@pytest.mark.parametrize("azimuth", [10, 100, 160, 225, 300])
@pytest.mark.parametrize(("rows", "columns"), [((90, 131), (40, 300)), ((140, 160), (150, 151))])
def test_a_part_gets_what_the_whole_gets_there(azimuth, rows, columns):
    heights = rough()
    heights[100:110, 200:230] = np.nan
    whole = cast_shadow(heights, 10, azimuth, 12)
    part = cast_shadow(heights, 10, azimuth, 12, within=(slice(*rows), slice(*columns)))
    assert whole.any()
    assert (part == whole[slice(*rows), slice(*columns)]).all()


@pytest.mark.parametrize("azimuth", [30, 250])
@pytest.mark.parametrize("tile", [7, 64, 1000])
def test_how_many_rays_march_together_does_not_matter(azimuth, tile, monkeypatch):
    expected = cast_shadow(rough(), 10, azimuth, 8)
    monkeypatch.setattr(terrain, "TILE", tile)
    monkeypatch.setattr(terrain, "LOOK", 3)
    assert (cast_shadow(rough(), 10, azimuth, 8) == expected).all()


@pytest.mark.parametrize(("reach_m", "length"), [(0, 0), (50, 5), (59.9, 5), (60, 6), (1e9, 20)])
def test_terrain_beyond_reach_hides_nothing(reach_m, length):
    ramp = np.zeros((1, 40))
    ramp[0, 20:] = 200.0  # hides 20 pixels of 10 m from a sun of 45 degrees
    shadow = cast_shadow(ramp, 10, 90, 45, reach_m=reach_m)
    assert int(shadow.sum()) == min(length, 19)  # the twentieth just sees the sun


def test_what_lies_between_a_void_and_its_neighbour_hides_nothing():
    # The ray from the lower left runs between the pixels of a row; one of them is a void.
    heights = np.zeros((4, 4))
    heights[1] = 100.0
    heights[1, 1] = np.nan
    azimuth = math.degrees(math.atan2(0.25, 1))
    assert cast_shadow(heights, 10, azimuth, 30)[3].tolist() == [False, False, True, False]


def test_steps_by_row_are_those_of_the_row():
    heights = np.tile(np.arange(6.0) * 10, (5, 1))
    steps = np.array([[10.0], [20.0], [10.0], [5.0], [10.0]])
    slope, aspect = slope_aspect(heights, steps, -10.0)
    expected = np.degrees(np.arctan(10 / steps))
    np.testing.assert_allclose(slope, np.broadcast_to(expected, slope.shape), atol=1e-3)
    np.testing.assert_allclose(aspect, 270, atol=1e-3)


def gaussian_hill(step, size=201, height=800.0, width=600.0):
    """Return a hill, and its exact slope and aspect (degree)."""
    centre = (np.arange(size) - size // 2) * step
    x, y = np.meshgrid(centre, -centre)
    heights = height * np.exp(-(x**2 + y**2) / (2 * width**2))
    east, north = -heights * x / width**2, -heights * y / width**2
    slope = np.degrees(np.arctan(np.hypot(east, north)))
    return heights, slope, np.degrees(np.arctan2(-east, -north)) % 360


@pytest.mark.parametrize(("step", "error"), [(40, 0.5), (20, 0.13), (10, 0.035)])
def test_slope_of_a_hill_nears_the_exact_one_with_the_square_of_the_step(step, error):
    heights, slope, aspect = gaussian_hill(step, size=4000 // step + 1)
    found, direction = slope_aspect(heights, step, -step)
    inner = np.s_[1:-1, 1:-1]
    assert np.abs(found - slope)[inner].max() < error
    turn = (direction - aspect + 180) % 360 - 180
    steep = (slope > 1) & (found > 1)
    assert np.abs(turn)[inner][steep[inner]].max() < 4 * error


@pytest.mark.parametrize("azimuth", [0, 37, 90, 145, 260])
def test_the_shadow_of_a_cone_has_the_outline_of_tangents_from_its_tip(azimuth):
    step, height, radius, sun_elevation = 10.0, 500.0, 400.0, 20.0
    centre = (np.arange(401) - 200) * step
    x, y = np.meshgrid(centre, -centre)
    heights = np.maximum(0, height * (1 - np.hypot(x, y) / radius))
    shadow = cast_shadow(heights, step, azimuth, sun_elevation)
    # On the plain: within the triangle of the tip's shadow and the two tangents to the base.
    sun = np.array([math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))])
    away, aside = -(x * sun[0] + y * sun[1]), x * sun[1] - y * sun[0]
    length = height / math.tan(math.radians(sun_elevation))
    half = math.asin(radius / length)
    touch = radius * math.sin(half)  # how far behind the tip the tangents leave the base
    inside = (away > touch) & (np.abs(aside) < (length - away) * math.tan(half))
    plain = (np.hypot(x, y) > radius) & (np.abs(x) < 1950) & (np.abs(y) < 1950)
    wrong = plain & (shadow != inside)
    edge = np.abs(np.abs(aside) - (length - away) * math.tan(half)) * math.cos(half) < 2 * step
    near_base = np.abs(np.hypot(x, y) - radius) < 2 * step
    assert (plain & inside).sum() > 1000
    assert not (wrong & ~edge & ~near_base).any()
