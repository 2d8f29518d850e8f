"""Sentinel-2 against what its documents state."""

import json

import pytest

from glaciercube.sensors import SENSORS


def test_scene_classes_are_those_of_the_documents(real_data):
    folder = real_data("stac-items") / "stactools-sentinel2"
    path = next(folder.glob("S2A_OPER_MSI_L2A_TL_VGS1_*.json"))
    asset = json.loads(path.read_text())["assets"]["scl"]
    bands = asset.get("raster:bands") or [asset]
    classes = {c["name"]: c["value"] for c in bands[0]["classification:classes"]}
    flags = SENSORS["sentinel-2-l2a"].quality[0].flags
    assert flags["defect"] == (classes["no_data"], classes["saturated_or_defective"])
    assert flags["cloud_shadow"] == (classes["cloud_shadows"],)
    assert flags["water"] == (classes["water"],)
    assert {
        "snow" in name or "ice" in name for name, v in classes.items() if v in flags["snow"]
    } == {True}
    clouds = {value for name, value in classes.items() if "cloud" in name or "cirrus" in name}
    assert set(flags["cloud"]) == clouds - set(flags["cloud_shadow"])


def test_earth_search_states_what_the_rows_say(real_data):
    folder = real_data("stac-items") / "pystac-client-cassettes" / "earth-search"
    path = next((folder / "sentinel-2-l2a").glob("*.json"))
    document = json.loads(path.read_text())
    row = SENSORS["sentinel-2-l2a"]
    for band in row.bands:
        asset = document["assets"][band.assets["earth-search-v1"]]
        assert asset["gsd"] == band.resolution
        assert asset["eo:bands"][0]["center_wavelength"] == pytest.approx(band.wavelength, abs=0.02)
