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


def writing_tasks(graph):
    return {key: task for key, task in graph.items() if str(key).startswith("('write-")}


def test_writing_is_one_task_per_block(stored_cube, tmp_path):
    plan = plan_of(stored_cube)
    lattice = blocks.lattice_of(plan, tmp_path, temporal=True)
    every = plan.header.layout.blocks(temporal=True)
    graph = graph_of([blocks.Part(lattice, every)])
    assert len(writing_tasks(graph)) == len(every) == 18
    assert len(graph) <= len(every) + 1  # Dask adds one that gathers


def test_a_task_is_small(stored_cube, tmp_path):
    plan = plan_of(stored_cube)
    lattice = blocks.lattice_of(plan, tmp_path, temporal=True)
    graph = graph_of([blocks.Part(lattice, plan.header.layout.blocks(temporal=True))])
    largest = max(len(pickle.dumps(task)) for task in writing_tasks(graph).values())
    assert largest < 16_000


def test_only_the_blocks_asked_for_are_in_the_graph(stored_cube, tmp_path):
    plan = plan_of(stored_cube)
    lattices = [blocks.lattice_of(plan, tmp_path, temporal) for temporal in (True, False)]
    wanted = [Block(0, 1, time=2), Block(1, 1, time=0), Block(2, 0), Block(2, 1)]
    graph = graph_of([blocks.Part(lattice, wanted) for lattice in lattices])
    assert len(writing_tasks(graph)) == 4
    assert len(graph) <= 4 + 2


def test_building_computes_nothing(lazy_cube, tmp_path, no_compute):
    with no_compute:
        blocks.lattice_of(plan_of(lazy_cube), tmp_path, temporal=True)


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
    template.create(plan, tmp_path / "s.zarr")
    order = []
    real_codes, real_record = blocks.arrays.write_codes, ledger.write_record
    monkeypatch.setattr(
        blocks.arrays, "write_codes", lambda *given: order.append("data") or real_codes(*given)
    )
    monkeypatch.setattr(
        blocks.ledger, "write_record", lambda *given: order.append("record") or real_record(*given)
    )
    values = np.ones((1, 32, 40), bool)
    where = {"place": tmp_path / "s.zarr", "layout": plan.header.layout, "temporal": True}
    blocks.write_block(7, values, **where, fingerprint=plan.header.fingerprint)
    assert order == ["data", "record"]
    assert set(ledger.records(tmp_path / "s.zarr", plan.header)) == {Block(0, 1, time=1)}


def test_the_same_block_written_twice_is_the_same(lazy_cube, tmp_path):
    plan = plan_of(lazy_cube[["valid"]])
    template.create(plan, tmp_path / "s.zarr")
    where = {"place": tmp_path / "s.zarr", "layout": plan.header.layout, "temporal": True}
    snapshots = []
    for _ in range(2):
        values = np.ones((1, 32, 40), bool)
        blocks.write_block(0, values, **where, fingerprint=plan.header.fingerprint)
        files = [path for path in (tmp_path / "s.zarr").rglob("*") if path.is_file()]
        snapshots.append({path: path.read_bytes() for path in files})
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
    template.create(plan, tmp_path / "s.zarr")

    def full(*given):
        raise OSError(28, "No space left on device")

    room = blocks.arrays if broken == "write_codes" else blocks.ledger
    monkeypatch.setattr(room, broken, full)
    where = {"place": tmp_path / "s.zarr", "layout": plan.header.layout, "temporal": True}
    with pytest.raises(blocks.DiskError, match=r"s\.zarr' cannot be written: .*No space left"):
        blocks.write_block(
            0, np.ones((1, 32, 40), bool), **where, fingerprint=plan.header.fingerprint
        )
    assert ledger.count_records(tmp_path / "s.zarr") == 0
