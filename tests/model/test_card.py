import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pystac
import pytest
from cards import fields_of, make_card
from safetensors.numpy import save_file

from glaciercube.errors import WeightsError
from glaciercube.model.card import ModelCard, read_card, write_card

QUANTIZED = {
    "file": "net-int8.xml",
    "sha256": "0" * 64,
    "sha256_bin": "f" * 64,
    "agreement": 0.9993,
    "pixels": 65536,
}


@pytest.fixture
def weights(tmp_path):
    save_file({"bias": np.zeros(3, np.float32)}, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.fixture
def full(weights):
    """Return a card with every field set."""
    return ModelCard(
        **fields_of(
            weights,
            task="extent",
            halo=9,
            stride=4,
            exact=False,
            mean=(0.1, 1 / 3, 0.2, 0.7),
            temperature=0.87654321,
            radiometry=("surface", "top-of-atmosphere"),
            training={"steps": 3000, "seed": 0, "data": "simulated", "loss": [0.5, 0.25]},
            metrics={"IoU": {"glacier": 0.91}},
            limits=("Never saw debris of the Himalaya.", "Ä µ survives."),
            unlabelled=("obscured",),
            arguments={"width": 8, "dilations": (1, 2)},
            fill=-1.25,
            window=256,
            inspection={"exact": False, "halo": None, "reasons": ["pools the whole tile"]},
            quantized=QUANTIZED,
        )
    )


def test_a_card_survives_its_file(full, tmp_path):
    path = write_card(full, tmp_path / "net.json")
    assert read_card(path) == full
    assert path.is_absolute()
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".safetensors"] == [
        "net.json"
    ]


def test_a_card_follows_its_weights_to_another_folder(full, tmp_path):
    write_card(full, tmp_path / "net.json")
    there = tmp_path / "elsewhere"
    there.mkdir()
    for name in ("net.json", "net.safetensors"):
        (tmp_path / name).rename(there / name)
    assert read_card(there / "net.json") == replace(full, weights=str(there / "net.safetensors"))


def test_reading_a_card_opens_no_weights(full, tmp_path):
    path = write_card(full, tmp_path / "net.json")
    Path(full.weights).unlink()
    assert read_card(path) == full


def test_a_card_is_a_stac_item_of_the_mlm_extension(full, tmp_path):
    path = write_card(full, tmp_path / "net.json")
    document = json.loads(path.read_text())
    item = pystac.Item.from_dict(document)
    assert item.to_dict(include_self_link=False, transform_hrefs=False) == document
    found = item.properties
    assert found["mlm:name"] == "small-extent"
    assert found["mlm:hyperparameters"] == {"width": 8, "dilations": [1, 2]}
    (given,) = found["mlm:input"]
    assert [band["name"] for band in given["bands"]] == ["green", "red", "nir", "swir16"]
    assert given["input"]["dim_order"] == ["batch", "bands", "height", "width"]
    assert given["value_scaling"][1] == {"type": "z-score", "mean": 1 / 3, "stddev": 0.3}
    assert found["mlm:output"][0]["classification:classes"] == [
        {"value": 0, "name": "not_glacier"},
        {"value": 1, "name": "glacier"},
        {"value": 255, "name": "obscured", "nodata": True},
    ]
    assert found["glaciercube:halo"] == 9
    assert found["glaciercube:alternates"] == {"nir": ["nir08"]}
    assert found["license"] == "Apache-2.0"
    asset = item.assets["model"]
    assert asset.href == "./net.safetensors"
    assert asset.extra_fields["file:checksum"] == "1220" + full.sha256
    assert asset.extra_fields["file:size"] == Path(full.weights).stat().st_size
    assert "mlm:model" in asset.roles


def test_codes_of_categories_are_the_schemas(full, weights):
    assert full.codes == (0, 1, 255)
    assert ModelCard(**fields_of(weights)).codes == (0, 1, 2, 7, 8)


def test_a_card_does_not_change(full):
    with pytest.raises(FrozenInstanceError):
        full.halo = 3


PROBLEMS = {
    "std": ({"std": (0.1, 0.2)}, "'std' needs one value for each of 4 bands, found 2"),
    "zero": ({"std": (0.1, 0.2, 0, 1.0)}, r"'std' must be above zero and finite, found \(0.1"),
    "mean": ({"mean": (0.1, 0.2, float("nan"), 1.0)}, "'mean' must be finite, found .*nan"),
    "bands": ({"bands": (), "mean": (), "std": ()}, "'bands' is empty"),
    "task": ({"task": "albedo"}, r"'task' must be one of \['extent', 'facies'\], found 'albedo'"),
    "category": ({"categories": ("ice", "slush")}, r"unknown categories \['slush'\]; facies has"),
    "twice": ({"categories": ("ice", "ice")}, "'categories' has a name twice"),
    "one": ({"categories": ("ice",)}, r"needs two names or more, found \('ice',\)"),
    "extent": (
        {"task": "extent", "categories": ("glacier", "obscured")},
        r"needs the categories \['not_glacier', 'glacier'\], found \('glacier', 'obscured'\)",
    ),
    "unlabelled": ({"unlabelled": ("firn",)}, r"'unlabelled' has \['firn'\]"),
    "radiometry": ({"radiometry": ("raw",)}, r"'radiometry' must be of \['surface', .*\['raw'\]"),
    "no level": ({"radiometry": ()}, r"'radiometry' must be of .*found \[\]"),
    "halo": ({"halo": -1}, "halo >= 0 and stride >= 1, found -1 and 1"),
    "stride": ({"stride": 0}, "halo >= 0 and stride >= 1, found 3 and 0"),
    "temperature": ({"temperature": 0.0}, "'temperature' must be above zero and finite, found 0.0"),
    "resolution": ({"resolution_m": (30, 10)}, r"\(smallest, largest\) in m, found \(30, 10\)"),
    "fill": ({"fill": float("inf")}, "'fill' must be finite, found inf"),
    "fill type": ({"fill": "0"}, "'fill' must be a float, found '0'"),
    "window": (
        {"window": 100, "stride": 16},
        "'window' must be 0 or a multiple of the stride 16, found 100",
    ),
    "window below zero": ({"window": -1}, "'window' must be 0 or a multiple .*, found -1"),
    "inexact": (
        {"inspection": {"exact": False, "reasons": ["pools the whole tile"]}},
        r"'exact' must be False, the inspection found \['pools the whole tile'\]",
    ),
    "inspected halo": (
        {"inspection": {"exact": True, "halo": 96, "stride": 1}},
        "'halo' must be 96 or more as the inspection found, found 3",
    ),
    "inspected stride": (
        {"inspection": {"exact": True, "halo": 3, "stride": 4}, "stride": 2},
        "'stride' must be a multiple of 4 as the inspection found, not 2",
    ),
    "quantized folder": (
        {"quantized": QUANTIZED | {"file": "../net.xml"}},
        "'quantized' needs a 'file' beside the weights, without a folder, found '../net.xml'",
    ),
    "quantized hash": (
        {"quantized": QUANTIZED | {"sha256": "12"}},
        "needs a 'sha256' of 64 hexadecimal digits, found '12'",
    ),
    "quantized weights": (
        {"quantized": {key: QUANTIZED[key] for key in QUANTIZED if key != "sha256_bin"}},
        "needs a 'sha256_bin' of 64 hexadecimal digits, found None",
    ),
    "agreement": (
        {"quantized": QUANTIZED | {"agreement": 99.9}},
        "needs an 'agreement' from 0 to 1, found 99.9",
    ),
    "pixels": (
        {"quantized": QUANTIZED | {"pixels": 0}},
        "needs the number of 'pixels' of the agreement, found 0",
    ),
    "sha256": ({"sha256": "12ab"}, "'sha256' must be 64 hexadecimal digits, found '12ab'"),
    "type": ({"halo": "3"}, "'halo' must be a int, found '3'"),
    "bool": ({"stride": True}, "'stride' must be a int, found True"),
    "list": ({"bands": ["green"]}, r"'bands' must be a tuple, found \['green'\]"),
    "json": (
        {"training": {"seed": np.int64(1)}},
        "'training' .* must be plain JSON values: .*int64",
    ),
    "NaN": ({"metrics": {"IoU": float("nan")}}, "'metrics' .* must be plain JSON values"),
}


@pytest.mark.parametrize(("changes", "match"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_does_not_fit_is_named(weights, changes, match):
    fields = fields_of(weights)
    with pytest.raises(WeightsError, match=match):
        ModelCard(**fields | changes)


def test_sides_of_some_pixels_are_the_stride(weights):
    found = {"exact": True, "halo": 3, "stride": 2, "multiple": 4}
    fields = fields_of(weights, inspection=found, halo=4)
    assert ModelCard(**fields | {"stride": 8}).multiple == 4
    with pytest.raises(WeightsError, match="'stride' must be a multiple of 4 as the inspection"):
        ModelCard(**fields | {"stride": 2})


def test_all_problems_are_listed_at_once(weights):
    with pytest.raises(WeightsError) as caught:
        ModelCard(**fields_of(weights, halo=-1, radiometry=("raw",), temperature=-2.0))
    lines = str(caught.value).splitlines()
    assert lines[0] == "the card 'small-facies' is not usable:"
    assert len(lines) == 4


def test_a_card_lies_beside_its_weights(full, tmp_path):
    (tmp_path / "cards").mkdir()
    with pytest.raises(WeightsError, match="a card lies beside its weights .*net.safetensors"):
        write_card(full, tmp_path / "cards" / "net.json")


def test_a_card_is_not_written_for_other_weights(full, tmp_path):
    Path(full.weights).write_bytes(b"other")
    with pytest.raises(WeightsError, match="corrupt or another one"):
        write_card(full, tmp_path / "net.json")
    assert not (tmp_path / "net.json").exists()


def test_pickles_are_no_cards(tmp_path):
    with pytest.raises(WeightsError, match="a card must be a JSON file, found '.*model.pth'"):
        read_card(tmp_path / "model.pth")


def test_a_value_of_a_wrong_type_in_the_file_is_an_error(tmp_path):
    make_card(tmp_path)
    path = next(tmp_path.glob("*.json"))
    for key, value in (("glaciercube:resolution_m", 10), ("glaciercube:temperature", "warm")):
        document = json.loads(path.read_text())
        document["properties"][key] = value
        (tmp_path / "changed.json").write_text(json.dumps(document))
        with pytest.raises(WeightsError, match="has a value of a wrong type"):
            read_card(tmp_path / "changed.json")
    document["properties"]["glaciercube:temperature"] = 1.0
    document["properties"]["glaciercube:halo"] = "3"
    (tmp_path / "changed.json").write_text(json.dumps(document))
    with pytest.raises(WeightsError, match="'halo' must be a int, found '3'"):
        read_card(tmp_path / "changed.json")
