"""The status of a run, from its files alone."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from cluster.made import plan_of
from glaciercube.cluster import progress, states
from glaciercube.cluster.progress import COLUMNS, status
from glaciercube.errors import StoreError

ALL_WAIT = {"done": 0, "running": 0, "interrupted": 0, "failed": 0, "waiting": 4}


def test_before_a_run_all_tiles_wait(plan, tmp_path):
    seen = status(plan, tmp_path / "out")
    assert seen.counts == ALL_WAIT
    assert list(seen.table.columns) == list(COLUMNS)
    assert seen.table["tile"].tolist() == plan.names()
    assert str(seen).startswith(f"{tmp_path / 'out'}: 4 tiles: 4 waiting")
    assert not (tmp_path / "out").exists()


def test_a_finished_run_is_done(plan, undisturbed, no_compute):
    with no_compute:
        seen = status(plan, undisturbed[0])
    assert seen.counts == ALL_WAIT | {"done": 4, "waiting": 0}
    assert seen.table["ingested"].tolist() == seen.table["blocks"].tolist() == [12] * 4
    assert (seen.table["seconds"] > 0).all()
    assert "48 blocks ingested, 48 predicted" in str(seen)


@pytest.fixture
def half(plan, undisturbed, tmp_path):
    """Return a copy of the run in which a tile is interrupted, one failed and one not begun."""
    out = tmp_path / "out"
    shutil.copytree(undisturbed[0], out)
    shutil.rmtree(out / "t1_1")
    state = states.read_state(out / "t0_1", plan.fingerprint)
    cause = "ingest: AcquireError: the catalogue is away"
    failed = replace(state, state="failed", step="ingest", cause=cause, steps={})
    states.write_state(out / "t0_1", failed)
    shutil.rmtree(out / "t0_1" / "layers.zarr")
    for record in list((out / "t0_1/cube.zarr/_glaciercube/ledger").iterdir())[:5]:
        record.unlink()
    code = (
        "from pathlib import Path; from dataclasses import replace; "
        "from glaciercube.cluster import states; "
        f"folder, plan = Path({str(out / 't1_0')!r}), {plan.fingerprint!r}; "
        "state = states.read_state(folder, plan); "
        "steps = {'ingest': state.steps['ingest']}; "
        "state = replace(state, state='running', step='predict', steps=steps); "
        "states.write_state(folder, state)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for record in list((out / "t1_0/layers.zarr/_glaciercube/ledger").iterdir())[:4]:
        record.unlink()
    return out


def test_each_tile_is_told_apart(plan, half, no_compute):
    with no_compute:
        seen = status(plan, half)
    assert seen.counts == {"done": 1, "running": 0, "interrupted": 1, "failed": 1, "waiting": 1}
    table = seen.table.set_index("tile")
    assert table.loc["t0_1", ["state", "ingested", "predicted"]].tolist() == ["failed", 7, 0]
    assert table.loc["t1_0", ["state", "ingested", "predicted"]].tolist() == ["interrupted", 12, 8]
    assert table.loc["t1_1", "state"] == "waiting"
    text = str(seen)
    assert "4 tiles: 1 done, 1 interrupted, 1 failed, 1 waiting" in text
    assert "t0_1: failed in ingest, 7 ingested and 0 predicted of 12 blocks: ingest: Acq" in text
    assert "t1_0: interrupted in predict, 12 ingested and 8 predicted of 12 blocks, on " in text


def test_a_tile_that_is_worked_on_is_running(plan, half):
    state = states.read_state(half / "t1_0", plan.fingerprint)
    states.write_state(half / "t1_0", state)  # now this process says it
    assert status(plan, half).counts["running"] == 1


def test_many_tiles_are_not_all_listed(plan, half, monkeypatch):
    monkeypatch.setattr(progress, "SHOWN", 0)
    assert "and 1 more failed" in str(status(plan, half))


def test_another_plan_is_refused(archive, undisturbed):
    with pytest.raises(StoreError, match="holds a run of another plan"):
        status(plan_of(archive, tiles=3), undisturbed[0])
