"""The header and the records of a store."""

import json

import pytest

from glaciercube.errors import StoreError
from glaciercube.store import ledger, template
from glaciercube.store.layout import Block
from glaciercube.store.ledger import Record
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of

BLOCK = Block(1, 0, time=2)


@pytest.fixture
def header(lazy_cube):
    return plan_of(lazy_cube).header


@pytest.fixture
def place(tmp_path, lazy_cube):
    place = Directory(tmp_path / "cube.zarr")
    template.create(plan_of(lazy_cube), place)
    return place


def change_header(place, **changes):
    content = json.loads(place.read(ledger.HEADER))
    place.write(ledger.HEADER, json.dumps({**content, **changes}).encode())


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
    assert ledger.records(place, header.layout.all_blocks()) == {BLOCK: record(header, clipped=3)}
    assert ledger.count_records(place, header) == 1
    assert (place.path / "_glaciercube" / "ledger" / "2.1.0.json").exists()


def test_a_failed_block_is_not_done(place, header):
    failed = record(header, state="failed", cause="RuntimeError: no route to host")
    ledger.write_record(place, BLOCK, failed)
    every = header.layout.all_blocks()
    assert ledger.records(place, every) == {}
    assert ledger.count_records(place, header) == 0
    assert ledger.records(place, every, failed=True) == {BLOCK: failed}


def test_dates_can_be_told_from_the_records(place, header):
    assert ledger.dates_of(place) == ()
    for slot, date in enumerate(("2021-08-01", "2023-08-03")):
        ledger.write_record(place, Block(0, 0, time=slot), record(header, date=date))
    assert ledger.dates_of(place) == ("2021-08-01", "2023-08-03")
    ledger.write_record(place, Block(0, 0, time=5), record(header, date="2024-08-03"))
    assert ledger.dates_of(place) == ()


@pytest.mark.parametrize("text", ["", "{", '{"state": "done"}', "[]"])
def test_a_damaged_record_is_no_record(place, header, text):
    place.write(f"_glaciercube/ledger/{BLOCK.key}.json", text.encode())
    assert ledger.read_record(place, BLOCK) is None
    assert ledger.records(place, header.layout.all_blocks()) == {}


def test_forgetting_removes_the_records_that_are_there(place, header):
    ledger.write_record(place, BLOCK, record(header))
    ledger.forget(place, [BLOCK, Block(0, 0)])
    assert ledger.count_records(place, header) == 0


def test_a_draft_left_by_a_crash_is_no_record(place, header):
    (place.path / "_glaciercube" / "ledger").mkdir()
    (place.path / "_glaciercube" / "ledger" / ".0.0.0.json.123.tmp").write_text("{}")
    assert ledger.count_records(place, header) == 0


def test_a_missing_folder_of_records_means_that_nothing_is_done(place, header):
    assert not (place.path / "_glaciercube" / "ledger").exists()
    assert ledger.records(place, header.layout.all_blocks()) == {}


def test_no_store_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"there is no store at '.*nowhere'; create it with write"):
        ledger.read_header(Directory(tmp_path / "nowhere"))


def test_a_folder_of_something_else_is_not_taken_for_a_store(tmp_path):
    with pytest.raises(StoreError, match=r"not a store of this package: it has no _glaciercube/st"):
        ledger.read_header(Directory(tmp_path))


def test_a_newer_layout_is_refused_by_name(place):
    change_header(place, layout=3)
    with pytest.raises(StoreError, match="has store layout 3, .* knows up to 2; update"):
        ledger.read_header(place)


def test_an_older_layout_is_refused_by_name(place):
    change_header(place, layout=1)
    with pytest.raises(StoreError, match="has store layout 1, .* needs 2; write the cube again"):
        ledger.read_header(place)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/b", "..", ".hidden", "a\\b", ""])
def test_a_variable_that_is_no_folder_is_refused(place, header, name):
    variables = {**header.identity["variables"]}
    variables[name] = variables.pop("valid")
    change_header(place, identity={**header.identity, "variables": variables})
    with pytest.raises(
        StoreError, match=r"names the variables \[.*\], which are no names of folde"
    ):
        ledger.read_header(place)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"layout": "one"}', '{"layout": 2}'])
def test_a_damaged_header_is_said(place, text):
    place.write(ledger.HEADER, text.encode())
    with pytest.raises(StoreError, match=r"store\.json' is damaged"):
        ledger.read_header(place)


def test_the_dates_of_the_records_count_where_the_axis_is_damaged(place, header):
    for slot, date in enumerate(header.times):
        ledger.write_record(place, Block(0, 0, time=slot), record(header, date=date))
    assert ledger.header_told(place) == header
    (place.path / "time" / "c" / "0").unlink()
    assert ledger.header_told(place) == header
    (place.path / "time" / "c" / "0").write_bytes(b"lost")
    assert ledger.header_told(place) == header
    ledger.forget(place, [Block(0, 0, time=0)])
    with pytest.raises(StoreError, match="the dates of .* cannot be read"):
        ledger.header_told(place)
