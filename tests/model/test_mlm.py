import json

import pytest
from cards import make_card

from glaciercube.errors import WeightsError
from glaciercube.model import mlm
from glaciercube.model.card import read_card


@pytest.fixture
def changed(tmp_path):
    """Return a function that writes a card with changes to its JSON."""
    make_card(tmp_path)
    document = json.loads(next(tmp_path.glob("*.json")).read_text())

    def write(change):
        change(document)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(document))
        return path

    return write


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no card at '.*none.json'; give the path of its JSON"):
        mlm.document_at(tmp_path / "none.json")


def test_a_folder_is_no_card(tmp_path):
    with pytest.raises(WeightsError, match="there is no card at"):
        mlm.document_at(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00binary"])
def test_what_is_not_json_is_no_card(tmp_path, content):
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a card is a JSON file, but '.*card.json' is not: "):
        mlm.document_at(tmp_path / "card.json")


def test_json_of_something_else_lacks_every_key(tmp_path):
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(WeightsError, match=r"lacks:\n  properties > glaciercube:layout\n  prop"):
        mlm.document_at(tmp_path / "list.json")


def test_all_missing_keys_are_listed(changed):
    def change(document):
        del document["properties"]["mlm:architecture"]
        del document["assets"]["model"]["file:checksum"]
        document["properties"]["mlm:input"] = []

    with pytest.raises(WeightsError) as caught:
        mlm.document_at(changed(change))
    assert str(caught.value).splitlines()[1:] == [
        "  properties > mlm:architecture",
        "  assets > model > file:checksum",
        "  properties > mlm:input > 0 > bands",
        "  properties > mlm:input > 0 > value_scaling",
    ]


def test_a_newer_layout_is_refused_before_anything_else(changed):
    def change(document):
        document["properties"] = {"glaciercube:layout": mlm.LAYOUT + 1}

    with pytest.raises(WeightsError, match="has layout 5, .* reads up to 4; update glaciercube"):
        mlm.document_at(changed(change))


def test_another_nodata_rule_is_refused(changed):
    path = changed(lambda document: document["properties"].update({"glaciercube:nodata": "mirror"}))
    with pytest.raises(WeightsError, match="nodata rule 'normalised-zero', .*found 'mirror'"):
        read_card(path)


def test_a_fill_and_the_nodata_rule_must_agree(changed):
    path = changed(lambda document: document["properties"].update({"glaciercube:fill": -2.5}))
    with pytest.raises(WeightsError, match=r"'normalised-fill' .*'normalised-zero' and -2.5;"):
        read_card(path)


def test_a_card_of_layout_1_has_the_defaults_of_later_fields(changed):
    """Cards that came before `fill`, `window`, `inspection` and `quantized` lack their keys."""
    path = changed(lambda document: None)
    assert json.loads(path.read_text())["properties"]["glaciercube:layout"] == 1
    assert not [key for key in mlm._OPTIONAL if f"glaciercube:{key}" in path.read_text()]
    card = read_card(path)
    assert (card.fill, card.window, card.inspection, card.quantized) == (0.0, 0, {}, {})


@pytest.mark.parametrize("changes", [{"fill": -2.5}, {"window": 256}])
def test_what_an_older_version_would_pass_over_has_a_newer_layout(tmp_path, changes):
    card = make_card(tmp_path, **changes)
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["properties"]["glaciercube:layout"] == 2
    assert read_card(path) == card


def test_the_inspection_does_not_make_a_card_newer(tmp_path):
    card = make_card(tmp_path, inspection={"exact": True, "halo": 3, "stride": 1})
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["properties"]["glaciercube:layout"] == 1
    assert read_card(path) == card


def test_keys_of_others_are_kept_out_of_the_way(changed):
    path = changed(lambda document: document["properties"].update({"other:key": 1}))
    assert read_card(path).halo == 3
