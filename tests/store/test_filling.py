"""A bounded number of tasks at once, whatever the size of the store."""

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

from glaciercube.store import filling
from glaciercube.store.filling import Filling
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of
from glaciercube.store.reading import read
from glaciercube.store.writing import write


@pytest.fixture
def sizes(monkeypatch):
    """Record the size of every graph that Dask is given."""
    found = []
    real = dask.threaded.get

    def get(graph, keys, **more):
        found.append(len(graph.__dask_graph__()))
        return real(graph, keys, **more)

    with dask.config.set(scheduler=get):
        yield found


@pytest.mark.parametrize("most", [1, 7, 25, 1000])
def test_no_graph_has_more_tasks_than_allowed(lazy_cube, tmp_path, monkeypatch, sizes, most):
    monkeypatch.setattr(filling, "TASKS_AT_ONCE", most)
    write(lazy_cube, tmp_path / "cube.zarr")
    one_block = 6  # of the blocks with time: a part of each variable, and joining the bands
    assert max(sizes) <= max(most, one_block) + 1  # Dask adds one that gathers
    np.testing.assert_array_equal(read(tmp_path / "cube.zarr").valid.values, lazy_cube.valid.values)


def test_parts_for_growing_are_whole_dates(lazy_cube, tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "_width", lambda: 4)
    plan = plan_of(lazy_cube)
    every = plan.header.layout.all_blocks()
    made_of = dict.fromkeys(every, "")
    work = Filling(plan, Directory(tmp_path / "cube.zarr"), every, made_of)
    parts = list(work._parts(dates=True))
    assert [block for part in parts for block in part] == every
    assert [{block.time for block in part} for part in parts] == [{None}, {0}, {1}, {2}]


def test_the_width_is_that_of_the_scheduler():
    with dask.config.set(num_workers=3):
        assert filling._width() == 12
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=5, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        assert filling._width() == 20


def test_whole_dates_are_counted():
    blocks = [Block(0, column, time=time) for time in (0, 1) for column in range(3)]
    assert [filling._whole_dates(blocks, least) for least in (1, 3, 4, 9)] == [3, 3, 6, 6]
