"""Cells reduced from their pixels: against slow and obvious versions, and what must hold."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glaciercube.store import pyramids
from glaciercube.store.pyramids import cell_shape, directions, means, modes

CHAINS = [(2,), (3,), (2, 4), (2, 4, 8), (3, 6), (5,), (64,)]


def cells(array, factor):
    """Yield the place of each cell and its pixels (rows, columns)."""
    *_, rows, columns = cell_shape(array.shape, factor)
    for row in range(rows):
        for column in range(columns):
            yield (
                (row, column),
                array[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor],
            )


def slow_mode(codes, factor, nodata=None):
    """Return the modes of one layer, cell by cell, by the rule in the words of `modes`."""
    out = np.empty(cell_shape(codes.shape, factor), codes.dtype)
    for place, pixels in cells(codes, factor):
        middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
        missing = int((pixels == nodata).sum()) if nodata is not None else 0
        if missing * 2 > pixels.size or (missing * 2 == pixels.size and middle == nodata):
            out[place] = nodata
            continue
        votes = Counter(code for code in pixels.ravel().tolist() if code != nodata)
        most = max(votes.values())
        tied = sorted(code for code, count in votes.items() if count == most)
        out[place] = middle if middle in tied else tied[0]
    return out


def slow_mean(values, factor):
    """Return the means of one layer of floats, cell by cell."""
    out = np.full(cell_shape(values.shape, factor), np.nan)
    for place, pixels in cells(values, factor):
        if np.isfinite(pixels).any():
            out[place] = np.nanmean(pixels.astype(np.float64))
    return out


@pytest.mark.parametrize("factors", CHAINS)
@pytest.mark.parametrize("shape", [(16, 24), (17, 23), (5, 3), (1, 9)])
@pytest.mark.parametrize("nodata", [None, 255])
def test_modes_are_those_of_the_slow_version(factors, shape, nodata):
    codes = np.random.default_rng(4).choice(np.uint8([0, 1, 2, 8, 255]), shape)
    for factor, found in zip(factors, modes(codes, factors, nodata), strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, slow_mode(codes, factor, nodata))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    kinds=st.integers(1, 4),
    factors=st.sampled_from(CHAINS),
    nodata=st.sampled_from([None, 0, 1]),
    seed=st.integers(0, 2**16),
)
def test_modes_hold_for_any_shape(rows, columns, kinds, factors, nodata, seed):
    codes = np.random.default_rng(seed).integers(0, kinds, (rows, columns), np.uint8)
    for factor, found in zip(factors, modes(codes, factors, nodata), strict=True):
        np.testing.assert_array_equal(found, slow_mode(codes, factor, nodata))


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint16"])
def test_many_different_codes_are_sorted_and_give_the_same(dtype):
    generator = np.random.default_rng(1)
    codes = generator.integers(0, pyramids.FEW + 20, (3, 31, 26)).astype(dtype)
    for factor, found in zip((2, 4, 8), modes(codes, (2, 4, 8), nodata=7), strict=True):
        assert found.dtype == codes.dtype
        for layer, wanted in zip(found, codes, strict=True):
            np.testing.assert_array_equal(layer, slow_mode(wanted, factor, 7))


def test_masks_stay_masks_and_the_majority_decides():
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 1]], bool)
    (found,) = modes(mask, (2,))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, [[True, False]])


def test_layers_are_reduced_one_by_one():
    codes = np.random.default_rng(2).integers(0, 3, (2, 3, 10, 12), np.uint8)
    whole = modes(codes, (2, 4), nodata=0)
    for index in np.ndindex(2, 3):
        for found, one in zip(whole, modes(codes[index], (2, 4), nodata=0), strict=True):
            np.testing.assert_array_equal(found[index], one)


def test_the_mode_of_modes_is_not_the_mode():
    ice, snow, debris = 0, 1, 2
    codes = np.array(
        [
            [ice, ice, ice, ice],
            [snow, debris, snow, debris],
            [ice, ice, snow, snow],
            [snow, debris, snow, snow],
        ],
        np.uint8,
    )
    halves, quarter = modes(codes, (2, 4))
    np.testing.assert_array_equal(halves, [[ice, ice], [ice, snow]])
    assert modes(halves, (2,))[0][0, 0] == ice
    assert quarter[0, 0] == snow  # 7 of 16 pixels, against 6 of ice


def test_nodata_needs_the_majority():
    ice, none = 0, 255
    cell = np.full((4, 4), none, np.uint8)
    cell.ravel()[:7] = ice
    assert modes(cell, (4,), nodata=none)[0][0, 0] == none
    cell.ravel()[:9] = ice
    assert modes(cell, (4,), nodata=none)[0][0, 0] == ice
    # most of a cell was observed: nodata does not win although no code has as many pixels
    mixed = np.array([[0, 0, 255], [255, 255, 255], [1, 1, 2]], np.uint8)
    assert modes(mixed, (3,), nodata=none)[0][0, 0] == 0


def test_ties_favour_no_code():
    # Stripes of two codes, cut in halves by the cells: each wins as often as it loses.
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, 1::4] = stripes[:, 2::4] = 3
    (found,) = modes(stripes, (2,))
    assert (found == 3).mean() == (stripes == 3).mean() == 0.5


def test_areas_of_round_shapes_are_kept():
    y, x = np.mgrid[0:256, 0:256]
    codes = np.where(np.hypot(y - 120.3, x - 131.7) < 80, np.uint8(5), np.uint8(0))
    codes[np.hypot(y - 120.3, x - 131.7) < 30] = 2
    for factor, found in zip((2, 4, 8), modes(codes, (2, 4, 8)), strict=True):
        for code in (0, 2, 5):
            share, level = (codes == code).mean(), (found == code).mean()
            assert level == pytest.approx(share, abs=0.002 * factor)


@pytest.mark.parametrize("factors", CHAINS)
@pytest.mark.parametrize("shape", [(16, 24), (17, 23), (5, 3)])
def test_means_leave_out_what_holds_no_value(factors, shape):
    generator = np.random.default_rng(3)
    values = generator.normal(0.4, 0.3, shape).astype(np.float32)
    values[generator.random(shape) < 0.4] = np.nan
    values[:4, :4] = np.nan
    for factor, found in zip(factors, means(values, factors), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, slow_mean(values, factor), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "fill"), [("uint16", 0), ("uint8", 255), ("int16", -9)])
def test_means_of_codes_are_the_nearest_codes(dtype, fill):
    generator = np.random.default_rng(5)
    codes = generator.integers(1, 251, (2, 19, 21)).astype(dtype)
    codes[generator.random(codes.shape) < 0.3] = fill
    codes[:, :8, :8] = fill
    values = np.where(codes == fill, np.nan, codes)
    for factor, found in zip((2, 4, 8), means(codes, (2, 4, 8), fill), strict=True):
        assert found.dtype == codes.dtype
        for layer, wanted in zip(found, values, strict=True):
            expected = slow_mean(wanted, factor)
            np.testing.assert_array_equal(layer == fill, np.isnan(expected))
            held = ~np.isnan(expected)
            assert np.abs(layer[held] - expected[held]).max() <= 0.5


def test_sums_of_the_largest_codes_do_not_overflow():
    bright = np.full((256, 256), np.iinfo(np.uint16).max, np.uint16)
    for level in means(bright, (2, 256), fill=0):
        assert (level == np.iinfo(np.uint16).max).all()


def test_means_do_not_lose_small_numbers_in_large_ones():
    values = np.full((512, 512), 4000.1, np.float32)
    assert means(values, (512,))[0][0, 0] == np.float32(4000.1)


def test_directions_are_averaged_around_the_circle():
    degrees = np.array([[350, 10, 90, 90], [355, 5, np.nan, 90]], np.float32)
    (found,) = directions(degrees, (2,))
    assert found.dtype == np.float32
    assert min(found[0, 0], 360 - found[0, 0]) == pytest.approx(0, abs=1e-4)
    assert found[0, 1] == pytest.approx(90, abs=1e-4)
    opposite = np.array([[0.0, 180.0], [0.0, 180.0]], np.float32)
    assert np.isnan(directions(opposite, (2,))[0][0, 0])
    assert np.isnan(directions(np.full((2, 2), np.nan, np.float32), (2,))[0][0, 0])


@pytest.mark.parametrize("reduction", [modes, means])
def test_cutting_at_cells_does_not_change_the_result(reduction):
    generator = np.random.default_rng(6)
    pixels = generator.integers(0, 5, (41, 37), np.uint8)
    whole = reduction(pixels, (2, 8), 4)
    parts = [reduction(pixels[start : start + 16], (2, 8), 4) for start in (0, 16, 32)]
    for level, found in enumerate(whole):
        np.testing.assert_array_equal(found, np.concatenate([part[level] for part in parts]))
