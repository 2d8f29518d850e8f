"""What is kept of a prediction: the cube that was read and the networks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from cards import make_card

from glaciercube.errors import StoreError, WeightsError
from glaciercube.infer.readiness import ready
from glaciercube.infer.recipes import (
    card_of_record,
    card_record,
    cube_record,
    predict_record,
    read_again,
)
from glaciercube.model import registry, zoo
from glaciercube.model.fcn import FCN
from glaciercube.model.reference import ref_of
from glaciercube.store.lineage import Lineage, with_lineage
from glaciercube.store.reading import read
from glaciercube.store.writing import write


def through_json(record):
    return json.loads(json.dumps(record))


@pytest.fixture
def store(lazy_cube, tmp_path):
    write(lazy_cube, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def test_a_card_comes_back_as_inference_needs_it(card, tmp_path):
    told = replace(card, training={"steps": 3}, limits=("none",))
    back = card_of_record(through_json(card_record(told)))
    assert back == ref_of(told).card
    assert ref_of(back) == ref_of(told)


def test_weights_that_are_gone_or_other_ones_are_named(card, tmp_path):
    record = through_json(card_record(card))
    other = make_card(tmp_path, seed=5)
    shutil.copy(other.weights, card.weights)
    with pytest.raises(WeightsError, match=rf"need sha256 {card.sha256}, found {other.sha256}"):
        card_of_record(record)
    Path(card.weights).unlink()
    with pytest.raises(WeightsError, match=r"needs its weights at '.*\.safetensors', but there is"):
        card_of_record(record)


def test_a_network_in_memory_comes_back_in_its_process(card):
    held = registry.hold(FCN(bands=4, categories=5, width=4, dilations=(1,)).eval(), card)
    back = card_of_record(through_json(card_record(held)))
    assert ready(replace(back, inspection={})).sha256 == held.sha256


def test_a_record_of_a_card_needs_no_weights(card):
    Path(card.weights).unlink()
    assert card_record(card)["sha256"] == card.sha256


def test_a_bundled_network_is_found_wherever_the_package_is():
    card = zoo.card_of("facies")
    record = through_json(card_record(card)) | {"weights": "/elsewhere/facies.safetensors"}
    assert card_of_record(record) == card
    record["sha256"] = "0" * 64
    with pytest.raises(WeightsError, match="needs its weights at '/elsewhere/facies.safetensors'"):
        card_of_record(record)


def test_a_pickle_is_never_opened(card):
    record = through_json(card_record(card)) | {"weights": "/elsewhere/facies.pt"}
    with pytest.raises(WeightsError, match="weights must be a safetensors file"):
        card_of_record(record)


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"time": slice("2022", "2023"), "bands": ["swir16", "green"]},
        {"area": (600_150, 5_000_210, 600_510, 5_000_680)},
    ],
)
def test_the_same_part_of_a_store_is_read_again(store, part, geobox):
    if "area" in part:
        west, south, east, north = part["area"]
        rows = slice(int((5_000_960 - north) // 10), int((5_000_960 - south) // 10))
        part = {"area": geobox[rows, int((west - 600_000) // 10) : int((east - 600_000) // 10)]}
    cube = read(store, **part)
    again = read_again(through_json(cube_record(cube)))
    xr.testing.assert_identical(again, cube)
    for name in cube.data_vars:
        assert again[name].data.name == cube[name].data.name


def test_a_store_that_is_gone_or_lacks_a_date_is_named(store, lazy_cube, tmp_path):
    record = through_json(cube_record(read(store)))
    shutil.rmtree(store)
    with pytest.raises(StoreError, match=r"no store at .*cube\.zarr"):
        read_again(record)
    write(lazy_cube.isel(time=[0]), store)
    with pytest.raises(StoreError, match=r"has no time .*2022-08-05"):
        read_again(record)


def test_a_cube_has_the_recipe_of_its_variables_if_they_agree(lazy_cube):
    assert cube_record(lazy_cube) == {}

    def told(name, recipe):
        array = lazy_cube[name]
        return with_lineage(
            array, Lineage(name=array.data.name, parameters={}, inputs=None, recipe=recipe)
        )

    recipe = {"verb": "load", "items": []}
    both = {name: told(name, recipe) for name in ("reflectance", "valid")}
    assert cube_record(lazy_cube.assign(both)) == recipe
    mixed = both | {"valid": told("valid", {"verb": "load", "items": [1]})}
    assert cube_record(lazy_cube.assign(mixed)) == {}


def test_what_was_asked_for_is_kept_as_json(card):
    record = predict_record({"verb": "read"}, [card], ("extent",), np.int64(4), "auto")
    assert through_json(record) == record
    assert (record["verb"], record["outputs"], record["halo"]) == ("predict", ["extent"], 4)
    assert predict_record({}, [card], None, None, "direct")["outputs"] is None
