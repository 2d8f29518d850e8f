"""A grid on the ground."""

import math

import numpy as np
import pytest
from pyproj import Geod, Proj, Transformer

from acquire.hills import box_at
from glaciercube.acquire.ground import BAND, ground_of


@pytest.mark.parametrize(
    ("crs", "x", "y", "degrees"),
    [
        ("EPSG:32632", 500_000, 5_200_000, 0),
        ("EPSG:32632", 650_000, 5_200_000, 1.5),
        ("EPSG:3413", -300_000, -2_200_000, -8),
        ("EPSG:3413", 1_000_000, 500_000, 117),
        ("EPSG:3031", -300_000, 1_200_000, 14),
        ("EPSG:2056", 2_640_000, 1_150_000, 0.5),
        ("EPSG:3857", 1_200_000, 5_900_000, 0),
    ],
)
@pytest.mark.parametrize("south_up", [False, True])
def test_north_and_steps_are_the_projections_convergence_and_scale(crs, x, y, degrees, south_up):
    ground = ground_of(box_at(x, y, 40, 60, 10, crs, south_up))
    centre = Transformer.from_crs(crs, 4326, always_xy=True).transform(x + 300, y - 200)
    factors = Proj(crs).get_factors(*centre)
    assert ground.north == pytest.approx(factors.meridian_convergence, abs=0.01)
    assert ground.north == pytest.approx(degrees, abs=1)
    # PROJ takes the scale of web Mercator on a sphere, 0.2 % off; the others agree to 1e-6.
    assert ground.step_x == pytest.approx(10 / factors.parallel_scale, rel=3e-3)
    assert abs(ground.step_y) == pytest.approx(10 / factors.meridional_scale, rel=3e-3)
    assert (ground.step_y > 0) == south_up
    box = box_at(x, y, 40, 60, 10, crs, south_up)
    assert ground.steps(box) == (ground.step_x, ground.step_y)
    assert ground.bands(box) == [(slice(0, 40), (ground.step_x, ground.step_y))]


def test_a_degree_is_as_long_as_its_latitude_makes_it():
    box = box_at(20.0, 79.0, 400, 10, 0.005, "EPSG:4326")
    ground = ground_of(box)
    across, down = ground.steps(box)
    assert across.shape == down.shape == (400, 1)
    assert ground.north == 0
    for row in (0, 200, 399):
        latitude = 79 - (row + 0.5) * 0.005
        radians = math.radians(latitude)
        e2, a = 0.00669437999014, 6378137.0
        curve = 1 - e2 * math.sin(radians) ** 2
        parallel = a / math.sqrt(curve) * math.cos(radians)
        meridian = a * (1 - e2) / curve**1.5
        assert across[row, 0] == pytest.approx(math.radians(0.005) * parallel, rel=1e-6)
        assert down[row, 0] == pytest.approx(-math.radians(0.005) * meridian, rel=1e-6)


def test_bands_are_the_same_in_every_cut_and_near_the_steps_of_their_rows():
    box = box_at(20.0, 79.0, 400, 10, 0.0049, "EPSG:4326")
    ground = ground_of(box)
    bands = ground.bands(box)
    assert [run.start for run, _ in bands][1:] == [run.stop for run, _ in bands][:-1]
    assert (bands[0][0].start, bands[-1][0].stop) == (0, 400)
    by_row = np.concatenate([[steps] * (run.stop - run.start) for run, steps in bands])
    assert np.abs(by_row[:, 0] / ground.steps(box)[0][:, 0] - 1).max() < math.radians(BAND / 2) * 6
    cut = box[137:290, 2:5]
    other = np.concatenate([[steps] * (run.stop - run.start) for run, steps in ground.bands(cut)])
    np.testing.assert_array_equal(other, by_row[137:290])


def test_rows_at_a_pole_have_a_length():
    box = box_at(0.0, 90.0, 20, 4, 0.5, "EPSG:4326")
    across, down = ground_of(box).steps(box)
    assert (across > 0).all()
    assert (down < 0).all()


def test_north_points_where_a_geodesic_to_the_pole_starts():
    box = box_at(-300_000, -2_200_000, 40, 60, 10, "EPSG:3413")
    to_degrees = Transformer.from_crs(3413, 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(-299_700, -2_200_200)
    east, north = Transformer.from_crs(4326, 3413, always_xy=True).transform(
        *Geod(ellps="WGS84").fwd(longitude, latitude, 0, 100)[:2]
    )
    bearing = math.degrees(math.atan2(east + 299_700, north + 2_200_200))
    assert ground_of(box).north == pytest.approx(-bearing, abs=1e-3)
