"""A lazy array of measured blocks: one task each."""

import dask
import numpy as np

from glaciercube.acquire.tasks import per_block


def describe(times, rows, columns, lengths):
    """Return a block that says for which time, row and column it was made."""
    row, column = int(rows[0]), int(columns[0])
    height, width = lengths[0][row], lengths[1][column]
    return np.full((1, 2, height, width), times[0] * 10_000 + row * 100 + column, np.float32)


LENGTHS = ({0: 4, 4: 4, 8: 2}, {0: 4, 4: 3})


def array(name="described"):
    return per_block(describe, [1, 2], ((4, 4, 2), (4, 3)), layers=2, name=name, lengths=LENGTHS)


def test_each_block_is_made_from_its_time_and_its_first_pixel(no_compute):
    with no_compute:
        lazy = array()
    assert lazy.shape == (2, 2, 10, 7)
    assert lazy.chunks == ((1, 1), (2,), (4, 4, 2), (4, 3))
    assert lazy.dtype == np.float32
    values = lazy.compute()
    np.testing.assert_array_equal(values[1, 0, :, 0], 20_000 + np.repeat([0, 400, 800], [4, 4, 2]))
    np.testing.assert_array_equal(values[0, 1, 0], 10_000 + np.repeat([0, 4], [4, 3]))


def test_there_is_one_task_per_block_and_one_per_cell_of_what_they_share():
    (graph,) = dask.optimize(array())
    tasks = [key for key in graph.__dask_graph__() if isinstance(key, tuple)]
    own = [key for key in tasks if key[0] == "described"]
    assert len(own) == 2 * 3 * 2
    assert len(tasks) <= len(own) + 2 + 3 + 2


def test_the_name_is_the_callers():
    assert array("files-1").name == "files-1"
    np.testing.assert_array_equal(array("files-1"), array("files-2"))
