"""What is known of networks when `predict` is called, and where networks in memory may run."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dask
import guests
import numpy as np
import pytest
import torch
from cards import BANDS, OF_TASK, make_card

from glaciercube.errors import GlacierCubeError, WeightsError
from glaciercube.infer.lazy import predict
from glaciercube.infer.readiness import ready
from glaciercube.model import channels, hold, registry, trial, zoo
from glaciercube.model.padding import Padded

HERE = "lives in the memory of this process, but"
ELSEWHERE = "lives in the memory of the process that made it, and this is another one"


def held_card(seed=0, network=None, **changes):
    fields = {
        "name": "mine",
        "task": "facies",
        "bands": BANDS,
        "mean": (0.5, 0.45, 0.4, 0.2),
        "std": (0.3, 0.3, 0.25, 0.2),
        "categories": OF_TASK["facies"],
        "radiometry": ("surface",),
        "resolution_m": (9.0, 31.0),
    }
    return hold(network or guests.seeded(guests.Plain(4, 5), seed), **fields | changes)


def run(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


READY = (
    "import sys\n"
    "from dataclasses import replace\n"
    "from glaciercube.infer.readiness import ready\n"
    "from glaciercube.model.card import read_card\n"
    "card = read_card(sys.argv[1])\n"
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("", ""),
        ("card = replace(card, categories=card.categories[:4])\n", "and to give 4 categories"),
        ("card = replace(card, architecture='vnet')\n", "has ['deeplab', 'facies-cnn', 'fcn', "),
    ],
)
def test_weights_are_looked_at_without_torch(tmp_path, change, told):
    make_card(tmp_path)
    code = READY + change + "try:\n    ready(card)\nfinally:\n    print('torch' in sys.modules)"
    done = run(code, next(tmp_path.glob("*.json")))
    assert done.stdout.strip() == "False"
    assert (told in done.stderr) if told else (done.returncode == 0)


def test_all_tensors_are_compared_where_torch_is_loaded(tmp_path):
    card = make_card(tmp_path)
    with pytest.raises(WeightsError, match=r"blocks.0.0.weight' has shape \(8, 8.*needs \(9, 9"):
        ready(replace(card, arguments=card.arguments | {"width": 9}))
    with pytest.raises(WeightsError, match="states a halo of 2, its network needs 3 pixels"):
        ready(replace(card, halo=2))


def test_weights_may_be_on_another_machine(tmp_path):
    card = make_card(tmp_path)
    Path(card.weights).unlink()
    assert ready(card) == card


def test_bundled_weights_are_looked_at_where_the_package_lies_here(tmp_path, monkeypatch):
    card = make_card(tmp_path, seed=4)
    monkeypatch.setattr(zoo, "BUNDLED", tmp_path)
    elsewhere = replace(card, weights=f"/another/machine/{Path(card.weights).name}")
    ready(elsewhere)
    with pytest.raises(WeightsError, match=f"need sha256 {'0' * 64}, found {card.sha256}"):
        ready(replace(elsewhere, sha256="0" * 64))


# --- networks in memory


def by_hand(cube, card, network, date=0):
    """Return the categories' probabilities of a whole image by plain torch."""
    image, _ = channels.stack(cube["reflectance"].values[date], cube["band"].values, card)
    with torch.inference_mode():
        scores = Padded(network, 4)(torch.from_numpy(image[np.newaxis]))[0]
    return scores.softmax(0).numpy()


@pytest.mark.parametrize("chunks", [{"y": 96, "x": 80}, {"y": 31, "x": 33}, {"y": 20, "x": 80}])
def test_a_network_of_some_sizes_in_memory_tiles_exactly(cube, chunks):
    cut = cube.isel(y=slice(0, 93), x=slice(0, 77))
    card = held_card()
    assert (card.halo, card.stride, card.multiple) == (8, 4, 4)
    lazy = cut.chunk(time=1, band=-1, **chunks)
    found = predict(lazy, [card], outputs=["probability"])["probability"][0].compute()
    expected = by_hand(cut, card, guests.seeded(guests.Plain(4, 5)))
    measured = ~np.isnan(found.values)
    assert 0.5 < measured.mean() < 1
    np.testing.assert_allclose(found.values[measured], expected[measured], rtol=0, atol=1e-5)


def test_eight_views_of_a_network_of_some_sizes_tile_exactly(cube):
    cut = cube.isel(time=[0], y=slice(0, 93), x=slice(0, 77))
    options = {"outputs": ["probability"], "views": 8}
    whole = predict(cut, [held_card()], **options)["probability"].compute()
    lazy = cut.chunk(time=1, band=-1, y=31, x=33)
    found = predict(lazy, [held_card()], **options)["probability"].compute()
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6)
    once = predict(cut, [held_card()], outputs=["probability"])["probability"].compute()
    assert float(abs(once - whole).max()) > 1e-3


def test_a_change_afterwards_changes_nothing(lazy_cube):
    network = guests.seeded(guests.Plain(4, 5))
    card = held_card(network=network)
    expected = predict(lazy_cube, [card])["confidence"].compute()
    with torch.no_grad():
        network.scores.weight.zero_()
    np.testing.assert_array_equal(predict(lazy_cube, [card])["confidence"], expected)
    changed = held_card(network=network)
    assert changed.sha256 != card.sha256
    names = [predict(lazy_cube, [one])["confidence"].data.name for one in (card, changed)]
    assert names[0] != names[1]


def test_a_network_in_memory_is_no_card_of_another_process(monkeypatch):
    card = held_card()
    assert ready(card) == card
    monkeypatch.setattr(registry, "_held", {})
    with pytest.raises(WeightsError, match=f"{ELSEWHERE}; save it with glaciercube.model.write_n"):
        ready(card)


def test_dask_set_to_processes_is_refused_when_predict_is_called(lazy_cube):
    card = held_card()
    with (
        dask.config.set(scheduler="processes"),
        pytest.raises(WeightsError, match=f"{HERE} Dask's scheduler 'processes' computes in oth"),
    ):
        predict(lazy_cube, [card])
    with dask.config.set(scheduler="threads"):
        predict(lazy_cube, [card])["facies"].compute()


@pytest.mark.slow
def test_processes_asked_for_later_are_told(lazy_cube):
    facies = predict(lazy_cube, [held_card()])["facies"]
    with pytest.raises(GlacierCubeError, match=f"time 2021-08-01, y .*: the .* {ELSEWHERE}"):
        facies[:1].compute(scheduler="processes")


@pytest.mark.slow
def test_a_client_of_other_processes_is_refused_when_predict_is_called(lazy_cube):
    distributed = pytest.importorskip("distributed")
    card = held_card()
    facies = predict(lazy_cube, [card])["facies"]
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        match = f"{HERE} the Dask client at {cluster.scheduler_address} computes in others; pre"
        with pytest.raises(WeightsError, match=match):
            predict(lazy_cube, [card])
        with pytest.raises(WeightsError, match=f"infer.predict failed on time .* {ELSEWHERE}"):
            client.compute(facies).result(timeout=60)
        with dask.config.set(scheduler="threads"):
            here = predict(lazy_cube, [card])["facies"].compute()
    np.testing.assert_array_equal(here, facies.compute())


@pytest.mark.slow
def test_a_client_of_this_process_computes_a_network_in_memory(lazy_cube):
    distributed = pytest.importorskip("distributed")
    card = held_card()
    expected = predict(lazy_cube, [card])["facies"].compute()
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 2}
    with (
        distributed.LocalCluster(**options, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        np.testing.assert_array_equal(predict(lazy_cube, [card])["facies"].compute(), expected)


def test_nothing_is_tried_twice(lazy_cube, monkeypatch):
    inspected = []
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.setattr(trial, "_inspections", {})
    original = trial.inspect
    monkeypatch.setattr(trial, "inspect", lambda *one: (inspected.append(1), original(*one))[1])
    card = replace(held_card(), inspection={}, halo=12)
    found = [ready(card) for _ in range(3)]
    assert len(inspected) == 1
    assert [one.multiple for one in found] == [4, 4, 4]
    ready(replace(card, halo=16))
    assert len(inspected) == 2
