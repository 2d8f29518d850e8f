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
from glaciercube.errors import SensorError
from glaciercube.sensors import Sensor

SAME_SCENE_S = 1.0
"""Items of one platform and tile no further apart (s) are the same scene."""

SAME_FOOTPRINT = 0.95
"""Of a repeated item's footprint, at least this share is covered by the one that is kept;
less means that two ground stations received parts of one scene, and both are kept."""

_TILE = re.compile(r"(?<![A-Z0-9])T?(\d{1,2})([C-HJ-NP-X][A-Z]{2})(?![A-Z0-9])")


def sensor_of_items(items: Sequence[pystac.Item]) -> Sensor:
    """Return the one sensor of items.

    Raises
    ------
    SensorError
        If the collection of an item belongs to no sensor, or items are of several.
    """
    table = {key: one for one in sensors.SENSORS.values() for key in one.collections}
    found = {item.collection_id for item in items}
    unknown = sorted(str(key) for key in found if key not in table)
    if unknown:
        raise SensorError(
            f"items need a collection that belongs to a sensor, found {unknown}; "
            f"there are {sorted(table)}"
        )
    names = sorted({table[key].name for key in found if key is not None})
    if len(names) != 1:
        raise SensorError(f"items of one cube need one sensor, found {names}; load each apart")
    return sensors.sensor_of(names[0])


def time_of(item: pystac.Item) -> datetime:
    """Return when an item was taken, UTC; the start of its interval if it has no instant."""
    time = item.datetime or item.common_metadata.start_datetime
    if time is None:
        return datetime(1, 1, 1, tzinfo=UTC)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def tile_of(item: pystac.Item) -> str:
    """Return the tile of an item, such as "32TMS"; its collection's name if it has none."""
    properties = item.properties
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
    azimuth = properties.get("view:sun_azimuth", properties.get("s2:mean_solar_azimuth"))
    elevation = properties.get("view:sun_elevation")
    if elevation is None and properties.get("s2:mean_solar_zenith") is not None:
        elevation = 90.0 - float(properties["s2:mean_solar_zenith"])
    if azimuth is None or elevation is None:
        return None
    return float(azimuth), float(elevation)


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
    """Return the absolute address of an item's asset."""
    asset = item.assets[key]
    return asset.get_absolute_href() or asset.href


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


def declared_offset(item: pystac.Item, sensor: Sensor, key: str) -> int | None:
    """Return the offset (DN) that an item declares, None if it says nothing.

    The processing baseline and the provider's note that the offset has been applied come
    first; without them, the offset of the asset's `raster:bands`.
    """
    declared = sensors.declared_offset(sensor, item.properties)
    if declared is not None:
        return declared
    fields = item.assets[key].extra_fields
    band: dict[str, Any] = next(iter(fields.get("raster:bands") or fields.get("bands") or [{}]), {})
    offset = band.get("offset", band.get("raster:offset"))
    scale = band.get("scale", band.get("raster:scale"))
    return None if offset is None or not scale else round(offset / scale)


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
