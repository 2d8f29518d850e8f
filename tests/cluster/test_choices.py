"""What is chosen once for a run: one wins, whoever asks, wherever and however often."""

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest

from glaciercube.cluster import choices
from glaciercube.cluster.choices import all_chosen, choose, chosen
from glaciercube.errors import StoreError
from glaciercube.store import places


def never():
    raise AssertionError("it was chosen before")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_first_choice_stays(tmp_path):
    assert chosen(tmp_path, "halo") is None
    assert choose(tmp_path, "halo", lambda: {"halo": 48, "share": 1 / 3}) == {
        "halo": 48,
        "share": 1 / 3,
    }
    assert choose(tmp_path, "halo", never) == chosen(tmp_path, "halo")
    assert names(tmp_path) == ["choice-halo.json"]


def test_choices_have_names(tmp_path):
    choose(tmp_path, "halo", lambda: {"halo": 48})
    choose(tmp_path, "runtime", lambda: {"runtime": "torch"})
    (tmp_path / "run.json").write_text("{}")
    assert all_chosen(tmp_path) == {"halo": {"halo": 48}, "runtime": {"runtime": "torch"}}


def test_without_a_folder_nothing_is_chosen(tmp_path):
    assert chosen(tmp_path / "none", "halo") is None
    assert all_chosen(tmp_path / "none") == {}


def test_who_comes_second_adopts_what_the_first_wrote_meanwhile(tmp_path):
    def slow():
        other = {"format": 1, "choice": {"halo": 16}}
        places.Directory(tmp_path).create("choice-halo.json", json.dumps(other).encode())
        return {"halo": 48}

    assert choose(tmp_path, "halo", slow) == {"halo": 16}


def test_threads_of_a_process_choose_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"halo": len(calls)}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: choose(tmp_path, "halo", make), range(32)))
    assert found == [{"halo": 1}] * 32
    assert len(calls) == 1


def contend(out, number, barrier, found):
    def make():
        barrier.wait()  # all have seen that there is no choice, and now choose differently
        return {"by": number}

    found.put((number, choose(out, "halo", make)["by"]))


def test_of_processes_that_choose_at_once_one_wins(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=contend, args=(tmp_path, number, barrier, found))
        for number in range(4)
    ]
    for one in processes:
        one.start()
    said = dict(found.get(timeout=120) for _ in processes)
    for one in processes:
        one.join(30)
    assert set(said) == {0, 1, 2, 3}
    assert len(set(said.values())) == 1
    assert chosen(tmp_path, "halo") == {"by": said[0]}
    assert names(tmp_path) == ["choice-halo.json"]


def test_a_choice_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(AssertionError, match="chosen before"):
        choose(tmp_path, "halo", never)
    assert names(tmp_path) == []
    assert choose(tmp_path, "halo", lambda: {"halo": 8}) == {"halo": 8}


def test_without_hard_links_one_wins_too(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(places.errno.ENOTSUP, "no links here")

    monkeypatch.setattr(places.os, "link", link)
    assert choose(tmp_path, "halo", lambda: {"halo": 8}) == {"halo": 8}
    assert choose(tmp_path, "halo", never) == {"halo": 8}


def test_a_file_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "choice-halo.json"
    path.write_text('{"form')
    waited = []

    def finish(seconds):
        waited.append(seconds)
        path.write_text('{"format": 1, "choice": {"halo": 24}}')

    monkeypatch.setattr(choices, "sleep", finish)
    assert choose(tmp_path, "halo", never) == {"halo": 24}
    assert len(waited) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 1, "choice": 3}'])
def test_a_damaged_choice_is_no_new_one(tmp_path, text, monkeypatch):
    monkeypatch.setattr(choices, "sleep", lambda seconds: None)
    (tmp_path / "choice-halo.json").write_text(text)
    with pytest.raises(StoreError, match=r"choice-halo\.json' is damaged: .*; put it back"):
        choose(tmp_path, "halo", never)


def test_a_choice_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "sleep", lambda seconds: None)
    (tmp_path / "choice-halo.json").write_text('{"format": 2, "choice": {}}')
    with pytest.raises(StoreError, match="has format 2, this version of glaciercube knows up to 1"):
        chosen(tmp_path, "halo")


def test_a_folder_that_loses_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(places.Directory, "create", lambda self, key, content: True)
    with pytest.raises(StoreError, match="a folder that keeps what is written, but it is gone"):
        choose(tmp_path, "halo", lambda: {"halo": 8})


def test_a_name_is_that_of_a_file(tmp_path):
    with pytest.raises(StoreError, match=r"letters a-z and _, found '\.\./halo'"):
        choose(tmp_path, "../halo", never)
