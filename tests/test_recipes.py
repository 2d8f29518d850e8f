"""Datasets made again from what a store knows: the same work, the same numbers."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from cards import make_card
from shapely.geometry import box

import glaciercube as gcube
from glaciercube import api
from glaciercube.errors import AcquireError, StoreError, WeightsError
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.store import ledger, planning
from glaciercube.store.lineage import lineage_of
from glaciercube.store.places import place_of


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "archive"
    return gcube.simulate(folder, size=64, dates=("2021-08-04", "2022-08-04"))


@pytest.fixture(scope="module")
def items(archive):
    return gcube.search(archive.catalog)


@pytest.fixture(scope="module")
def stored(items, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "cube.zarr"
    gcube.write(gcube.load(items, chunk=24, dem="cop-dem-glo-30"), path)
    return path


@pytest.fixture
def glaciers(stored):
    """Return an outline over the left half of the grid, in degrees, and one far away."""
    west, south, east, north = gcube.read(stored).rio.bounds()
    shapes = [box(west + 15, south, (west + east) / 2 - 15, north), box(0, 0, 100, 100)]
    frame = gpd.GeoDataFrame({"rgi_id": ["a", "b"]}, geometry=shapes, crs=32632)
    return frame.to_crs("EPSG:4326")


def recipe_in(store):
    """Return the one recipe that a store keeps."""
    ((_, recipe),) = ledger.recipes(place_of(store))
    return recipe


def assert_made_again(dataset, store):
    """Write a dataset, make it again, and say that it is the same work and the same numbers."""
    gcube.write(dataset, store)
    again = api.remake(recipe_in(store))
    assert list(again.data_vars) == list(dataset.data_vars)
    header = ledger.read_header(place_of(store))
    told = planning.plan_of(again).at(header).fingerprints()
    for block, record in ledger.records(place_of(store), header.layout.all_blocks()).items():
        assert record.fingerprint == told(block)
    assert gcube.write(again, store).written == 0
    assert len(ledger.recipes(place_of(store))) == 1
    xr.testing.assert_equal(again.compute(), dataset.compute())
    return again


def test_a_loaded_cube(items, tmp_path):
    assert_made_again(
        gcube.load(items, chunk=24, dem="cop-dem-glo-30", terrain=("slope", "cast_shadow")),
        tmp_path / "cube.zarr",
    )


@pytest.mark.parametrize("strategy", ["direct", "overlap"])
def test_layers_of_a_stored_cube(stored, tmp_path, strategy):
    card = make_card(tmp_path)
    layers = gcube.predict(gcube.read(stored), card, strategy=strategy)
    assert_made_again(layers, tmp_path / "layers.zarr")


def test_layers_of_a_part_within_outlines(stored, tmp_path, glaciers):
    card = make_card(tmp_path)
    part = gcube.read(stored, time="2022-08", bands=["green", "red", "nir", "swir16"])
    layers = gcube.predict(part, card, within=glaciers, outputs=["extent", "confidence"], halo=2)
    again = assert_made_again(layers, tmp_path / "layers.zarr")
    assert {"extent", "confidence"} <= set(again.data_vars)
    assert "facies" not in again
    assert int((again["extent"] == 255).sum()) >= 64 * 30


def test_layers_of_a_cube_that_was_never_stored(items, tmp_path):
    layers = gcube.predict(gcube.load(items, chunk=24), make_card(tmp_path))
    recipe = lineage_of(layers["facies"]).recipe
    assert (recipe["verb"], recipe["cube"]["verb"]) == ("predict", "load")
    assert lineage_of(layers["valid"]).recipe == recipe
    assert_made_again(layers, tmp_path / "layers.zarr")


def test_bundled_networks_together(stored, tmp_path):
    layers = gcube.predict(gcube.read(stored), ["extent", "facies"])
    assert_made_again(layers, tmp_path / "layers.zarr")


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0b100
    path.write_bytes(bytes(content))


def test_what_is_damaged_within_outlines_is_repaired_from_the_recipe(stored, tmp_path, glaciers):
    layers = gcube.predict(gcube.read(stored), make_card(tmp_path), within=glaciers)
    gcube.write(layers, tmp_path / "layers.zarr")
    before = gcube.read(tmp_path / "layers.zarr").compute()
    shards = sorted((tmp_path / "layers.zarr" / "extent" / "c").rglob("*"))
    damage(next(path for path in shards if path.is_file()))
    assert not gcube.verify(tmp_path / "layers.zarr").sound
    report = gcube.verify(tmp_path / "layers.zarr", repair=True)
    assert (report.sound, report.repaired) == (True, 1)
    xr.testing.assert_identical(gcube.read(tmp_path / "layers.zarr").compute(), before)


def test_other_outlines_are_refused_and_those_elsewhere_do_not_count(stored, tmp_path, glaciers):
    card, store = make_card(tmp_path), tmp_path / "layers.zarr"

    def layers(within):
        return gcube.predict(gcube.read(stored), card, within=within, outputs=["facies"])

    assert gcube.write(layers(glaciers), store).written > 0
    assert gcube.write(layers(glaciers.iloc[:1]), store).written == 0
    wider = glaciers.to_crs(32632)
    wider = wider.assign(geometry=wider.geometry.buffer(10))
    for other in (wider, None):
        with pytest.raises(StoreError, match=r"holds a different cube(?s:.)*within"):
            gcube.write(layers(other), store)


def test_a_store_that_was_read_and_is_gone_is_named(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "copy.zarr")
    layers = gcube.predict(gcube.read(tmp_path / "copy.zarr"), make_card(tmp_path))
    gcube.write(layers, tmp_path / "layers.zarr")
    shutil.rmtree(tmp_path / "copy.zarr")
    with pytest.raises(StoreError, match=r"no store at .*copy\.zarr"):
        api.remake(recipe_in(tmp_path / "layers.zarr"))


def test_weights_that_are_gone_or_other_ones_are_named(stored, tmp_path):
    card = make_card(tmp_path)
    layers = gcube.predict(gcube.read(stored), card)
    gcube.write(layers, tmp_path / "layers.zarr")
    shutil.copy(make_card(tmp_path, seed=3).weights, card.weights)
    with pytest.raises(WeightsError, match=f"need sha256 {card.sha256}, found"):
        api.remake(recipe_in(tmp_path / "layers.zarr"))
    Path(card.weights).unlink()
    with pytest.raises(WeightsError, match=r"needs its weights at '.*facies-0-8\.safetensors'"):
        api.remake(recipe_in(tmp_path / "layers.zarr"))


def test_files_that_are_gone_are_named(tmp_path):
    archive = gcube.simulate(tmp_path / "archive", size=64, dates=("2021-08-04",))
    items = gcube.search(archive.catalog)
    gcube.write(gcube.load(items, chunk=24), tmp_path / "cube.zarr")
    path = Path(items[0].assets["green"].get_absolute_href())
    path.unlink()
    with pytest.raises(AcquireError, match=rf"1 gone: {path}; put them back"):
        api.remake(recipe_in(tmp_path / "cube.zarr"))


def test_what_was_computed_with_cannot_be_made_again(stored, tmp_path):
    cube = gcube.read(stored)
    card = make_card(tmp_path)
    changed = cube.assign(reflectance=cube["reflectance"] * np.float32(0.9))
    layers = gcube.predict(changed, card)
    assert lineage_of(layers["facies"]) is None
    gcube.write(layers, tmp_path / "layers.zarr")
    assert ledger.recipes(place_of(tmp_path / "layers.zarr")) == []


def test_an_unknown_recipe_is_refused():
    for recipe in ({}, {"verb": "steal", "version": 1}, {"verb": "load", "version": 9}):
        with pytest.raises(StoreError, match=r"a recipe is of \['from_files', 'load', .*found"):
            api.remake(recipe)


def test_a_recipe_holds_what_is_read_and_little_more(items):
    cube = gcube.load(items, bands=["green", "nir"], chunk=24, check=False)
    recipe = lineage_of(cube["valid"]).recipe
    assert len(json.dumps(recipe)) < len(items) * 8_000
    held = {"green", "nir", "scl", *SENTINEL_2_L2A.dark}  # offsets are looked for in dark bands
    assert "blue" not in held
    assert all(set(item["assets"]) == held for item in recipe["items"])
