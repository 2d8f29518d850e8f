"""A run: every tile once, whatever is tried again, set aside or interrupted."""

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import dask
import distributed
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from cluster.made import BLOCK, plan_of, record_times, same_stores, same_tables
from glaciercube.cluster import runs, spreading, states, steps, workers
from glaciercube.cluster.memory import demand_of
from glaciercube.cluster.plans import plan as make_plan
from glaciercube.cluster.plans import read_plan
from glaciercube.cluster.progress import status
from glaciercube.cluster.runs import run
from glaciercube.cluster.steps import Outcome
from glaciercube.errors import GlacierCubeError, SchemaError, StoreError, WeightsError
from glaciercube.model import registry
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

BLOCKS = 2 * (2 * 4 + 4)
"""Of a tile: cube and layers, two dates of four blocks and four without a date."""


def test_every_tile_gets_its_cube_layers_and_tables(plan, undisturbed):
    out, report = undisturbed
    assert sorted(report.done) == plan.names()
    assert (report.skipped, report.failed, report.read_failures) == (0, (), ())
    assert report.written == 4 * BLOCKS
    for name in plan.names():
        layers = read(out / name / "layers.zarr")
        assert dict(layers.sizes) == {"time": 2, "y": 2 * BLOCK, "x": 2 * BLOCK}
        series = pd.read_parquet(out / name / "series.parquet")
        assert series["glacier"].tolist() == [*plan.tile(name).glaciers] * 2
        assert series["area_observed"].notna().all()
        assert series.attrs["units"]["area"] == "km2"
        shapes = gpd.read_parquet(out / name / "outlines.parquet")
        assert set(shapes["rgi_id"]) <= set(plan.tile(name).glaciers)
    found = [gpd.read_parquet(path) for path in out.glob("*/outlines.parquet")]
    assert sum(map(len, found)) > 0


def test_only_the_core_is_reported(plan, undisturbed):
    out, _ = undisturbed
    series = pd.read_parquet(out / "t0_0" / "series.parquet")
    job = next(runs.jobs_of(plan, out, runs.cards_of(plan), ["t0_0"]))
    assert job.place.shape == (2 * BLOCK - 16, 2 * BLOCK - 16)
    assert (series["observed_fraction"] <= 1).all()


def test_a_second_run_finds_everything_done(plan, undisturbed, cluster_in_process):
    out, _ = undisturbed
    before = record_times(out)
    again = run(plan, out, client=cluster_in_process)
    assert (again.done, again.skipped, again.written) == ((), 4, 0)
    assert "0 of 4 tiles done now, 4 before, 0 set aside" in str(again)
    assert record_times(out) == before


@pytest.mark.slow
def test_blocks_of_one_tile_spread_over_workers_give_the_same(
    plan, undisturbed, cluster_in_process, tmp_path
):
    out, _ = undisturbed
    report = run(plan, tmp_path / "out", client=cluster_in_process, spread="blocks")
    assert report.written == 4 * BLOCKS
    same_stores(tmp_path / "out", out, plan.names())
    for name in plan.names():
        same_tables(tmp_path / "out", out, name)


def test_few_tiles_are_spread_by_blocks_and_many_by_tiles(
    archive, cluster_in_process, tmp_path, monkeypatch
):
    taken = []

    def took(mode):
        return lambda client, jobs, *_: taken.append((mode, len(list(jobs)))) or iter(())

    monkeypatch.setattr(spreading, "_by_blocks", took("blocks"))
    monkeypatch.setattr(spreading, "_by_tiles", took("tiles"))
    for count in (1, 2):
        run(plan_of(archive, tiles=count), tmp_path / str(count), client=cluster_in_process)
    assert taken == [("blocks", 1), ("tiles", 2)]


def test_a_step_that_was_cut_off_goes_on(plan, undisturbed, cluster_in_process, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(undisturbed[0], out)
    layers = out / "t1_0" / "layers.zarr"
    kept = record_times(out)
    for record in sorted((layers / "_glaciercube" / "ledger").glob("*.json"))[:3]:
        del kept[record.relative_to(out).as_posix()]
        record.unlink()
    state = states.read_state(out / "t1_0", plan.fingerprint)
    left = {"ingest": state.steps["ingest"]}
    states.write_state(out / "t1_0", replace(state, state="running", step="predict", steps=left))
    report = run(plan, out, client=cluster_in_process)
    assert (report.done, report.skipped) == (("t1_0",), 3)
    assert report.written == BLOCKS // 2 + 3  # the cube's are told again, as its step did them
    same_stores(out, undisturbed[0], plan.names())
    after = record_times(out)
    assert {key: after[key] for key in kept} == kept


@pytest.mark.parametrize(("step", "store"), [("ingest", "cube.zarr"), ("predict", "layers.zarr")])
def test_the_note_of_a_worker_killed_on_another_machine_is_taken_over(
    step, store, plan, undisturbed, cluster_in_process, tmp_path
):
    out = tmp_path / "out"
    shutil.copytree(undisturbed[0], out)
    records = out / "t0_1" / store / "_glaciercube"
    next((records / "ledger").glob("1.*.json")).unlink()
    note = {"content": "before", "machine": "node17", "process": 4, "since": "2026-01-01"}
    (records / "writers").mkdir(exist_ok=True)
    (records / "writers" / f"{'0' * 32}.json").write_text(json.dumps(note))
    assert len(verify(out / "t0_1" / store).writers) == 1
    state = states.read_state(out / "t0_1", plan.fingerprint)
    left = {} if step == "ingest" else {"ingest": state.steps["ingest"]}
    states.write_state(out / "t0_1", replace(state, state="running", step=step, steps=left))
    report = run(plan, out, client=cluster_in_process, retries=0)
    assert (report.done, report.failed) == (("t0_1",), ())
    assert verify(out / "t0_1" / store).writers == ()
    same_stores(out, undisturbed[0], plan.names())


def outside(archive, tiles=4):
    """Return a plan one tile of which no scene touches."""
    plan = plan_of(archive, tiles)
    moved = plan.tile("t0_1")
    plan.made["t0_1"] = replace(moved, geobox=moved.geobox.translate_pix(100_000, 0))
    return plan


def test_a_tile_without_a_source_is_set_aside_and_the_rest_goes_on(
    archive, cluster_in_process, tmp_path
):
    plan = outside(archive)
    plan.frame.loc[1, "geometry"] = (
        gpd.GeoSeries(plan.frame.geometry[1]).translate(1_000_000).item()
    )
    report = run(plan, tmp_path / "out", client=cluster_in_process, retries=1)
    assert sorted(report.done) == ["t0_0", "t1_0", "t1_1"]
    ((tile, cause),) = report.failed
    assert tile == "t0_1"
    assert cause.startswith("ingest: AcquireError: a search needs at least one scene")
    assert f"t0_1: {cause}" in str(report)
    found = states.read_state(tmp_path / "out" / "t0_1", plan.fingerprint)
    assert (found.state, found.cause) == ("failed", cause)
    seen = status(plan, tmp_path / "out")
    assert seen.counts == {"done": 3, "running": 0, "interrupted": 0, "failed": 1, "waiting": 0}


def test_a_tile_that_was_set_aside_is_tried_again(archive, cluster_in_process, tmp_path):
    plan = plan_of(archive, tiles=2)
    out = tmp_path / "out"
    catalog = archive.catalog
    hidden = catalog.with_name("hidden.json")
    catalog.rename(hidden)
    try:
        first = run(plan, out, client=cluster_in_process, retries=0)
    finally:
        hidden.rename(catalog)
    assert [name for name, _ in first.failed] == ["t0_0", "t0_1"]
    assert "catalog.json" in first.failed[0][1]
    second = run(plan, out, client=cluster_in_process)
    assert (sorted(second.done), second.failed) == (["t0_0", "t0_1"], ())


@pytest.mark.parametrize("spread", ["tiles", "blocks"])
def test_what_dask_tries_again_may_pass(spread, archive, cluster_in_process, tmp_path, monkeypatch):
    tries = []
    found = steps.search

    def now_and_then(*arguments, **options):
        tries.append(1)
        if len(tries) < 3:
            raise OSError("the catalogue is away")
        return found(*arguments, **options)

    monkeypatch.setattr(steps, "search", now_and_then)
    plan = plan_of(archive, tiles=1)
    report = run(plan, tmp_path / "out", client=cluster_in_process, spread=spread, retries=2)
    assert (report.failed, len(tries)) == ((), 3)


@pytest.mark.parametrize("spread", ["tiles", "blocks"])
def test_what_another_try_would_not_change_is_not_tried_again(
    spread, archive, cluster_in_process, tmp_path, monkeypatch
):
    tries = []

    def broken(*arguments, **options):
        tries.append(1)
        raise SchemaError("the cube lacks 'nir'")

    monkeypatch.setattr(steps, "load", broken)
    plan = plan_of(archive, tiles=1)
    report = run(plan, tmp_path / "out", client=cluster_in_process, spread=spread, retries=2)
    assert report.failed == (("t0_0", "ingest: SchemaError: the cube lacks 'nir'"),)
    assert len(tries) == 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", ["tiles", "blocks"])
def test_reads_that_fail_are_in_the_report_and_filled_on_request(
    spread, archive, undisturbed, cluster_in_process, tmp_path
):
    copy = tmp_path / "archive"
    shutil.copytree(archive.catalog.parent, copy)
    plan = plan_of(replace(archive, catalog=copy / "catalog.json"), tiles=2)
    red = next(copy.rglob("*2022*/red.tif"))
    whole = red.read_bytes()
    red.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    report = run(plan, out, client=cluster_in_process, spread=spread)
    assert report.failed == ()
    assert report.unread > 0
    assert {one.band for one in report.read_failures} == {"red"}
    assert f"{report.unread} pixels unread" in str(report)
    assert int(status(plan, out).table["unread"].sum()) == report.unread
    kept = json.loads((out / "t0_0/cube.zarr/_glaciercube/read_failures.json").read_text())
    assert {one["band"] for one in kept} == {"red"}
    red.write_bytes(whole)
    assert run(plan, out, client=cluster_in_process).skipped == 2
    mended = run(plan, out, client=cluster_in_process, spread=spread, retry_unread=True)
    assert (mended.unread, mended.failed) == (0, ())
    for name in plan.names():
        for store in ("cube.zarr", "layers.zarr"):
            one, other = (read(folder / name / store) for folder in (out, undisturbed[0]))
            for layer in one.data_vars:
                np.testing.assert_array_equal(one[layer].values, other[layer].values)


COUNTS = []
"""Tasks that the scheduler of this process has, each time that one of them runs."""


SCHEDULER = {}


def count_tasks(job, before=None):
    COUNTS.append(len(SCHEDULER["here"].tasks))
    return before or Outcome(tile=job.tile.name, step="ingest")


def test_at_most_so_many_tasks_are_with_the_scheduler(
    archive, cluster_in_process, tmp_path, monkeypatch
):
    monkeypatch.setattr(spreading, "WORK", dict.fromkeys(states.STEPS, count_tasks))
    monkeypatch.setattr(spreading, "TASKS", 18)
    SCHEDULER["here"] = cluster_in_process.cluster.scheduler
    COUNTS.clear()
    plan = plan_of(archive, tiles=200)
    report = run(plan, tmp_path / "out", client=cluster_in_process, spread="tiles")
    assert len(report.done) == 200
    assert len(COUNTS) == 600
    assert 12 <= max(COUNTS) <= 18


def test_the_window_follows_the_threads_up_to_its_end():
    assert spreading.window(0) == spreading.LEAST
    assert spreading.window(16) == 4 * 16
    assert spreading.window(10**6) * len(states.STEPS) <= spreading.TASKS == 20_000


def test_tasks_have_names_that_people_understand(plan, undisturbed, cluster_in_process):
    # the undisturbed run went through this scheduler
    seen = set(cluster_in_process.cluster.scheduler.task_prefixes)
    assert {"ingest", "predict", "products"} <= seen


def test_no_secret_is_in_what_travels(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    job = next(runs.jobs_of(plan, tmp_path, runs.cards_of(plan), ["t0_0"]))
    travels = pickle.dumps((job, steps.ingest))
    assert b"hush-hush" not in travels
    assert len(travels) < 100_000


def test_a_cause_holds_no_credential():
    error = OSError("cannot read https://me:pw@example.org/B04.tif?sig=secret")
    assert steps.told("ingest", error) == "ingest: OSError: cannot read https://example.org/B04.tif"


def test_scenes_with_a_credential_are_not_kept(archive, cluster_in_process, tmp_path, monkeypatch):
    def signed(*arguments, **options):
        found = archived(*arguments, **options)
        for item in found:
            asset = item.assets["red"]
            asset.href = "https://example.org/B04.tif?sig=secret"
        return found

    archived = steps.search
    monkeypatch.setattr(steps, "search", signed)
    plan = plan_of(archive, tiles=1)
    report = run(plan, tmp_path / "out", client=cluster_in_process, retries=0)
    assert "holds a credential" in report.failed[0][1]
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"sig=" not in path.read_bytes(), path


def test_a_folder_of_another_plan_is_refused_before_anything_is_touched(
    archive, undisturbed, cluster_in_process
):
    out, _ = undisturbed
    other = plan_of(archive, period="2021")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for call in (lambda: run(other, out, client=cluster_in_process), lambda: status(other, out)):
        with pytest.raises(StoreError, match=r"holds a run of another plan: .*made\.parquet"):
            call()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_other_weights_are_refused_before_anything_is_touched(
    plan, undisturbed, cluster_in_process, monkeypatch
):
    out, _ = undisturbed
    known = runs.card_of

    def replaced(name):
        card = known(name)
        return replace(card, temperature=9.0) if name == "facies" else card

    monkeypatch.setattr(runs, "card_of", replaced)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(StoreError, match=r"other networks: \['facies'\] have other weights"):
        run(plan, out, client=cluster_in_process)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_folder_with_something_else_is_refused(plan, tmp_path, cluster_in_process):
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(StoreError, match="holds something that is no run"):
        run(plan, tmp_path, client=cluster_in_process)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_worker_that_does_not_see_the_folder_says_so(plan, tmp_path):
    job = next(runs.jobs_of(plan, tmp_path / "elsewhere", runs.cards_of(plan), ["t0_0"]))
    with pytest.raises(StoreError, match=r"sees no such run at '.*elsewhere'"):
        steps.ingest(job)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"spread": "rows"}, "spread is one of .*found 'rows'"),
        ({"retries": -1}, "retries needs a number from 0 on, found -1"),
        ({"spread": "blocks", "resources": {"GPU": 1}}, r"resources=\{'GPU': 1\} need spread="),
    ],
)
def test_options_that_make_no_sense_are_refused(plan, tmp_path, options, said):
    with pytest.raises(SchemaError, match=said):
        run(plan, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_those_of_the_plan_are_refused(archive, tmp_path):
    plan = plan_of(archive, weights=["0" * 64, "1" * 64])
    with pytest.raises(WeightsError, match=r"other weights of \['extent', 'facies'\]: \['000000"):
        run(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_networks_without_extent_are_refused(archive, tmp_path):
    with pytest.raises(SchemaError, match=r"extent task, .*found \['facies'\]"):
        run(plan_of(archive, cards=["facies"]), tmp_path / "out")


def test_workers_with_too_little_memory_are_refused(plan, tmp_path):
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, memory_limit="400MiB",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        pytest.raises(GlacierCubeError, match=r"limit of 1\.\d+ GiB with(.|\n)*1 threads and 400"),
    ):  # fmt: skip
        run(plan, tmp_path / "out", client=client)


def test_without_a_scheduler_nobody_answers():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(GlacierCubeError, match="none answers at 'tcp://127.0.0.1:1'"),
        workers.remote_client("tcp://127.0.0.1:1"),
    ):
        pass


class Counting(distributed.WorkerPlugin):
    """Counts the networks that a worker process loads."""

    name = "counting"

    def setup(self, worker):
        load = registry._load
        worker.loaded = []

        def counted(ref):
            worker.loaded.append(ref.card.name)
            return load(ref)

        registry._load = counted


class Deadly(distributed.WorkerPlugin):
    """Kills the process that ingests one tile."""

    name = "deadly"

    def setup(self, worker):
        def dies(job):
            if job.tile.name == "t1_0":
                os._exit(9)
            return work(job)

        work = steps.cube_of
        steps.cube_of = dies


@pytest.mark.slow
def test_a_network_is_loaded_once_by_each_worker(plan, undisturbed, tmp_path):
    demand = demand_of(plan.options, runs.cards_of(plan))
    with workers.local_client(demand, workers=2, threads=2, memory_limit="6GiB") as client:
        client.register_plugin(Counting())
        report = run(plan, tmp_path / "out", client=client)
        loaded = client.run(lambda dask_worker: dask_worker.loaded)
        environment = client.run(lambda: dict(os.environ))
    assert len(report.done) == 4
    assert [sorted(names) for names in loaded.values()] == [["extent", "facies"]] * 2
    same_stores(tmp_path / "out", undisturbed[0], plan.names())
    for one in environment.values():
        assert workers.ENVIRONMENT.items() <= one.items()


@pytest.mark.slow
def test_a_tile_that_kills_its_workers_is_set_aside_and_no_other(plan, tmp_path):
    demand = demand_of(plan.options, runs.cards_of(plan))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        workers.local_client(demand, workers=1, threads=2, memory_limit="6GiB") as client,
    ):
        client.register_plugin(Deadly())
        report = run(plan, tmp_path / "out", client=client)
    assert sorted(report.done) == ["t0_0", "t0_1", "t1_1"]
    ((tile, cause),) = report.failed
    assert tile == "t1_0"
    assert cause.startswith("ingest: its workers died again and again")
    found = states.read_state(tmp_path / "out" / "t1_0", plan.fingerprint)
    assert (found.state, found.cause) == ("failed", cause)


@pytest.mark.slow
def test_prediction_goes_to_workers_that_declare_a_gpu(archive, tmp_path):
    plan = plan_of(archive, tiles=3)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        specs = {
            "plain": {},
            "gpu": {"resources": {"GPU": 1}},
        }
        for name, more in specs.items():
            options = {"nthreads": 1, "memory_limit": "6GiB", "dashboard": False, **more}
            cluster.worker_spec[name] = {"cls": distributed.Nanny, "options": options}
        cluster.sync(cluster._correct_state)
        client.wait_for_workers(2)
        report = run(plan, tmp_path / "out", client=client, resources={"GPU": 1})
        ran = client.run(lambda dask_worker: bool(dask_worker.state.total_resources))
        had = client.run(
            lambda: __import__("sys").modules.get("glaciercube.infer.block") is not None
        )
    assert len(report.done) == 3
    assert sorted(ran.values()) == [False, True]
    assert had == ran  # only where there is a GPU was a block predicted


@pytest.mark.slow
def test_without_a_client_workers_are_started_and_ended(archive, undisturbed, tmp_path):
    plan = plan_of(archive, tiles=1)
    report = run(plan, tmp_path / "out")
    assert report.done == ("t0_0",)
    same_stores(tmp_path / "out", undisturbed[0], ["t0_0"])
    with pytest.raises(ValueError, match="No client"):
        distributed.default_client()


@pytest.mark.slow
def test_a_plan_of_outlines_gives_what_other_tiles_give(
    archive, undisturbed, cluster_in_process, tmp_path
):
    made = plan_of(archive, tiles=4).frame
    planned = make_plan(
        made,
        tmp_path / "plan.parquet",
        catalog=archive.catalog,
        period="2021/2022",
        dem="cop-dem-glo-30",
        buffer_m=50,
        block=48,
        target_pixels=48 * 48,
    )
    assert len(planned) > 1
    out = tmp_path / "out"
    report = run(read_plan(planned.path), out, client=cluster_in_process)
    assert (sorted(report.done), report.failed) == (sorted(planned.names()), ())
    # the tiles lie elsewhere, the pixels of the glaciers do not
    first, second = (
        pd.concat([pd.read_parquet(path) for path in folder.glob("*/series.parquet")])
        .set_index(["glacier", "time"])
        .sort_index()[["area_observed", "observed_fraction", "aar", "snowline"]]
        for folder in (out, undisturbed[0])
    )
    assert len(first) == 8
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)


def test_where_files_of_a_tile_lie_is_checked():
    with pytest.raises(StoreError, match=r"found '\.\./t0_0'"):
        states.folder_of(Path("out"), "../t0_0")
