"""The memory of a network's tensors, without computing any of them."""

from dataclasses import replace

import guests
import pytest
import torch
from cards import make_card
from torch import nn

from glaciercube.model import footprint, networks
from glaciercube.model.footprint import activation_bytes, weight_bytes
from glaciercube.model.zoo import card_of


def counted(monkeypatch, network, card):
    """Return the footprint of a network in place of the card's."""
    monkeypatch.setattr(footprint.networks, "build", lambda _: network)
    return activation_bytes(card)


@pytest.fixture
def card(tmp_path):
    """Return a card of four bands."""
    return make_card(tmp_path)


def test_one_operation_keeps_its_input_and_its_output(card, monkeypatch):
    network = nn.Conv2d(4, 10, 1)
    assert counted(monkeypatch, network, card) == 4 * (4 + 10)


def test_what_is_not_needed_any_more_does_not_count(card, monkeypatch):
    network = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(20)))
    # the input, one tensor that is read and one that is written
    assert counted(monkeypatch, network, card) == 4 * (4 + 4 + 4)


def test_what_is_kept_for_later_counts(card, monkeypatch):
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(4, 50, 1)
            self.middle = nn.Sequential(nn.Conv2d(50, 4, 1), nn.Conv2d(4, 4, 1))

        def forward(self, image):
            kept = self.first(image)
            return torch.cat([kept, self.middle(kept)], dim=1)

    assert counted(monkeypatch, Skip(), card) == 4 * (4 + 50 + 4 + 54)


def test_an_operation_in_place_needs_nothing_more(card, monkeypatch):
    network = nn.Sequential(nn.Conv2d(4, 10, 1), nn.ReLU(inplace=True))
    assert counted(monkeypatch, network, card) == 4 * (4 + 10)


def test_wider_networks_need_more_and_no_weights_are_opened(tmp_path):
    narrow, wide = (
        replace(make_card(tmp_path, width=width), weights="nowhere") for width in (8, 32)
    )
    assert activation_bytes(wide) > 2 * activation_bytes(narrow)
    tensors = networks.build(wide).state_dict().values()
    assert weight_bytes(wide) == sum(one.nbytes for one in tensors)


def test_the_bundled_networks_are_as_the_docs_say():
    assert 900 < activation_bytes(card_of("facies")) < 1200


def test_a_network_of_another_package_of_some_sizes_is_counted(card):
    found = {"exact": True, "halo": 0, "stride": 48, "multiple": 48}
    more = {"architecture": "guests:build", "arguments": guests.ARGUMENTS}
    guest = replace(card, halo=48, stride=48, inspection=found, **more)
    assert 4 * 8 < activation_bytes(guest) < 4 * 64
