"""What every row of the sensor table must have."""

import re

import pytest

from glaciercube.errors import SensorError
from glaciercube.sensors import FLAGS, SENSORS, SENTINEL_2_L2A

NAME = re.compile(r"[a-z]+[0-9]*")


@pytest.mark.parametrize("sensor", SENSORS.values(), ids=list(SENSORS))
def test_every_row_is_complete(sensor):
    assert SENSORS[sensor.name] is sensor
    assert sensor.source
    assert sensor.collections
    assert re.compile(sensor.ids)
    assert sensor.nodata
    assert set(sensor.dark) <= set(sensor.names)
    assert len(set(sensor.every_name)) == len(sensor.bands) + len(sensor.more)
    keys = [key for name in sensor.every_name for key in sensor.band(name).keys]
    assert len(set(keys)) == len(keys), "a key that two bands share could not be told"
    for band in (*sensor.bands, *sensor.more):
        assert NAME.fullmatch(band.name)
        assert band.name in band.keys
        assert sensor.band(band.name) is band
        assert band.resolution in (10, 20, 30, 60, 90)
        if sensor.variable == "reflectance":
            assert 0.4 < band.wavelength < 2.5


@pytest.mark.parametrize(
    "sensor", [s for s in SENSORS.values() if s.variable == "reflectance"], ids=lambda s: s.name
)
def test_optical_rows_go_from_blue_to_short_wave_infrared(sensor):
    assert 0 < sensor.scale < 1e-2
    assert sensor.names[0] == "blue"
    assert {"green", "red", "nir08", "swir16", "swir22"} <= set(sensor.names)
    waves = [band.wavelength for band in sensor.bands]
    assert waves == sorted(waves)
    assert sensor.quality
    for layer in sensor.quality:
        assert set(layer.flags) <= {"defect", *FLAGS}
        assert layer.keys


def test_no_band_is_found_by_a_wrong_name():
    with pytest.raises(SensorError, match=r"sentinel-2-l2a has no band 'red2'; it has \['blue', "):
        SENTINEL_2_L2A.band("red2")


def test_bands_on_request_are_known_and_not_loaded_by_themselves():
    assert "coastal" not in SENTINEL_2_L2A.names
    assert "coastal" in SENTINEL_2_L2A.every_name
    assert SENTINEL_2_L2A.band("coastal").keys[0] == "coastal"
