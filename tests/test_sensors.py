"""The table of sensors, and the offsets that items declare."""

import json
import re

import pytest

from glaciercube.errors import SensorError
from glaciercube.sensors import (
    SENSORS,
    SENTINEL_2_L1C,
    SENTINEL_2_L2A,
    declared_offset,
    processing_baseline,
    sensor_of,
)

NAME = re.compile(r"[a-z]+[0-9]*")
FLAGS = {"defect", "cloud", "cloud_shadow", "snow", "water"}


@pytest.mark.parametrize("sensor", SENSORS.values(), ids=list(SENSORS))
def test_every_row_is_complete(sensor):
    assert SENSORS[sensor.name] is sensor
    assert sensor.level in ("surface", "top-of-atmosphere")
    assert 0 < sensor.scale < 1e-2
    assert len(set(sensor.names)) == len(sensor.bands)
    keys = [key for band in sensor.bands for key in band.keys]
    assert len(set(keys)) == len(keys), "a key that two bands share could not be told"
    assert set(sensor.dark) <= set(sensor.names)
    for band in sensor.bands:
        assert NAME.fullmatch(band.name)
        assert band.name in band.keys
        assert 0.4 < band.wavelength < 2.5
        assert band.resolution in (10, 20, 30, 60)
        assert sensor.band(band.name) is band
    waves = [band.wavelength for band in sensor.bands]
    assert waves == sorted(waves)
    if sensor.quality is not None:
        assert set(sensor.quality.flags) <= FLAGS
        assert sensor.quality.kind in ("classes", "bits")


def test_no_collection_is_of_two_sensors():
    collections = [name for sensor in SENSORS.values() for name in sensor.collections]
    assert len(set(collections)) == len(collections)


def test_unknown_names_list_the_right_ones():
    with pytest.raises(SensorError, match=r"unknown sensor 'spot'; there are \['sentinel-2-l1c'"):
        sensor_of("spot")
    with pytest.raises(SensorError, match=r"sentinel-2-l2a has no band 'red2'; it has \['blue', "):
        SENTINEL_2_L2A.band("red2")


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


def test_real_items_of_known_collections_hold_all_bands(real_data):
    checked = 0
    for path, document in documents(real_data("stac-items")):
        for sensor in SENSORS.values():
            if document.get("collection") in sensor.collections:
                checked += 1
                for band in sensor.bands:
                    held = [key for key in band.keys if key in document["assets"]]
                    assert held, f"{path.name} lacks {band.name}"
    assert checked >= 30
