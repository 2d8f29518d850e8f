"""Which chunks a block of the graph is given, and what it makes of them."""

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from cards import make_card

from glaciercube.infer import neighbours
from glaciercube.infer.dates import name_of, seen_by
from glaciercube.infer.work import Work
from glaciercube.model.reference import ref_of


def work_of(card, chunks):
    """Return the work of days in chunks; with each the one before and the one after are seen."""
    days = np.datetime64("2021-08-01", "ns") + np.arange(sum(chunks)) * np.timedelta64(1, "D")
    return Work(
        refs=(ref_of(card),),
        bands=("green",),
        planes=("facies", "confidence"),
        halo=0,
        stride=1,
        chunks=(chunks, (2, 2), (3,)),
        times=tuple(str(day) for day in days),
        positions=(0,),
        seen=seen_by(days, [card]),
        depth=0,
    )


@pytest.fixture
def three(tmp_path):
    return make_card(tmp_path, dates={"count": 3})


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((1, 1, 1, 1), [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]),
        ((2, 1, 3), [[0, 1], [0, 1, 2], [1, 2]]),
        ((4,), [[0]]),
    ],
)
def test_a_block_needs_the_chunks_of_what_its_dates_see(three, chunks, expected):
    work = work_of(three, chunks)
    assert [work.time_chunks(number) for number in range(len(chunks))] == expected


def test_with_one_date_a_block_needs_its_own_chunk(card):
    work = work_of(card, (2, 1, 3))
    assert work.seen == {}
    assert [work.time_chunks(number) for number in range(3)] == [[0], [1], [2]]
    assert (work.seen_with(4, card), work.others_of(4)) == ((4,), [])


def test_dates_of_several_declarations_are_put_together(three, tmp_path):
    past = make_card(tmp_path, seed=2, dates={"count": 4, "anchor": "past"})
    days = np.datetime64("2021-08-01", "ns") + np.arange(6) * np.timedelta64(1, "D")
    work = work_of(three, (1,) * 6)
    work.seen.update(seen_by(days, [past]))
    assert len(work.seen) == 2
    assert work.others_of(4) == [1, 2, 3, 5]
    assert work.seen_with(1, past) == (-1, -1, 0, 1)
    assert work.seen[name_of(three)][0] == (-1, 0, 1)


def told(block_id, *given, work):
    """Return which dates a block was given, as numbers in its planes."""
    known = neighbours.by_date(given, work, block_id[0])
    for date, values in known.items():
        np.testing.assert_array_equal(values, date)
    sums = [sum(2.0**date for date in known)] * len(work.dates_in(block_id[0]))
    shape = (len(sums), 2, 2, 3)
    return np.broadcast_to(np.float32(sums)[:, None, None, None], shape)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 1), (2, 1, 1), (4,)])
def test_each_block_is_given_these_dates(three, chunks):
    work = work_of(three, chunks)
    dates = np.broadcast_to(np.arange(4.0)[:, None, None, None], (4, 1, 4, 3))
    wide = da.from_array(dates, chunks=(chunks, 1, 2, 3))
    found = neighbours.mapped(told, "token", work, dask.delayed(work, traverse=False), wide)
    assert found.chunks == (chunks, (2,), (2, 2), (3,))
    expected = {
        (1, 1, 1, 1): [0b0011, 0b0111, 0b1110, 0b1100],
        (2, 1, 1): [0b0111, 0b0111, 0b1111, 0b1100],
        (4,): [0b1111] * 4,
    }[chunks]
    np.testing.assert_array_equal(found.compute()[:, 1, 3, 2], expected)


def test_one_small_task_for_each_block(three):
    work = work_of(three, (1,) * 50)
    wide = da.zeros((50, 1, 4, 3), chunks=(1, 1, 2, 3), name="wide")
    found = neighbours.mapped(told, "token", work, dask.delayed(work, traverse=False), wide)
    tasks = dict(found.dask.layers[found.name])
    assert len(tasks) == 100
    assert max(len(cloudpickle.dumps(task)) for task in tasks.values()) < 4096
