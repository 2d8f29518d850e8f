import pickle
from dataclasses import replace

import pytest
from cards import make_card
from dask.base import tokenize

from glaciercube.model.reference import ref_of


@pytest.fixture
def card(tmp_path):
    return make_card(tmp_path, training={"notes": "long " * 2000}, limits=("none",))


def test_a_reference_is_small_and_travels(card):
    ref = ref_of(card)
    assert len(pickle.dumps(ref)) < 2048
    assert pickle.loads(pickle.dumps(ref)) == ref


def test_tokens_follow_what_results_depend_on(card):
    token = tokenize(ref_of(card))
    for same in ({"training": {}}, {"weights": "/elsewhere/w.safetensors"}, {"version": "2"}):
        assert tokenize(ref_of(replace(card, **same))) == token
    changes = (
        {"sha256": "0" * 64},
        {"temperature": 3.0},
        {"mean": (0.0, 0.0, 0.0, 0.0)},
        {"categories": ("snow", "ice", "debris", "cloud", "land")},
        {"bands": ("red", "green", "nir|nir08", "swir16")},
        {"arguments": {"width": 9, "dilations": [1, 2]}},
    )
    tokens = {tokenize(ref_of(replace(card, **change))) for change in changes}
    assert len(tokens | {token}) == len(changes) + 1


def test_an_inspection_travels_as_far_as_the_card_is_held_to_it(card):
    found = {"exact": True, "halo": 3, "stride": 1, "multiple": 1, "notes": ["long"] * 500}
    ref = ref_of(replace(card, inspection=found))
    assert ref.card.inspection == {"exact": True, "halo": 3, "stride": 1, "multiple": 1}
    assert ref.key == ref_of(card).key


def test_a_network_whose_images_are_continued_is_another(card):
    found = {"exact": True, "halo": 3, "stride": 1, "multiple": 4}
    wide = replace(card, stride=4, halo=4)
    assert tokenize(ref_of(replace(wide, inspection=found))) != tokenize(ref_of(wide))


def test_the_order_of_arguments_does_not_matter(card):
    turned = replace(card, arguments=dict(reversed(card.arguments.items())))
    assert ref_of(turned).key == ref_of(card).key
