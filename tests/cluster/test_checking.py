"""The check of a run's stores, and what a repair leaves to be made again."""

import shutil
from pathlib import Path

import pytest

from cluster.made import chunks, plan_of, same_tables
from glaciercube.cluster import states
from glaciercube.cluster.checking import verify_run
from glaciercube.cluster.runs import run
from glaciercube.errors import StoreError


@pytest.fixture
def copy(undisturbed, tmp_path):
    """Return a copy of the undisturbed run."""
    return Path(shutil.copytree(undisturbed[0], tmp_path / "out"))


def test_a_sound_run(undisturbed, plan):
    reports = verify_run(undisturbed[0])
    assert sorted(reports) == [
        f"{tile}/{store}" for tile in plan.names() for store in ("cube.zarr", "layers.zarr")
    ]
    assert all(report.sound and report.blocks == 12 for report in reports.values())


def test_a_lost_shard_is_found_and_made_again_and_so_are_the_tables(
    copy, plan, undisturbed, cluster_in_process
):
    lost = copy / "t1_1" / "cube.zarr" / "reflectance" / "c" / "1" / "0" / "0" / "0"
    lost.unlink()
    found = {name: one for name, one in verify_run(copy).items() if not one.sound}
    assert list(found) == ["t1_1/cube.zarr"]
    assert len(found["t1_1/cube.zarr"].corrupt) == 1
    mended = verify_run(copy, plan=plan)
    assert all(report.sound for report in mended.values())
    assert mended["t1_1/cube.zarr"].repaired == 1
    store = Path("t1_1/cube.zarr")
    assert chunks(copy / store) == chunks(undisturbed[0] / store)
    assert states.read_state(copy / "t1_1", plan.fingerprint).state == "running"
    (copy / "t1_1" / "series.parquet").unlink()
    report = run(plan, copy, client=cluster_in_process)
    assert (report.done, report.skipped) == (("t1_1",), 3)
    same_tables(copy, undisturbed[0], "t1_1")


def test_a_run_of_another_plan_is_not_repaired(copy, archive):
    with pytest.raises(StoreError, match="holds a run of another plan"):
        verify_run(copy, plan=plan_of(archive, tiles=2))


def test_something_else_is_no_run(tmp_path):
    with pytest.raises(StoreError, match=r"neither a store nor the folder of a run.* run\.json"):
        verify_run(tmp_path)
