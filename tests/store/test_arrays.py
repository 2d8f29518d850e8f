"""Zarr arrays of stores: opened once, never read through after another store took the place."""

import os
import threading

import numpy as np
import pytest

from glaciercube.errors import StoreError
from glaciercube.store import arrays, ledger, template
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of


@pytest.fixture
def plan(lazy_cube):
    return plan_of(lazy_cube)


@pytest.fixture
def place(plan, tmp_path):
    place = Directory(tmp_path / "store.zarr")
    template.create(plan, place)
    return place


def test_an_array_is_opened_once_whatever_the_number_of_threads(place, plan, monkeypatch):
    opened = []
    real = arrays.zarr.open_array
    monkeypatch.setattr(
        arrays.zarr,
        "open_array",
        lambda *given, **more: opened.append(more) or real(*given, **more),
    )

    def work():
        for _ in range(5):
            arrays.array_of(place, plan.header.layout.stored("valid"), plan.header.fingerprint)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1


def test_only_so_many_arrays_stay_open(place, plan, monkeypatch):
    monkeypatch.setattr(arrays, "KEPT", 2)
    monkeypatch.setattr(arrays, "_arrays", {})
    for name in ("valid", "cloud", "elevation"):
        arrays.array_of(place, plan.header.layout.stored(name), plan.header.fingerprint)
    assert [key[1] for key in arrays._arrays] == ["cloud", "elevation"]


def test_another_store_in_the_same_place_is_refused(place, plan, lazy_cube):
    arrays.array_of(place, plan.header.layout.stored("valid"), plan.header.fingerprint)
    other = plan_of(lazy_cube.isel(time=[0])).header
    (place.path / ledger.HEADER).unlink()
    ledger.write_header(place, other)
    with pytest.raises(StoreError, match=r"was replaced since it was read \(.* now\); read it"):
        arrays.array_of(place, plan.header.layout.stored("valid"), plan.header.fingerprint)
    stored = other.layout.stored("valid")
    assert arrays.array_of(place, stored, other.fingerprint).shape == (1, 96, 80)


def test_a_store_that_is_gone_is_said(place, plan):
    os.rename(place.path, place.path.with_name("elsewhere"))
    with pytest.raises(StoreError, match="there is no store at"):
        arrays.array_of(place, plan.header.layout.stored("valid"), plan.header.fingerprint)


@pytest.mark.parametrize("block", [Block(0, 0, time=1), Block(2, 1, time=0)])
def test_a_damaged_shard_is_replaced(place, plan, block):
    layout = plan.header.layout
    stored = layout.stored("cloud")
    array = arrays.array_of(place, stored, plan.header.fingerprint, mode="r+")
    codes = np.ones((1, *layout.window(block).shape), bool)
    arrays.write_codes(place, array, codes, layout, (stored, block))
    shard = place.file(arrays.shard_key(array, layout, (stored, block)))
    shard.write_bytes(shard.read_bytes()[:7])
    arrays.write_codes(place, array, codes, layout, (stored, block))
    assert array[layout.selection(stored, block)].all()


def test_a_damaged_shard_at_the_border_is_replaced(tmp_path, lazy_cube):
    cut = plan_of(lazy_cube.isel(y=slice(0, 70)))
    place = Directory(tmp_path / "cut.zarr")
    template.create(cut, place)
    layout, block = cut.header.layout, Block(2, 0, time=0)
    stored = layout.stored("cloud")
    array = arrays.array_of(place, stored, cut.header.fingerprint, mode="r+")
    shard = place.file(arrays.shard_key(array, layout, (stored, block)))
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"not a shard")
    codes = np.ones((1, 6, 40), bool)
    arrays.write_codes(place, array, codes, layout, (stored, block))
    assert array[layout.selection(stored, block)].all()
