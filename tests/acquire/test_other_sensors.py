"""Landsat, HLS and radar items to cubes: the whole way, on small made files."""

from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from glaciercube import grid, schema
from glaciercube.acquire.scenes import load
from glaciercube.errors import AcquireError, SensorError
from glaciercube.sensors import SENSORS

WEST, NORTH, ROWS, COLUMNS = 600_000, 5_000_400, 20, 40
HERE = GeoBox.from_bbox(
    (WEST, NORTH - 30 * ROWS, WEST + 30 * COLUMNS, NORTH), "EPSG:32632", resolution=30
)
EXTENT = grid.area_frame(HERE).to_crs(grid.WGS84).geometry.iloc[0]


def write(path, numbers, nodata=None):
    """Write one band of 30 m."""
    profile = {
        "driver": "GTiff", "count": 1, "dtype": numbers.dtype, "crs": "EPSG:32632",
        "height": ROWS, "width": COLUMNS, "transform": from_origin(WEST, NORTH, 30, 30),
        "nodata": nodata,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers, 1)
    return str(path)


def full(value, dtype):
    return np.full((ROWS, COLUMNS), value, dtype)


def item_of(folder, name, collection, time, rasters, **properties):
    """Return an item whose assets are written under a folder."""
    item = pystac.Item(
        name, EXTENT.__geo_interface__, list(EXTENT.bounds), time, properties,
        collection=collection,
    )  # fmt: skip
    for key, numbers in rasters.items():
        item.add_asset(key, pystac.Asset(write(folder / name / f"{key}.tif", numbers)))
    return item


def landsat(folder, name, day, keys, value, pixel=21824, stripes=False):
    """Return a Landsat item: reflectance `value` in all bands, gaps in some rows on request."""
    numbers = full(round(value / 2.75e-5 + 0.2 / 2.75e-5), np.uint16)
    codes = full(pixel, np.uint16)
    if stripes:
        numbers[4::6], codes[4::6] = 0, 1
    rasters = dict.fromkeys(keys, numbers) | {"qa_pixel": codes, "qa_radsat": full(0, np.uint16)}
    rasters["qa_radsat"][:, -1] = 0b10
    platform = f"LANDSAT_{int(name[2:4])}"
    sun = {"view:sun_azimuth": 150.0, "view:sun_elevation": 40.0}
    return item_of(
        folder, name, "landsat-c2-l2", datetime(2011, 8, day, 10, tzinfo=UTC), rasters,
        platform=platform, **sun,
    )  # fmt: skip


WORDS = ("blue", "green", "red", "nir08", "swir16", "swir22")


def test_three_instruments_share_a_cube_and_gaps_stay_nodata(tmp_path):
    items = [
        landsat(tmp_path, "LT05_L2SP_194028_20110801_20200820_02_T1", 1, WORDS, 0.3, 30048),
        landsat(tmp_path, "LE07_L2SP_194028_20110809_20200909_02_T1", 9, WORDS, 0.5, stripes=True),
        landsat(tmp_path, "LC08_L2SP_194028_20110817_20200907_02_T1", 17, WORDS, 0.7, 22280),
    ]
    cube = load(items, HERE, chunk=16)
    schema.check(cube, schema.CUBE, "the cube")
    assert cube.attrs["sensor"] == "landsat-c2-l2"
    assert cube["platform"].values.tolist() == ["landsat-5", "landsat-7", "landsat-8"]
    assert cube["band"].values.tolist() == list(WORDS)
    cube = cube.compute()
    gap = np.arange(ROWS) % 6 == 4
    np.testing.assert_array_equal(cube["valid"][1], np.tile(~gap[:, np.newaxis], (1, COLUMNS)))
    assert np.isnan(cube["reflectance"][1, :, gap]).all()
    for place, value in enumerate((0.3, 0.5, 0.7)):
        values = cube["reflectance"][place].values
        np.testing.assert_allclose(values[np.isfinite(values)], value, atol=1.4e-5)
    assert cube["snow"][0].all()
    assert not cube["cloud"][:2].any()
    assert cube["cloud"][2].all()
    assert not cube["cloud"][1, gap].any()
    # Band 2 is green on TM and ETM+, blue on OLI: a lower bound in both.
    np.testing.assert_array_equal(cube["saturated"][0].any("y"), np.arange(COLUMNS) == 39)
    assert not cube["read_failed"].any()


def test_the_same_key_is_another_band_on_another_instrument(tmp_path):
    """SR_B4 is near infrared on ETM+ and red on OLI."""
    tm = {f"SR_B{n}.TIF": full(20_000 + n, np.uint16) for n in (1, 2, 3, 4, 5, 7)}
    oli = {f"SR_B{n}.TIF": full(20_000 + n, np.uint16) for n in range(1, 8)}
    time = datetime(2015, 8, 1, tzinfo=UTC)
    items = [
        item_of(tmp_path, "LE07_L2SP_194028_20150801_20200909_02_T1", "landsat-c2l2-sr", time, tm),
        item_of(
            tmp_path, "LC08_L2SP_194028_20150809_20200909_02_T1", "landsat-c2l2-sr",
            time.replace(day=9), oli,
        ),
    ]  # fmt: skip
    cube = load(items, HERE, bands=["red", "nir08"]).compute()
    numbers = np.rint((cube["reflectance"][:, :, 0, 0].values + 0.2) / 2.75e-5)
    np.testing.assert_array_equal(numbers, [[20_003, 20_004], [20_004, 20_005]])


def test_top_of_atmosphere_follows_the_sun(tmp_path):
    name = "LC08_L1TP_194028_20150801_20200909_02_T1"
    rasters = {f"B{n}.TIF": full(15_000, np.uint16) for n in range(2, 8)}
    item = item_of(
        tmp_path, name, "landsat-c2l1", datetime(2015, 8, 1, tzinfo=UTC), rasters,
        **{"view:sun_elevation": 30.0},
    )  # fmt: skip
    cube = load([item], HERE).compute()
    np.testing.assert_allclose(cube["reflectance"], (15_000 * 2e-5 - 0.1) / 0.5, rtol=1e-5)
    assert cube.attrs["level"] == "top-of-atmosphere"
    assert cube.attrs["sensor"] == "landsat-oli-c2-l1"
    del item.properties["view:sun_elevation"]
    with pytest.raises(SensorError, match="sun above the horizon, the item states None"):
        load([item], HERE)


def test_both_parts_of_hls_share_a_cube_in_their_common_bands(tmp_path):
    quality = full(0b10000, np.uint8)
    quality[0] = 255
    numbers = full(8123, np.int16)
    numbers[0] = -9999
    numbers[1] = -150
    l30 = dict.fromkeys(("B02", "B03", "B04", "B05", "B06", "B07"), numbers) | {"Fmask": quality}
    keys = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    s30 = dict.fromkeys(keys, numbers) | {"Fmask": quality}
    time = datetime(2021, 8, 1, 10, tzinfo=UTC)
    items = [
        item_of(tmp_path, "HLS.L30.T32TMS.2021213T101801.v2.0", "hls2-l30", time, l30),
        item_of(
            tmp_path, "HLS.S30.T32TMS.2021214T102559.v2.0", "hls2-s30", time.replace(day=2), s30
        ),
    ]
    cube = load(items, HERE)
    assert cube.attrs["sensor"] == "hls"
    assert cube["band"].values.tolist() == list(WORDS)
    cube = cube.compute()
    np.testing.assert_allclose(cube["reflectance"][:, :, 2:], 0.8123, rtol=1e-6)
    np.testing.assert_allclose(cube["reflectance"][:, :, 1], -0.015, rtol=1e-5)
    assert not cube["valid"][:, 0].any()
    assert not cube["snow"][:, 0].any()
    assert cube["snow"][:, 1:].all()


def radar(folder, name, hour, state, orbit, level):
    numbers = full(level, np.float32)
    numbers[0], numbers[1], numbers[2] = 0.0, -32768.0, -np.inf
    return item_of(
        folder, name, "sentinel-1-rtc", datetime(2021, 8, 1, hour, tzinfo=UTC),
        {"vv": numbers, "vh": numbers / np.float32(4)}, platform="SENTINEL-1A",
        **{"sat:orbit_state": state, "sat:relative_orbit": orbit},
    )  # fmt: skip


def test_radar_orbits_of_one_day_are_kept_apart(tmp_path):
    items = [
        radar(tmp_path, "S1A_IW_GRDH_1SDV_20210801T053443_A_rtc", 5, "descending", 66, 0.1),
        radar(tmp_path, "S1A_IW_GRDH_1SDV_20210801T171443_B_rtc", 17, "ascending", 15, 0.2),
    ]
    cube = load(items, HERE)
    schema.check(cube, schema.RADAR_CUBE, "the cube")
    assert cube["orbit_state"].values.tolist() == ["descending", "ascending"]
    assert cube["relative_orbit"].values.tolist() == [66, 15]
    assert cube["band"].values.tolist() == ["vv", "vh"]
    cube = cube.compute()
    assert not cube["valid"][:, :3].any()
    assert cube["valid"][:, 3:].all()
    np.testing.assert_allclose(cube["backscatter"][0, 0, 3:], 0.1, rtol=1e-6)
    np.testing.assert_allclose(cube["backscatter"][1, 1, 3:], 0.05, rtol=1e-6)
    assert "cloud" not in cube


def test_parts_of_one_orbit_and_day_are_one_time(tmp_path):
    first = radar(tmp_path, "S1A_IW_GRDH_1SDV_20210801T171443_B_rtc", 17, "ascending", 15, 0.2)
    second = radar(tmp_path, "S1A_IW_GRDH_1SDV_20210801T171508_B_rtc", 17, "ascending", 15, 0.3)
    second.datetime = second.datetime.replace(second=25)
    assert load([first, second], HERE).sizes["time"] == 1


def test_scenes_of_other_families_do_not_mix(tmp_path):
    items = [
        radar(tmp_path, "S1A_IW_GRDH_1SDV_20210801T171443_B_rtc", 17, "ascending", 15, 0.2),
        landsat(tmp_path, "LC08_L2SP_194028_20110817_20200907_02_T1", 17, WORDS, 0.7),
    ]
    with pytest.raises(
        SensorError, match=r"need one sensor, found \['landsat-c2-l2', 'sentinel-1-rtc'\]"
    ):
        load(items, HERE)
    items[0].collection_id = "sentinel-1-grd"
    items[0].id = "S1A_IW_GRDH_1SDV_20210801T171443_B"
    with pytest.raises(SensorError, match="1 of 2 items cannot be loaded: .*not geocoded"):
        load(items, HERE)


def test_numbers_of_another_kind_are_another_product(tmp_path):
    rasters = dict.fromkeys(WORDS, full(0.5, np.float32))
    item = item_of(
        tmp_path, "LC08_L2SP_194028_20110817_20200907_02_T1", "landsat-c2-l2",
        datetime(2011, 8, 17, tzinfo=UTC), rasters,
    )  # fmt: skip
    cube = load([item], HERE)
    with pytest.raises(AcquireError, match="needs integers, as the sensor table says.*float32"):
        cube["valid"].compute()


def test_the_native_grid_is_the_default(tmp_path):
    item = landsat(tmp_path, "LC08_L2SP_194028_20110817_20200907_02_T1", 17, WORDS, 0.7)
    cube = load([item])
    assert cube["x"].values[1] - cube["x"].values[0] == 30
    snapped = load([item], chunk=64, snap=True)
    edge = snapped["x"].values[0] - 15
    assert edge % (64 * 30) == 0
    assert SENSORS["landsat-oli-c2-l2"].band("red").resolution == 30


def test_tiles_of_two_zones_share_a_day(tmp_path):
    """One tile in zone 32 that ends in the middle, one in zone 31 beyond it."""
    left = full(20_000, np.uint16)
    left[:, COLUMNS // 2 :] = 0
    time = datetime(2015, 8, 1, 10, tzinfo=UTC)
    collection = "landsat-c2-l2"
    first = item_of(
        tmp_path, "LC08_L2SP_194028_20150801_20200909_02_T1", collection, time,
        dict.fromkeys(WORDS, left),
    )  # fmt: skip
    second = item_of(
        tmp_path, "LC08_L2SP_195028_20150801_20200909_02_T1", collection,
        time.replace(second=30), {},
    )  # fmt: skip
    west, _, _, north = HERE.extent.to_crs("EPSG:32631").boundingbox.buffered(300)
    profile = {
        "driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32631", "height": 60,
        "width": 80, "transform": from_origin(west, north, 30, 30), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(tmp_path / "zone31.tif", "w", **profile) as file:
        file.write(np.full((60, 80), 30_000, np.uint16), 1)
    for word in WORDS:
        second.add_asset(word, pystac.Asset(str(tmp_path / "zone31.tif")))
    cube = load([first, second], HERE, bands=["green"])
    assert cube.sizes["time"] == 1
    cube = cube.compute()
    assert cube["valid"].all()
    numbers = np.rint((cube["reflectance"][0, 0].values + 0.2) / 2.75e-5)
    assert (numbers[:, : COLUMNS // 2] == 20_000).all()
    assert (numbers[:, COLUMNS // 2 :] == 30_000).all()
