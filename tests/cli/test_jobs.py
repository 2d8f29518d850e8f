"""`run`, `resume`, `status` and `verify`: what they say, their exit codes, and Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.dask_processes import scheduler, wait_for, workers, workers_here
from cluster.made import archive_of, chunks, plan_of, record_times, same_stores

from glaciercube.cli import main
from glaciercube.cluster import plans, states
from glaciercube.cluster.runs import run

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with an archive of nine dates."""
    folder = tmp_path_factory.mktemp("home")
    archive_of(folder, dates=None)
    return folder


@pytest.fixture(scope="module")
def finished(home):
    """Return the folder of a finished run."""
    out = home / "finished"
    with workers_here() as client:
        run(plan_of(archive_of(home, dates=None), tiles=3), out, client=client)
    return out


@pytest.fixture
def made(monkeypatch, home):
    """Let the command line read the plan of the archive, in this process."""
    monkeypatch.setattr(
        plans, "read_plan", lambda path: plan_of(archive_of(path, dates=None), tiles=3),
        raising=False,
    )  # fmt: skip


@pytest.fixture
def copy(finished, tmp_path):
    """Return a copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def command(*arguments, **options):
    """Start the command line as a process."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.Popen(
        [sys.executable, "-m", "cli.job_process", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True, **options,
    )  # fmt: skip


def end(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_status_of_a_finished_run(made, home, finished, capsys):
    assert main(["status", str(home), "--out", str(finished)]) == 0
    said = capsys.readouterr().out
    assert f"{finished}: 3 tiles: 3 done" in said
    assert "84 blocks ingested, 84 predicted" in said


def test_a_finished_run_is_run_again_without_any_worker(made, home, finished, capsys):
    assert main(["run", str(home), "--out", str(finished)]) == 0
    assert "0 of 3 tiles done now, 3 before, 0 set aside" in capsys.readouterr().out


def test_without_a_run_there_is_nothing_to_resume(made, home, tmp_path, capsys):
    assert main(["resume", str(home), "--out", str(tmp_path / "no")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error in resume: there is no run to go on with")
    assert not (tmp_path / "no").exists()


def test_another_plans_folder_is_refused(made, home, finished, tmp_path, capsys):
    archive_of(tmp_path, dates=None)
    for name in ("run", "resume", "status"):
        assert main([name, str(tmp_path), "--out", str(finished)]) == 1
        assert "holds a run of another plan" in capsys.readouterr().err


def test_workers_of_another_scheduler_are_not_sized_here(made, home, tmp_path, capsys):
    arguments = ["--scheduler", "tcp://127.0.0.1:1", "--workers", "2", "--memory-limit", "4GiB"]
    assert main(["run", str(home), "--out", str(tmp_path / "out"), *arguments]) == 1
    assert "--workers, --memory-limit are of workers that are started here" in (
        capsys.readouterr().err
    )


def test_too_little_memory_says_what_is_needed(made, home, tmp_path, capsys):
    arguments = ["--workers", "1", "--memory-limit", "1GiB"]
    assert main(["run", str(home), "--out", str(tmp_path / "out"), *arguments]) == 1
    said = capsys.readouterr().err
    assert "a worker with one thread needs a memory limit of 1." in said
    assert "found 1.00 GiB" in said


def test_a_halo_is_passed_on_and_kept_to(made, home, finished, capsys):
    assert main(["run", str(home), "--out", str(finished), "--halo", "8"]) == 1
    assert "was begun with halo=None, found halo=8; leave it out" in capsys.readouterr().err
    asked = ["--halo", "effective", "--disagreement", "2"]
    assert main(["run", str(home), "--out", str(finished), *asked]) == 1
    assert "disagreement needs a share of the classes" in capsys.readouterr().err
    assert main(["resume", str(home), "--out", str(finished), "--halo", "wide"]) == 1
    assert "or 'effective', found 'wide'" in capsys.readouterr().err


def test_verify_of_a_store_and_of_a_run(made, copy, capsys):
    assert main(["verify", str(copy / "t0_0" / "cube.zarr")]) == 0
    assert "cube.zarr: 28 blocks, 0 missing, 0 corrupt" in capsys.readouterr().out
    assert main(["verify", str(copy)]) == 0
    assert "t1_0/layers.zarr: layers.zarr: 28 blocks, 0 missing" in capsys.readouterr().out


def test_verify_of_something_else(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1
    assert "is not a store of this package" in capsys.readouterr().err


def damaged(store, variable="reflectance"):
    """Turn a bit of a shard; return its path."""
    shards = [path for path in (store / variable / "c").rglob("*") if path.is_file()]
    shard = max(shards, key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    return shard


def test_verify_finds_and_repairs_a_turned_bit(made, home, copy, finished, capsys):
    damaged(copy / "t0_1" / "cube.zarr")
    damaged(copy / "t1_0" / "layers.zarr", "confidence")
    assert main(["verify", str(copy)]) == 1
    said = capsys.readouterr()
    assert "2 of 6 stores are not sound: t0_1/cube.zarr, t1_0/layers.zarr" in said.err
    assert main(["verify", str(copy), "--repair", "--plan", str(home)]) == 0
    assert capsys.readouterr().out.count("1 repaired") == 2
    for tile, store in (("t0_1", "cube.zarr"), ("t1_0", "layers.zarr")):
        assert chunks(copy / tile / store) == chunks(finished / tile / store)
    plan = plans.read_plan(home)
    kept = {
        tile: sorted(states.read_state(copy / tile, plan.fingerprint).steps)
        for tile in plan.names()
    }
    assert kept == {
        "t0_0": ["ingest", "predict", "products"],
        "t0_1": ["ingest"],
        "t1_0": ["ingest", "predict"],
    }


@pytest.mark.slow
def test_ctrl_c_leaves_what_can_be_resumed(home, finished, tmp_path):
    out = tmp_path / "out"
    size = ("--workers", 1, "--threads", 1, "--memory-limit", "3GiB")
    first = command("run", home, "--out", out, *size)
    # in the middle of a tile
    wait_for(lambda: first.poll() is not None or len(record_times(out)) > 10, "some blocks")
    assert first.poll() is None, end(first)
    os.killpg(first.pid, signal.SIGINT)
    code, _, said = end(first)
    assert code == 130, said
    assert "stopped; run the same command again to go on" in said
    before = record_times(out)
    assert 10 < len(before) < 3 * 56
    code, said, _ = end(command("status", home, "--out", out))
    assert code == 0
    assert " interrupted in " in said
    code, said, error = end(command("resume", home, "--out", out, *size))
    assert code == 0, error
    assert "1 interrupted" in said
    assert "tiles done now" in said
    after = record_times(out)
    assert {key: after[key] for key in before} == before
    same_stores(out, finished, ("t0_0", "t0_1", "t1_0"))


@pytest.mark.slow
def test_a_run_on_workers_of_a_scheduler(home, finished, tmp_path):
    out = tmp_path / "out"
    hidden = home / "archive" / "hidden.json"
    with scheduler(tmp_path) as (_, address), workers(tmp_path, address):
        catalog = home / "archive" / "catalog.json"
        catalog.rename(hidden)
        try:
            code, said, error = end(
                command("run", home, "--out", out, "--scheduler", address, "--retries", 0)
            )
        finally:
            hidden.rename(catalog)
        assert code == 1
        assert "3 set aside" in said
        assert error.strip().splitlines()[-1] == (
            "error in run: 3 of 3 tiles were set aside; the same command tries them again"
        )
        assert "Traceback" not in error
        code, said, error = end(command("run", home, "--out", out, "--scheduler", address))
    assert code == 0, error
    assert "3 of 3 tiles done now" in said
    same_stores(out, finished, ("t0_0", "t0_1", "t1_0"))


@pytest.mark.slow
def test_a_plan_of_a_file_from_the_first_command_to_the_last(home, tmp_path):
    archive = archive_of(home, dates=None)
    path = tmp_path / "plan.parquet"
    made = plan_of(archive, tiles=1).frame
    options = {"catalog": archive.catalog, "period": "2021", "buffer_m": 50, "block": 96}
    planned = plans.plan(made, path, dem="cop-dem-glo-30", **options)
    out = tmp_path / "out"

    def glaciercube(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "glaciercube", *map(str, arguments)],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    waiting = glaciercube("status", path, "--out", out)
    assert (waiting.returncode, "1 waiting" in waiting.stdout) == (0, True), waiting.stderr
    done = glaciercube("run", path, "--out", out, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert f"{len(planned)} of {len(planned)} tiles done now" in done.stdout
    checked = glaciercube("verify", out)
    assert (checked.returncode, checked.stdout.count("0 missing, 0 corrupt")) == (0, 2)
    made.assign(rgi_id="another").to_file(tmp_path / "other.gpkg")
    plans.plan(tmp_path / "other.gpkg", path, overwrite=True, **options)
    refused = glaciercube("run", path, "--out", out)
    assert refused.returncode == 1
    assert "holds a run of another plan" in refused.stderr
