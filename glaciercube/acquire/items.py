"""What a STAC item says of itself: sensor, tile, time, sun, assets; and which items repeat."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import shapely
from shapely.geometry import shape

from glaciercube import grid, sensors
from glaciercube.acquire.access import asset_address
from glaciercube.acquire.duplicates import WHOLE, Facts, repeats
from glaciercube.errors import SensorError
from glaciercube.sensors import Linear, Sensor

SENSOR = "glaciercube:sensor"
"""Item property that names the row of the sensor table, before anything else tells it."""

MANY = 3
"""Problems shown in a message at most."""

PREFERRED = ("sentinel-2-c1-l2a", "sentinel-2-l2a", "sentinel-2-pre-c1-l2a", "landsat-c2-l2")
"""Of collections that hold the same product the first is taken, then any other."""

_SUN_AZIMUTH = ("view:sun_azimuth", "eo:sun_azimuth", "s2:mean_solar_azimuth")
_PATH_AND_ROW = re.compile(r"L[COTEM]\d{2}_L\w{3}_(\d{6})_")
_TILE = re.compile(r"(?<![A-Z0-9])T?(\d{1,2})([C-HJ-NP-X][A-Z]{2})(?![A-Z0-9])")
_POLARISATION = re.compile(r"_1S[SD][HV](?=_)")
"""Of a Sentinel-1 product; looks like a tile."""

_SENTINEL_2 = re.compile(r"S2[A-D]_MSIL\w\w_(\d{8}T\d{6})_(N\d{4}_)?R(\d{3})_T\w{5}_(\d{8}T\d{6})")
"""Start of the datatake, baseline, relative orbit, and a time that tells versions apart."""

_DATATAKE = re.compile(r"GS2[A-D]_(\d{8}T\d{6})_(\d{6})_")
_ABSOLUTE_ORBIT = re.compile(r"_A(\d{6})_T")
_DATASTRIP_START = re.compile(r"_S(\d{8}T\d{6})")
_LANDSAT = re.compile(r"L[COTEM]0\d_L\w{3}_\d{6}_(\d{8})_(?:(\d{8})_)?\d{2}_(T1|T2|RT)")
"""Day, day of processing and tier."""

_TIERS = {"RT": 1, "T2": 2, "T1": 3}
_PLATFORMS = (
    (re.compile(r"S([12])([A-D])_"), "sentinel-{}{}"),
    (re.compile(r"L[COTEM]0(\d)_"), "landsat-{}"),
)


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
    product = _PATH_AND_ROW.match(item.id)
    if product:
        return product[1]
    zone = properties.get("mgrs:utm_zone")
    letters = [properties.get(f"mgrs:{key}", "") for key in ("latitude_band", "grid_square")]
    if zone is not None and all(letters):
        return f"{int(zone):02d}{''.join(letters)}"
    name = _POLARISATION.sub("", item.id)
    for text in (properties.get("s2:mgrs_tile"), properties.get("grid:code"), name):
        match = _TILE.search(str(text or "").replace("_", " ").replace("-", " "))
        if match:
            return f"{int(match[1]):02d}{match[2]}"
    return str(item.collection_id)


def platform_of(item: pystac.Item) -> str:
    """Return the platform of an item, by one name: "sentinel-2a", "landsat-8"; "" if unknown."""
    properties = item.properties
    stated = properties.get("platform") or properties.get("eo:platform")
    if stated:
        return str(stated).lower().replace("_", "-")
    for pattern, name in _PLATFORMS:
        match = pattern.match(item.id)
        if match:
            return name.format(*match.groups()).lower()
    return ""


def stated_footprint(item: pystac.Item) -> shapely.Geometry:
    """Return an item's footprint as its provider writes it, its bounding box if it has none.

    The whole globe if it has neither. See `grid.touching` for which are over an area.
    """
    if item.geometry is not None:
        return shape(item.geometry)
    edges = [float(edge) for edge in item.bbox or (-180, -90, 180, 90)]
    west, south, east, north = edges if len(edges) == 4 else (*edges[:2], *edges[3:5])
    return grid.area_frame((west, south, east, north)).geometry.iloc[0]


def footprint_of(item: pystac.Item) -> shapely.Geometry:
    """Return an item's footprint in longitude and latitude, its bounding box if it has none.

    Valid, -180 to 180, cut where it crosses the antimeridian.
    """
    stated = stated_footprint(item)
    west, _, east, _ = stated.bounds
    if -180 <= west and east <= 180 and east - west < 180 and stated.is_valid:
        return shapely.force_2d(stated)
    return grid.geographic(stated).iloc[0]


def crs_of(item: pystac.Item) -> str | None:
    """Return the CRS of an item's rasters ("EPSG:32632"), None if it states none.

    Of an item that states it for each asset, that of the first.
    """
    for fields in (item.properties, *(asset.extra_fields for asset in item.assets.values())):
        code = fields.get("proj:code") or fields.get("proj:epsg")
        if code:
            return str(code) if isinstance(code, str) else f"EPSG:{code}"
    return None


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


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """An item that was left out, and why."""

    item: pystac.Item
    kept: pystac.Item
    """The one that stands for it."""

    reason: str

    def __str__(self) -> str:
        """Return it in a line."""
        return f"{self.item.id} for {self.kept.id}: {self.reason}"


def deduplicated(items: Iterable[pystac.Item]) -> tuple[list[pystac.Item], list[pystac.Item]]:
    """Return each scene once, by time, and the items left out; see `single`."""
    kept, dropped = single(items)
    return kept, [one.item for one in dropped]


def single(items: Iterable[pystac.Item]) -> tuple[list[pystac.Item], list[Dropped]]:
    """Return each scene once, by time and name, and what was left out.

    Parameters
    ----------
    items : iterable of Item

    Returns
    -------
    kept : list of Item
    dropped : list of Dropped
        By time and name too.

    Notes
    -----
    The same scene is one platform, tile and pass: of Sentinel-2 the datatake or the absolute
    orbit that product names state, of Landsat the day; else times no more than 1 s apart and no
    two relative orbits. Kept is the best tier (Landsat T1, T2, RT), then the newest processing
    baseline, the latest processing, the collection (`PREFERRED`), the latest published. Parts
    of a scene that two ground stations received are both kept: another start of the datastrip
    and less than 95 % of the footprint in common.
    """
    given = sorted(items, key=lambda item: (time_of(item), item.id))
    found = repeats([facts_of(item) for item in given])
    gone = {repeat.dropped for repeat in found}
    kept = [item for number, item in enumerate(given) if number not in gone]
    dropped = [
        Dropped(item=given[one.dropped], kept=given[one.kept], reason=one.reason) for one in found
    ]
    return kept, sorted(dropped, key=lambda one: (time_of(one.item), one.item.id, str(one)))


def facts_of(item: pystac.Item) -> Facts:
    """Return what tells an item from others; see `duplicates.repeats`."""
    collection = str(item.collection_id or "")
    try:
        family = sensor_of_item(item).family
    except SensorError:
        family = collection
    number = PREFERRED.index(collection) if collection in PREFERRED else len(PREFERRED)
    return Facts(
        name=item.id,
        collection=collection,
        family=family,
        platform=platform_of(item),
        tile=tile_of(item),
        time=time_of(item),
        footprint=footprint_of(item),
        preference=-number,
        created=str(item.properties.get("created") or ""),
        address=min((asset.href for asset in item.assets.values()), default=""),
        **(_landsat(item) or _sentinel_2(item)),
    )


def _landsat(item):
    """Return what the name of a Landsat product tells, None if it is none."""
    match = _LANDSAT.match(item.id)
    if match is None:
        return None
    addresses = (asset.href for asset in item.assets.values())
    made = next((m[2] for text in addresses if (m := _LANDSAT.search(text)) and m[2]), None)
    return {
        "passes": {"day": match[1]},
        "part": WHOLE,
        "tier": _TIERS[match[3]],
        "made": match[2] or made or "",
        "dated": True,
    }


def _sentinel_2(item):
    """Return what the names of a Sentinel-2 product tell of pass, part and processing."""
    properties = item.properties

    def first(pattern, *keys):
        texts = [str(properties.get(key) or "") for key in keys]
        return next((m for text in [*texts, item.id] if (m := pattern.search(text))), None)

    product = first(_SENTINEL_2, "s2:product_uri", "sentinel:product_id")
    take = first(_DATATAKE, "s2:datatake_id")
    orbit = first(_ABSOLUTE_ORBIT, "s2:tile_id", "s2:granule_id")
    start = first(_DATASTRIP_START, "s2:datastrip_id")
    relative = properties.get("sat:relative_orbit")
    if relative is None and product:
        relative = product[3]
    made = properties.get("s2:generation_time") or (product[4] if product else "")
    passes = {
        "datatake": product[1] if product else take[1] if take else None,
        "orbit": take[2] if take else orbit[1] if orbit else None,
    }
    return {
        "orbit": None if relative is None else int(relative),
        "passes": {kind: name for kind, name in passes.items() if name},
        "product": product[0] if product and product[2] else "",
        "part": start[1] if start else "",
        "baseline": sensors.processing_baseline(properties) or 0.0,
        "made": re.sub(r"\D", "", str(made))[:14],
    }
