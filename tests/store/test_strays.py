"""What lies in a store and is not of it."""

import pytest

from glaciercube.store import ledger
from glaciercube.store.places import Directory
from glaciercube.store.strays import strays_of
from glaciercube.store.verification import verify
from glaciercube.store.writing import write


@pytest.fixture
def place(tmp_path, lazy_cube):
    write(lazy_cube, tmp_path / "cube.zarr")
    return Directory(tmp_path / "cube.zarr")


def put(place, key):
    path = place.path / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_a_store_has_nothing_that_is_not_of_it(place):
    found = strays_of(place, ledger.read_header(place))
    assert (found.foreign, found.unfinished, found.drafts) == ((), (), ())


@pytest.mark.parametrize(
    "key",
    [
        "thesis.txt",
        "valid/c/0/7/0",
        "valid/notes.txt",
        "reflectance/c/0/1/0/0",
        "elevation/c/9/9",
        "_glaciercube/ledger/0.9.0.json",
        "_glaciercube/ledger/first.json",
        "_glaciercube/else.json",
        "other/deep/file",
    ],
)
def test_what_is_of_no_block_is_foreign(place, key):
    put(place, key)
    report = verify(place.path)
    assert report.foreign == (key,)
    assert report.sound
    assert f"foreign: {key}" in str(report)


@pytest.mark.parametrize("key", ["valid/c/3/0/0", "_glaciercube/ledger/3.0.0.json"])
def test_what_is_of_a_date_that_nobody_sees_is_unfinished(place, key):
    put(place, key)
    report = verify(place.path)
    assert (report.unfinished, report.foreign) == ((key,), ())
    assert "1 unfinished" in str(report)


@pytest.mark.parametrize(
    "key",
    [
        f"valid/c/0/0/0.{'0a' * 16}.partial",
        f"_glaciercube/ledger/.0.0.0.json.{'0a' * 16}.tmp",
    ],
)
def test_halves_of_files_are_drafts_and_go_when_the_store_is_mended(place, key, lazy_cube):
    put(place, key)
    found = strays_of(place, ledger.read_header(place))
    assert (found.drafts, found.foreign) == ((key,), ())
    verify(place.path, repair=lazy_cube)
    assert not (place.path / key).exists()
