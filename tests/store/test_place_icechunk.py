"""Stores in Icechunk repositories: commits of many tasks and writers, none lost."""

import json
import multiprocessing
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import requests
import xarray as xr
import zarr
from servers.faults import Faults
from servers.objects import ObjectServer
from servers.relay import KINDS, Relay, s3_environment

from glaciercube.errors import StoreError
from glaciercube.store import dates
from glaciercube.store.places import place_of

icechunk = pytest.importorskip("icechunk")
place_icechunk = pytest.importorskip("glaciercube.store.place_icechunk")

SPAWN = multiprocessing.get_context("spawn")
SLOTS = 12


@pytest.fixture
def place(tmp_path):
    """A repository with an array of 3 dates and 4 x 4 pixels, and its coordinates."""
    return made(place_of(f"icechunk+file://{tmp_path / 'repo'}"))


def made(place, length=3):
    branch = place.writing()
    group = zarr.open_group(branch.zarr(writable=True), mode="a")
    for name, shape, dims in (
        ("v", (length, 4, 4), ("time", "y", "x")),
        ("time", (length,), ("time",)),
        ("elevation", (4, 4), ("y", "x")),
    ):
        group.create_array(
            name, shape=shape, chunks=(1, 4, 4)[-len(dims) :] if len(dims) > 1 else (8,),
            dtype="uint8", fill_value=0, dimension_names=dims,
        )  # fmt: skip
    group["time"][:] = np.arange(length)
    place.commit([branch.token()], "an empty array")
    return place


def write_slot(place, slot, value):
    """Write one date of an array, whatever its length, then its record, as a task does."""
    here = place.writing()
    array = zarr.open_array(here.zarr(writable=True), path="v", mode="r+")
    dates.resized(array, (max(slot + 1, array.shape[0]), 4, 4))[slot] = value
    here.write(record_of(slot), json.dumps({"value": value}).encode())
    return here.token()


def record_of(slot):
    return f"_glaciercube/ledger/{slot}.0.0.json"


def publish(place, length):
    branch = place.writing()
    dates.publish(branch, length, {"time": np.arange(length)}, {"dates": length})
    place.commit([branch.token()], f"{length} dates")


def values(place):
    """Return the first pixel of each date, as a reader who comes now sees it."""
    return zarr.open_array(place_of(str(place)).zarr(), path="v", mode="r")[:, 0, 0].tolist()


def commits(place):
    repository = icechunk.Repository.open(place.client.storage)
    return [snapshot.message for snapshot in repository.ancestry(branch="main")]


def test_a_commit_holds_all_its_tasks_and_their_records(place):
    before = len(commits(place))
    place.commit([write_slot(place, slot, slot + 1) for slot in range(3)], "3 blocks")
    assert commits(place)[0] == "3 blocks"
    assert len(commits(place)) == before + 1
    assert values(place) == [1, 2, 3]


def test_nothing_is_seen_before_the_commit(place):
    token = write_slot(place, 0, 5)
    assert values(place) == [0, 0, 0]
    with pytest.raises(FileNotFoundError, match=r"ledger/0\.0\.0\.json"):
        place.read(record_of(0))
    del token  # as when the process is killed
    place.commit([write_slot(place, 0, 6)], "again")
    assert values(place) == [6, 0, 0]


def test_tokens_travel_between_processes(place):
    token = pickle.loads(pickle.dumps(write_slot(pickle.loads(pickle.dumps(place)), 1, 7)))
    place.commit([token], "a block")
    assert values(place) == [0, 7, 0]


def test_writers_of_different_blocks_lose_nothing(place):
    ours, theirs = write_slot(place, 0, 1), write_slot(place, 1, 2)
    place.commit([theirs], "theirs")
    place.commit([ours], "ours")
    assert values(place) == [1, 2, 0]
    assert set(place.names("_glaciercube/ledger")) == {"0.0.0.json", "1.0.0.json"}


def test_the_same_block_of_two_writers_is_one_block(place):
    ours, theirs = write_slot(place, 0, 5), write_slot(place, 0, 5)
    place.commit([theirs], "theirs")
    place.commit([ours], "ours")
    assert values(place) == [5, 0, 0]


def test_another_content_of_the_same_block_is_refused(place):
    ours, theirs = [write_slot(place, 0, 5), write_slot(place, 2, 9)], write_slot(place, 0, 6)
    place.commit([theirs], "theirs")
    with pytest.raises(StoreError, match=r"changed by another writer(.|\n)*v/c/0/0/0 was changed"):
        place.commit(ours, "ours")
    assert values(place) == [6, 0, 0]
    assert list(place.names("_glaciercube/ledger")) == ["0.0.0.json"]
    place.commit([write_slot(place, 2, 9)], "on top of theirs")
    assert values(place) == [6, 0, 9]


def test_a_task_that_began_before_an_array_grew_loses_no_date(place):
    old = write_slot(place, 1, 1)
    place.commit([write_slot(place, slot, slot) for slot in (3, 4, 100)], "more")
    publish(place, 101)
    place.commit([old], "old")
    seen = values(place)
    assert len(seen) == 101
    assert [seen[slot] for slot in (1, 3, 4, 100)] == [1, 3, 4, 100]


def test_a_date_that_others_filled_meanwhile_is_compared(place):
    same, other = write_slot(place, 3, 3), write_slot(place, 3, 4)
    place.commit([write_slot(place, 3, 3)], "theirs")
    publish(place, 4)
    place.commit([same], "the same")
    assert values(place) == [0, 0, 0, 3]
    with pytest.raises(StoreError, match=r"v/c/3/0/0 was changed"):
        place.commit([other], "another")


def test_a_date_is_published_while_others_write(place):
    place.commit([write_slot(place, 3, 3)], "a new date")
    branch = place.writing()
    dates.publish(branch, 4, {"time": np.arange(4)}, {"dates": 4})
    place.commit([write_slot(place, 0, 9)], "a block of another writer")
    place.commit([branch.token()], "4 dates")
    assert values(place) == [9, 0, 0, 3]


def test_two_publications_of_different_lengths_are_refused(place):
    place.commit([write_slot(place, slot, 1) for slot in (3, 4)], "new dates")
    branch = place.writing()
    dates.publish(branch, 4, {"time": np.arange(4)}, {"dates": 4})
    publish(place, 5)
    with pytest.raises(StoreError, match=r"time/c/0 was changed(.|\n)*v/zarr.json was changed"):
        place.commit([branch.token()], "4 dates")
    assert values(place) == [0, 0, 0, 1, 1]


def test_two_equal_publications_are_one(place):
    place.commit([write_slot(place, 3, 1)], "a new date")
    branch = place.writing()
    dates.publish(branch, 4, {"time": np.arange(4)}, {"dates": 4})
    publish(place, 4)
    place.commit([branch.token()], "4 dates")
    assert values(place) == [0, 0, 0, 1]


def test_a_block_of_an_array_that_was_replaced_is_refused(place):
    ours = write_slot(place, 0, 5)
    branch = place.writing()
    zarr.create_array(
        branch.zarr(writable=True), name="v", shape=(3, 4, 4), chunks=(1, 4, 4), dtype="uint8",
        fill_value=0, dimension_names=("time", "y", "x"), overwrite=True,
    )  # fmt: skip
    place.commit([branch.token()], "another array")
    with pytest.raises(StoreError, match="/v was replaced"):
        place.commit([ours], "ours")


def test_an_array_without_time_that_was_reshaped_is_refused(place):
    here = place.writing()
    zarr.open_array(here.zarr(writable=True), path="elevation", mode="r+")[...] = 3
    branch = place.writing()
    zarr.open_array(branch.zarr(writable=True), path="elevation", mode="r+").resize((8, 4))
    place.commit([branch.token()], "reshaped")
    with pytest.raises(StoreError, match=r"elevation/zarr\.json was changed"):
        place.commit([here.token()], "ours")


def test_a_deleted_array_that_others_wrote_to_is_refused(place):
    branch = place.writing()
    del zarr.open_group(branch.zarr(writable=True), mode="r+")["v"]
    place.commit([write_slot(place, 0, 5)], "theirs")
    with pytest.raises(StoreError, match="/v was changed"):
        place.commit([branch.token()], "no array")
    assert values(place) == [5, 0, 0]


def test_two_stores_begun_at_once_are_one(tmp_path):
    place = place_of(f"icechunk+file://{tmp_path / 'repo'}")
    branches = [place.writing() for _ in range(2)]
    for branch in branches:
        group = zarr.open_group(branch.zarr(writable=True), mode="a")
        group.create_array("x", shape=(4,), chunks=(4,), dtype="uint8")[:] = 1
    tokens = [branch.token() for branch in branches]
    place.commit(tokens[:1], "one")
    place.commit(tokens[1:], "two")
    assert zarr.open_array(place.zarr(), path="x", mode="r")[:].tolist() == [1] * 4
    assert commits(place)[0] == "one"


def test_two_tasks_cannot_make_the_same_array(place):
    branches = [place.writing() for _ in range(2)]
    for branch in branches:
        zarr.create_array(branch.zarr(writable=True), name="n", shape=(4,), dtype="uint8")
    with pytest.raises(StoreError, match=r"made the same arrays or groups: \['/n'\]"):
        place.commit([branch.token() for branch in branches], "two")


def test_dates_that_are_not_complete_wait(place):
    place.commit([write_slot(place, 3, 3), write_slot(place, 1, 1)], "one is new")
    assert values(place) == [0, 1, 0]
    assert place.read(record_of(3)) == b'{"value": 3}'
    assert set(place.names("_glaciercube/ledger")) == {"1.0.0.json", "3.0.0.json"}
    assert in_another_process(place, "ledger") == ["1.0.0.json"]
    publish(place, 4)
    assert values(place) == [0, 1, 0, 3]
    assert in_another_process(place, "ledger") == ["1.0.0.json", "3.0.0.json"]


def in_another_process(place, folder):
    """Return the names of documents as a process that knows nothing sees them."""
    session = type(place.client)(place.uri).session(0)
    return sorted(place_icechunk._names(session, f"_glaciercube/{folder}", {}))


def test_an_array_that_was_written_and_cut_does_not_wait(place):
    branch = place.writing()
    group = zarr.open_group(branch.zarr(writable=True), mode="r+")
    group["time"][:] = np.arange(3) + 5
    group["time"].resize((0,))
    group["v"].resize((0, 4, 4))
    place.commit([branch.token()], "no dates")
    assert values(place) == []
    assert place.client.held == []


def test_a_chunk_of_a_date_that_was_cut_is_gone(place):
    place.commit([write_slot(place, 2, 9)], "a block")
    branch = place.writing()
    zarr.open_array(branch.zarr(writable=True), path="v", mode="r+").resize((2, 4, 4))
    place.commit([branch.token()], "2 dates")
    publish(place, 3)
    assert values(place) == [0, 0, 0]


def test_a_task_sees_an_array_as_it_is(place):
    branch = place.writing()
    group = zarr.open_group(branch.zarr(writable=True), mode="r+")
    group["v"][0] = 1
    again = zarr.open_group(branch.zarr(), mode="r")
    assert again["v"].shape == (3, 4, 4)
    assert again["v"][:, 0, 0].tolist() == [1, 0, 0]
    group["v"].resize((5, 4, 4))
    assert zarr.open_array(branch.zarr(), path="v").shape == (5, 4, 4)


def test_a_branch_belongs_to_one_task(place):
    branch = place.writing()
    branch.write(record_of(0), b"{}")
    caught = []

    def write():
        try:
            branch.write(record_of(1), b"{}")
        except StoreError as error:
            caught.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(30)
    assert "belongs to one task" in str(caught[0])
    branch.token()
    with pytest.raises(StoreError, match="begin each task with place = place.writing"):
        branch.write(record_of(1), b"{}")
    with pytest.raises(StoreError, match="belongs to one task"):
        branch.zarr(writable=True)


def test_a_branch_reads_its_own_documents(place):
    place.write("_glaciercube/ledger/0.0.0.json", b"[0]")
    place.write("_glaciercube/ledger/1.0.0.json", b"[1]")
    branch = place.writing()
    branch.write("_glaciercube/ledger/2.0.0.json", b"[2]")
    branch.delete("_glaciercube/ledger/1.0.0.json")
    assert set(branch.names("_glaciercube/ledger")) == {"0.0.0.json", "2.0.0.json"}
    assert branch.read("_glaciercube/ledger/2.0.0.json") == b"[2]"
    with pytest.raises(FileNotFoundError, match=r"1\.0\.0\.json"):
        branch.read("_glaciercube/ledger/1.0.0.json")
    assert branch.stamp("_glaciercube/ledger/0.0.0.json") == place.stamp(
        "_glaciercube/ledger/0.0.0.json"
    )
    branch.commit([branch.token()], "three")
    assert set(place.names("_glaciercube/ledger")) == {"0.0.0.json", "2.0.0.json"}


def test_what_a_transaction_cannot_do_is_refused(place):
    branch = place.writing()
    with pytest.raises(StoreError, match="'_glaciercube/store.json' cannot be created within"):
        branch.create("_glaciercube/store.json", b"{}")
    with pytest.raises(StoreError, match="let each task begin with place.writing"):
        pickle.dumps(branch.zarr(writable=True))
    with pytest.raises(StoreError, match="is written by transactions"):
        place.zarr(writable=True)
    for one in (place, branch):
        with pytest.raises(StoreError, match=r"only documents below _glaciercube/.*v/c/0"):
            one.write("v/c/0", b"{}")
        with pytest.raises(StoreError, match=r"is to be JSON in UTF-8, found b'\\xff'"):
            one.write("_glaciercube/store.json", b"\xff")


def test_documents_are_arrays_that_zarr_reads(place):
    place.write("_glaciercube/ledger/5.0.2.json", b'{"state": "done"}')
    place.write("_glaciercube/store.json", b'{"layout": 3}')
    group = zarr.open_group(place.zarr(), path="_glaciercube", mode="r")
    assert group["ledger/@.@.@.json"][5, 0, 2] == '{"state": "done"}'
    assert group["store.json"][0] == '{"layout": 3}'


def test_a_ledger_of_2000_records_stays_cheap(place):
    branch = place.writing()
    for number in range(2000):
        key = f"_glaciercube/ledger/{number // 10}.0.{number % 10}.json"
        branch.write(key, json.dumps({"state": "done", "checksum": f"{number:032x}"}).encode())
    place.commit([branch.token()], "2000 records")
    assert len(set(place.names("_glaciercube/ledger"))) == 2000
    assert json.loads(place.read("_glaciercube/ledger/150.0.7.json"))["checksum"][-3:] == "5e3"
    before = manifests(place)
    place.write("_glaciercube/ledger/200.0.0.json", b"{}")
    fresh = {name: size for name, size in manifests(place).items() if name not in before}
    assert len(fresh) == 1  # of the dates 192 to 255, not of all
    assert sum(fresh.values()) < sum(before.values()) / 10


def manifests(place):
    folder = place.client.folder / "manifests"
    return {entry.name: entry.stat().st_size for entry in os.scandir(folder)}


def test_a_repository_that_is_gone_is_not_there(place):
    place.write("_glaciercube/store.json", b"{}")
    shutil.rmtree(place.client.folder)
    assert not place.exists()
    assert list(place.names("_glaciercube")) == []
    with pytest.raises(FileNotFoundError):
        place.read("_glaciercube/store.json")
    place.write("_glaciercube/store.json", b'{"another": 1}')
    assert place.read("_glaciercube/store.json") == b'{"another": 1}'


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    place = place_of(f"icechunk+file://{tmp_path}")
    assert place.exists()
    with pytest.raises(FileNotFoundError, match="there is no repository"):
        place.read("_glaciercube/store.json")
    with pytest.raises(StoreError, match="clean prefixes"):
        place.write("_glaciercube/store.json", b"{}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("icechunk+gs://bucket/x", "'icechunk\\+gs://bucket/x'"),
        ("icechunk+file://data/x", "'icechunk\\+file://data/x'"),
        ("icechunk+/data/x", "is ://name/folder|'icechunk\\+/data/x'"),
        ("icechunk+s3://me:hush@bucket/x", "one with a password or a query"),
    ],
)
def test_no_other_address_is_taken(address, found):
    with pytest.raises(StoreError, match=found) as caught:
        place_of(address)
    assert "hush" not in str(caught.value)


def test_others_commit_first_for_too_long(place, monkeypatch):
    monkeypatch.setattr("glaciercube.store.icechunk_clients.PATIENCE_S", 0.0)
    with pytest.raises(StoreError, match="others committed first for 0 s, and 'write _gl"):
        place.write("_glaciercube/store.json", b"{}")


def test_a_forked_process_is_told_that_it_cannot(place):
    queue = multiprocessing.get_context("fork").Queue()
    process = multiprocessing.get_context("fork").Process(target=use, args=(place, queue))
    process.start()
    text = queue.get(timeout=60)
    process.join(60)
    assert "was forked from one that had used an object store; start processes with" in text


def use(place, queue):
    try:
        queue.put(str(place.exists()))
    except StoreError as error:
        queue.put(str(error))


def test_icechunk_and_xarray_read_it_without_this_package(place):
    place.commit([write_slot(place, slot, slot + 1) for slot in range(3)], "3 blocks")
    storage = icechunk.local_filesystem_storage(str(place.client.folder))
    session = icechunk.Repository.open(storage).readonly_session("main")
    dataset = xr.open_zarr(session.store, consolidated=False)
    assert dataset["v"][:, 0, 0].values.tolist() == [1, 2, 3]


def commit_slots(address, slots):
    """Write and commit blocks one by one, as a writer of its own."""
    place = place_of(address)
    for slot in slots:
        place.commit([write_slot(place, slot, slot + 1)], f"block {slot}")
        place.create(f"_glaciercube/recipes/{slot}.json", b"{}")


@pytest.mark.slow
def test_two_processes_commit_at_once_and_lose_nothing(tmp_path):
    place = made(place_of(f"icechunk+file://{tmp_path / 'repo'}"), length=40)
    commit_at_once(place, 40)


def commit_at_once(place, count):
    halves = [range(first, count, 2) for first in range(2)]
    writers = [SPAWN.Process(target=commit_slots, args=(str(place), one)) for one in halves]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(240)
        assert writer.exitcode == 0
    assert values(place) == list(range(1, count + 1))
    assert len(set(place.names("_glaciercube/ledger"))) == count
    assert len(set(place.names("_glaciercube/recipes"))) == count


@pytest.fixture(scope="module")
def objects():
    with ObjectServer() as server:
        requests.put(f"http://{server.host}/cubes", timeout=10).raise_for_status()
        yield server


@pytest.mark.slow
def test_two_processes_commit_at_once_to_s3_with_faults(objects):
    faults = Faults(share=0.3, kinds=KINDS, seed=3)
    with Relay(objects.host, faults) as relay, s3_environment(relay.host):
        commit_at_once(made(place_of("icechunk+s3://cubes/two"), length=10), 10)
    assert sum(faults.injected.values()) > 20


def test_no_secret_leaves_the_process(objects):
    with s3_environment(objects.host):
        os.environ["AWS_SECRET_ACCESS_KEY"] = "hush-hush-secret"
        place = made(place_of("icechunk+s3://cubes/secret"))
        token = write_slot(place, 0, 1)
        for one in (place, place.writing(), place.zarr(), token):
            assert b"hush-hush-secret" not in pickle.dumps(one)
            assert "hush-hush-secret" not in repr(one) + str(one)
        missing = place_of("icechunk+s3://no-such-bucket/x")
        for call in (missing.exists, lambda: missing.write("_glaciercube/store.json", b"{}")):
            with pytest.raises(StoreError, match="bucket does not exist; create it") as caught:
                call()
            assert caught.value.__context__ is None
            assert "hush-hush-secret" not in str(caught.value)


@pytest.mark.slow
def test_a_cluster_of_two_processes_writes_and_one_process_commits(tmp_path):
    distributed = pytest.importorskip("distributed")
    place = made(place_of(f"icechunk+file://{tmp_path / 'repo'}"))
    shared = place.writing()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, processes=True
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for first in range(0, SLOTS, 4):
            slots = range(first, first + 4)
            work = [client.submit(write_slot, shared, slot, slot + 1, pure=False) for slot in slots]
            twice = client.submit(write_slot, shared, first, first + 1, pure=False)
            place.commit(client.gather([*work, twice]), f"blocks {slots}")
    publish(place, SLOTS)
    assert values(place) == list(range(1, SLOTS + 1))
    assert len(set(place.names("_glaciercube/ledger"))) == SLOTS
