"""Documents as Zarr nodes: each key has its own spot, and comes back from it."""

import json

import pytest

from glaciercube.errors import StoreError
from glaciercube.store import documents

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["0.0.0.json", "static.0.2.json", "7.failed.json", "65535.1.json"])
def test_numbers_name_a_chunk(name):
    spot = documents.spot_of(f"_glaciercube/ledger/{name}")
    assert spot.numbered
    assert documents.name_of(spot.node, spot.chunk) == name


@pytest.mark.parametrize("name", ["store.json", "01.json", "65536.json", "x.y.json", "12ab.json"])
def test_other_names_are_arrays_of_their_own(name):
    spot = documents.spot_of(f"_glaciercube/{name}")
    assert not spot.numbered
    assert documents.name_of(spot.node, spot.chunk) == name


def test_two_keys_never_share_a_spot():
    names = [
        "1.json",
        "1.failed.json",
        "static.1.json",
        "1.1.json",
        "a.json",
        "01.json",
        "0.1.json",
    ]
    keys = [f"_glaciercube/{folder}/{name}" for folder in ("ledger", "overviews") for name in names]
    assert len({documents.spot_of(key) for key in keys}) == len(keys)


def test_the_array_of_a_record_is_text_of_one_record_a_chunk():
    spot = documents.spot_of("_glaciercube/ledger/5.0.2.json")
    metadata = json.loads(documents.array_metadata(spot))
    assert metadata["shape"] == [65536] * 3
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1] * 3
    assert spot.groups == ("_glaciercube", "_glaciercube/ledger")


def test_a_document_comes_back():
    content = '{"name": "Gl\u00e4rnisch"}'.encode()
    assert documents.unpacked(documents.packed(content, "a.json")) == content


def test_what_is_no_text_is_refused():
    with pytest.raises(StoreError, match=r"a\.json is to be JSON in UTF-8, found b'\\xff\\xfe'"):
        documents.packed(b"\xff\xfe", "a.json")
