"""Pieces of work to tiles: all of them, whole, within the limits, alike however they are told."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from glaciercube.cluster.assignment import Limits, assigned
from glaciercube.cluster.tiling import joined

PIECES = st.lists(
    st.tuples(st.integers(-30, 30), st.integers(-30, 30), st.integers(1, 4), st.floats(0.01, 3)),
    min_size=1,
    max_size=60,
)


def of(pieces):
    table = np.array(pieces, float)
    homes = table[:, :2].astype(int)
    size = table[:, 2].astype(int)
    spans = np.stack([homes[:, 0], homes[:, 0] + size, homes[:, 1], homes[:, 1] + size], axis=1)
    return homes, spans, table[:, 3]


@settings(deadline=None, max_examples=200)
@given(pieces=PIECES)
def test_every_tile_is_within_the_limits_or_a_single_piece(pieces):
    homes, spans, work = of(pieces)
    limits = Limits(work=4.0, side=9)
    labels = assigned(homes, spans, work, limits)
    assert sorted(set(labels)) == list(range(labels.max() + 1))
    total = np.bincount(labels, work)
    around = joined(spans, labels, len(total))
    side = np.maximum(around[:, 1] - around[:, 0], around[:, 3] - around[:, 2])
    several = np.bincount(labels) > 1
    assert (total[several] <= 4.0 + 1e-9).all()
    assert (side[several] <= 9).all()


@settings(deadline=None, max_examples=50)
@given(pieces=PIECES)
def test_no_two_tiles_could_be_one(pieces):
    homes, spans, work = of(pieces)
    limits = Limits(work=4.0, side=9)
    labels = assigned(homes, spans, work, limits)
    total = np.bincount(labels, work)
    around = joined(spans, labels, len(total))
    for one in range(len(total)):
        for other in range(one):
            both = joined(around[[one, other]], np.zeros(2, int), 1)[0]
            side = max(both[1] - both[0], both[3] - both[2])
            # Floats add up differently in another order.
            assert total[one] + total[other] > 4.0 - 1e-9 or side > 9


def test_even_work_makes_even_tiles():
    rows, columns = np.mgrid[0:32, 0:32].reshape(2, -1)
    homes = np.stack([rows, columns], axis=1)
    spans = np.stack([rows, rows + 1, columns, columns + 1], axis=1)
    labels = assigned(homes, spans, np.ones(1024), Limits(work=16, side=8))
    filled = np.bincount(labels)
    assert filled.max() <= 16
    assert np.median(filled) >= 12
    assert len(filled) <= 90  # 64 would be full


def test_pieces_of_one_place_are_shared_out():
    homes, spans = np.zeros((10, 2), int), np.tile([0, 1, 0, 1], (10, 1))
    labels = assigned(homes, spans, np.ones(10), Limits(work=3, side=5))
    assert np.bincount(labels).max() <= 3
    assert len(np.bincount(labels)) == 4
