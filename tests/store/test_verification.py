"""Damage on disk is found, named and mended."""

import numpy as np
import pytest
import zarr

from glaciercube.errors import StoreError
from glaciercube.store import arrays, ledger, verification
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

BLOCK = Block(1, 0, time=1)
LABEL = "2022-08-05T00:00:00, y 32-64, x 0-40"


@pytest.fixture
def store(tmp_path, lazy_cube):
    write(lazy_cube, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def shard(store, name, block=BLOCK):
    place = Directory(store)
    header = ledger.read_header(place)
    stored = header.layout.stored(name)
    array = arrays.array_of(place, stored, header.fingerprint)
    return place.file(arrays.shard_key(array, header.layout, (stored, block)))


def flip(path):
    """Turn one bit in the middle of the shard's data."""
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0b100
    path.write_bytes(bytes(content))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_whole_store_is_sound(store):
    report = verify(store)
    assert report.sound
    assert (report.blocks, report.missing, report.corrupt) == (24, (), ())
    assert str(report) == "cube.zarr: 24 blocks, 0 missing, 0 corrupt"


@pytest.mark.parametrize("name", ["reflectance", "valid"])
@pytest.mark.parametrize("damage", [flip, truncate, lambda path: path.unlink()])
def test_damage_is_found_named_and_mended(store, lazy_cube, name, damage):
    clean = read(store).compute()
    damage(shard(store, name))
    report = verify(store)
    assert not report.sound
    ((where, cause),) = report.corrupt
    assert where == LABEL
    assert name in cause
    assert f"{LABEL}: {cause}" in str(report)
    assert write(lazy_cube, store).written == 0  # the ledger still says that all is done
    verify(store, forget=True)
    assert verify(store).missing == (LABEL,)
    assert write(lazy_cube, store).written == 1
    assert verify(store).sound
    np.testing.assert_array_equal(read(store)[name].values, clean[name].values)


def test_a_static_block_is_checked_too(store):
    flip(shard(store, "elevation", Block(2, 1)))
    ((where, cause),) = verify(store).corrupt
    assert where == "y 64-96, x 40-80"
    assert "elevation" in cause


def test_missing_blocks_are_named(store):
    ledger.forget(Directory(store), [BLOCK, Block(0, 0)])
    report = verify(store)
    assert sorted(report.missing) == [LABEL, "y 0-32, x 0-40"]
    assert report.corrupt == ()
    assert not report.sound


def test_damaged_coordinates_are_found(store):
    (store / "band" / "c" / "0").write_bytes(b"damaged")
    report = verify(store)
    assert not report.sound
    assert report.corrupt[0][0] == "coordinates"
    assert "cannot be read" in report.corrupt[0][1]


def test_coordinates_of_another_grid_are_found(store):
    array = zarr.open_array(store / "x", mode="r+")
    array[:] = array[:] + 10
    assert verify(store).corrupt == (("coordinates", "'x' is not as it was written"),)


def test_metadata_that_cannot_be_read_are_found(store):
    (store / "zarr.json").write_text("{}")
    report = verify(store)
    assert report.corrupt[0][0] == "coordinates"
    assert "cannot be read" in report.corrupt[0][1]


def test_forgetting_touches_sound_blocks_not_at_all(store):
    flip(shard(store, "valid"))
    before = {path.name: path.read_bytes() for path in (store / "_glaciercube/ledger").iterdir()}
    verify(store, forget=True)
    after = {path.name: path.read_bytes() for path in (store / "_glaciercube/ledger").iterdir()}
    assert before.keys() - after.keys() == {f"{BLOCK.key}.json"}
    assert all(before[name] == after[name] for name in after)


def test_no_store_is_said(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        verify(tmp_path / "nowhere.zarr")


def test_arrays_are_equal_only_in_shape_and_value():
    values = np.array([1.0, 2.0])
    assert verification._equal(values, values * (1 + 1e-12))
    assert not verification._equal(values, values[:1])
    assert not verification._equal(values, values + 1)
    assert not verification._equal(np.array(["a"]), np.array(["b"]))
