"""The state of a tile: what its file says, whose it is, and that no one reads half of it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from cluster.dask_processes import wait_for
from glaciercube.cluster import states
from glaciercube.cluster.states import (
    RUN,
    STATE,
    Run,
    State,
    begin_run,
    folder_of,
    read_run,
    read_state,
    write_atomically,
    write_state,
)
from glaciercube.errors import StoreError

RUN_A = Run(plan="a" * 64, address="alps.parquet", networks={"extent": "1", "facies": "2"})
DOING = State(plan="a" * 64, state="running", step="predict", steps={"ingest": {"blocks": 12}})


def test_a_state_is_read_as_it_was_written(tmp_path):
    write_state(tmp_path / "t", DOING)
    found = read_state(tmp_path / "t", "a" * 64)
    assert (found.step, found.steps) == ("predict", {"ingest": {"blocks": 12}})
    assert found.process == os.getpid()
    assert not found.is_gone
    assert [path.name for path in (tmp_path / "t").iterdir()] == [STATE]


def test_without_a_file_there_is_no_state(tmp_path):
    assert read_state(tmp_path / "t", "a") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2, "plan": "a"}'])
def test_a_file_that_cannot_be_understood_is_no_state(tmp_path, text):
    (tmp_path / STATE).write_text(text)
    assert read_state(tmp_path, "a") is None


def test_a_tile_of_another_plan_is_refused(tmp_path):
    write_state(tmp_path, DOING)
    with pytest.raises(StoreError, match=r"a tile of another plan \(a{12}, not b{12}\)"):
        read_state(tmp_path, "b" * 64)


def test_a_process_that_has_ended_is_gone(tmp_path):
    code = (
        "from pathlib import Path; from glaciercube.cluster.states import State, write_state; "
        f"write_state(Path({str(tmp_path)!r}), State(plan='a', state='running', step='ingest'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    found = read_state(tmp_path, "a")
    assert found.process > 0
    assert found.is_gone


def test_another_process_of_the_same_number_does_not_count(tmp_path):
    write_state(tmp_path, DOING)
    found = read_state(tmp_path, "a" * 64)
    assert replace(found, started=found.started - 1).is_gone


def test_of_another_machine_nothing_is_known(tmp_path):
    write_state(tmp_path, DOING)
    elsewhere = replace(read_state(tmp_path, "a" * 64), machine="elsewhere", process=2**22 - 1)
    assert not elsewhere.is_gone


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / STATE
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, object())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_taken_once_and_found_again(tmp_path):
    out = tmp_path / "new" / "out"
    begin_run(out, RUN_A)
    begin_run(out, RUN_A)
    assert read_run(out) == RUN_A
    assert [path.name for path in out.iterdir()] == [RUN]


def test_another_plan_or_network_is_refused_and_nothing_is_touched(tmp_path):
    begin_run(tmp_path / "out", RUN_A)
    before = (tmp_path / "out" / RUN).read_bytes()
    other = replace(RUN_A, plan="b" * 64, address="andes.parquet")
    with pytest.raises(StoreError, match=r"'alps.parquet' \(a{12}\), not 'andes.parquet' \(b{12}"):
        begin_run(tmp_path / "out", other)
    with pytest.raises(StoreError, match=r"other networks: \['facies', 'facies-2'\] have other"):
        begin_run(
            tmp_path / "out",
            replace(RUN_A, networks={"extent": "1", "facies": "3", "facies-2": ""}),
        )
    assert (tmp_path / "out" / RUN).read_bytes() == before


def test_a_run_goes_on_as_it_was_begun(tmp_path):
    asked = replace(RUN_A, asked={"halo": "effective", "disagreement": 1e-4})
    assert begin_run(tmp_path / "out", asked) == asked
    assert begin_run(tmp_path / "out", RUN_A) == asked
    other = replace(RUN_A, asked={"halo": "effective", "disagreement": 1e-3})
    with pytest.raises(StoreError, match=r"begun with disagreement=0\.0001, found disagr.*=0\.001"):
        begin_run(tmp_path / "out", other)
    assert read_run(tmp_path / "out") == asked


def test_a_run_that_was_begun_before_options_were_kept_had_none(tmp_path):
    begin_run(tmp_path / "out", RUN_A)
    assert "asked" not in json.loads((tmp_path / "out" / RUN).read_bytes())
    with pytest.raises(StoreError, match=r"was begun with halo=None, found halo=48; leave it out"):
        begin_run(tmp_path / "out", replace(RUN_A, asked={"halo": 48}))


def test_of_two_that_begin_at_once_the_first_wins(tmp_path, monkeypatch):
    first = replace(RUN_A, asked={"halo": 8})
    monkeypatch.setattr(states, "read_run", lambda out: None)  # nothing there yet
    begin_run(tmp_path / "out", first)
    told = iter([None, first])
    monkeypatch.setattr(states, "read_run", lambda out: next(told))
    monkeypatch.setattr(states.Path, "iterdir", lambda self: iter(()))
    with pytest.raises(StoreError, match=r"was begun with halo=8, found halo=16"):
        begin_run(tmp_path / "out", replace(RUN_A, asked={"halo": 16}))
    assert json.loads((tmp_path / "out" / RUN).read_bytes())["asked"] == {"halo": 8}


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError, match=r"'.*out' holds something that is no run"):
        begin_run(tmp_path / "out", RUN_A)


def test_a_damaged_or_newer_run_is_refused(tmp_path):
    (tmp_path / RUN).write_text("{")
    with pytest.raises(StoreError, match=r"run\.json' is damaged"):
        read_run(tmp_path)
    (tmp_path / RUN).write_text(json.dumps({"format": 7, "plan": "a"}))
    with pytest.raises(StoreError, match="has format 7, this version of glaciercube knows up to 1"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["../t", "/etc", "", ".", "a/b", "T0", "a\n"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(StoreError, match="the plan is damaged, or not to be trusted"):
        folder_of(tmp_path, name)


@pytest.mark.skipif(not os.path.exists("/proc"), reason="needs /proc, as Linux has it")
def test_a_process_that_nobody_has_asked_for_its_end_is_gone_too(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    try:
        child.stdout.read()  # ends with the child, which stays as a zombie until wait
        write_state(tmp_path, DOING)
        found = replace(read_state(tmp_path, "a" * 64), process=child.pid, started=None)
        wait_for(lambda: found.is_gone, "the child's end")
    finally:
        child.wait()
        child.stdout.close()
