"""Others write between two steps of one: nothing of theirs is lost, and nothing is mixed."""

import json
import threading
from contextlib import contextmanager

import dask
import numpy as np
import pytest

from faults.victims import Model, do, files, logged, run
from glaciercube.errors import StoreError
from glaciercube.store import appending, blocks, claims, ledger, reading, writing
from glaciercube.store.appending import append
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

OLD = Model((0, 2))


@pytest.fixture
def path(tmp_path, fresh):
    do("write", OLD, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def days_of(path):
    """Return the days that readers see, in the order of their arrival, their values checked."""
    found = read(path).sortby("time")
    for index, day in enumerate(sorted({int(name[1:]) for name in found.scene.values})):
        assert str(found.scene.values[index]) == f"S{day}"
        np.testing.assert_array_equal(found["sample"][index], Model((day,)).whole("sample", day))
    return [int(name[1:]) for name in found.scene.values]


def just_before_its_turn(module, monkeypatch, deed):
    """Let something happen once, before a writer leaves its note."""
    real, left = claims.writing, [deed]

    @contextmanager
    def writing_after(*given, **options):
        if left:
            left.pop()()
        with real(*given, **options):
            yield

    monkeypatch.setattr(module.claims, "writing", writing_after)


def test_dates_that_others_append_meanwhile_are_kept(path, monkeypatch):
    just_before_its_turn(appending, monkeypatch, lambda: do("append", Model((5, 9)), path))
    report = do("append", Model((3, 7)), path)
    assert [date[:10] for date in report.dates] == ["2021-06-04", "2021-06-08"]
    assert days_of(path) == [0, 2, 3, 5, 7, 9]
    assert verify(path).sound


def test_the_same_dates_appended_meanwhile_are_not_computed_again(path, tmp_path, monkeypatch):
    log = tmp_path / "log"
    new = Model((3, 7), log=str(log))
    just_before_its_turn(appending, monkeypatch, lambda: do("append", new, path))
    assert do("append", new, path).written == 0
    assert max(logged(log).values()) == 1
    assert days_of(path) == [0, 2, 3, 7]


def test_blocks_that_others_change_meanwhile_are_not_taken_for_done(path, monkeypatch):
    now = OLD.changed(2, 1, 0)
    other = OLD.changed(0, 0, 0).changed(0, 1, 1)
    just_before_its_turn(writing, monkeypatch, lambda: do("write", other, path))
    with pytest.raises(StoreError, match="changed by another writer since this one looked"):
        do("write", now, path)
    assert do("write", now, path).changed == 3
    assert verify(path).sound
    np.testing.assert_array_equal(read(path)["sample"][1], now.whole("sample", 2))


def test_a_date_published_while_a_store_is_read(path, monkeypatch):
    real, left = reading.open_template, [1]

    def open_after_growth(place):
        if left:
            left.pop()
            do("append", Model((5,)), path)
        return real(place)

    monkeypatch.setattr(reading, "open_template", open_after_growth)
    assert days_of(path) == [0, 2, 5]


def test_a_dataset_read_before_goes_on_while_the_store_grows(path):
    before = read(path)
    do("append", Model((1, 5)), path)
    for index, day in enumerate(OLD.days):
        np.testing.assert_array_equal(before["sample"][index], OLD.whole("sample", day))
    assert days_of(path) == [0, 1, 2, 5]


@pytest.mark.parametrize("verb", ["write", "append"])
def test_two_threads_write_every_block_at_the_same_moment(verb, tmp_path, monkeypatch, fresh, tell):
    """Two processes of the same content, in the worst order: each block in both at once."""
    model, met = Model((0, 2, 4)), threading.Barrier(2, timeout=20)
    real, meetings = blocks.write_block, []

    def together(*given, **options):
        meetings.append(met.wait())
        return real(*given, **options)

    do(verb, model, tmp_path / "undisturbed.zarr")
    monkeypatch.setattr(blocks, "write_block", together)
    path, failed = tmp_path / "cube.zarr", []

    def write_one():
        try:
            with dask.config.set(scheduler="synchronous"):
                do_one(verb, model, path)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    assert sorted(meetings) == [0] * model.blocks + [1] * model.blocks
    assert files(path) == files(tmp_path / "undisturbed.zarr")
    assert verify(path).sound
    tell(f"{model.blocks} blocks, each written by two at the same moment")


def do_one(verb, model, path):
    return (append if verb == "append" else writing.write)(model.dataset(), path)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["write", "append"])
def test_processes_of_one_content_begin_together(verb, tmp_path, start, fresh, tell):
    model = Model((0, 2, 4), pause_s=0.02, log=str(tmp_path / "log"))
    rounds = 3
    do(verb, Model((0, 2, 4)), tmp_path / "undisturbed.zarr")
    wanted = files(tmp_path / "undisturbed.zarr")
    for number in range(rounds):
        path = tmp_path / f"{number}.zarr"
        begun = [start(verb, model, path) for _ in range(2)]
        for process in begun:
            process.join(60)
        assert [process.exitcode for process in begun] == [0, 0]
        assert files(path) == wanted
    twice = logged(model.log).total() - rounds * model.blocks
    assert 0 <= twice <= rounds * model.blocks
    tell(f"{rounds} rounds of two processes, {twice} blocks computed by both")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["write", "append"])
def test_the_second_of_other_content_is_refused_while_the_first_works(
    verb, tmp_path, path, processes, fresh
):
    first = Model((0, 2, 5, 6, 7), pause_s=0.15) if verb == "append" else OLD.changed(0, 0, 0)
    first = first if verb == "append" else Model(first.days, first.versions, pause_s=1.5)
    second = Model((0, 2, 9)) if verb == "append" else OLD.changed(2, 0, 0)
    process = processes.Process(target=run, args=(verb, first, path))
    process.start()
    while not claims.writers(Directory(path)):
        assert process.is_alive(), "the first was done before the second began"
    text = f"is being written with other content by process {process.pid} on '.*'; wait until"
    with pytest.raises(StoreError, match=text.replace("'; wait", "' since .*; wait")):
        do(verb, second, path)
    assert process.is_alive()
    process.join(60)
    assert process.exitcode == 0
    assert do(verb, first, path).written == 0
    assert do(verb, second, path).written > 0
    assert verify(path).sound


def test_a_killed_writer_does_not_keep_the_next_out(path, kill):
    killed = kill("append", Model((0, 2, 5), pause_s=0.5), path, after_s=0.4)
    assert killed
    assert do("append", Model((0, 2, 9)), path).dates == ("2021-06-10T00:00:00.000000000",)
    assert claims.writers(Directory(path)) == []
    assert list((path / claims.WRITERS).iterdir()) == []
    assert days_of(path) == [0, 2, 9]


@pytest.mark.parametrize("verb", ["write", "append", "repair"])
def test_a_writer_on_another_machine_is_waited_for(path, verb):
    note = {"content": "other", "machine": "elsewhere", "process": 1, "since": "2021-06-01"}
    (path / claims.WRITERS / "0.json").write_text(json.dumps(note))
    ledger.forget(Directory(path), ledger.read_header(Directory(path)).layout.blocks(True)[:1])
    model = Model((0, 2, 3)) if verb == "append" else OLD
    with pytest.raises(StoreError, match="by process 1 on 'elsewhere' since 2021-06-01; wait"):
        do(verb, model, path)
    if verb != "repair":
        assert do(verb, model, path, take_over=True).written > 0
        assert claims.writers(Directory(path)) == []


def test_a_whole_store_asks_nobody(path):
    note = {"content": "other", "machine": "elsewhere", "process": 1, "since": "2021-06-01"}
    (path / claims.WRITERS / "0.json").write_text(json.dumps(note))
    assert do("write", OLD, path).written == 0
    assert do("append", OLD, path).written == 0
    assert verify(path).writers == ("process 1 on elsewhere since 2021-06-01",)
