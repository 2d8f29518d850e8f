import numpy as np
import pytest

from glaciercube.errors import SchemaError
from glaciercube.infer.work import Work, bounding, measured_share, parts_of
from glaciercube.windows import Window


def make_work(**changes):
    fields = {
        "refs": (),
        "bands": (),
        "planes": ("facies",),
        "halo": 3,
        "stride": 1,
        "chunks": ((1, 2), (10, 10, 5), (8, 4)),
        "times": ("2021-08-01", "2022-08-05", "2023-08-03"),
        "positions": (),
    }
    return Work(**fields | changes)


def test_a_block_knows_its_dates_and_its_windows():
    work = make_work()
    dates, block = work.place((1, 0, 1, 0))
    assert dates == range(1, 3)
    assert block == Window(10, 20, 0, 8)
    assert work.reads(block) == Window(7, 23, 0, 11)
    assert make_work(depth=5).given(block) == Window(5, 25, 0, 12)


def test_only_the_direct_strategy_has_sources():
    with pytest.raises(SchemaError, match="by the direct strategy only, it has no source"):
        make_work(depth=3).sources  # noqa: B018


def test_blocks_report_every_pixel_once():
    work = make_work(chunks=((1,), (7, 7, 3), (5, 6)))
    count = np.zeros(work.shape, int)
    for y in range(3):
        for x in range(2):
            count[work.place((0, 0, y, x))[1].slices] += 1
    assert (count == 1).all()


def test_windows_start_on_the_stride_lattice():
    work = make_work(stride=4, halo=4, chunks=((1,), (10, 10, 5), (8, 4)))
    outer = work.reads(work.place((0, 0, 1, 1))[1])
    assert (outer.y0 % 4, outer.x0 % 4) == (0, 0)
    assert outer.y0 <= 6
    assert outer.x0 <= 4


def share_by_loops(measured, halo):
    padded = np.pad(measured, halo)
    side = 2 * halo + 1
    out = np.empty(measured.shape, np.float32)
    for y, x in np.ndindex(measured.shape):
        out[y, x] = padded[y : y + side, x : x + side].sum() / side**2
    return out


def test_parts_are_what_a_mask_touches_where_that_is_less():
    mask = np.zeros((600, 600), bool)
    mask[10:20, 30:60] = True
    mask[590, 599] = True
    target = Window(1000, 1600, 0, 600)
    parts = parts_of(mask, target, 16)
    assert parts == [Window(1010, 1020, 30, 60), Window(1590, 1591, 599, 600)]
    assert parts_of(np.ones((600, 600), bool), target, 16) == [target]
    assert bounding(mask, target) == Window(1010, 1591, 30, 600)


@pytest.mark.parametrize("halo", [0, 1, 4, 40])
def test_measured_share_equals_counting(halo):
    measured = np.random.default_rng(halo).random((23, 31)) > 0.4
    inner = (slice(5, 20), slice(0, 31))
    expected = share_by_loops(measured, halo)[inner]
    np.testing.assert_array_equal(measured_share(measured, inner, halo), expected)


def test_measured_share_is_the_same_from_any_tile():
    measured = np.random.default_rng(1).random((40, 30)) > 0.3
    whole = measured_share(measured, (slice(0, 40), slice(0, 30)), 3)
    tile = measured_share(measured[7:23, 9:30], (slice(3, 13), slice(3, 21)), 3)
    np.testing.assert_array_equal(tile, whole[10:20, 12:30])
