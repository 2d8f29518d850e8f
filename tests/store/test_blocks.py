"""One task per block, and what two variables share is computed once."""

import pickle
from threading import Lock

import dask
import dask.array as da
import numpy as np
import pytest

from glaciercube.errors import StoreError
from glaciercube.store import blocks, ledger, template
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of
from glaciercube.store.reading import read
from glaciercube.store.writing import write


@pytest.fixture
def stored_cube(tmp_path, lazy_cube):
    write(lazy_cube, tmp_path / "first.zarr")
    return read(tmp_path / "first.zarr")


def graph_of(parts):
    """Return the graph that Dask would run."""
    seen = []

    def scheduler(graph, keys, **kwargs):
        full = graph.__dask_graph__() if hasattr(graph, "__dask_graph__") else graph
        seen.append(dict(full))
        return [[None] * len(part.keys) for part in parts]

    dask.compute(*parts, scheduler=scheduler)
    return seen[0]


def work_of(plan, path, every):
    """Return the work of writing blocks."""
    lattices = [
        blocks.lattice_of(plan, Directory(path), temporal, plan.fingerprints())
        for temporal in (False, True)
    ]
    return blocks.Work(lattices, every)


def cell(row, column, time):
    """Return what a task knows of its block."""
    return np.array([(time, row, column, "made of this", "")], blocks.CELL)[0]


def writing_tasks(graph):
    return {key: task for key, task in graph.items() if str(key).startswith("('write-")}


def test_writing_is_one_task_per_block(stored_cube, tmp_path):
    plan = plan_of(stored_cube)
    every = plan.header.layout.blocks(temporal=True)
    graph = graph_of([work_of(plan, tmp_path, every).part(every)])
    assert len(writing_tasks(graph)) == len(every) == 18
    assert len(graph) <= len(every) + 1  # Dask adds one that gathers


def test_a_task_is_small(stored_cube, tmp_path):
    plan = plan_of(stored_cube)
    every = plan.header.layout.blocks(temporal=True)
    graph = graph_of([work_of(plan, tmp_path, every).part(every)])
    largest = max(len(pickle.dumps(task)) for task in writing_tasks(graph).values())
    assert largest < 16_000


def test_only_the_blocks_asked_for_are_in_the_graph(stored_cube, tmp_path):
    plan = plan_of(stored_cube)
    wanted = [Block(0, 1, time=2), Block(1, 1, time=0), Block(2, 0), Block(2, 1)]
    work = work_of(plan, tmp_path, plan.header.layout.all_blocks())
    graph = graph_of([work.part(wanted)])
    assert len(writing_tasks(graph)) == 4
    assert len(graph) <= work.size(wanted) + 1  # Dask adds one that gathers
    assert work.size(wanted) == 4


def test_building_computes_nothing(lazy_cube, tmp_path, no_compute):
    with no_compute:
        plan = plan_of(lazy_cube)
        work_of(plan, tmp_path, plan.header.layout.all_blocks())


def test_what_two_variables_share_is_computed_once(lazy_cube, tmp_path):
    calls, lock = [], Lock()

    def upstream(values):
        with lock:
            calls.append(values.shape)
        return values

    shared = lazy_cube.valid.data.map_blocks(upstream, dtype=bool, meta=np.empty((0, 0, 0), bool))
    cube = lazy_cube[["valid", "cloud"]]
    cube["valid"] = cube.valid.copy(data=shared)
    cube["cloud"] = cube.cloud.copy(data=da.logical_not(shared))
    write(cube, tmp_path / "shared.zarr")
    assert len(calls) == 18
    found = read(tmp_path / "shared.zarr")
    assert (found.cloud.values != found.valid.values).all()


def test_a_block_is_recorded_after_its_data(lazy_cube, tmp_path, monkeypatch):
    plan = plan_of(lazy_cube[["valid"]])
    template.create(plan, Directory(tmp_path / "s.zarr"))
    order = []
    real_codes, real_record = blocks.arrays.write_codes, ledger.write_record
    monkeypatch.setattr(
        blocks.arrays, "write_codes", lambda *given: order.append("data") or real_codes(*given)
    )
    monkeypatch.setattr(
        blocks.ledger, "write_record", lambda *given: order.append("record") or real_record(*given)
    )
    values = np.ones((1, 32, 40), bool)
    where = {"place": Directory(tmp_path / "s.zarr"), "layout": plan.header.layout}
    blocks.write_block(cell(0, 1, 1), values, **where, fingerprint=plan.header.fingerprint)
    assert order == ["data", "record"]
    every = plan.header.layout.all_blocks()
    assert set(ledger.records(Directory(tmp_path / "s.zarr"), every)) == {Block(0, 1, time=1)}


def test_the_same_block_written_twice_is_the_same(lazy_cube, tmp_path):
    plan = plan_of(lazy_cube[["valid"]])
    template.create(plan, Directory(tmp_path / "s.zarr"))
    where = {"place": Directory(tmp_path / "s.zarr"), "layout": plan.header.layout}
    snapshots = []
    for _ in range(2):
        values = np.ones((1, 32, 40), bool)
        blocks.write_block(cell(0, 0, 0), values, **where, fingerprint=plan.header.fingerprint)
        files = [path for path in (tmp_path / "s.zarr").rglob("*") if path.is_file()]
        snapshots.append(
            {path: path.read_bytes() for path in files if path.parent.name != "ledger"}
        )
    assert snapshots[0] == snapshots[1]


def test_a_block_of_another_shape_than_declared_is_refused(lazy_cube, tmp_path):
    data = lazy_cube.valid.data
    lying = data.map_blocks(lambda v: v[:, :1, :1], dtype=bool, meta=np.empty((0, 0, 0), bool))
    cube = lazy_cube[["valid"]]
    cube["valid"] = cube.valid.copy(data=lying)
    text = r"'valid' was to be \(1, 32, 40\) and was computed \(1, 1, 1\)"
    with pytest.raises(StoreError, match=text):
        write(cube, tmp_path / "s.zarr")


@pytest.mark.parametrize("broken", ["write_codes", "write_record"])
def test_a_full_disk_names_the_store(lazy_cube, tmp_path, monkeypatch, broken):
    plan = plan_of(lazy_cube[["valid"]])
    template.create(plan, Directory(tmp_path / "s.zarr"))

    def full(*given):
        raise OSError(28, "No space left on device")

    room = blocks.arrays if broken == "write_codes" else blocks.ledger
    monkeypatch.setattr(room, broken, full)
    where = {"place": Directory(tmp_path / "s.zarr"), "layout": plan.header.layout}
    with pytest.raises(blocks.DiskError, match=r"s\.zarr' cannot be written: .*No space left"):
        blocks.write_block(
            cell(0, 0, 0), np.ones((1, 32, 40), bool), **where, fingerprint=plan.header.fingerprint
        )
    assert ledger.record_names(Directory(tmp_path / "s.zarr")) == set()
