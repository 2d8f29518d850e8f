from dataclasses import replace

import guests
import pytest
import torch
from cards import make_card

from glaciercube.errors import WeightsError
from glaciercube.model import networks
from glaciercube.model.card import ModelCard
from glaciercube.model.factories import build, factory_of


@pytest.fixture
def card(tmp_path):
    """Return a card of a network of another package; its weights are others."""
    made = make_card(tmp_path)
    return replace(made, architecture="guests:build", arguments=guests.ARGUMENTS, exact=False)


def test_a_factory_gets_the_arguments_and_nothing_else(card):
    network = build(card)
    assert isinstance(network, guests.Plain)
    assert network(torch.zeros(1, 4, 8, 12)).shape == (1, 5, 8, 12)
    wide = build(replace(card, arguments=guests.ARGUMENTS | {"width": 7}))
    assert wide.first[0].out_channels == 7
    assert isinstance(networks.build(card), guests.Plain)


def test_a_class_is_a_factory(card):
    assert isinstance(build(replace(card, architecture="guests:Plain")), guests.Plain)


def test_building_leaves_the_random_state_alone(card):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(card)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "name", ["guests:unannotated", "os:system", "pickle:load", "torch:load", "guests:CALLS"]
)
def test_only_what_says_that_it_gives_a_network_is_called(card, name):
    with pytest.raises(WeightsError, match=rf"{name}' must be a class of torch.nn.Module, or a f"):
        build(replace(card, architecture=name, arguments={"command": "echo", "file": "x"}))
    assert not guests.CALLS


@pytest.mark.parametrize("name", ["guests:unresolved", "guests:nothing_of_this_name"])
def test_what_cannot_be_told_is_not_called(name):
    with pytest.raises(WeightsError, match="must be a class of torch.nn.Module"):
        factory_of(name)


def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"the module 'nobodys.networks', .*No module named"):
        factory_of("nobodys.networks:build")
    (tmp_path / "broken_guest.py").write_text("raise OSError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match=r"'broken_guest', .*OSError: no licence; install its"):
        factory_of("broken_guest:build")


def test_a_notebook_is_no_package():
    with pytest.raises(WeightsError, match="of a notebook or script, .* glaciercube.model.hold"):
        factory_of("__main__:build")


@pytest.mark.parametrize("name", ["mine/nets.py:build", "a-b:build", "a.b:", ":build", "a:b:c"])
def test_a_path_is_no_name(card, name):
    with pytest.raises(WeightsError, match=rf"must be 'package.module:build', .*found '{name}'"):
        replace(card, architecture=name)


def test_a_factory_that_fails_is_shown_with_its_arguments(card):
    match = r"'guests:fails' of the card 'small-facies' .*'classes': 5}, .*RuntimeError: no weights"
    with pytest.raises(WeightsError, match=match):
        build(replace(card, architecture="guests:fails"))
    with pytest.raises(WeightsError, match=r"but it failed: TypeError: .*'bands'"):
        build(replace(card, arguments={"bands": 4}))


def test_a_factory_gives_a_network(card):
    with pytest.raises(WeightsError, match="must give a torch.nn.Module, found a dict"):
        build(replace(card, architecture="guests:a_dict"))


def test_a_card_says_whether_its_network_is_foreign(card):
    assert isinstance(card, ModelCard)
    assert card.foreign
    assert not replace(card, architecture="fcn").foreign
