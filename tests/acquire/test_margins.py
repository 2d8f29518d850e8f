"""How far shadows are followed."""

import math

import numpy as np
import pytest

from acquire.hills import box_at, write_dem
from glaciercube.acquire.ground import ground_of
from glaciercube.acquire.margins import Margins, margins_of, require_margins, towards
from glaciercube.errors import GlacierCubeWarning, SchemaError

CORNER = (480_000.0, 5_220_000.0)
SUN = np.dtype([("azimuth", "f8"), ("elevation", "f8"), ("margin_m", "f8")])
TIMES = np.array(["2021-12-20", "2021-12-21", "2022-01-05", "2022-01-09"], "M8[ns]")
STEPS = [(slice(0, 10), (10.0, -10.0))]


@pytest.fixture
def dem(tmp_path):
    """Return a plain of 40 x 40 km at 1000 m with one pixel of 3000 m, 12 km east of the middle."""
    heights = np.full((400, 400), 1000, np.float32)
    heights[200, 320] = 3000
    return write_dem(tmp_path / "needle.tif", heights, CORNER, 100)


def margins(dem, positions, max_margin_m=30_000.0, step=20):
    box = box_at(499_000, 5_201_000, 2000 // step, 2000 // step, step)
    sun = np.array([(*position, 0) for position in positions], SUN)
    return margins_of(box, dem, (), sun, ground_of(box), max_margin_m)


@pytest.mark.parametrize(
    ("bearing", "expected"),
    [
        (0, ((-6, 11), (-1, 11))),
        (90, ((-1, 11), (-1, 16))),
        (180, ((-1, 16), (-1, 11))),
        (270, ((-1, 11), (-6, 11))),
        (45, ((-5, 11), (-1, 15))),
        (-135, ((-1, 15), (-5, 11))),
    ],
)
def test_a_block_is_widened_towards_the_sun_only(bearing, expected):
    assert towards((0, 10), (0, 10), 50, bearing, STEPS) == expected
    moved = towards((5, 15), (7, 17), 50, bearing, STEPS)
    rows, columns = expected
    assert moved == ((rows[0] + 5, rows[1] + 5), (columns[0] + 7, columns[1] + 7))


def test_south_up_rows_are_widened_the_other_way():
    up = [(slice(0, 10), (10.0, 10.0))]
    assert towards((0, 10), (0, 10), 50, 0, up) == ((-1, 16), (-1, 11))


def test_of_several_steps_the_smallest_widens_most():
    both = [(slice(0, 5), (10.0, -10.0)), (slice(5, 10), (5.0, -10.0))]
    assert towards((0, 10), (0, 10), 50, 90, both) == ((-1, 11), (-1, 21))


@pytest.mark.parametrize("elevation", [12.0, 25.0, 60.0])
def test_the_margin_is_relief_over_the_tangent(dem, elevation):
    found = margins(dem, [(180, elevation)])
    reach = 9000 / math.tan(math.radians(elevation))
    relief = 2000 if min(reach, 30_000) > 11_000 else 0
    slack = 90 / math.tan(math.radians(elevation))  # half a step of 80 to 100 m twice
    expected = relief / math.tan(math.radians(elevation))
    assert expected <= found.needed_m[0] <= expected + 1.2 * slack
    assert found.allowed_m[0] == found.needed_m[0]
    assert found.attrs(TIMES[:1])["capped"] == []


@pytest.mark.parametrize("step", [20, 50, 100])
def test_a_needle_of_one_pixel_is_seen(dem, step):
    assert 3000 <= margins(dem, [(90, 8)], step=step).highest_m <= 3000 + 60


def test_with_the_sun_down_nothing_is_needed(dem):
    found = margins(dem, [(90, -3), (90, 0), (90, 12)])
    assert found.needed_m[:2].tolist() == [0, 0]
    assert found.needed_m[2] > 9000
    assert margins(dem, [(90, -3)]).attrs(TIMES[:1])["margin_m"] == 0


def test_more_than_the_cap_is_capped_and_said(dem):
    found = margins(dem, [(90, 8), (90, 50), (90, 6), (90, 7)], max_margin_m=12_500)
    assert (found.needed_m > 12_500).tolist() == [True, False, True, True]
    assert found.allowed_m.max() == 12_500
    attrs = found.attrs(TIMES)
    assert attrs["margin_m"] == 12_500
    assert attrs["margin_needed_m"] == pytest.approx(found.needed_m[2], abs=0.1)
    assert attrs["capped"] == ["2021-12-20", "2022-01-05", "2022-01-09"]
    with pytest.warns(
        GlacierCubeWarning,
        match=r"over 12.5 km, but 3 of 4 dates \(2021-12-20, 2022-01-05, 2022-01-09\) may need up "
        r"to (19|2\d).\d km",
    ):
        require_margins(found, TIMES)


def test_many_dates_are_shortened(dem):
    found = margins(dem, [(90, 8)] * 4, max_margin_m=12_500)
    with pytest.warns(GlacierCubeWarning, match=r"\(2021-12-20, 2021-12-21, 2022-01-05, \.\.\.\)"):
        require_margins(found, TIMES)


@pytest.mark.parametrize(("azimuth", "void"), [(0, 0), (90, 0), (180, 0), (270, 0.7), (225, 0.55)])
def test_voids_count_where_the_sun_is(tmp_path, azimuth, void):
    heights = np.full((400, 400), 1000, np.float32)
    heights[:, :160] = np.nan  # from 3 km west of the grid on
    heights[200, 320] = 3000
    dem = write_dem(tmp_path / "half.tif", heights, CORNER, 100, nodata=None)
    found = margins(dem, [(azimuth, 11)])
    assert found.void[0] == pytest.approx(void, abs=0.12)
    if void:
        with pytest.warns(
            GlacierCubeWarning, match=r"half.tif knows nothing of up to \d\d % of it"
        ):
            require_margins(found, TIMES[:1])
    else:
        require_margins(found, TIMES[:1])


def test_a_collection_may_end_at_the_sea(dem):
    found = margins(dem, [(90, 12)])
    assert found.raster
    sea = Margins(**{**vars(found), "raster": False, "void": np.ones(1)})
    require_margins(sea, TIMES[:1])  # does not warn
    assert sea.attrs(TIMES[:1])["margin_void_fraction"] == 1


def test_a_cap_is_a_length(dem):
    for wrong in (-1, math.nan):
        with pytest.raises(SchemaError, match="max_margin_m is a length such as 30000 m, found"):
            margins(dem, [(90, 12)], max_margin_m=wrong)
