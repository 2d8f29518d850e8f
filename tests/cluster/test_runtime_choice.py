"""The runtime of a run: chosen once, and the same for all tiles and resumes."""

import shutil
from pathlib import Path

import pytest

from cluster.made import plan_of, same_stores
from glaciercube.cluster import choices, runs, runtime_choice, states
from glaciercube.cluster.runs import run
from glaciercube.errors import StoreError, WeightsError
from glaciercube.infer import choices as measuring
from glaciercube.infer import settling
from glaciercube.infer.choices import Choice
from glaciercube.infer.layers import networks_of
from glaciercube.store.reading import read

EAGER = "torch-eager"
TILES = ("t0_0", "t0_1", "t1_0")


@pytest.fixture
def large(monkeypatch):
    """Let all runs count as large, and the plain network be the fastest; count what is measured."""
    measured = []

    def fastest(card, tiles):
        measured.append(card.name)
        return Choice(EAGER, 0.9999, sum(int(tile.measured.sum()) for tile in tiles))

    monkeypatch.setattr(runtime_choice, "SMALL", 1)
    monkeypatch.setattr(measuring, "_fastest", fastest)
    monkeypatch.setattr(settling, "_chosen", {})
    return measured


def test_all_tiles_run_as_was_measured_on_the_first(archive, cluster_in_process, tmp_path, large):
    plan, out = plan_of(archive, tiles=3), tmp_path / "out"
    report = run(plan, out, client=cluster_in_process, spread="tiles")
    assert report.failed == ()
    names = [card.name for card in runs.cards_of(plan)]
    assert sorted(large) == sorted(names)
    chosen = report.choices["runtime"]
    assert chosen["tile"] in TILES
    assert {one["choice"] for one in chosen["networks"]} == {EAGER}
    for tile in TILES:
        attrs = read(out / tile / "layers.zarr").attrs
        assert attrs["runtime"] == EAGER
        told = [(one["agreement"], one["pixels"]) for one in networks_of(attrs)]
        assert told == [(one["agreement"], one["pixels"]) for one in chosen["networks"]]
    assert f"\n  runtime: {names[0]} in {EAGER}, " in str(report)
    resumed = Path(shutil.copytree(out, tmp_path / "resumed"))
    shutil.rmtree(resumed / "t0_1" / "layers.zarr")
    found = states.read_state(resumed / "t0_1", plan.fingerprint)
    state = states.State(
        plan=plan.fingerprint,
        state="running",
        step="predict",
        steps={"ingest": found.steps["ingest"]},
    )
    states.write_state(resumed / "t0_1", state)
    again = run(plan, resumed, client=cluster_in_process, spread="tiles")
    assert (again.done, again.choices) == (("t0_1",), report.choices)
    assert len(large) == len(names)
    same_stores(resumed, out, TILES)


def test_a_small_run_takes_float32_without_measuring(undisturbed, plan):
    out, report = undisturbed
    chosen = report.choices["runtime"]["networks"]
    assert [(one["choice"], one["precision"]) for one in chosen] == [("torch", "float32")] * 2
    assert all("pixels" not in one for one in chosen)
    assert read(out / "t0_0" / "layers.zarr").attrs["runtime"] == "torch"


def test_a_name_holds_for_all_tiles(archive, cluster_in_process, tmp_path):
    plan, out = plan_of(archive, tiles=1), tmp_path / "out"
    report = run(plan, out, client=cluster_in_process, spread="tiles", runtime=EAGER)
    assert (report.asked, report.choices) == ({"runtime": EAGER}, {})
    assert read(out / "t0_0" / "layers.zarr").attrs["runtime"] == EAGER
    with pytest.raises(StoreError, match="was begun with runtime='torch-eager', found .*'torch'"):
        run(plan, out, client=cluster_in_process, runtime="torch")


def test_a_tile_without_a_measured_pixel_leaves_the_choice_to_others(
    undisturbed, plan, tmp_path, large
):
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(undisturbed[0] / states.RUN, folder)
    cube = read(undisturbed[0] / "t0_0" / "cube.zarr")
    dark = cube.assign(valid=cube["valid"] & False)
    cards = runs.cards_of(plan)
    some = (folder, "t0_0", 3)
    assert runtime_choice.runtime_of_run(*some, dark, cards, None) == "auto"
    assert choices.chosen(folder, "runtime") is None
    found = runtime_choice.runtime_of_run(*some, cube, cards, None)
    assert {one.runtime for one in found} == {EAGER}
    assert runtime_choice.runtime_of_run(*some, dark, cards, None) == found


def test_a_runtime_of_no_use_is_refused_before_the_run_begins(plan, tmp_path):
    with pytest.raises(WeightsError, match="needs one of .* found 'fast'"):
        run(plan, tmp_path / "out", runtime="fast")
    assert not (tmp_path / "out").exists()
