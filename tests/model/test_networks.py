from dataclasses import replace

import pytest
import torch
from cards import make_card

from glaciercube.errors import WeightsError
from glaciercube.model import published_inspections
from glaciercube.model.fcn import FCN
from glaciercube.model.inspector import inspect
from glaciercube.model.networks import NETWORKS, build
from glaciercube.model.unet import ResUNet, UNet


@pytest.fixture
def card(tmp_path):
    return make_card(tmp_path)


def test_sizes_follow_from_the_card(card):
    network = build(card)
    assert isinstance(network, FCN)
    assert network(torch.zeros(1, 4, 9, 11)).shape == (1, 5, 9, 11)
    assert network.halo == 3


@pytest.mark.parametrize(("name", "kind"), [("unet", UNet), ("resunet", ResUNet)])
def test_a_card_may_have_a_unet(card, name, kind):
    network = build(replace(card, architecture=name, arguments={"width": 4, "depth": 2}))
    assert isinstance(network, kind)
    assert (network.stride, network.halo) == (4, 24)


SMALL = {
    "fcn": [{"width": 4}, {"width": 4, "dilations": [1, 3], "spectral": True}, {"dilations": []}],
    "unet": [{"width": 4}, {"width": 4, "depth": 2, "nearest": True}],
    "resunet": [{"width": 4}, {"width": 4, "depth": 1}],
    "facies-cnn": [{"mode": "convolutional"}],
}


@pytest.mark.parametrize(
    ("name", "arguments"), [(name, one) for name in SMALL for one in SMALL[name]]
)
def test_an_inspection_finds_what_a_network_says_of_itself(card, name, arguments):
    network = build(replace(card, architecture=name, arguments=arguments)).eval()
    found = inspect(network, len(card.bands))
    assert found.exact
    assert found.halo == found.analytic_halo == found.measured_halo == network.halo
    assert found.stride == getattr(network, "stride", 1)
    assert found.multiple == 1


def test_all_others_have_inspections_on_record():
    recorded = {each.split()[0] for each in published_inspections.FOUND}
    assert set(NETWORKS) == set(SMALL) | recorded


def test_building_leaves_the_random_state_alone(card):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(card)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_architecture_lists_the_known(card):
    with pytest.raises(WeightsError, match=r"architecture 'vnet'; .*'fcn', .*'resunet', 'unet'\]"):
        build(replace(card, architecture="vnet"))


def test_arguments_the_architecture_does_not_take_are_shown(card):
    with pytest.raises(WeightsError, match=r"does not take the arguments .*'depth': 3.*depth"):
        build(replace(card, arguments={"depth": 3}))


def test_arguments_that_contradict_the_card_are_shown(card):
    with pytest.raises(WeightsError, match="has {'bands': 4, 'categories': 5}, but .*'bands': 6"):
        build(replace(card, arguments={"bands": 6}))
    assert build(replace(card, arguments={"bands": 4})).halo == 15
