"""How the numbers of an item become values: the one place that knows offsets and scales."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glaciercube.errors import SensorError
from glaciercube.sensors.rows import Band, Sensor
from glaciercube.sensors.sentinel2 import SENTINEL_2_OFFSET

SHIFTED_SINCE = 4.0
"""Processing baseline with which ESA began to shift Sentinel-2 numbers."""

_OFFSET_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "processing:version",
    "PROCESSING_BASELINE",
)
_NAMES_OF_PRODUCTS = ("s2:product_uri", "sentinel:product_id", "s2:tile_id", "s2:granule_id")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})\.?(\d{2})(?!\d)")
_SUN_ELEVATION = ("view:sun_elevation", "eo:sun_elevation", "SUN_ELEVATION")


@dataclass(frozen=True, kw_only=True)
class Linear:
    """How a number becomes a value: (number + offset) * scale."""

    scale: float
    """Value per digital number."""

    offset: float
    """To be added before scaling (DN)."""

    told_by: str
    """What the offset follows from: the property, name, extension or row that told it."""


def linear_of(
    sensor: Sensor, properties: Mapping[str, Any], band: Band, asset: Mapping[str, Any] | None
) -> Linear | None:
    """Return how the numbers of one band of an item become values.

    Parameters
    ----------
    sensor : Sensor
    properties : mapping
        Of the STAC item, or tags of a file.
    band : Band
    asset : mapping, optional
        The band's asset as JSON.

    Returns
    -------
    Linear or None
        None where nothing declares the offset of a Sentinel-2 product.

    Raises
    ------
    SensorError
        If a processing baseline is no number, or a Landsat Level-1 item states no elevation of
        the sun.

    Notes
    -----
    "fixed": the row's own numbers. "sentinel-2-baseline": see `declared_offset`.
    "landsat-toa": the reflectance factors of the `raster` extension or, without it, of OLI
    (USGS LSDS-1574), divided by the sine of the sun's elevation at the scene's centre.
    """
    if sensor.rule == "fixed":
        return Linear(scale=sensor.scale, offset=sensor.offset, told_by="sensor table")
    if sensor.rule == "landsat-toa":
        return _landsat_toa(sensor, properties, band, asset)
    offset, told_by = _sentinel_2(properties, asset)
    if offset is None:
        return None
    return Linear(scale=sensor.scale, offset=offset, told_by=told_by)


def declared_offset(
    sensor: Sensor, properties: Mapping[str, Any], asset: Mapping[str, Any] | None = None
) -> int | None:
    """Return the offset (DN) that an item's metadata declare, None if they say nothing.

    Parameters
    ----------
    sensor : Sensor
    properties : mapping
        STAC item properties, or tags of a file.
    asset : mapping, optional
        The asset as JSON; its `raster` extension counts last, as catalogues state it for
        pixels that no longer carry the shift.

    Returns
    -------
    int or None
        To be added before scaling. Sentinel-2: -1000 from processing baseline 04.00 on,
        unless the provider says that it has been applied already; 0 before.

    Notes
    -----
    ESA added 1000 to all numbers with baseline 04.00 (January 2022). Earth Search states
    `earthsearch:boa_offset_applied` (v1) or `sentinel:boa_offset_applied` (v0) where it
    has taken the shift away again. A baseline is also read from the product's name
    ("..._N0511_...").

    Examples
    --------
    >>> from glaciercube.sensors import SENTINEL_2_L2A
    >>> declared_offset(SENTINEL_2_L2A, {"s2:processing_baseline": "05.09"})
    -1000
    >>> declared_offset(SENTINEL_2_L2A, {"s2:processing_baseline": "02.12"})
    0
    """
    if sensor.rule != "sentinel-2-baseline":
        return round(sensor.offset)
    return _sentinel_2(properties, asset)[0]


def _sentinel_2(properties, asset):
    """Return the offset (DN) and what told it."""
    for key in _OFFSET_APPLIED:
        if properties.get(key) is True:
            return 0, key
    baseline, told_by = _baseline(properties)
    if baseline is not None:
        return (SENTINEL_2_OFFSET if baseline >= SHIFTED_SINCE else 0), told_by
    scale, offset = raster_extension(asset)
    if scale and offset is not None:
        return round(offset / scale), "raster extension"
    return None, "nothing"


def processing_baseline(properties: Mapping[str, Any]) -> float | None:
    """Return the processing baseline in an item's properties, None if they state none.

    Raises
    ------
    SensorError
        If it is no number.

    Examples
    --------
    >>> processing_baseline({"s2:processing_baseline": "05.09"})
    5.09
    >>> processing_baseline({"sentinel:product_id": "S2A_MSIL2A_20200714T115221_N0214_R123"})
    2.14
    """
    return _baseline(properties)[0]


def _baseline(properties):
    key = next((key for key in _BASELINE if properties.get(key)), None)
    if key is not None:
        try:
            return float(properties[key]), key
        except ValueError:
            raise SensorError(
                f"a processing baseline is a number such as '04.00', found {properties[key]!r}"
            ) from None
    for key in _NAMES_OF_PRODUCTS:
        match = _BASELINE_IN_NAME.search(str(properties.get(key, "")))
        if match:
            return float(f"{match[1]}.{match[2]}"), key
    return None, "nothing"


def raster_extension(asset: Mapping[str, Any] | None) -> tuple[float | None, float | None]:
    """Return the scale and offset that an asset states, in the value's unit; None if it does not.

    Of the `raster` extension, versions 1 and 2, in the asset or in its first band.

    Examples
    --------
    >>> raster_extension({"raster:bands": [{"scale": 1e-4, "offset": -0.1}]})
    (0.0001, -0.1)
    """
    fields = asset or {}
    bands = fields.get("raster:bands") or fields.get("bands") or [{}]
    first = {**fields, **(bands[0] if isinstance(bands, list) and bands else {})}
    scale = first.get("raster:scale", first.get("scale"))
    offset = first.get("raster:offset", first.get("offset"))
    return scale, offset


def sun_elevation(properties: Mapping[str, Any]) -> float | None:
    """Return the sun's elevation (degree) that an item states, None if it states none.

    Examples
    --------
    >>> sun_elevation({"s2:mean_solar_zenith": 40.0})
    50.0
    """
    for key in _SUN_ELEVATION:
        if properties.get(key) is not None:
            return float(properties[key])
    zenith = properties.get("s2:mean_solar_zenith")
    return None if zenith is None else 90.0 - float(zenith)


def _landsat_toa(sensor, properties, band, asset):
    elevation = sun_elevation(properties)
    if elevation is None or elevation <= 0:
        raise SensorError(
            f"top-of-atmosphere reflectance of {sensor.name} needs the sun above the horizon, the "
            f"item states {elevation}; take the Level-2 product or leave the item out"
        )
    scale, offset = raster_extension(asset)
    told_by = "raster extension"
    if not scale or offset is None:
        if not sensor.name.startswith("landsat-oli"):
            raise SensorError(
                f"reflectance of {sensor.name} needs the factors of the scene: the asset "
                f"{band.name!r} states no scale and offset (raster extension), and there is no MTL "
                "file; add them from REFLECTANCE_MULT_BAND and REFLECTANCE_ADD_BAND, or take the "
                "Level-2 product"
            )
        scale, offset, told_by = sensor.scale, sensor.offset * sensor.scale, "sensor table"
    sine = math.sin(math.radians(elevation))
    return Linear(scale=scale / sine, offset=offset / scale, told_by=f"{told_by}, sun elevation")
