import shutil
from pathlib import Path

import pytest
from cards import make_card

from glaciercube.errors import WeightsError
from glaciercube.model import zoo
from glaciercube.model.fcn import FCN
from glaciercube.model.registry import network_of
from glaciercube.model.zoo import card_of, names


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Return the folder of two bundled networks, "extent" and "facies"."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    for task in ("facies", "extent"):
        make_card(tmp_path, task=task)
        shutil.copy(tmp_path / f"{task}-0-8.json", folder / f"{task}.json")
        shutil.copy(tmp_path / f"{task}-0-8.safetensors", folder)
    monkeypatch.setattr(zoo, "BUNDLED", folder)
    return folder


def test_bundled_networks_go_by_name(bundled):
    assert names() == ("extent", "facies")
    assert card_of("facies").task == "facies"
    assert Path(card_of("facies").weights).parent == bundled


@pytest.mark.parametrize("kind", [str, Path])
def test_a_card_is_found_by_path(bundled, tmp_path, kind):
    path = tmp_path / "extent-0-8.json"
    assert card_of(kind(path)).weights == str(tmp_path / "extent-0-8.safetensors")


def test_a_card_is_given_back(bundled):
    card = card_of("facies")
    assert card_of(card) is card


def test_an_unknown_name_lists_the_bundled(bundled):
    with pytest.raises(
        WeightsError, match=r"no network 'unet' .* there are \['extent', 'facies'\]"
    ):
        card_of("unet")


@pytest.mark.parametrize("model", [FCN(4, 5, width=4), {"weights": 1}, None])
def test_something_else_is_told_by_its_kind(model):
    name = type(model).__name__
    with pytest.raises(WeightsError, match=f"found {name}; for a network in memory, make its card"):
        card_of(model)


def test_a_path_without_a_card_is_named(bundled, tmp_path):
    with pytest.raises(WeightsError, match="no card at '.*mine.json'"):
        card_of(tmp_path / "mine.json")
    with pytest.raises(WeightsError, match="a card must be a JSON file, found .*unet.pt"):
        card_of("unet.pt")


@pytest.mark.parametrize("name", names())
def test_what_comes_with_the_package_loads(name):
    card = card_of(name)
    assert card.halo >= network_of(card).halo
    assert card.limits
    assert card.training
