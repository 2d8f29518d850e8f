"""Factors of Landsat Level-1 scenes from their metadata files."""

import json
from datetime import datetime

import numpy as np
import pystac
import pytest

from acquire.test_bundles import write
from glaciercube.acquire.factors import with_factors
from glaciercube.acquire.files import from_files
from glaciercube.errors import AcquireError, SensorError
from glaciercube.sensors import SENSORS, linear_of

TM = SENSORS["landsat-tm-c2-l1"]
NAME = "LT05_L1TP_194028_19860801_20200918_02_T1"
SUN = 50.0


def metadata(drop=()):
    """Return an MTL document: band n has the factors n / 1000 and -n / 100."""
    numbers = (1, 2, 3, 4, 5, 7)
    rescaling = {f"REFLECTANCE_MULT_BAND_{n}": f"{n / 1000:.4E}" for n in numbers}
    rescaling |= {f"REFLECTANCE_ADD_BAND_{n}": f"{-n / 100}" for n in numbers}
    for key in drop:
        del rescaling[key]
    groups = {
        "LEVEL1_RADIOMETRIC_RESCALING": rescaling,
        "IMAGE_ATTRIBUTES": {"SUN_ELEVATION": f"{SUN}", "SPACECRAFT_ID": "LANDSAT_5"},
    }
    return json.dumps({"LANDSAT_METADATA_FILE": groups})


@pytest.fixture
def item(tmp_path):
    (tmp_path / "a_MTL.json").write_text(metadata())
    one = pystac.Item(NAME, None, None, datetime(1986, 8, 1), {}, collection="landsat-c2l1")
    for word in TM.names:
        one.add_asset(word, pystac.Asset("a.tif"))
    one.add_asset("MTL.json", pystac.Asset(str(tmp_path / "a_MTL.json")))
    return one


def reflectance(item, name, number):
    linear = linear_of(TM, item.properties, TM.band(name), item.assets[name].extra_fields)
    return (number + linear.offset) * linear.scale


def test_each_band_gets_its_own_factors_and_the_scene_its_sun(item):
    told = with_factors(item, TM)
    sine = np.sin(np.radians(SUN))
    assert reflectance(told, "blue", 100) == pytest.approx((0.1 - 0.01) / sine)
    assert reflectance(told, "swir22", 100) == pytest.approx((0.7 - 0.07) / sine)
    assert told.properties["view:sun_elevation"] == SUN
    assert "raster:bands" not in item.assets["blue"].extra_fields, "the given item stays as it was"


def test_what_the_item_states_is_kept(item):
    item.properties["view:sun_elevation"] = 30.0
    assert with_factors(item, TM).properties["view:sun_elevation"] == 30.0
    for word in TM.names:
        item.assets[word].extra_fields["raster:bands"] = [{"scale": 1e-3, "offset": 0.0}]
    assert with_factors(item, TM) is item
    oli = SENSORS["landsat-oli-c2-l1"]
    assert with_factors(item, oli) is item
    assert with_factors(item, SENSORS["landsat-tm-c2-l2"]) is item


def test_without_a_metadata_file_the_conversion_says_what_is_needed(item):
    del item.assets["MTL.json"]
    item.properties["view:sun_elevation"] = 30.0
    with pytest.raises(SensorError, match="needs the factors .* there is no MTL file"):
        reflectance(with_factors(item, TM), "blue", 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", r"LT05_.* are no Landsat Collection 2 MTL: JSONDecodeError"),
        ("{}", r"are no Landsat Collection 2 MTL: KeyError\('LANDSAT_METADATA_FILE'\)"),
        (metadata(drop=("REFLECTANCE_ADD_BAND_4",)), r"lack 'REFLECTANCE_ADD_BAND_4'"),
    ],
)
def test_metadata_that_are_none_or_not_whole(item, tmp_path, text, message):
    (tmp_path / "a_MTL.json").write_text(text)
    with pytest.raises(AcquireError, match=message):
        with_factors(item, TM)


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("/gone/a_MTL.json", "No such file"),
        ("s3://usgs-landsat/a_MTL.json", "neither a local file nor on the web"),
        ("http://127.0.0.1:9/a_MTL.json?token=SECRET", "cannot read the metadata"),
    ],
)
def test_metadata_that_cannot_be_read_are_named_without_secrets(item, address, cause):
    item.assets["MTL.json"].href = address
    with pytest.raises(AcquireError, match=cause) as raised:
        with_factors(item, TM)
    assert "SECRET" not in str(raised.value)


def test_files_of_a_scene_find_the_metadata_beside_them(tmp_path):
    paths = [write(tmp_path / f"{NAME}_B{n}.TIF", 100) for n in (1, 2, 3, 4, 5, 7)]
    (tmp_path / f"{NAME}_MTL.json").write_text(metadata())
    cube = from_files(paths, "landsat-tm-c2-l1").compute()
    sine = np.sin(np.radians(SUN))
    numbers = np.array([1, 2, 3, 4, 5, 7])
    expected = (numbers / 10 - numbers / 100) / sine
    np.testing.assert_allclose(cube["reflectance"][0, :, 0, 0], expected, rtol=1e-5)
    assert cube.attrs["level"] == "top-of-atmosphere"


def test_the_real_metadata_state_the_constants_of_oli(real_data):
    """The Level-2 scene's file carries the Level-1 factors too."""
    folder = real_data("landsat8-c2l2-greenland")
    oli = SENSORS["landsat-oli-c2-l1"]
    one = pystac.Item(
        "LC08_L1TP_005009_20150710_20200908_02_T2", None, None, datetime(2015, 7, 10), {}
    )
    one.add_asset("green", pystac.Asset("a.tif"))
    one.add_asset("mtl.json", pystac.Asset(str(next(folder.glob("*_MTL.json")))))
    told = with_factors(one, oli)
    assert told.assets["green"].extra_fields["raster:bands"] == [{"scale": 2e-5, "offset": -0.1}]
    assert told.properties["view:sun_elevation"] == pytest.approx(40.0, abs=0.01)
