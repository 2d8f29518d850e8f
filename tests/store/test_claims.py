"""Two writers: of the same content both may, of other content one is refused."""

import json
import os
import subprocess
import sys
import time

import pytest

from glaciercube.errors import StoreError
from glaciercube.store import claims
from glaciercube.store.places import Directory


@pytest.fixture
def place(tmp_path):
    return Directory(tmp_path / "store.zarr")


def leave_note(place, **changes):
    note = {"content": "other", **claims._this_process(), **changes}
    Directory(place.path).write(f"{claims.WRITERS}/{'0' * 32}.json", json.dumps(note).encode())


def ended():
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_writers_of_the_same_content_may_both_write(place):
    with claims.writing(place, "same"), claims.writing(place, "same"):
        assert len(claims.writers(place)) == 2
    assert claims.writers(place) == []


def test_a_writer_of_other_content_is_refused_by_name(place):
    with (
        claims.writing(place, "one"),
        pytest.raises(StoreError, match=rf"other content by process {os.getpid()} on .* since 20"),
        claims.writing(place, "two"),
    ):
        pytest.fail("it wrote")
    with claims.writing(place, "two"):
        pass


def test_a_note_is_removed_whatever_happens(place):
    with pytest.raises(KeyboardInterrupt), claims.writing(place, "one"):
        raise KeyboardInterrupt
    assert list(place.names(claims.WRITERS)) == []


def test_a_dead_writer_does_not_count(place):
    leave_note(place, process=ended())
    assert claims.writers(place) == []
    with claims.writing(place, "mine"):
        assert len(list(place.names(claims.WRITERS))) == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_another_process_of_the_same_number_is_not_the_writer(place):
    leave_note(place, started=1)
    assert claims.writers(place) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_process_that_nobody_waited_for_does_not_count(place):
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    process.stdout.read()  # ends when the process does
    while claims._state(process.pid) not in ("Z", ""):
        time.sleep(0.01)
    leave_note(place, process=process.pid, started=claims._started(process.pid))
    assert claims.writers(place) == []
    process.wait()


@pytest.mark.parametrize("changes", [{"machine": "elsewhere"}, {"process": None}])
def test_a_writer_that_may_live_blocks_until_it_is_taken_over(place, changes):
    leave_note(place, **changes)
    with (
        pytest.raises(StoreError, match="write with take_over=True"),
        claims.writing(place, "mine"),
    ):
        pytest.fail("it wrote")
    with claims.writing(place, "mine", take_over=True):
        assert [note["content"] for note in claims.writers(place)] == ["mine"]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_writer_that_is_seen_alive_is_not_taken_over(place):
    parent = os.getppid()
    leave_note(place, process=parent, started=claims._started(parent))
    with (
        pytest.raises(StoreError, match=f"other content by process {parent} on"),
        claims.writing(place, "mine", take_over=True),
    ):
        pytest.fail("it wrote")
    assert [note["process"] for note in claims.writers(place)] == [parent]


def test_of_two_that_begin_together_one_sees_the_other(place, monkeypatch):
    real = place.write

    def write(key, content):
        real(key, content)
        # the other's note comes after the first look, before the second
        other = os.getppid()
        leave_note(place, process=other, started=claims._started(other))

    monkeypatch.setattr(place, "write", write)
    with (
        pytest.raises(StoreError, match="is being written with other content"),
        claims.writing(place, "mine"),
    ):
        pytest.fail("it wrote")
    assert list(place.names(claims.WRITERS)) == [f"{'0' * 32}.json"]


def test_a_note_of_this_process_that_could_not_be_removed_does_not_count(place, monkeypatch):
    def lost(key):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(place, "delete", lost)
    text = "store.zarr' cannot be written: .*Input/output error"
    with pytest.raises(StoreError, match=text), claims.writing(place, "one"):
        assert len(claims.writers(place)) == 1
    monkeypatch.undo()
    assert len(list(place.names(claims.WRITERS))) == 1
    assert claims.writers(place) == []
    with claims.writing(place, "two"):
        assert len(list(place.names(claims.WRITERS))) == 1


def test_a_damaged_note_does_not_count(place):
    place.write(f"{claims.WRITERS}/{'0' * 32}.json", b"{")
    assert claims.writers(place) == []


def test_clearing_removes_the_dead_only(place):
    leave_note(place, process=ended())
    place.write(f"{claims.WRITERS}/a.json", json.dumps({"machine": "elsewhere"}).encode())
    claims.clear(place)
    assert list(place.names(claims.WRITERS)) == ["a.json"]
