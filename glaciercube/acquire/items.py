"""What a STAC item says of itself: sensor, tile, time, sun, assets; and which items repeat."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import shapely
from shapely.geometry import shape

from glaciercube import sensors
from glaciercube.acquire.access import asset_address
from glaciercube.errors import SensorError
from glaciercube.sensors import Linear, Sensor

SAME_SCENE_S = 1.0
"""Items of one platform and tile no further apart (s) are the same scene."""

SENSOR = "glaciercube:sensor"
"""Item property that names the sensor of items made here."""

MANY = 3
"""Problems shown in a message at most."""

SAME_FOOTPRINT = 0.95
"""Of a repeated item's footprint, at least this share is covered by the one that is kept;
less means that two ground stations received parts of one scene, and both are kept."""

_SUN_AZIMUTH = ("view:sun_azimuth", "eo:sun_azimuth", "s2:mean_solar_azimuth")
_TILE = re.compile(r"(?<![A-Z0-9])T?(\d{1,2})([C-HJ-NP-X][A-Z]{2})(?![A-Z0-9])")


def sensor_of_item(item: pystac.Item) -> Sensor:
    """Return the row of the sensor table that an item is of.

    Raises
    ------
    SensorError
        If it is of a kind that is refused, or unknown; the message says why.
    """
    if SENSOR in item.properties:
        return sensors.sensor_of(item.properties[SENSOR])
    return sensors.sensor_of_document(
        {
            "type": "Feature",
            "id": item.id,
            "collection": item.collection_id,
            "properties": item.properties,
            "assets": item.assets,
        }
    )


def sensors_of_items(items: Sequence[pystac.Item]) -> list[Sensor]:
    """Return the sensor of each item, all of one family.

    Raises
    ------
    SensorError
        If an item belongs to no sensor or is refused, or items are of several families.
    """
    rows, problems = [], []
    for item in items:
        try:
            rows.append(sensor_of_item(item))
        except SensorError as error:
            problems.append(str(error))
    if problems:
        shown = "; ".join(problems[:MANY])
        raise SensorError(f"{len(problems)} of {len(items)} items cannot be loaded: {shown}")
    families = sorted({row.family for row in rows})
    if len(families) != 1:
        raise SensorError(f"items of one cube need one sensor, found {families}; load each apart")
    return rows


def time_of(item: pystac.Item) -> datetime:
    """Return when an item was taken, UTC; the start of its interval if it has no instant."""
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        return datetime(1, 1, 1, tzinfo=UTC)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def tile_of(item: pystac.Item) -> str:
    """Return the tile of an item: "32TMS", or path and row of Landsat ("194028").

    Its collection's name if it has none.
    """
    properties = item.properties
    path, row = (properties.get(f"landsat:wrs_{key}") for key in ("path", "row"))
    if path is not None and row is not None:
        return f"{int(path):03d}{int(row):03d}"
    zone = properties.get("mgrs:utm_zone")
    letters = [properties.get(f"mgrs:{key}", "") for key in ("latitude_band", "grid_square")]
    if zone is not None and all(letters):
        return f"{int(zone):02d}{''.join(letters)}"
    for text in (properties.get("s2:mgrs_tile"), properties.get("grid:code"), item.id):
        match = _TILE.search(str(text or "").replace("_", " ").replace("-", " "))
        if match:
            return f"{int(match[1]):02d}{match[2]}"
    return str(item.collection_id)


def footprint_of(item: pystac.Item) -> shapely.Geometry:
    """Return an item's footprint in longitude and latitude, its bounding box if it has none."""
    if item.geometry is not None:
        return shapely.make_valid(shape(item.geometry))
    return shapely.box(*(item.bbox or (-180, -90, 180, 90)))


def cloud_cover_of(item: pystac.Item) -> float | None:
    """Return the provider's cloud cover of an item (%), None if it states none."""
    cover = item.properties.get("eo:cloud_cover")
    return None if cover is None else float(cover)


def sun_of(item: pystac.Item) -> tuple[float, float] | None:
    """Return the sun's azimuth and elevation (degree) at an item's centre, None if unknown."""
    properties = item.properties
    azimuth = next((properties[key] for key in _SUN_AZIMUTH if key in properties), None)
    elevation = sensors.sun_elevation(properties)
    if azimuth is None or elevation is None:
        return None
    return float(azimuth) % 360.0, float(elevation)


def mean_sun(items: Sequence[pystac.Item]) -> tuple[float, float] | None:
    """Return the mean sun position (degree) of the items of one day; None if one lacks it."""
    suns = [sun_of(item) for item in items]
    known = [sun for sun in suns if sun is not None]
    if not known or len(known) < len(suns):
        return None
    east = sum(math.sin(math.radians(azimuth)) for azimuth, _ in known)
    north = sum(math.cos(math.radians(azimuth)) for azimuth, _ in known)
    elevation = sum(height for _, height in known) / len(known)
    return math.degrees(math.atan2(east, north)) % 360.0, elevation


def asset_of(item: pystac.Item, keys: Iterable[str]) -> str | None:
    """Return the first of some asset keys that an item has, None if it has none."""
    return next((key for key in keys if key in item.assets), None)


def address_of(item: pystac.Item, key: str) -> str:
    """Return the address to read an item's asset from, absolute and without a token."""
    return asset_address(item.assets[key])


def identity_of(address: str) -> tuple[Any, ...]:
    """Return what tells a file from another: for local files also size and time of change.

    Examples
    --------
    >>> identity_of("https://example.org/B04.tif?signature=secret")
    ('https://example.org/B04.tif',)
    """
    if "://" in address:
        return (address.split("?")[0],)
    path = Path(address)
    if not path.exists():
        return (address,)
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def linear_of(item: pystac.Item, sensor: Sensor, name: str) -> Linear | None:
    """Return how the numbers of a band of an item become values; see `sensors.linear_of`."""
    band = sensor.band(name)
    key = asset_of(item, band.keys)
    asset = None if key is None else item.assets[key].extra_fields
    return sensors.linear_of(sensor, item.properties, band, asset)


def deduplicated(items: Iterable[pystac.Item]) -> tuple[list[pystac.Item], list[pystac.Item]]:
    """Return each scene once, by time, and the items left out.

    Parameters
    ----------
    items : iterable of Item

    Returns
    -------
    kept, dropped : list of Item
        Of items with the same platform, tile, relative orbit and time (to 1 s), the one of
        the newest processing baseline is kept, then the newest created. Items that cover
        different parts of the tile are not the same scene.
    """
    ranked = sorted(items, key=_rank, reverse=True)
    groups: dict[tuple[Any, ...], list[pystac.Item]] = {}
    dropped = []
    for item in ranked:
        kept = groups.setdefault(_scene(item), [])
        if any(_repeats(item, other) for other in kept):
            dropped.append(item)
        else:
            kept.append(item)
    every = [item for group in groups.values() for item in group]
    return sorted(every, key=lambda item: (time_of(item), item.id)), dropped


def _scene(item):
    platform = str(item.properties.get("platform", "")).lower()
    return platform, tile_of(item), item.properties.get("sat:relative_orbit")


def _rank(item):
    properties = item.properties
    made = (str(properties.get(key) or "") for key in ("s2:generation_time", "created"))
    return sensors.processing_baseline(properties) or 0.0, *made, item.id


def _repeats(item, kept):
    if item.id == kept.id and item.collection_id == kept.collection_id:
        return True
    if abs((time_of(item) - time_of(kept)).total_seconds()) > SAME_SCENE_S:
        return False
    own, other = footprint_of(item), footprint_of(kept)
    return own.area == 0 or own.intersection(other).area >= SAME_FOOTPRINT * own.area
