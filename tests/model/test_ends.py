from dataclasses import replace

import pytest
from cards import make_card
from safetensors.torch import load_file

from glaciercube.errors import WeightsError
from glaciercube.model import ends, networks, zoo
from glaciercube.model.ends import ENDS, require_ends
from glaciercube.model.tensors import shapes_of
from glaciercube.model.zoo import card_of

ARGUMENTS = {
    "fcn": {"width": 8, "dilations": [1]},
    "unet": {"width": 4, "depth": 1},
    "resunet": {"width": 4, "depth": 1},
    "deeplab": {"width": 2, "blocks": 1, "rates": [1]},
    "utae": {"width": 4, "heads": 2, "depth": 1},
    "resunet3d": {"width": 2, "depth": 1},
    "facies-cnn": {},
    "glavitu": {"sources": [3, 1], "window": 16},
    "icemapper": {"dates": 2},
}
DATES = {"utae": {"count": 3, "day": True}, "resunet3d": {"count": 2, "day": True}}


def shapes(card):
    return {name: tuple(one.shape) for name, one in load_file(card.weights).items()}


def test_every_architecture_has_ends():
    assert set(ENDS) == set(networks.NETWORKS) == set(ARGUMENTS)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("spectral", [False, True])
def test_channels_and_categories_are_told_from_the_weights(tmp_path, name, spectral):
    arguments = ARGUMENTS[name] | ({"spectral": True} if spectral and name == "fcn" else {})
    more = {"halo": 16, "stride": 2, "dates": DATES.get(name, {})}
    card = make_card(tmp_path, architecture=name, arguments=arguments, **more)
    found = shapes(card)
    require_ends(card, found)
    fewer = replace(card, bands=card.bands[1:], mean=card.mean[1:], std=card.std[1:])
    match = r"take \d+ channels, those of the bands \['red', .* found \d+ channels and 5 cat"
    with pytest.raises(WeightsError, match=match):
        require_ends(fewer, found)
    with pytest.raises(WeightsError, match=r"give 4 categories, .*found \d+ channels and 5 cat"):
        require_ends(replace(card, categories=card.categories[:4]), found)


def test_weights_of_something_else_are_told_by_their_names(tmp_path):
    card = make_card(tmp_path)
    with pytest.raises(WeightsError, match=r"lack \['pixel.1.weight', .*found \['head.weight'\]"):
        require_ends(card, {"head.weight": (2, 2)})
    with pytest.raises(WeightsError, match=r"another network than the card's 'fcn'"):
        require_ends(card, shapes(card) | {"scores.2.weight": (5, 16)})


def test_an_unknown_architecture_lists_the_known(tmp_path):
    card = replace(make_card(tmp_path), architecture="vnet")
    with pytest.raises(WeightsError, match=r"'vnet'; .* has \['deeplab', .*'utae'\]; a netw"):
        require_ends(card, {})


@pytest.mark.parametrize("name", zoo.names())
def test_the_bundled_networks_fit(name):
    card = card_of(name)
    require_ends(card, shapes_of(card.weights, card.sha256))
    assert ends.ENDS[card.architecture].last in shapes(card)
