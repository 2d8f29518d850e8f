"""Which sensor a STAC document is of: every real one, and the reasons for refusing others."""

import json

import pytest

from glaciercube.errors import SensorError
from glaciercube.sensors import (
    REFUSALS,
    SENSORS,
    linear_of,
    provider_of,
    rows_of,
    sensor_of,
    sensor_of_document,
)

COUNTS = {
    "sentinel-2-l2a": 42,
    "sentinel-2-l1c": 5,
    "landsat-oli-c2-l2": 18,
    "landsat-etm-c2-l2": 1,
    "landsat-tm-c2-l2": 4,
    "sentinel-1-rtc": 1,
    "cop-dem-glo-30": 2,
}
"""Real items by sensor, counted by their names."""

REASONS = {
    "GRD": "not geocoded",
    "_ST_stac": "surface temperature",
    "LM0": "no short-wave infrared",
    "AST_L1T": "radiance",
    "ga_ls8c": "belongs to no sensor",
}
"""What a refusal of a real item says, by what its file is called."""


def documents(folder):
    """Give each document of a folder, as it was published."""
    for path in sorted(folder.rglob("*.json")):
        yield path, json.loads(path.read_text())


def item(collection, name, **assets):
    return {
        "type": "Feature",
        "id": name,
        "collection": collection,
        "properties": {},
        "assets": assets,
    }


def sensor_by_name(path):
    """Return the sensor by another way: what the file is called and where it lies."""
    name = path.name
    rules = {
        "L1C": "sentinel-2-l1c",
        "L2A": "sentinel-2-l2a",
        "LC0": "landsat-oli-c2-l2",
        "LE0": "landsat-etm-c2-l2",
        "LT0": "landsat-tm-c2-l2",
        "_ASC": "sentinel-1-rtc",
        "Copernicus_DSM": "cop-dem-glo-30",
    }
    return next(sensor for part, sensor in rules.items() if part in name)


def test_every_real_item_is_recognised_and_resolved_or_refused_with_the_reason(real_data):
    counts = dict.fromkeys(COUNTS, 0)
    for path, document in documents(real_data("stac-items")):
        if document.get("type") != "Feature":
            with pytest.raises(SensorError, match="a scene is a STAC item .* is a Collection"):
                sensor_of_document(document)
            continue
        reason = next((text for part, text in REASONS.items() if part in path.name), None)
        if reason is not None:
            with pytest.raises(SensorError, match=reason):
                sensor_of_document(document)
            continue
        row = sensor_of_document(document)
        assert row.name == sensor_by_name(path), path.name
        counts[row.name] += 1
        check_bands(row, document, path.name)
    assert counts == COUNTS


def check_bands(row, document, name):
    """Check that each band has an asset, all of one kind, and a conversion where one is told."""
    for band in row.bands:
        held = [key for key in band.keys if key in document["assets"]]
        assert held, f"{name} lacks {band.name}"
        linear = linear_of(row, document["properties"], band, document["assets"][held[0]])
        assert linear is not None, name
    if row.quality and "L1C" not in row.name.upper():
        assert any(key in document["assets"] for key in row.quality[0].keys), name


def test_real_collections_name_the_bands_of_their_rows(real_data):
    """HLS, NASADEM and others are at hand as collections only: their assets are listed there."""
    checked = set()
    for _, document in documents(real_data("stac-items") / "collections"):
        for row in SENSORS.values():
            if document["id"] not in row.collections or "item_assets" not in document:
                continue
            checked.add(row.name)
            for band in row.bands:
                held = [key for key in band.keys if key in document["item_assets"]]
                assert held, f"{document['id']} lacks {band.name}"
            for layer in row.quality:
                if layer.name != "qa60":
                    assert set(layer.keys) & set(document["item_assets"]), document["id"]
    assert {"hls-l30", "hls-s30", "nasadem", "sentinel-1-rtc", "cop-dem-glo-90"} <= checked


def test_bands_of_landsat_are_the_instruments_own(real_data):
    """The same key is another band on TM and OLI: SR_B4 is near infrared there and red here."""
    folder = real_data("stac-items") / "usgs-landsatlook"
    etm = json.loads(next(folder.glob("LE07*_SR_*")).read_text())
    oli = json.loads(next(folder.glob("LC08_L2SP_008059*_SR_*")).read_text())
    for document, name in ((etm, "nir08"), (oli, "red")):
        row = sensor_of_document(document)
        key = next(key for key in row.band(name).keys if key in document["assets"])
        assert key == "SR_B4.TIF"


@pytest.mark.parametrize(
    ("collection", "name", "sensor"),
    [
        ("sentinel-2-l2a", "S2B_MSIL2A_20240801T100559_N0511_R022_T32TMS.SAFE", "sentinel-2-l2a"),
        (None, "S2B_MSIL2A_20240801T100559_N0511_R022_T32TMS.SAFE", "sentinel-2-l2a"),
        ("my-own", "LE07_L2SP_021030_20100109_20200911_02_T1", "landsat-etm-c2-l2"),
        ("landsat-c2-l1", "LC09_L1TP_195028_20240801_20240801_02_T1", "landsat-oli-c2-l1"),
        ("landsat-c2l1", "LT05_L1TP_195028_20110801_20200820_02_T1", "landsat-tm-c2-l1"),
        ("hls2-s30", "HLS.S30.T32TMS.2024214T102559.v2.0", "hls-s30"),
        ("HLSL30_2.0", "HLS.L30.T32TMS.2024214T101801.v2.0", "hls-l30"),
        ("sentinel-1-rtc", "S1A_IW_GRDH_1SDV_20240801T053443_A_rtc", "sentinel-1-rtc"),
        ("nasadem", "NASADEM_HGT_n46e008", "nasadem"),
        ("cop-dem-glo-90", "Copernicus_DSM_COG_30_N46_00_E008_00_DEM", "cop-dem-glo-90"),
    ],
)
def test_collections_and_identifiers_tell(collection, name, sensor):
    assert sensor_of_document(item(collection, name)).name == sensor


@pytest.mark.parametrize(
    ("collection", "name", "reason"),
    [
        ("sentinel-1-grd", "S1A_IW_GRDH_1SDV_20240801T053443", "sentinel-1-grd.*not geocoded"),
        (None, "S1A_IW_GRDH_1SDV_20240801T053443", "not geocoded"),
        (None, "S1A_IW_SLC__1SDV_20240801T053443", "radar geometry"),
        ("landsat-c2-l1", "LT08_L1GT_195028_20240801_20240801_02_T2", "thermal sensor alone"),
        ("modis-10A1-061", "MOD10A1.A2024214", "too coarse for glaciers"),
        ("alos-dem", "ALPSMLC30_N046E008_DSM", "take 'cop-dem-glo-30'"),
        ("landsat-c2-l2", "somebody", "belongs to no sensor: its collection is 'landsat-c2-l2'"),
        ("planet", "20240801_100559", r"belongs to no sensor.*assets \['clear'\]; there are"),
    ],
)
def test_others_are_refused_with_the_reason(collection, name, reason):
    with pytest.raises(SensorError, match=reason):
        sensor_of_document(item(collection, name, clear={}))


def test_every_refusal_says_what_to_take_instead_or_why():
    assert len({refusal.name for refusal in REFUSALS}) == len(REFUSALS)
    assert all(len(refusal.reason) > 40 for refusal in REFUSALS)


def test_names_and_families_are_found_and_others_listed():
    assert sensor_of("nasadem").vertical_datum == "EGM96"
    assert [row.name for row in rows_of("landsat-c2-l2")] == [
        "landsat-tm-c2-l2",
        "landsat-etm-c2-l2",
        "landsat-oli-c2-l2",
    ]
    assert [row.name for row in rows_of("hls-s30")] == ["hls-s30"]
    with pytest.raises(SensorError, match=r"unknown sensor 'spot'; there are \['cop-dem-glo-30'"):
        sensor_of("spot")
    with pytest.raises(SensorError, match=r"unknown sensor 'spot'.*'hls'.*'landsat-c2-l2'"):
        rows_of("spot")


@pytest.mark.parametrize(
    ("href", "provider"),
    [
        ("https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/B03.tif", "earth-search"),
        (
            "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/B03.tif",
            "earth-search-c1",
        ),
        ("https://sentinel2l2a01.blob.core.windows.net/a/B03_10m.tif", "planetary-computer"),
        ("s3://eodata/Sentinel-2/MSI/L2A/B03_10m.jp2", "cdse"),
        ("./R10m/B03.jp2", "stactools"),
    ],
)
def test_addresses_tell_the_provider(href, provider):
    assert provider_of(SENSORS["sentinel-2-l2a"], {"green": {"href": href}}) == provider
    assert provider_of(SENSORS["sentinel-2-l2a"], {"thumbnail": {"href": href}}) == "stactools"


def test_items_of_cdse_are_told_by_their_keys_and_version():
    """As published by the Copernicus Data Space; from its documentation, no item is at hand."""
    name = "S2B_MSIL2A_20240801T100559_N0511_R022_T32TMS_20240801T131519"
    fine, coarse = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")
    keys = [*(f"{key}_10m" for key in fine), *(f"{key}_20m" for key in coarse), "SCL_20m"]
    assets = {key: {"href": f"s3://eodata/{key}.jp2"} for key in keys}
    document = item("sentinel-2-l2a", name, **assets)
    document["properties"]["processing:version"] = "05.11"
    row = sensor_of_document(document)
    check_bands(row, document, name)
    linear = linear_of(row, document["properties"], row.bands[0], assets["B02_10m"])
    assert linear.offset == -1000
    assert provider_of(row, assets) == "cdse"
