"""What a card may declare of the dates that its network sees at once, and what follows from it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cards import BANDS, fields_of, make_card
from safetensors.numpy import save_file

from glaciercube.errors import WeightsError
from glaciercube.model import dates, networks
from glaciercube.model.card import ModelCard, read_card
from glaciercube.model.footprint import activation_bytes
from glaciercube.model.reference import ref_of

SUMMER = {"count": 3, "anchor": "past", "season": ["06-01", "09-30"], "days": 40, "mask": True}


@pytest.fixture
def weights(tmp_path):
    save_file({"bias": np.zeros(3, np.float32)}, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def card_with(weights, **declared):
    return ModelCard(**fields_of(weights, dates=declared))


def test_what_is_not_stated_has_defaults_and_makes_no_other_card(weights):
    short = card_with(weights, count=5)
    assert short.dates == {
        "count": 5,
        "anchor": "centred",
        "season": None,
        "days": None,
        "mask": True,
    }
    assert short == card_with(weights, mask=True, anchor="centred", count=5)
    assert card_with(weights).dates == {}
    season = card_with(weights, count=5, season=("12-01", "02-29")).dates["season"]
    assert season == ["12-01", "02-29"]


def test_channels_are_the_bands_and_masks_of_all_dates(weights):
    assert card_with(weights).channels == 4
    assert card_with(weights, count=1).channels == 5
    assert card_with(weights, count=3).channels == 15
    assert card_with(weights, count=3, mask=False).channels == 12


def test_a_day_is_one_channel_more_and_a_card_without_it_is_what_it_was(weights):
    assert card_with(weights, count=3, day=True).channels == 18
    assert card_with(weights, count=3, day=True, mask=False).channels == 15
    assert card_with(weights, count=3, day=True).dates["day"] is True
    assert card_with(weights, count=3, day=False) == card_with(weights, count=3)
    assert "day" not in card_with(weights, count=3).dates
    assert dates.planes(card_with(weights, count=3, mask=False).dates) == {
        "mask": False,
        "day": False,
    }


PROBLEMS = {
    "no count": ({"mask": True}, "'dates' needs a 'count' of 1 date or more, found None"),
    "zero": ({"count": 0}, "needs a 'count' of 1 date or more, found 0"),
    "bool": ({"count": True}, "needs a 'count' of 1 date or more, found True"),
    "part": ({"count": 2.5}, "needs a 'count' of 1 date or more, found 2.5"),
    "key": ({"count": 3, "stride": 2}, r"'dates' has \['stride'\]; it knows \['count', 'anchor', "),
    "anchor": (
        {"count": 3, "anchor": "future"},
        r"'anchor' of 'dates' must be one of \['centred', 'past', 'nearest'\], found 'future'",
    ),
    "days": ({"count": 3, "days": 0}, "'days' of 'dates' must be 1 day or more, or None, found 0"),
    "mask": ({"count": 3, "mask": 1}, "'mask' of 'dates' must be True or False, found 1"),
    "day": ({"count": 3, "day": "yes"}, "'day' of 'dates' must be True or False, found 'yes'"),
    "no": ({"count": 3, "day": None}, "'day' of 'dates' must be True or False, found None"),
    "season": (
        {"count": 3, "season": "summer"},
        r"'season' of 'dates' must be its first and last day such as \['07-01', '09-30'\], or "
        "None, found 'summer'",
    ),
    "one day": ({"count": 3, "season": ["07-01"]}, r"first and last day .*found \['07-01'\]"),
    "no day": ({"count": 3, "season": ["07-01", "09-31"]}, r"found \['07-01', '09-31'\]"),
    "no month": ({"count": 3, "season": ["00-01", "09-30"]}, r"found \['00-01', '09-30'\]"),
    "long": ({"count": 3, "season": ["07-01", "2021-09-30"]}, "found .*'2021-09-30'"),
    "number": ({"count": 3, "season": [7, 9]}, r"found \[7, 9\]"),
}


@pytest.mark.parametrize(("declared", "match"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_does_not_fit_is_named(weights, declared, match):
    with pytest.raises(WeightsError, match=match):
        card_with(weights, **declared)


def test_all_problems_are_listed_at_once(weights):
    with pytest.raises(WeightsError) as caught:
        card_with(weights, count=-1, anchor=None, season=[], days=-2, mask=None, every=1)
    assert len(str(caught.value).splitlines()) == 7


NEEDS = {
    "none": ("utae", {}, r"'utae' needs 'dates' with 'mask': True, 'day': True, found none: it"),
    "day": ("utae", {"count": 2}, r"with 'day': True, found {'mask': True, 'day': False}"),
    "mask": ("utae", {"count": 2, "day": True, "mask": False}, "'dates' with 'mask': True, found"),
    "3d": ("resunet3d", {}, r"'resunet3d' needs 'dates' with 'mask': True, found none: it sees"),
}


@pytest.mark.parametrize(("architecture", "declared", "match"), NEEDS.values(), ids=NEEDS)
def test_what_an_architecture_needs_of_its_dates_is_named(weights, architecture, declared, match):
    with pytest.raises(WeightsError, match=match):
        replace(card_with(weights), architecture=architecture, dates=declared)


def test_what_is_no_mapping_is_named(weights):
    with pytest.raises(WeightsError, match=r"'dates' must be a Mapping, found \[3\]"):
        ModelCard(**fields_of(weights, dates=[3]))


def test_a_card_survives_its_file_which_older_versions_refuse(tmp_path):
    card = make_card(tmp_path, dates=SUMMER, fill=-1.0)
    (path,) = tmp_path.glob("*.json")
    properties = json.loads(path.read_text())["properties"]
    assert properties["glaciercube:layout"] == 3
    assert properties["glaciercube:dates"] == SUMMER
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, 15, -1, -1]
    assert properties["mlm:input"][0]["input"]["dim_order"][1] == "channel"
    assert [band["name"] for band in properties["mlm:input"][0]["bands"]] == [
        "green", "red", "nir", "swir16",
    ]  # fmt: skip
    assert read_card(path) == card


def test_a_card_with_days_is_refused_by_versions_that_do_not_know_them(tmp_path):
    card = make_card(tmp_path, dates=SUMMER | {"day": True})
    (path,) = tmp_path.glob("*.json")
    properties = json.loads(path.read_text())["properties"]
    assert properties["glaciercube:layout"] == 4
    assert properties["glaciercube:dates"] == SUMMER | {"day": True}
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, 18, -1, -1]
    assert read_card(path) == card


def test_what_does_not_fit_in_a_file_is_named_too(tmp_path):
    make_card(tmp_path, dates=SUMMER)
    (path,) = tmp_path.glob("*.json")
    document = json.loads(path.read_text())
    document["properties"]["glaciercube:dates"] = {"count": "three"}
    path.write_text(json.dumps(document))
    with pytest.raises(WeightsError, match="needs a 'count' of 1 date or more, found 'three'"):
        read_card(path)


@pytest.mark.parametrize(
    ("architecture", "arguments"), [("fcn", {"width": 4}), ("unet", {"width": 2, "depth": 1})]
)
def test_a_network_takes_as_many_channels(weights, architecture, arguments):
    card = replace(card_with(weights, **SUMMER), architecture=architecture, arguments=arguments)
    image = torch.zeros(1, card.channels, 16, 16)
    assert networks.build(card).eval()(image).shape == (1, 5, 16, 16)
    with pytest.raises(WeightsError, match=r"has {'bands': 15, .* arguments say {'bands': 4}"):
        networks.build(replace(card, arguments={"bands": 4}))


def test_memory_counts_all_channels(weights):
    one, three = card_with(weights), card_with(weights, count=3)
    assert activation_bytes(three) >= activation_bytes(one) + 4 * (15 - 4)


def test_other_dates_are_other_work_but_not_other_weights(weights):
    alone, first = ref_of(card_with(weights)), ref_of(card_with(weights, **SUMMER))
    second = ref_of(card_with(weights, **SUMMER | {"days": 50}))
    tokens = {repr(ref.__dask_tokenize__()) for ref in (alone, first, second)}
    assert len(tokens) == 3
    assert first.key == second.key != alone.key
    assert len(alone.__dask_tokenize__()) == 6  # as it was: stores made before stay the same


def test_days_are_other_work_and_dates_taken_apart_are_another_network(weights):
    without, with_day = (
        ref_of(card_with(weights, **SUMMER | {"day": day})) for day in (False, True)
    )
    assert without.__dask_tokenize__() == ref_of(card_with(weights, **SUMMER)).__dask_tokenize__()
    assert without.__dask_tokenize__() != with_day.__dask_tokenize__()
    four = replace(card_with(weights, **SUMMER | {"mask": False, "day": True}), bands=BANDS[:4])
    assert four.channels == card_with(weights, **SUMMER).channels
    assert ref_of(four).key == without.key  # a plain network sees channels
    cards = [
        replace(card_with(weights), architecture="resunet3d", arguments={}, dates=one)
        for one in ({"count": 6}, {"count": 5, "day": True})
    ]
    assert cards[0].channels == cards[1].channels == 30
    assert ref_of(cards[0]).key != ref_of(cards[1]).key


def test_a_declaration_is_completed_once():
    once = dates.declared({"count": 2})
    assert dates.declared(once) == once
