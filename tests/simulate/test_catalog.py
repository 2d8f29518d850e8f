from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from glaciercube.sensors import SENTINEL_2_L2A, declared_offset
from glaciercube.simulate.catalog import elevation_item, save_catalog, scene_item
from glaciercube.simulate.provider import Delivery

GRID = GeoBox.from_bbox((423_000, 5_149_000, 424_000, 5_150_000), "EPSG:32632", resolution=10)
TIME = datetime(2022, 8, 4, 10, 20, 31, tzinfo=UTC)


def make_item(baseline="04.00"):
    delivery = Delivery(
        numbers={}, classes=np.zeros((50, 50), np.uint8), measured=np.ones((100, 100), bool),
        baseline=baseline, cloud_cover=12.5,
    )  # fmt: skip
    grids = {10.0: GRID, 20.0: GRID.zoom_out(2)}
    return scene_item(
        delivery, TIME, "sentinel-2b", grids=grids, footprint=box(8, 46, 8.1, 46.1), sun=(146, 57)
    )


def test_an_item_says_what_providers_say_and_that_it_is_simulated():
    properties = make_item().properties
    assert properties["glaciercube:simulated"] is True
    assert properties["s2:processing_baseline"] == "04.00"
    assert properties["proj:code"] == "EPSG:32632"
    assert properties["eo:cloud_cover"] == 12.5
    assert (properties["view:sun_azimuth"], properties["view:sun_elevation"]) == (146, 57)
    assert properties["s2:mgrs_tile"] == "32TMS"
    assert properties["platform"] == "sentinel-2b"


@pytest.mark.parametrize(("baseline", "offset"), [("03.01", 0), ("04.00", -1000)])
def test_scale_and_offset_are_declared_as_the_baseline_asks(baseline, offset):
    item = make_item(baseline)
    assert declared_offset(SENTINEL_2_L2A, item.properties) == offset
    band = item.assets["blue"].extra_fields["raster:bands"][0]
    assert band["scale"] == 1e-4
    assert band["offset"] == pytest.approx(offset * 1e-4)


def test_every_band_has_an_asset_that_the_sensor_table_knows():
    item = make_item()
    for band in SENTINEL_2_L2A.bands:
        found = [key for key in band.keys if key in item.assets]
        assert len(found) == 1, band.name
        asset = item.assets[found[0]]
        assert asset.extra_fields["gsd"] == band.resolution
        assert asset.extra_fields["proj:shape"] == [1000 // band.resolution] * 2
        assert asset.href == f"./{found[0]}.tif"
    assert "scl" in item.assets


def test_a_catalogue_can_be_moved(tmp_path):
    folder = tmp_path / "with.dot"
    degrees = GeoBox.from_bbox((8, 46, 8.1, 46.1), "EPSG:4326", resolution=1 / 3600)
    path = save_catalog(folder, [make_item()], elevation_item(degrees, TIME))
    assert path == folder / "catalog.json"
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    catalog = pystac.Catalog.from_file(str(moved / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert {item.collection_id for item in items} == {"sentinel-2-l2a", "cop-dem-glo-30"}
    hrefs = [asset.get_absolute_href() for item in items for asset in item.assets.values()]
    assert all(href.startswith(str(moved)) for href in hrefs)
    for path in moved.rglob("*.json"):
        assert str(tmp_path) not in path.read_text(), path


def test_elevation_states_its_vertical_datum_and_unit():
    degrees = GeoBox.from_bbox((8, 46, 8.1, 46.1), "EPSG:4326", resolution=1 / 3600)
    item = elevation_item(degrees, TIME)
    assert item.properties["vertical_datum"] == "EGM2008"
    assert item.properties["glaciercube:simulated"] is True
    assert item.assets["data"].extra_fields["raster:bands"][0]["unit"] == "meter"
