"""What each satellite measures: the one table of band keys, quality and conversion rules."""

from glaciercube.sensors.conversion import (
    Linear,
    declared_offset,
    linear_of,
    processing_baseline,
    sun_elevation,
)
from glaciercube.sensors.recognition import (
    REFUSALS,
    SENSORS,
    provider_of,
    rows_of,
    sensor_of,
    sensor_of_document,
)
from glaciercube.sensors.rows import FLAGS, Band, Quality, Refusal, Sensor
from glaciercube.sensors.sentinel2 import SENTINEL_2_L1C, SENTINEL_2_L2A, SENTINEL_2_OFFSET

__all__ = [
    "FLAGS",
    "REFUSALS",
    "SENSORS",
    "SENTINEL_2_L1C",
    "SENTINEL_2_L2A",
    "SENTINEL_2_OFFSET",
    "Band",
    "Linear",
    "Quality",
    "Refusal",
    "Sensor",
    "declared_offset",
    "linear_of",
    "processing_baseline",
    "provider_of",
    "rows_of",
    "sensor_of",
    "sensor_of_document",
    "sun_elevation",
]
