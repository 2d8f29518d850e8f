"""Where the stages meet: predict by name, inside outlines, and what may not be asked."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from cards import make_card
from shapely.geometry import box

import glaciercube as gcube
from glaciercube import schema
from glaciercube.acquire import failures
from glaciercube.errors import GlacierCubeWarning, SchemaError, StoreError, WeightsError
from glaciercube.store import ledger
from glaciercube.store.places import place_of

INNER = box(600_205, 5_000_305, 600_595, 5_000_695)
"""Edges in the middle of pixels: those they cut are touched."""


@pytest.fixture
def glaciers():
    frame = gpd.GeoDataFrame({"rgi_id": ["one"]}, geometry=[INNER], crs="EPSG:32632")
    return frame.to_crs("EPSG:4326")


def test_both_bundled_networks_share_one_call(lazy_cube, no_compute):
    with no_compute:
        layers = gcube.predict(lazy_cube, ["extent", "facies"])
    assert {"extent", "facies", "confidence", "valid_fraction", "glacier_probability"} <= set(
        layers.data_vars
    )
    names = [card["name"] for card in json.loads(layers.attrs["cards"])]
    assert names == ["extent", "facies"]
    schema.check(layers, {name: schema.LAYERS[name] for name in ("extent", "facies")}, "layers")


def test_facies_inside_outlines_give_an_extent_there_and_nodata_elsewhere(lazy_cube, glaciers):
    layers = gcube.predict(lazy_cube, "facies", within=glaciers)
    inside = np.zeros(lazy_cube["valid"].shape[1:], bool)
    inside[26:66, 20:60] = True
    assert layers["extent"].attrs["flag_meanings"] == "not_glacier glacier nodata"
    done = layers.compute()
    for name in ("extent", "facies"):
        assert done[name].dtype == np.uint8
        assert (done[name].values[:, ~inside] == schema.NODATA).all()
    assert np.isnan(done["confidence"].values[:, ~inside]).all()
    whole = gcube.predict(lazy_cube, "facies").compute()
    assert (done["facies"].values[:, inside] == whole["facies"].values[:, inside]).all()


def test_within_stays_lazy_keeps_chunks_and_can_be_stored(
    lazy_cube, glaciers, no_compute, tmp_path
):
    with no_compute:
        layers = gcube.predict(lazy_cube, "facies", within=glaciers)
    assert layers["facies"].chunks == lazy_cube["valid"].chunks
    assert layers["facies"].dims == schema.TIME_DIMS
    gcube.write(layers, tmp_path / "layers.zarr")
    again = gcube.predict(lazy_cube, "facies", within=glaciers)
    report = gcube.write(again, tmp_path / "layers.zarr")
    assert report.written == 0
    xr.testing.assert_equal(
        gcube.read(tmp_path / "layers.zarr")["facies"].compute(), layers["facies"].compute()
    )


def test_an_extent_of_facies_alone_is_refused(lazy_cube):
    with pytest.raises(SchemaError, match=r"'extent' needs a network with an extent task or out"):
        gcube.predict(lazy_cube, "facies", outputs=["extent"])


def test_only_what_is_asked_for_comes_back(lazy_cube, glaciers):
    layers = gcube.predict(lazy_cube, "facies", within=glaciers, outputs=["extent"])
    assert set(layers.data_vars) & set(schema.LAYERS) == {"extent"}
    layers = gcube.predict(lazy_cube, "facies", within=glaciers, outputs=["facies"])
    assert set(layers.data_vars) & set(schema.LAYERS) == {"facies"}


def test_an_unknown_card_lists_the_bundled_ones(lazy_cube):
    with pytest.raises(WeightsError, match=r"facets.*extent.*facies"):
        gcube.predict(lazy_cube, "facets")


def test_a_cube_without_the_bands_of_the_card(lazy_cube):
    with pytest.raises(SchemaError, match="swir16"):
        gcube.predict(lazy_cube.sel(band=["blue", "green", "red", "nir"]), "extent")


def test_corrupt_weights_are_found_before_anything_is_computed(lazy_cube, tmp_path):
    card = make_card(tmp_path, task="facies")
    weights = Path(card.weights)
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    with pytest.raises(WeightsError, match=r"need sha256 .*, found .*corrupt or another one"):
        gcube.predict(lazy_cube, card)


def test_failed_reads_are_in_the_report_in_the_store_and_mended_on_request(tmp_path):
    archive = gcube.simulate(tmp_path / "archive", size=64, dates=("2021-08-04", "2021-08-14"))
    items = gcube.search(archive.catalog)
    path = Path(items[0].assets["green"].get_absolute_href())
    hidden = path.rename(path.with_suffix(".hidden"))
    cube = gcube.load(items, chunk=32, check=False)
    with pytest.warns(
        GlacierCubeWarning, match=r"reads of 1 item failed.*(?s:.)*retry_unread=True"
    ):
        report = gcube.write(cube, tmp_path / "cube.zarr")
    assert report.unread > 0
    assert {failure.item for failure in report.read_failures} == {items[0].id}
    stored = gcube.read(tmp_path / "cube.zarr")
    first = stored.isel(time=0)
    assert int(first["read_failed"].sum()) == report.unread
    assert not first["valid"].any()
    assert stored["valid"].isel(time=1).any()
    kept = ledger.read_failures(place_of(tmp_path / "cube.zarr"))
    assert [one["item"] for one in kept] == [f.item for f in report.read_failures]
    hidden.rename(path)
    report = gcube.write(cube, tmp_path / "cube.zarr", retry_unread=True)
    assert report.unread == 0
    assert report.read_failures == ()
    gcube.write(gcube.load(items, chunk=32, check=False), tmp_path / "whole.zarr")
    xr.testing.assert_identical(
        gcube.read(tmp_path / "cube.zarr").compute(), gcube.read(tmp_path / "whole.zarr").compute()
    )


def test_blocks_that_fail_do_not_hide_reads_that_failed(lazy_cube, tmp_path):
    def fails(block, block_info=None):
        failures.record(
            failures.Failure(
                item="a", band="green", address="a.tif", window="", kind="missing", cause="404",
                tries=1,
            )
        )  # fmt: skip
        raise RuntimeError("the disk went away")

    data = lazy_cube["reflectance"].data
    broken = lazy_cube.copy()
    broken["reflectance"] = lazy_cube["reflectance"].copy(
        data=data.map_blocks(fails, dtype=data.dtype, meta=np.empty((0,) * 4, np.float32), name="f")
    )
    with (
        pytest.warns(GlacierCubeWarning, match="1 read of 1 item failed"),
        pytest.raises(StoreError, match="blocks failed"),
    ):
        gcube.write(broken, tmp_path / "cube.zarr")
    assert len(ledger.read_failures(place_of(tmp_path / "cube.zarr"))) == 1
