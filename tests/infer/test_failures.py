"""The error of a block names its place once, and why, wherever it was computed."""

import os
from pathlib import Path

import guests
import pytest
from cards import fields_of
from safetensors.torch import save_file

import glaciercube as gcube
from glaciercube.errors import GlacierCubeError, StoreError, WeightsError
from glaciercube.infer import runtimes
from glaciercube.infer.failures import placed
from glaciercube.model import registry
from glaciercube.model.card import ModelCard
from glaciercube.store.writing import IncompleteWriteError

HERE = ("2021-08-01", (0, 32), (32, 64))
WHERE = "infer.predict failed on time 2021-08-01, y 0-32, x 32-64: "


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (WeightsError("no such file"), WeightsError, "no such file"),
        (IncompleteWriteError("2 blocks", None), StoreError, "2 blocks"),
        (KeyError("B03"), GlacierCubeError, "KeyError: 'B03'"),
        (MemoryError(), GlacierCubeError, "MemoryError"),
        (guests.Odd(3, "here"), GlacierCubeError, "Odd: code 3 at here"),
    ],
)
def test_the_place_comes_first_and_the_cause_after(error, kind, text):
    found = placed(error, *HERE)
    assert type(found) is kind
    assert str(found) == WHERE + text


def test_a_place_is_not_named_twice():
    once = placed(KeyError("B03"), *HERE)
    assert placed(once, "2022-08-01", (0, 1), (0, 1)) is once


@pytest.fixture
def stored(cube, tmp_path):
    gcube.write(cube.chunk(time=1, band=-1, y=32, x=40), tmp_path / "cube.zarr")
    return gcube.read(tmp_path / "cube.zarr")


@pytest.fixture
def broken(stored, card, monkeypatch):
    """Return layers whose weights are gone since."""
    monkeypatch.setattr(registry, "_networks", {})
    monkeypatch.setattr(runtimes, "_runtimes", {})
    layers = gcube.predict(stored, card)
    Path(card.weights).unlink()
    return layers


def require_once(text):
    assert text.count("infer.predict failed on") == 1, text
    for part in ("time 2022-08-05, y 64-96, x 40-80", "no such file"):
        assert text.count(part) == 1, text


BLOCK = {"time": slice(1, 2), "y": slice(64, 96), "x": slice(40, 80)}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_block_that_fails_here(broken, scheduler):
    with pytest.raises(WeightsError) as caught:
        broken["facies"][BLOCK].compute(scheduler=scheduler)
    require_once(str(caught.value))
    assert isinstance(caught.value.__cause__, WeightsError)


def test_a_store_that_could_not_be_completed_names_each_block_and_its_cause(broken, tmp_path):
    part = broken.drop_vars(["elevation", "valid"])
    with pytest.raises(IncompleteWriteError) as caught:
        gcube.write(part, tmp_path / "layers.zarr")
    lines = str(caught.value).splitlines()[1:11]
    assert lines[0].startswith(
        "  WeightsError: infer.predict failed on time 2021-08-01, y 0-32, x 0-40: the card needs"
    )
    for part in ("infer.predict failed on", ", y ", ", x ", "no such file"):
        assert all(line.count(part) == 1 for line in lines)
    assert isinstance(caught.value.__cause__, WeightsError)


@pytest.mark.slow
def test_a_block_that_fails_in_another_process(broken):
    with pytest.raises(WeightsError) as caught:
        broken["facies"][BLOCK].compute(scheduler="processes")
    require_once(str(caught.value).split("Traceback")[0])


@pytest.fixture
def client():
    """Return a client whose worker is another process."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert client.submit(os.getpid).result() != os.getpid()
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 2])
def test_a_block_that_fails_on_a_worker_is_told_with_its_cause(broken, client, retries):
    with pytest.raises(WeightsError) as caught:
        client.compute(broken["facies"][BLOCK], retries=retries).result()
    require_once(str(caught.value))
    assert isinstance(caught.value.__cause__, WeightsError)


@pytest.mark.slow
def test_an_error_that_cannot_travel_is_told_all_the_same(stored, tmp_path, client):
    """What a network of another package raises may not be pickled and made again."""
    weights = tmp_path / "failing.safetensors"
    save_file(guests.Failing(4, 5).state_dict(), weights)
    more = {"architecture": "guests:Failing", "arguments": guests.ARGUMENTS, "halo": 0}
    inspection = {"exact": True, "halo": 0, "stride": 1, "multiple": 1}
    card = ModelCard(**fields_of(weights, inspection=inspection, **more))
    facies = gcube.predict(stored, card)["facies"][BLOCK]
    match = "time 2022-08-05, y 64-96, x 40-80: Odd: code 3 at forward$"
    with pytest.raises(GlacierCubeError, match=match):
        facies.compute(scheduler="synchronous")
    with pytest.raises(GlacierCubeError, match=match):
        client.compute(facies).result(timeout=60)
