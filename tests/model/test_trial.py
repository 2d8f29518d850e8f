from dataclasses import replace
from pathlib import Path

import guests
import pytest
import torch
from cards import fields_of, make_card
from safetensors.torch import save_file

from glaciercube.errors import WeightsError
from glaciercube.model.card import WINDOW, ModelCard
from glaciercube.model.trial import SIDE, images, require_runs, tried

INSPECTED = {"exact": True, "halo": 8, "stride": 4, "multiple": 4}


@pytest.fixture
def card(tmp_path):
    """Return the card of a network of another package, without an inspection."""
    weights = tmp_path / "guest.safetensors"
    save_file(guests.Plain(4, 5).state_dict(), weights)
    more = {"architecture": "guests:build", "arguments": guests.ARGUMENTS, "halo": 8, "stride": 4}
    return ModelCard(**fields_of(weights, name="guest", **more))


def test_a_network_of_another_package_is_inspected(card):
    found = tried(card)
    assert {name: found.inspection[name] for name in INSPECTED} == INSPECTED
    assert replace(found, inspection={}) == card
    assert tried(found) is found


def test_an_inspection_on_the_card_is_believed(card):
    inspected = replace(card, inspection=INSPECTED)
    assert tried(inspected) is inspected


def test_weights_may_be_elsewhere(card):
    Path(card.weights).unlink()
    assert tried(card).multiple == 4


def test_other_weights_are_tried_again(card):
    tried(card)
    save_file(guests.Plain(4, 5, width=6).state_dict(), card.weights)
    fields = fields_of(card.weights)
    with pytest.raises(WeightsError, match=r"first.0.weight' has shape \(6, 4, 3, 3\), needs \(4"):
        tried(replace(card, sha256=fields["sha256"]))


def test_a_network_that_is_not_exact_gets_its_window(card):
    assert [tuple(one.shape) for one in images(replace(card, exact=False, window=96))] == [
        (1, 4, 96, 96)
    ]
    (image,) = images(replace(card, exact=False, stride=12))
    assert image.shape[2] == image.shape[3] == -(-WINDOW // 12) * 12
    assert tried(replace(card, exact=False)).inspection == {}
    with pytest.raises(WeightsError, match=r"of shape \(1, 4, 30, 30\), .* RuntimeError: Sizes of"):
        tried(replace(card, exact=False, window=30, stride=1))


def test_an_exact_network_gets_sides_that_differ_and_a_border(card):
    shapes = [tuple(one.shape) for one in images(card)]
    assert shapes == [(1, 4, SIDE, SIDE + 4), (1, 4, SIDE + 1, SIDE)]


def test_a_network_of_this_package_is_not_run(tmp_path, monkeypatch):
    own = make_card(tmp_path, seed=11)
    monkeypatch.setattr("glaciercube.model.trial.require_runs", None)
    assert tried(own) is own


class Several(torch.nn.Module):
    def forward(self, image):
        return {"out": image}


def test_scores_are_one_tensor(card):
    with pytest.raises(WeightsError, match="must give scores .*found dict: one for each of"):
        require_runs(Several(), card)


def test_scores_are_of_the_categories(card):
    with pytest.raises(WeightsError, match=r"shape \(1, 5, 64, 68\) .*found \(1, 4, 64, 68\)"):
        require_runs(torch.nn.Identity(), card)
