"""Which row of the table a STAC document is of, or why it is refused."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from glaciercube.errors import SensorError
from glaciercube.sensors import elevation, hls, landsat, sentinel1, sentinel2
from glaciercube.sensors.rows import Refusal, Sensor

SENSORS: Mapping[str, Sensor] = MappingProxyType(
    {
        row.name: row
        for module in (sentinel2, landsat, hls, sentinel1, elevation)
        for row in module.ROWS
    }
)
"""Every row by its name. A satellite is added by a row in one of the modules beside this one."""

REFUSALS: tuple[Refusal, ...] = (
    *landsat.REFUSALS,
    *sentinel1.REFUSALS,
    Refusal(
        name="aster-l1t",
        collections=("aster-l1t",),
        reason="ASTER Level-1T holds radiance and has had no short-wave infrared since 2008",
    ),
    Refusal(
        name="modis-snow",
        collections=("modis-10A1-061", "modis-10A2-061"),
        reason="MODIS snow cover is a product at 500 m, too coarse for glaciers",
    ),
    Refusal(
        name="alos-dem",
        collections=("alos-dem",),
        reason="its heights refer to EGM96 but its nodata is not stated; take 'cop-dem-glo-30'",
    ),
)


def sensor_of(name: str) -> Sensor:
    """Return the sensor of a name.

    Raises
    ------
    SensorError
        If there is none; the message lists the names.

    Examples
    --------
    >>> sensor_of("sentinel-2-l1c").level
    'top-of-atmosphere'
    """
    if name not in SENSORS:
        raise SensorError(f"unknown sensor {name!r}; there are {sorted(SENSORS)}")
    return SENSORS[name]


def rows_of(name: str) -> tuple[Sensor, ...]:
    """Return the rows of a sensor or of a family of them.

    Parameters
    ----------
    name : str
        A sensor ("landsat-oli-c2-l2") or a family ("landsat-c2-l2", "hls").

    Raises
    ------
    SensorError
        If there is none; the message lists the names.

    Examples
    --------
    >>> [row.name for row in rows_of("hls")]
    ['hls-l30', 'hls-s30']
    """
    found = tuple(row for row in SENSORS.values() if name in (row.name, row.family))
    if not found:
        names = sorted({*SENSORS, *(row.family for row in SENSORS.values())})
        raise SensorError(f"unknown sensor {name!r}; there are {names}")
    return found


def sensor_of_document(document: Mapping[str, Any]) -> Sensor:
    """Return the sensor that a STAC item is of.

    Parameters
    ----------
    document : mapping
        The item as JSON, of any STAC version.

    Raises
    ------
    SensorError
        If it is no item, of a kind that is refused, or unknown; the message says why.

    Notes
    -----
    The collection tells first, then the item's identifier; where a collection holds several
    instruments or products, both must agree. Items of unknown collections are told by their
    identifiers alone.
    """
    kind, name = document.get("type"), str(document.get("id"))
    if kind != "Feature":
        raise SensorError(f"a scene is a STAC item (type Feature), {name!r} is a {kind}")
    collection = document.get("collection")
    for refusal in REFUSALS:
        if _is_refused(refusal, collection, name):
            raise SensorError(f"{name} ({refusal.name}) is not taken: {refusal.reason}")
    of_collection = [row for row in SENSORS.values() if collection in row.collections]
    candidates = of_collection or list(SENSORS.values())
    found = [row for row in candidates if _begins(row.ids, name)]
    if len(found) != 1 and len(of_collection) == 1:
        found = of_collection
    if len(found) != 1:
        raise SensorError(
            f"{name} belongs to no sensor: its collection is {collection!r}, its platform "
            f"{_platform(document)!r}, its assets {sorted(document.get('assets', {}))[:6]}; "
            f"there are {sorted(SENSORS)}"
        )
    return found[0]


def _is_refused(refusal, collection, name):
    by_id = refusal.ids is not None and _begins(refusal.ids, name)
    if collection not in refusal.collections:
        # An identifier alone tells only where the collection is unknown.
        known = any(collection in row.collections for row in SENSORS.values())
        return by_id and not known
    return by_id or refusal.ids is None or not _any_row(collection)


def _any_row(collection):
    return any(collection in row.collections for row in SENSORS.values())


def _begins(pattern, name):
    return re.match(pattern, name) is not None


def _platform(document):
    properties = document.get("properties") or {}
    return properties.get("platform") or properties.get("eo:platform")


HOSTS: Mapping[str, str] = MappingProxyType(
    {
        r"\.blob\.core\.windows\.net/": "planetary-computer",
        r"e84-earth-search-sentinel-data": "earth-search-c1",
        r"(sentinel-cogs|sentinel-s2-l1c|copernicus-dem-30m)": "earth-search",
        r"(landsatlook\.usgs\.gov|s3://usgs-landsat)/": "landsatlook",
        r"(dataspace\.copernicus\.eu|s3://eodata)/": "cdse",
        r"lpdaac.*\.earthdatacloud\.nasa\.gov/": "lp-daac",
    }
)
"""Whose files an address holds, by a regular expression."""


def provider_of(sensor: Sensor, assets: Mapping[str, Any]) -> str:
    """Return who publishes an item, by the addresses of its assets, else by their keys.

    Parameters
    ----------
    sensor : Sensor
    assets : mapping
        Of the item, as JSON.

    Returns
    -------
    str
        "stactools" for plain items with known keys whose files may be anywhere.

    Examples
    --------
    >>> row = sensor_of("sentinel-1-rtc")
    >>> provider_of(row, {"vv": {"href": "https://sentinel1euwestrtc.blob.core.windows.net/a"}})
    'planetary-computer'
    """
    for band in sensor.bands:
        for key in band.keys:
            href = str((assets.get(key) or {}).get("href", ""))
            for pattern, provider in HOSTS.items():
                if re.search(pattern, href):
                    return provider
    return "stactools"
