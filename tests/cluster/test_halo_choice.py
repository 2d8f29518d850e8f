"""The halo of a run: chosen once, on its first tile, and the same for all tiles and resumes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.dask_processes import workers_here
from cluster.made import plan_of, same_stores, same_tables
from glaciercube.cluster import choices, halo_choice, runs, states, steps
from glaciercube.cluster.checking import verify_run
from glaciercube.cluster.runs import run
from glaciercube.errors import SchemaError, StoreError, WeightsError
from glaciercube.infer import effective, lazy
from glaciercube.store.lineage import lineage_of
from glaciercube.store.reading import read

ASKED = {"halo": "effective", "disagreement": 0.002}


@pytest.fixture(scope="module")
def measured(archive, tmp_path_factory):
    """Return the folder of a run with an effective halo, with its report."""
    out = tmp_path_factory.mktemp("measured") / "out"
    with workers_here() as client:
        return out, run(plan_of(archive, tiles=3), out, client=client, spread="tiles", **ASKED)


def halo_of(out, tile):
    layers = read(out / tile / "layers.zarr")
    assert lineage_of(layers["facies"]) is not None
    return layers.attrs["halo"]


def test_all_tiles_have_the_halo_of_the_first(measured):
    out, report = measured
    assert report.failed == ()
    chosen = report.choices["halo"]
    assert 0 < chosen["halo"] < chosen["exact"] == 15
    assert chosen["disagreement"] <= chosen["upper"] <= chosen["bound"] == 0.002
    assert chosen["tile"] in {"t0_0", "t0_1", "t1_0"}
    for tile in ("t0_0", "t0_1", "t1_0"):
        attrs = read(out / tile / "layers.zarr").attrs
        assert attrs["halo"] == chosen["halo"]
        assert attrs["halo_exact"] == 15
        assert attrs["halo_sample_pixels"] == chosen["pixels"]
    assert report.asked == ASKED
    assert f"\n  halo: halo {chosen['halo']}, exact 15, disagreement" in str(report)
    assert json.loads((out / "choice-halo.json").read_bytes())["choice"] == chosen


def test_a_resume_measures_nothing_and_gives_the_same(
    measured, archive, cluster_in_process, tmp_path, monkeypatch
):
    out = Path(shutil.copytree(measured[0], tmp_path / "out"))
    plan = plan_of(archive, tiles=3)
    for tile, kept in (("t0_1", ("ingest",)), ("t1_0", ("ingest",))):
        found = states.read_state(out / tile, plan.fingerprint)
        steps_done = {name: found.steps[name] for name in kept}
        states.write_state(
            out / tile, replace(found, state="running", step="predict", steps=steps_done)
        )
    shutil.rmtree(out / "t0_1" / "layers.zarr")
    for record in sorted((out / "t1_0" / "layers.zarr").glob("_glaciercube/ledger/*.json"))[:3]:
        record.unlink()
    monkeypatch.setattr(effective, "effective_halo", None)
    report = run(plan, out, client=cluster_in_process, spread="tiles")  # as it was begun
    assert (set(report.done), report.skipped, report.failed) == ({"t0_1", "t1_0"}, 1, ())
    assert report.choices == measured[1].choices
    assert report.asked == ASKED
    same_stores(out, measured[0], plan.names())
    same_tables(out, measured[0], "t0_1")
    again = run(plan, out, client=cluster_in_process, **ASKED)
    assert (again.skipped, again.choices) == (3, report.choices)


def test_a_tile_adopts_what_another_has_chosen_meanwhile(measured, archive, tmp_path, monkeypatch):
    out = Path(shutil.copytree(measured[0], tmp_path / "out"))
    (out / "choice-halo.json").unlink()
    cube = read(out / "t0_0" / "cube.zarr")
    cards = runs.cards_of(plan_of(archive, tiles=3))
    other = {**measured[1].choices["halo"], "halo": 14, "tile": "t1_0"}
    original = effective.effective_halo

    def slow(*args):
        content = json.dumps({"format": 1, "choice": other}).encode()
        assert choices.Directory(out).create("choice-halo.json", content)
        return original(*args)

    monkeypatch.setattr(effective, "effective_halo", slow)
    found = halo_choice.halo_of_run(out, "t0_0", cube, cards)
    assert found.halo == 14
    assert lazy.predict(cube, cards, halo=found).attrs["halo"] == 14


def test_a_number_holds_for_all_tiles(archive, cluster_in_process, tmp_path):
    plan, out = plan_of(archive, tiles=1), tmp_path / "out"
    report = run(plan, out, client=cluster_in_process, spread="tiles", halo=8)
    assert (report.asked, set(report.choices)) == ({"halo": 8}, {"runtime"})
    attrs = read(out / "t0_0" / "layers.zarr").attrs
    assert attrs["halo"] == 8
    assert "halo_exact" not in attrs
    for other in (9, "effective"):
        with pytest.raises(StoreError, match=rf"was begun with halo=8, found halo={other!r}"):
            run(plan, out, client=cluster_in_process, halo=other)


def test_a_run_without_a_word_has_the_exact_halo(undisturbed, plan, cluster_in_process):
    out, report = undisturbed
    assert (report.asked, set(report.choices)) == ({}, {"runtime"})
    assert read(out / "t0_0" / "layers.zarr").attrs["halo"] == 15
    with pytest.raises(StoreError, match="begun with halo=None, found halo='effective'; leave it"):
        run(plan, out, client=cluster_in_process, halo="effective")


def test_a_repair_takes_the_halo_of_the_run(measured, archive, tmp_path, monkeypatch):
    out = Path(shutil.copytree(measured[0], tmp_path / "out"))
    store = out / "t0_0" / "layers.zarr"
    lost = next(path for path in sorted(store.glob("facies/c/**/*")) if path.is_file())
    expected = lost.read_bytes()
    lost.unlink()
    monkeypatch.setattr(effective, "effective_halo", None)
    reports = verify_run(out, plan=plan_of(archive, tiles=3))
    assert reports["t0_0/layers.zarr"].repaired == 1
    assert lost.read_bytes() == expected


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"halo": -1}, SchemaError, "0 or more, or 'effective', found -1"),
        ({"halo": "effective", "disagreement": 0}, SchemaError, "above 0 and below 1.* found 0"),
    ],
)
def test_a_halo_of_no_use_is_refused_before_the_run_begins(plan, tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        run(plan, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_networks_that_are_not_exact_have_no_effective_halo(plan):
    cards = tuple(replace(card, exact=False, halo=0, window=64) for card in runs.cards_of(plan))
    with pytest.raises(WeightsError, match="tile exactly"):
        halo_choice.asked_of("effective", 1e-4, cards)


def test_what_is_to_be_predicted_names_the_folder_only(measured, archive):
    plan = plan_of(archive, tiles=3)
    job = next(runs.jobs_of(plan, measured[0], runs.cards_of(plan), ["t0_0"]))
    assert steps.layers_of(job).attrs["halo"] == measured[1].choices["halo"]["halo"]
