"""What every place promises, wherever it lies; the same tests for all."""

import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import numpy as np
import pytest
import requests
import xarray as xr
import zarr
from servers.faults import Faults
from servers.objects import ObjectServer
from servers.relay import KINDS, Relay, s3_environment
from xarray.testing import assert_allclose, assert_equal

from glaciercube.errors import StoreError
from glaciercube.store import (
    appending,
    dates,
    object_clients,
    overviews,
    reading,
    verification,
    writing,
)
from glaciercube.store.places import Directory, place_of

KINDS_OF_PLACES = (
    "directory",
    "memory",
    "s3",
    pytest.param("s3 with faults", marks=pytest.mark.slow),
    "icechunk",
    pytest.param("icechunk s3", marks=pytest.mark.slow),
)


@pytest.fixture(scope="module")
def objects():
    with ObjectServer() as server:
        requests.put(f"http://{server.host}/cubes", timeout=10).raise_for_status()
        yield server


@pytest.fixture(params=KINDS_OF_PLACES)
def place(request, tmp_path, monkeypatch):
    """A place where there is nothing yet."""
    kind, name = request.param, uuid4().hex
    monkeypatch.setattr(object_clients, "FIRST_PAUSE_S", 0.01)
    if "icechunk" in kind:
        pytest.importorskip("icechunk")
    if "s3" not in kind:
        addresses = {
            "directory": str(tmp_path / name),
            "memory": f"memory://{name}",
            "icechunk": f"icechunk+file://{tmp_path / name}",
        }
        yield place_of(addresses[kind])
        return
    server = request.getfixturevalue("objects")
    address = f"{'icechunk+' if 'icechunk' in kind else ''}s3://cubes/{name}"
    if "faults" not in kind:
        with s3_environment(server.host):
            yield place_of(address)
        return
    faults = Faults(share=0.3, kinds=KINDS, seed=name[:4])
    with Relay(server.host, faults) as relay, s3_environment(relay.host):
        yield place_of(address)
    assert sum(faults.injected.values()) > 0 or sum(relay.requests.values()) < 10


def made(place):
    """Return a place with an array `v` of no dates and 4 x 4 pixels, and its coordinate."""
    branch = place.writing()
    group = zarr.open_group(branch.zarr(writable=True), mode="a")
    for name, shape, dims in (("v", (0, 4, 4), ("time", "y", "x")), ("time", (0,), ("time",))):
        group.create_array(
            name,
            shape=shape,
            chunks=(1, 4, 4) if name == "v" else (8,),
            dtype="int64" if name == "time" else "uint8",
            fill_value=0,
            dimension_names=dims,
        )
    dates.consolidate(branch)
    place.commit([branch.token()], "an empty array")
    return place


def write_slot(place, slot, value):
    """Write one date of an array, whatever its length, then its record, as a task does."""
    here = place.writing()
    array = zarr.open_array(here.zarr(writable=True), path="v", mode="r+")
    shape = (max(slot + 1, array.shape[0]), 4, 4)
    dates.resized(array, shape)[slot] = value
    here.write(f"_glaciercube/ledger/{slot}.0.0.json", json.dumps({"value": value}).encode())
    return here.token()


def publish(place, length):
    branch = place.writing()
    dates.publish(branch, length, {"time": np.arange(length)}, {"dates": length})
    place.commit([branch.token()], f"{length} dates")


def test_reads_what_was_written(place):
    for content in (b'{"a": 1}', b'{"a": "\xc3\xa4"}', b"[]"):
        place.write("_glaciercube/store.json", content)
        assert place.read("_glaciercube/store.json") == content


def test_knows_a_key_that_is_not_there(place):
    for key in ("_glaciercube/store.json", "_glaciercube/ledger/1.2.3.json"):
        with pytest.raises(FileNotFoundError):
            place.read(key)
        with pytest.raises(FileNotFoundError):
            place.stamp(key)
        place.delete(key)
    place.write("_glaciercube/store.json", b"{}")
    with pytest.raises(FileNotFoundError):
        place.read("_glaciercube/ledger/1.2.3.json")


@pytest.mark.parametrize("key", ["../x.json", "/etc/x.json", "_glaciercube//x", "a\\b", "a/../b"])
def test_no_key_leaves_the_store(place, key):
    for call in (place.read, place.delete, place.stamp, lambda key: place.write(key, b"{}")):
        with pytest.raises(StoreError, match="a key of a store is names"):
            call(key)
    with pytest.raises(StoreError, match="a key of a store is names"):
        place.create(key, b"{}")
    with pytest.raises(StoreError, match="a key of a store is names"):
        list(place.names(key))


def test_creates_once(place):
    for key in ("_glaciercube/store.json", "_glaciercube/ledger/1.2.3.json"):
        assert place.create(key, b'{"by": 1}')
        assert not place.create(key, b'{"by": 2}')
        assert place.read(key) == b'{"by": 1}'
        place.delete(key)
        assert place.create(key, b'{"by": 3}')


def test_one_of_many_creates(place):
    place.write("_glaciercube/other.json", b"{}")
    with ThreadPoolExecutor(6) as pool:
        contents = [json.dumps({"by": number}).encode() for number in range(6)]
        won = list(pool.map(lambda one: place.create("_glaciercube/store.json", one), contents))
    assert sum(won) == 1
    assert place.read("_glaciercube/store.json") == contents[won.index(True)]


def test_many_write_at_once(place):
    with ThreadPoolExecutor(4) as pool:
        keys = [f"_glaciercube/ledger/0.0.{number}.json" for number in range(12)]
        list(pool.map(lambda key: place.write(key, key.encode()), keys))
    assert set(place.names("_glaciercube/ledger")) == {key.rsplit("/", 1)[1] for key in keys}
    assert all(place.read(key) == key.encode() for key in keys)


def test_names_the_keys_of_a_folder(place):
    assert list(place.names("_glaciercube/ledger")) == []
    names = {"0.1.2.json", "static.0.2.json", "0.1.2.failed.json", "10.0.0.json", "other.json"}
    for name in names:
        place.write(f"_glaciercube/ledger/{name}", b"{}")
    place.write("_glaciercube/store.json", b"{}")
    assert set(place.names("_glaciercube/ledger")) == names
    assert set(place.names("_glaciercube")) == {"store.json"}
    place.delete("_glaciercube/ledger/0.1.2.json")
    place.delete("_glaciercube/ledger/other.json")
    assert set(place.names("_glaciercube/ledger")) == names - {"0.1.2.json", "other.json"}


def test_the_stamp_tells_of_another_content(place):
    place.write("_glaciercube/store.json", b'{"fingerprint": 1}')
    first = place.stamp("_glaciercube/store.json")
    assert place.stamp("_glaciercube/store.json") == first
    place.write("_glaciercube/store.json", b'{"fingerprint": 2}')
    assert place.stamp("_glaciercube/store.json") != first


def test_says_whether_there_is_anything(place):
    assert not place.exists()
    place.write("_glaciercube/store.json", b"{}")
    assert place.exists()


def test_a_pickle_is_the_same_place_and_holds_no_secret(place):
    place.write("_glaciercube/store.json", b"{}")
    content = pickle.dumps(place)
    again = pickle.loads(content)
    assert again == place
    assert hash(again) == hash(place)
    assert place_of(str(place)) == place
    assert again.read("_glaciercube/store.json") == b"{}"
    store = pickle.dumps(place.zarr())
    assert b"testing-secret" not in content + store
    assert len(content) < 500


def test_arrays_grow_and_readers_see_whole_dates(place):
    made(place)
    place.commit([write_slot(place, slot, slot + 1) for slot in range(3)], "3 blocks")
    before = zarr.open_group(place.zarr(), mode="r")
    assert before["v"].shape == (0, 4, 4)
    assert json.loads(place.read("_glaciercube/ledger/2.0.0.json")) == {"value": 3}
    publish(place, 2)
    seen = zarr.open_group(place.zarr(), mode="r")
    assert seen["v"].shape == (2, 4, 4)
    assert seen["time"][:].tolist() == [0, 1]
    assert seen["v"][:, 0, 0].tolist() == [1, 2]
    publish(place, 3)
    assert zarr.open_group(place.zarr(), mode="r")["v"][:, 3, 3].tolist() == [1, 2, 3]
    assert dict(zarr.open_group(place.zarr(), mode="r").attrs) == {"dates": 3}


def test_an_open_array_sees_what_is_written_later(place):
    made(place)
    place.commit([write_slot(place, slot, 1) for slot in range(2)], "2 blocks")
    publish(place, 2)
    array = zarr.open_array(place.zarr(), path="v", mode="r")
    assert array[:, 0, 0].tolist() == [1, 1]
    place.commit([write_slot(place, 1, 7)], "a block anew")
    assert array[:, 0, 0].tolist() == [1, 7]


def test_the_same_block_twice_is_one_block(place):
    made(place)
    place.commit([write_slot(place, 0, 5), write_slot(place, 0, 5)], "a block, twice")
    publish(place, 1)
    assert zarr.open_array(place.zarr(), path="v", mode="r")[0].tolist() == [[5] * 4] * 4
    assert set(place.names("_glaciercube/ledger")) == {"0.0.0.json"}


def test_blocks_of_threads_are_all_kept(place):
    made(place)
    shared = place.writing()
    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(lambda slot: write_slot(shared, slot, slot + 1), range(12)))
    place.commit(tokens, "12 blocks")
    publish(place, 12)
    values = zarr.open_array(place.zarr(), path="v", mode="r")[:, 0, 0].tolist()
    assert values == list(range(1, 13))
    assert len(set(place.names("_glaciercube/ledger"))) == 12


def test_a_block_that_is_deleted_is_empty(place):
    made(place)
    place.commit([write_slot(place, 0, 5)], "a block")
    publish(place, 1)
    branch = place.writing()
    branch.delete("v/c/0/0/0")
    branch.delete("_glaciercube/ledger/0.0.0.json")
    place.commit([branch.token()], "no block")
    assert zarr.open_array(place.zarr(), path="v", mode="r")[0].tolist() == [[0] * 4] * 4
    assert list(place.names("_glaciercube/ledger")) == []


def test_xarray_reads_and_writes(place):
    dataset = xr.Dataset(
        {"valid": (("time", "y"), np.arange(6, dtype="uint8").reshape(2, 3))},
        {"time": np.array(["2021-08-01", "2022-08-05"], "datetime64[ns]")},
        {"title": "a cube"},
    )
    branch = place.writing()
    with dates.quiet():
        dataset.to_zarr(branch.zarr(writable=True), consolidated=False, zarr_format=3)
    dates.consolidate(branch)
    place.commit([branch.token()], "a cube")
    again = xr.open_zarr(place.zarr(), consolidated=place.consolidates)
    xr.testing.assert_identical(again.load(), dataset)


def test_a_cube_is_written_read_and_verified(place, lazy_cube):
    report = writing.write(lazy_cube, place)
    assert report.written == report.blocks
    seen = reading.read(place)
    assert_allclose(seen["reflectance"], lazy_cube["reflectance"], atol=1e-4)
    assert_equal(seen["valid"], lazy_cube["valid"])
    assert verification.verify(place).sound
    assert writing.write(lazy_cube, place).skipped == report.blocks


def test_a_cube_grows_and_has_overviews(place, lazy_cube):
    appending.append(lazy_cube.isel(time=[0, 2]), place)
    assert reading.read(place).sizes["time"] == 2
    report = appending.append(lazy_cube, place)
    assert len(report.dates) == 1
    assert_equal(reading.read(place)["time"], lazy_cube["time"])
    assert_allclose(reading.read(place)["reflectance"], lazy_cube["reflectance"], atol=1e-4)
    overviews.build_overviews(place, factors=(2,))
    assert verification.verify(place).sound


def test_a_cube_of_another_grid_is_refused(place, lazy_cube):
    writing.write(lazy_cube.isel(x=slice(0, 40)), place)
    with pytest.raises(StoreError, match="holds a different cube"):
        writing.write(lazy_cube, place)
    assert reading.read(place).sizes["x"] == 40


def test_a_reader_cannot_write(place):
    made(place)
    with pytest.raises(ValueError, match="read-?.?only|read only"):
        zarr.open_array(place.zarr(), path="v", mode="r+")[...] = 1


def test_lists_what_it_holds(place):
    made(place)
    place.write("_glaciercube/store.json", b"{}")
    keys = set(place.keys())
    if place.consolidates:
        assert {"zarr.json", "v/zarr.json", "time/zarr.json", "_glaciercube/store.json"} == keys
    else:
        assert keys == set()


def test_an_address_of_no_known_kind_is_refused():
    with pytest.raises(StoreError, match="'ftp://host/cube'"):
        place_of("ftp://host/cube")


def test_a_place_is_its_own_place(tmp_path):
    place = Directory(tmp_path)
    assert place_of(place) is place


def test_of_what_cannot_be_made_nothing_is_left(tmp_path):
    """Some of what Zarr began to write comes only after another write has failed."""
    failed, tried = threading.Event(), []

    def write_late(draft):
        failed.wait(10)
        for number in range(20):
            with suppress(OSError):
                draft.write(f"{number}.json", b"{}")
            tried.append(number)
            time.sleep(0.001)

    def make():
        with Directory(tmp_path / "cube.zarr").making() as draft:
            writer = threading.Thread(target=write_late, args=(draft,))
            writer.start()
            failed.set()
            while not tried:
                time.sleep(0)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        make()
    assert len(tried) == 20
    assert list(tmp_path.iterdir()) == []
