import ast
import re
from dataclasses import replace
from pathlib import Path

import guests
import pytest
import torch
from cards import BANDS, OF_TASK, make_card
from safetensors.torch import load_file
from torch import nn

import glaciercube as gcube
from glaciercube.errors import WeightsError
from glaciercube.model import authoring, zoo
from glaciercube.model.authoring import hold, inspect_again, save_weights, write_network
from glaciercube.model.card import read_card
from glaciercube.model.inspector import Inspection, inspect
from glaciercube.model.registry import network_of
from glaciercube.model.weights import sha256_of

FIELDS = {
    "name": "mine",
    "task": "facies",
    "bands": BANDS,
    "mean": (0.5, 0.45, 0.4, 0.2),
    "std": (0.3, 0.3, 0.25, 0.2),
    "categories": OF_TASK["facies"],
    "radiometry": ("surface",),
    "resolution_m": (9.0, 31.0),
}


@pytest.fixture
def network():
    return guests.seeded(guests.Plain(4, 5))


@pytest.fixture
def written(network, tmp_path):
    """Return a function that writes the network, with changes to what is given."""

    def write(path="mine.json", **changes):
        given = {"factory": "guests:build", "arguments": guests.ARGUMENTS, "licence": "MIT"}
        return write_network(network, tmp_path / path, **given | FIELDS | changes)

    return write


# --- both


def test_halo_stride_and_exactness_are_found(network):
    card = hold(network, **FIELDS)
    assert (card.halo, card.stride, card.exact, card.multiple) == (8, 4, True, 4)
    assert Inspection.of_record(card.inspection) == inspect(network, 4)
    assert (card.version, card.licence) == ("1", "NOASSERTION")


def test_a_network_that_is_not_exact_has_its_window():
    pooled = guests.Pooled(4, 5).eval()
    card = hold(pooled, **FIELDS, window=64)
    assert (card.exact, card.halo, card.stride, card.window) == (False, 0, 1, 64)
    with pytest.raises(WeightsError, match=r"'exact' must be False, the inspection found \['the"):
        hold(pooled, **FIELDS, exact=True)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"halo": 4}, "'halo' must be 8 or more as the inspection found, found 4"),
        ({"stride": 2}, "'stride' must be a multiple of 4 as the inspection found, not 2"),
        ({"categories": OF_TASK["facies"][:4]}, r"shape \(1, 4, 64, 68\) .*found \(1, 5, 64, 68"),
        ({"bands": BANDS[:3], "mean": (0.5,) * 3, "std": (0.3,) * 3}, r"take images \(1, 3, y, x"),
        ({"mean": (0.5,)}, "'mean' needs one value for each of 4 bands, found 1"),
        ({"sha256": "0" * 64, "colour": 1}, r"ModelCard; \['sha256', 'colour'\] are none of them"),
    ],
)
def test_what_does_not_fit_the_network_is_named(network, changes, match):
    with pytest.raises(WeightsError, match=match):
        hold(network, **FIELDS | changes)


def test_missing_fields_are_named(network, written):
    few = {name: value for name, value in FIELDS.items() if name not in ("std", "task")}
    with pytest.raises(WeightsError, match=r"needs the fields .*; \['task', 'std'\] are missing$"):
        hold(network, **few)
    with pytest.raises(
        WeightsError, match=r"'licence'\], and takes .*; \['licence'\] are missing$"
    ):
        write_network(network, "mine.json", factory="guests:build", arguments={}, **FIELDS)


def test_an_earlier_inspection_saves_another(network, monkeypatch):
    card = hold(network, **FIELDS)
    monkeypatch.setattr(authoring, "inspect", None)
    assert hold(network, **FIELDS, inspection=card.inspection) == card
    with pytest.raises(WeightsError, match="the record of an inspection needs "):
        hold(network, **FIELDS, inspection={"halo": 8})


def test_lists_are_taken_as_well(network):
    lists = {
        name: list(value) if isinstance(value, tuple) else value for name, value in FIELDS.items()
    }
    assert hold(network, **lists) == hold(network, **FIELDS)


@pytest.mark.parametrize("make", [hold, lambda *one, **more: write_network(*one, "x.json", **more)])
def test_training_mode_and_nan_are_refused(network, make):
    more = {} if make is hold else {"factory": "guests:build", "arguments": {}, "licence": "MIT"}
    network.scores.bias.data[0] = float("nan")
    with pytest.raises(WeightsError, match=r"must be finite, but \['scores.bias'\] hold NaN"):
        make(network, **FIELDS, **more)
    with pytest.raises(WeightsError, match="in training mode are"):
        make(network.train(), **FIELDS, **more)


def test_the_network_given_is_left_as_it_was(network, written):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.double()
    hold(network, **FIELDS)
    written()
    assert network.scores.weight.dtype == torch.float64
    assert network.scores.weight.requires_grad
    assert not network.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor.to(before[name].dtype), before[name], rtol=0, atol=0)


# --- written


def test_a_network_is_written_with_its_card(network, written, tmp_path):
    card = written("folder/mine.json")
    assert read_card(tmp_path / "folder/mine.json") == card
    assert Path(card.weights) == tmp_path / "folder/mine.safetensors"
    assert card.sha256 == sha256_of(card.weights)
    assert (card.architecture, card.arguments) == ("guests:build", guests.ARGUMENTS)
    image = torch.rand(1, 4, 30, 41)
    padded = nn.functional.pad(image, (0, 3, 0, 2))
    with torch.inference_mode():
        found, expected = network_of(card)(image), network(padded)[..., :30, :41]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_network_of_this_package_may_be_written_too(tmp_path):
    network = gcube.model.unet.UNet(4, 5, width=4, depth=2).eval()
    arguments = {"width": 4, "depth": 2}
    more = {"factory": "unet", "arguments": arguments, "licence": "MIT"}
    card = write_network(network, tmp_path / "unet.json", **FIELDS, **more)
    assert (card.halo, card.stride) == (24, 4)
    assert network_of(card).stride == 4


def test_arguments_of_another_network_are_found(written, tmp_path):
    with pytest.raises(WeightsError, match=r"first.0.weight' has shape \(4, 4, 3, 3\), needs \(5,"):
        written(arguments=guests.ARGUMENTS | {"width": 5})
    match = r"'dilation': 2.* must give its scores, but they differ by .*; give the arguments that"
    with pytest.raises(WeightsError, match=match):
        written(arguments=guests.ARGUMENTS | {"dilation": 2})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_a_written_network_predicts_as_the_one_in_memory(
    network, written, cube, tmp_path, scheduler
):
    cut = cube.isel(y=slice(0, 93), x=slice(0, 77)).chunk(time=1, band=-1, y=34, x=40)
    gcube.write(cut, tmp_path / "cube.zarr")
    stored = gcube.read(tmp_path / "cube.zarr")
    path = written() and tmp_path / "mine.json"
    held = gcube.predict(stored, hold(network, **FIELDS), outputs=["facies", "confidence"])
    found = gcube.predict(stored, path, outputs=["facies", "confidence"])
    found, held = found.compute(scheduler=scheduler), held.compute()
    assert found["facies"].equals(held["facies"])
    assert found["confidence"].equals(held["confidence"])


def test_a_written_network_is_predicted_again_from_the_recipe(written, cube, tmp_path):
    gcube.write(cube.chunk(time=1, band=-1, y=32, x=40), tmp_path / "cube.zarr")
    layers = gcube.predict(gcube.read(tmp_path / "cube.zarr"), written(), views=8)
    gcube.write(layers.drop_vars("elevation"), tmp_path / "layers.zarr")
    next((tmp_path / "layers.zarr" / "facies").rglob("c/*/*/*")).unlink()
    assert not gcube.verify(tmp_path / "layers.zarr").sound
    gcube.verify(tmp_path / "layers.zarr", repair=True)
    assert gcube.verify(tmp_path / "layers.zarr").sound


def test_the_page_for_users_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    page = Path(__file__).parents[2] / "docs" / "own_networks.md"
    cells = re.findall(r"^```{code-cell} ipython3\n(.*?)^```", page.read_text(), re.M | re.S)
    found = {}
    values = [_last_value(cell, found) for cell in cells]
    assert len(cells) == 4
    assert 0.1 < values[1] < 0.9
    assert values[2:] == [True, (0, 1, True, 1)]


def _last_value(cell, names):
    """Run a cell, and return the value of its last line."""
    *lines, last = ast.parse(cell).body
    exec(compile(ast.Module(lines, []), "a cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "a cell", "eval"), names)
    return None


# --- again


def test_weights_that_share_memory_are_saved(tmp_path):
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    network[1].weight = network[0].weight
    path = tmp_path / "shared.safetensors"
    assert save_weights(network, path) == sha256_of(path)
    assert load_file(path).keys() == {"0.weight", "1.weight"}
    assert [one.name for one in tmp_path.iterdir()] == ["shared.safetensors"]


def test_a_card_may_be_inspected_again(tmp_path):
    card = make_card(tmp_path)
    found = inspect_again(card)
    assert replace(found, inspection={}) == card
    assert (found.inspection["halo"], found.inspection["exact"]) == (3, True)


@pytest.mark.parametrize("name", zoo.names())
def test_the_bundled_cards_have_what_an_inspection_finds(name):
    """Where not, `write_card(inspect_again(card), path)` brings a card up to date."""
    card = zoo.card_of(name)
    found = inspect_again(card)
    same = {key: value for key, value in found.inspection.items() if key != "torch"}
    assert {key: card.inspection[key] for key in same} == same
    assert (card.halo, card.stride, card.exact) == (same["halo"], same["stride"], same["exact"])
