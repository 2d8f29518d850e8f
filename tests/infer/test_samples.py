"""Which tiles stand for a cube: spread, well measured, inside the region, the same each time."""

import numpy as np
import pytest
import shapely

from glaciercube.cover.regions import Region
from glaciercube.infer import samples
from glaciercube.infer.samples import LOOKS, TILES, samples_of
from glaciercube.infer.work import Work
from glaciercube.windows import Window


def work_of(dates=4, rows=(64,) * 8, columns=(64,) * 8, stride=8, region=None):
    return Work(
        refs=(),
        bands=(),
        planes=(),
        halo=24,
        stride=stride,
        chunks=((1,) * dates, rows, columns),
        times=("",) * dates,
        positions=(),
        region=region,
    )


class Valid:
    """What was measured: all, but for some dates and columns."""

    def __init__(self, dates=(), columns=0):
        self.dates, self.columns, self.looks = dates, columns, []

    def __call__(self, date, window):
        self.looks.append((date, window))
        found = np.full(window.shape, date not in self.dates)
        found[:, : max(0, self.columns - window.x0)] = False
        return found


def test_a_handful_of_whole_tiles_stands_for_a_cube():
    valid = Valid()
    found = samples_of(work_of(), valid, margin=24, least=1000)
    assert len(found) == TILES == len(valid.looks)
    assert all(one.window.shape == (64, 64) and one.pixels == 64 * 64 for one in found)
    assert len({one.date for one in found}) == 4
    assert len({one.window.y0 for one in found}) > 3
    assert len({one.window.x0 for one in found}) > 3


def test_the_same_cube_has_the_same_sample():
    work = work_of(dates=300, rows=(64,) * 40, columns=(64,) * 30)
    first = samples_of(work, Valid(columns=500), 24, 10**5)
    assert first == samples_of(work, Valid(columns=500), 24, 10**5)


def test_tiles_have_the_image_around_them_and_keep_their_place_on_the_lattice():
    work = work_of(dates=8, rows=(64, 64, 64, 7), columns=(64, 64, 50))
    found = samples_of(work, Valid(), 24, 10**6)  # all there are
    assert len({one.date for one in found}) == 8
    for one in found:
        assert Window(24, 199 - 24, 24, 178 - 24).holds(one.window)
        assert (one.window.y0 % 8, one.window.x0 % 8) == (0, 0)
        assert min(one.window.shape) > 64 - 8
    pairs = [(a, b) for a in found for b in found if a is not b and a.date == b.date]
    assert all(np.prod(a.window.cut(b.window).shape) <= 64 * 64 / 2 for a, b in pairs)


def test_a_cube_smaller_than_a_block_has_its_middle():
    work = work_of(dates=2, rows=(93,), columns=(78,), stride=4)
    found = samples_of(work, Valid(), 24, 10**6)
    assert [(one.date, one.window) for one in found] == [
        (1, Window(24, 69, 24, 54)),
        (0, Window(24, 69, 24, 54)),
    ]


def test_a_cube_with_no_pixel_far_enough_inside_has_none():
    valid = Valid()
    assert samples_of(work_of(rows=(48,)), valid, 24, 1) == []
    assert samples_of(work_of(dates=0), valid, 24, 1) == []
    assert valid.looks == []


def test_tiles_that_were_measured_well_come_first():
    found = samples_of(work_of(), Valid(dates=(0, 2), columns=300), 24, 1000)
    assert {one.date for one in found} == {1, 3}
    assert all(one.pixels >= 32 * 64 for one in found)


def test_where_little_was_measured_the_best_is_taken():
    valid = Valid(columns=8 * 64 - 40)  # of the last 16 columns that may be taken
    found = samples_of(work_of(), valid, 24, least=3000)
    assert len(valid.looks) <= LOOKS
    assert sum(one.pixels for one in found) >= 3000
    assert [one.pixels for one in found] == sorted((one.pixels for one in found), reverse=True)


def test_more_tiles_are_taken_until_they_have_the_pixels():
    found = samples_of(work_of(), Valid(), 24, least=10 * 64 * 64)
    assert len(found) == 10


def test_no_more_than_so_many_are_looked_at():
    valid = Valid(dates=range(1000))
    assert samples_of(work_of(dates=1000), valid, 24, 1) == []
    assert len(valid.looks) == LOOKS


@pytest.mark.parametrize("side", [10, 100])
def test_tiles_lie_in_the_region(side):
    region = Region((shapely.to_wkb(shapely.box(200, 300, 200 + side, 300 + side)),))
    valid = Valid()
    found = samples_of(work_of(region=region), valid, 24, least=1)
    assert found
    for one in found:
        assert region.touches(one.window)
        assert 0 < one.pixels == region.inside(one.window).sum()
    blocks = {(window.y0 // 64, window.x0 // 64) for _, window in valid.looks}
    assert blocks <= {(y, x) for y in (4, 5, 6) for x in (3, 4)}


def test_of_a_small_cube_each_place_comes_once():
    work = work_of(dates=3, rows=(64,) * 4, columns=(64,) * 5)
    places = list(samples._places(work, 0))
    assert len(places) == len(set(places)) == 3 * 4 * 5
