"""A damaged store is made again from what it remembers, through the verbs."""

import shutil

import numpy as np
import pytest
import xarray as xr

import glaciercube as gcube
from glaciercube.errors import AcquireError, StoreError


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "archive"
    return gcube.simulate(folder, size=128, dates=("2021-08-04", "2022-08-04"))


@pytest.fixture(scope="module")
def stores(archive, tmp_path_factory):
    """Return a folder with a cube and the layers seen in it."""
    folder = tmp_path_factory.mktemp("stores")
    glaciers = gcube.read_outlines(archive.outlines)
    items = gcube.search(archive.catalog, glaciers, "2021/2022", sensor="sentinel-2-l2a")
    cube = gcube.load(items, glaciers, resolution=10, dem="cop-dem-glo-30", chunk=64)
    gcube.write(cube, folder / "cube.zarr")
    layers = gcube.predict(gcube.read(folder / "cube.zarr"), ("extent", "facies"))
    gcube.write(layers, folder / "layers.zarr")
    return folder


@pytest.fixture
def copy(stores, tmp_path, monkeypatch):
    """Return a copy of the stores that may be damaged; the layers remember the first cube."""
    shutil.copytree(stores, tmp_path / "stores")
    return tmp_path / "stores"


def shards(store, name):
    return sorted(path for path in (store / name / "c").rglob("*") if path.is_file())


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0b1000
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("store", "name"),
    [("cube.zarr", "reflectance"), ("cube.zarr", "elevation"), ("layers.zarr", "facies")],
)
def test_a_flipped_bit_is_mended_from_the_sources(copy, stores, store, name):
    damage(shards(copy / store, name)[0])
    shards(copy / store, name)[-1].unlink()
    assert len(gcube.verify(copy / store).corrupt) == 2
    report = gcube.verify(copy / store, repair=True)
    assert (report.sound, report.repaired) == (True, 2)
    assert "2 repaired" in str(report)
    xr.testing.assert_identical(
        gcube.read(copy / store).compute(), gcube.read(stores / store).compute()
    )


def test_a_sound_store_needs_no_repair(copy):
    report = gcube.verify(copy / "cube.zarr", repair=True)
    assert (report.sound, report.repaired) == (True, 0)


def test_a_lost_time_axis_is_found_again(copy, stores):
    (copy / "cube.zarr" / "time" / "c" / "0").write_bytes(b"lost")
    with pytest.raises(StoreError, match="the dates of .* cannot be read"):
        gcube.read(copy / "cube.zarr")
    assert gcube.verify(copy / "cube.zarr", repair=True).sound
    np.testing.assert_array_equal(
        gcube.read(copy / "cube.zarr").time.values, gcube.read(stores / "cube.zarr").time.values
    )


@pytest.mark.parametrize("name", ["", "reflectance", "elevation", "time", "x"])
@pytest.mark.parametrize("content", [b"", b"{", b"{}"])
def test_damaged_metadata_are_made_again(copy, stores, name, content):
    path = copy / "cube.zarr" / name / "zarr.json"
    path.write_bytes(content)
    assert not gcube.verify(copy / "cube.zarr").sound
    assert gcube.verify(copy / "cube.zarr", repair=True).sound
    assert path.read_bytes() == (stores / "cube.zarr" / name / "zarr.json").read_bytes()
    xr.testing.assert_identical(
        gcube.read(copy / "cube.zarr").compute(), gcube.read(stores / "cube.zarr").compute()
    )


def test_a_store_that_does_not_know_its_making_asks_for_the_dataset(copy, tmp_path):
    cube = gcube.read(copy / "cube.zarr").compute()
    gcube.write(cube, tmp_path / "own.zarr")
    damage(shards(tmp_path / "own.zarr", "valid")[0])
    with pytest.raises(StoreError, match=r"does not know how it was made.*repair=cube"):
        gcube.verify(tmp_path / "own.zarr", repair=True)
    assert gcube.verify(tmp_path / "own.zarr", repair=cube).sound


def test_a_source_that_is_gone_is_named(copy, archive, tmp_path):
    moved = shutil.copytree(archive.catalog.parent, tmp_path / "archive")
    glaciers = gcube.read_outlines(archive.outlines)
    items = gcube.search(
        moved / archive.catalog.name, glaciers, "2021/2022", sensor="sentinel-2-l2a"
    )
    cube = gcube.load(items, glaciers, resolution=10, dem="cop-dem-glo-30", chunk=64)
    gcube.write(cube, tmp_path / "cube.zarr")
    damage(shards(tmp_path / "cube.zarr", "elevation")[0])
    shutil.rmtree(moved)
    with pytest.raises((AcquireError, StoreError), match="archive"):
        gcube.verify(tmp_path / "cube.zarr", repair=True)
