"""The offsets and scales that items declare."""

import json
import math
import re

import numpy as np
import pytest

from glaciercube.errors import SensorError
from glaciercube.sensors import (
    SENSORS,
    SENTINEL_2_L1C,
    SENTINEL_2_L2A,
    declared_offset,
    linear_of,
    processing_baseline,
    sun_elevation,
)
from glaciercube.sensors.conversion import raster_extension


@pytest.mark.parametrize("sensor", [SENTINEL_2_L1C, SENTINEL_2_L2A], ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("properties", "offset"),
    [
        ({"s2:processing_baseline": "02.14"}, 0),
        ({"s2:processing_baseline": "03.01"}, 0),
        ({"s2:processing_baseline": "04.00"}, -1000),
        ({"s2:processing_baseline": "05.11"}, -1000),
        ({"s2:processing_baseline": 5.1}, -1000),
        ({"sentinel:processing_baseline": "04.00"}, -1000),
        ({"processing:version": "05.10"}, -1000),
        ({"PROCESSING_BASELINE": "05.10"}, -1000),
        ({"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True}, 0),
        ({"s2:processing_baseline": "05.11", "sentinel:boa_offset_applied": True}, 0),
        ({"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": False}, -1000),
        ({"earthsearch:boa_offset_applied": True}, 0),
        ({"earthsearch:boa_offset_applied": False}, None),
        ({"s2:processing_baseline": None}, None),
        ({"datetime": "2024-01-01T00:00:00Z"}, None),
        ({}, None),
        ({"sentinel:product_id": "S2A_MSIL2A_20200714T115221_N0214_R123_T28QCH"}, 0),
        ({"s2:product_uri": "S2B_MSIL2A_20250731T130249_N0511_R095_T24MWV.SAFE"}, -1000),
        ({"s2:tile_id": "S2B_OPER_MSI_L2A_TL_2BPS_20250731T132745_A043879_T24MWV_N05.11"}, -1000),
    ],
)
def test_the_baseline_tells_the_offset_and_never_the_date(sensor, properties, offset):
    assert declared_offset(sensor, properties) == offset


def test_a_baseline_that_is_no_number():
    with pytest.raises(SensorError, match="a number such as '04.00', found 'latest'"):
        processing_baseline({"s2:processing_baseline": "latest"})
    with pytest.raises(SensorError, match="found 'latest'"):
        declared_offset(SENTINEL_2_L2A, {"s2:processing_baseline": "latest"})


def documents(folder):
    """Give each Sentinel-2 item of a folder, as it was published."""
    for path in sorted(folder.rglob("*.json")):
        document = json.loads(path.read_text())
        properties = document.get("properties", {})
        platform = str(properties.get("platform", "")).lower()
        if document.get("type") == "Feature" and platform.startswith("sentinel-2"):
            yield path, document


def expected_offset(path, properties):
    """Return the offset by another way: the baseline in names and tile identifiers."""
    if properties.get("earthsearch:boa_offset_applied") or properties.get(
        "sentinel:boa_offset_applied"
    ):
        return 0
    texts = [properties.get(k, "") for k in ("s2:tile_id", "s2:granule_id", "s2:product_uri")]
    texts += [path.name]
    for text in texts:
        match = re.search(r"_N(\d{2})\.?(\d{2})(?!\d)", str(text))
        if match:
            return -1000 if int(match[1]) >= 4 else 0
    return None


def test_offsets_of_all_real_items(real_data):
    found = list(documents(real_data("stac-items")))
    assert len(found) >= 40
    compared = 0
    for path, document in found:
        properties = document["properties"]
        sensor = SENTINEL_2_L1C if "L1C" in path.name else SENTINEL_2_L2A
        offset = declared_offset(sensor, properties)
        expected = expected_offset(path, properties)
        if expected is None:
            # Old items say nothing; those of before 2022 may not be called shifted.
            assert offset in (None, 0), path.name
            assert properties["datetime"] < "2022", path.name
        else:
            compared += 1
            assert offset == expected, path.name
    assert compared >= 35


def test_the_raster_extension_counts_last_as_catalogues_keep_it_for_shifted_pixels_only():
    asset = {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}
    harmonised = {"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True}
    assert declared_offset(SENTINEL_2_L2A, harmonised, asset) == 0
    assert declared_offset(SENTINEL_2_L2A, {}, asset) == -1000
    assert declared_offset(SENTINEL_2_L2A, {}, {"raster:scale": 1e-4, "raster:offset": 0}) == 0
    assert raster_extension({"bands": [{"raster:scale": 2.0, "raster:offset": 1.0}]}) == (2.0, 1.0)
    assert raster_extension(None) == (None, None)


def green(name, properties=None, asset=None):
    row = SENSORS[name]
    return linear_of(row, properties or {}, row.band("green"), asset)


@pytest.mark.parametrize("name", ["landsat-tm-c2-l2", "landsat-etm-c2-l2", "landsat-oli-c2-l2"])
def test_landsat_level_2_is_the_same_for_every_instrument(name):
    linear = green(name)
    # USGS: 0.0000275 x DN - 0.2; the valid range 7273 to 43636 is 0 to 1.
    values = (np.array([7273, 43636]) + linear.offset) * linear.scale
    np.testing.assert_allclose(values, [0, 1], atol=1e-5)


def test_top_of_atmosphere_is_divided_by_the_sine_of_the_suns_elevation():
    linear = green("landsat-oli-c2-l1", {"view:sun_elevation": 30.0})
    # USGS: (0.00002 x DN - 0.1) / sin(sun elevation)
    assert math.isclose((10_000 + linear.offset) * linear.scale, (0.2 - 0.1) / 0.5, rel_tol=1e-9)


def test_older_instruments_need_the_factors_of_the_scene():
    sun = {"view:sun_elevation": 90.0}
    asset = {"raster:bands": [{"scale": 1.3e-3, "offset": -0.004}]}
    linear = green("landsat-tm-c2-l1", sun, asset)
    assert math.isclose((100 + linear.offset) * linear.scale, 0.13 - 0.004, rel_tol=1e-9)
    with pytest.raises(
        SensorError, match=r"landsat-tm-c2-l1 needs the factors .*'green' states no"
    ):
        green("landsat-tm-c2-l1", sun)


@pytest.mark.parametrize("properties", [{}, {"view:sun_elevation": -30.7}])
def test_without_a_sun_there_is_no_reflectance(properties):
    found = properties.get("view:sun_elevation")
    with pytest.raises(SensorError, match=f"sun above the horizon, the item states {found}"):
        green("landsat-oli-c2-l1", properties)


def test_an_undeclared_offset_is_not_guessed():
    assert green("sentinel-2-l2a") is None
    assert green("sentinel-2-l2a", {"s2:processing_baseline": "05.00"}).told_by == (
        "s2:processing_baseline"
    )


def test_the_sun_stands_where_any_version_says():
    assert sun_elevation({"view:sun_elevation": 12.5}) == 12.5
    assert sun_elevation({"eo:sun_elevation": 12.5}) == 12.5
    assert sun_elevation({"s2:mean_solar_zenith": 77.5}) == 12.5
    assert sun_elevation({}) is None
