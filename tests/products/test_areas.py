import numpy as np
import pytest

from glaciercube import schema
from glaciercube.products import areas
from glaciercube.windows import Window


def make_block(state, **options):
    """Return a block beyond whose edge nothing was observed."""
    known = {
        "row_area": np.full(len(state), 100.0), "layers": {}, "bin_height_m": 20.0,
        "outlined": True,
    }  # fmt: skip
    wide = np.pad(state, 1, constant_values=schema.NODATA)
    return areas.Block(state=wide.astype(np.uint8), **{**known, **options})


def whole(state):
    rows, columns = state.shape[0] + 2, state.shape[1] + 2
    return [(7, Window(0, rows, 0, columns), np.ones((rows, columns), np.float32))]


def loop_margin(state):
    """Return half a pixel on each edge between 1 and 0, the slow way."""
    total = 0
    for y, x in np.argwhere(state == 1):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            row, column = y + dy, x + dx
            if 0 <= row < state.shape[0] and 0 <= column < state.shape[1]:
                total += 50 * (state[row, column] == 0)
    return total


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_margin_against_a_loop(seed):
    state = np.random.default_rng(seed).choice([0, 1, 255], (12, 9), p=[0.4, 0.5, 0.1])
    sums = areas.block_sums(make_block(state), whole(state))[7]
    assert sums["margin"] == loop_margin(state)


def test_blocks_share_no_edge_and_miss_none():
    state = np.random.default_rng(3).choice([0, 1, 255], (12, 9), p=[0.4, 0.5, 0.1])
    wide = make_block(state).state
    tables = []
    for y0, y1 in ((0, 5), (5, 12)):
        for x0, x1 in ((0, 4), (4, 9)):
            part = make_block(state[y0:y1, x0:x1])
            part.state[:] = wide[y0 : y1 + 2, x0 : x1 + 2]
            tables.append(areas.block_sums(part, whole(state[y0:y1, x0:x1])))
    together = areas.merged(tables)[7]
    alone = areas.block_sums(make_block(state), whole(state))[7]
    assert alone["margin_unseen"] > 0
    np.testing.assert_allclose(together.values, alone.values)


def test_a_zone_beside_the_block_counts_nothing_in_it():
    state = np.ones((3, 3))
    zone = (7, Window(0, 1, 0, 5), np.ones((1, 5), np.float32))
    assert (areas.block_sums(make_block(state), [zone])[7].values == 0).all()


def test_bins_of_different_blocks_are_added_by_elevation():
    first = areas.Sums(np.ones(len(areas.FIELDS)), 10, np.ones((3, 2)))
    second = areas.Sums(np.ones(len(areas.FIELDS)), 13, np.full((3, 1), 2.0))
    both = first + second
    assert both.first == 10
    assert both.bins[0].tolist() == [1, 1, 0, 2]
    assert (both.values == 2).all()
    empty = areas.Sums(np.zeros(len(areas.FIELDS)))
    assert (empty + second).first == 13
    assert (empty + empty).bins.shape == (3, 0)


def test_only_glacier_of_known_elevation_is_binned():
    state = np.array([[1, 1, 0, 255]])
    elevation = np.array([[-5.0, np.nan, 30, 30]])
    facies = np.array([[1, 0, 8, 7]], np.uint8)
    block = make_block(state, layers={"elevation": elevation, "facies": facies})
    sums = areas.block_sums(block, whole(state))[7]
    assert (sums.first, sums.bins.tolist()) == (-1, [[100.0], [100.0], [100.0]])
    assert (sums["glacier"], sums["elevated"], sums["snow"], sums["ice"]) == (200, 100, 100, 100)


def test_nothing_is_binned_without_glacier():
    state = np.zeros((2, 2))
    sums = areas.block_sums(make_block(state, layers={"elevation": np.ones((2, 2))}), whole(state))[
        7
    ]
    assert sums.bins.shape == (3, 0)


def test_uncertainty_of_an_unseen_glacier_is_unknown():
    state = np.full((2, 2), schema.NODATA)
    sums = areas.block_sums(make_block(state), whole(state))[7]
    assert np.isnan(areas.area_uncertainty(sums))
