"""The header and the records of a store."""

import json

import pytest

from glaciercube.errors import StoreError
from glaciercube.store import ledger
from glaciercube.store.layout import Block
from glaciercube.store.ledger import Record
from glaciercube.store.planning import plan_of

BLOCK = Block(1, 0, time=2)


@pytest.fixture
def header(lazy_cube):
    return plan_of(lazy_cube).header


@pytest.fixture
def place(tmp_path, header):
    ledger.write_header(tmp_path, header)
    return tmp_path


def record(header, **changes):
    return Record(
        **{"state": "done", "checksum": "a", "fingerprint": header.fingerprint, **changes}
    )


def test_a_header_comes_back(place, header, lazy_cube):
    found = ledger.read_header(place)
    assert found == header
    assert found.layout == header.layout
    assert found.geobox == lazy_cube.odc.geobox


def test_a_block_is_named_by_its_date_and_pixels(header):
    assert header.label(BLOCK) == "2023-08-03T00:00:00, y 32-64, x 0-40"
    assert header.label(Block(0, 1)) == "y 0-32, x 40-80"


def test_a_record_comes_back(place, header):
    ledger.write_record(place, BLOCK, record(header, clipped=3))
    assert ledger.read_record(place, BLOCK) == record(header, clipped=3)
    assert ledger.records(place, header) == {BLOCK: record(header, clipped=3)}
    assert ledger.count_records(place) == 1
    assert (place / "_glaciercube" / "ledger" / "2.1.0.json").exists()


def test_records_of_another_dataset_do_not_count(place, header):
    ledger.write_record(place, BLOCK, record(header, fingerprint="other"))
    assert ledger.records(place, header) == {}


@pytest.mark.parametrize("text", ["", "{", '{"state": "done"}', "[]"])
def test_a_damaged_record_is_no_record(place, header, text):
    (place / "_glaciercube" / "ledger" / f"{BLOCK.key}.json").write_text(text)
    assert ledger.read_record(place, BLOCK) is None
    assert ledger.records(place, header) == {}


def test_forgetting_removes_the_records_that_are_there(place, header):
    ledger.write_record(place, BLOCK, record(header))
    ledger.forget(place, [BLOCK, Block(0, 0)])
    assert ledger.count_records(place) == 0


def test_a_draft_left_by_a_crash_is_no_record(place):
    (place / "_glaciercube" / "ledger" / ".0.0.0.json.123.tmp").write_text("{}")
    assert ledger.count_records(place) == 0


def test_a_missing_folder_of_records_means_that_nothing_is_done(place, header):
    (place / "_glaciercube" / "ledger").rmdir()
    assert ledger.records(place, header) == {}


def test_no_store_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"there is no store at '.*nowhere'; create it with write"):
        ledger.read_header(tmp_path / "nowhere")


def test_a_folder_of_something_else_is_not_taken_for_a_store(tmp_path):
    with pytest.raises(StoreError, match=r"not a store of this package: it has no _glaciercube/st"):
        ledger.read_header(tmp_path)


def test_a_newer_layout_is_refused_by_name(place):
    path = ledger.header_path(place)
    path.write_text(json.dumps({**json.loads(path.read_text()), "layout": 2}))
    with pytest.raises(StoreError, match="has store layout 2, .* knows up to 1; update"):
        ledger.read_header(place)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layout": "one"}', '{"layout": 1}'])
def test_a_damaged_header_is_said(place, text):
    ledger.header_path(place).write_text(text)
    with pytest.raises(StoreError, match=r"store\.json' is damaged"):
        ledger.read_header(place)
