"""What is to be read for each time of a cube: plain objects that a task can carry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pystac
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry
from pyproj.exceptions import CRSError
from shapely.affinity import affine_transform

from glaciercube import grid
from glaciercube.acquire.items import (
    address_of,
    asset_of,
    footprint_of,
    identity_of,
    linear_of,
    time_of,
)
from glaciercube.acquire.offsets import Settled
from glaciercube.acquire.pixels import Conversion, conversion_of
from glaciercube.errors import SensorError
from glaciercube.sensors import Linear, Quality, Sensor

COARSER = 1.5
"""A grid this many times coarser than a band takes the mean of its pixels."""

FOOTPRINT_MARGIN = 0.02
"""Footprints are drawn roughly: an item without the shape of its rasters may reach this share of
its footprint's size beyond it."""

STEPS = 32
"""Points along each side of a footprint before it is drawn on another CRS."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One raster of an item."""

    key: str
    address: str
    """Without a token; it is signed when opened."""

    resampling: str
    nodata: float
    """The number that fills what the raster does not cover."""

    floats: bool
    """Whether its numbers are floats, else integers."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One item of a time: its rasters and how they become values."""

    item: str
    sources: tuple[Source, ...]
    """By band, then the quality layers."""

    conversion: Conversion
    reach: bytes
    """What the item may cover, in pixels of the grid: a polygon (WKB)."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One time of a cube: what is laid over each other, the first on top."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One item of a plan, with what was decided about it."""

    item: pystac.Item
    sensor: Sensor
    group: tuple[Any, ...]
    """Items of one group share a time: the solar day, and of radar the orbit."""

    keys: tuple[str, ...]
    """Asset key of each band."""

    quality: tuple[tuple[Quality, str], ...]
    """Quality layers it has, with their asset keys."""

    settled: Settled


def group_of(item: pystac.Item, sensor: Sensor, longitude: float) -> tuple[Any, ...]:
    """Return what items of one time share: the solar day at a longitude; of radar the orbit too.

    Parameters
    ----------
    item : Item
    sensor : Sensor
    longitude : float
        Of the grid's centre (degree).
    """
    day = solar_day(time_of(item), longitude)
    if sensor.level != "backscatter":
        return (day.isoformat(),)
    return (day.isoformat(), *orbit_of(item))


def solar_day(time: datetime, longitude: float) -> date:
    """Return the day of a time by the sun at a longitude (degree).

    Examples
    --------
    >>> solar_day(datetime(2021, 7, 31, 23, 30), 150)
    datetime.date(2021, 8, 1)
    """
    return (time + timedelta(hours=longitude / 15)).date()


def orbit_of(item: pystac.Item) -> tuple[str, int]:
    """Return the direction and the number of an item's orbit; ("unknown", -1) if not stated."""
    state = item.properties.get("sat:orbit_state")
    number = item.properties.get("sat:relative_orbit")
    return str(state or "unknown"), -1 if number is None else int(number)


def names_of(
    items: Sequence[pystac.Item], rows: Sequence[Sensor], bands: Sequence[str] | None
) -> list[str]:
    """Return the names of the bands to load: those asked for, else all that every item has.

    Raises
    ------
    SensorError
        If a band is unknown, an item lacks one, or the items have none in common.
    """
    if bands is not None:
        wanted = list(dict.fromkeys(bands))
        lacking = {
            item.id: [name for name in wanted if asset_of(item, row.band(name).keys) is None]
            for item, row in zip(items, rows, strict=True)
        }
        problems = {name: missing for name, missing in lacking.items() if missing}
        if problems:
            name, missing = next(iter(problems.items()))
            held = next(list(item.assets) for item in items if item.id == name)
            raise SensorError(
                f"each item needs the bands {wanted}, {len(problems)} of {len(items)} lack some: "
                f"{name} lacks {missing}; it has the assets {held}"
            )
        return wanted
    shared = [n for n in rows[0].names if all(n in row.names for row in rows)]
    pairs = list(zip(items, rows, strict=True))
    names = [n for n in shared if all(asset_of(i, row.band(n).keys) for i, row in pairs)]
    if not names:
        raise SensorError(
            f"the items need a band of {rows[0].family} in common, with assets such as "
            f"{rows[0].bands[0].keys}; {items[0].id} has {list(items[0].assets)}"
        )
    return names


def quality_of(item: pystac.Item, sensor: Sensor) -> tuple[tuple[Quality, str], ...]:
    """Return the quality layers that an item has, with their asset keys."""
    found = [(layer, asset_of(item, layer.keys)) for layer in sensor.quality]
    return tuple((layer, key) for layer, key in found if key is not None)


def moments_of(
    entries: Sequence[Entry], names: Sequence[str], geobox: GeoBox
) -> dict[tuple[Any, ...], Moment]:
    """Return what is to be read for each time, in order.

    Parameters
    ----------
    entries : sequence of Entry
        By time.
    names : sequence of str
        Bands.
    geobox : GeoBox
    """
    step = float(np.sqrt(np.median(grid.pixel_area(geobox))))
    groups: dict[tuple[Any, ...], list[Piece]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(_piece(entry, names, geobox, step))
    return {group: Moment(pieces=tuple(pieces)) for group, pieces in groups.items()}


def identities(entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
    """Return what tells the sources of a plan from others: items, files, decisions."""
    return [
        (
            entry.group,
            entry.item.id,
            entry.settled.used,
            [identity_of(address_of(entry.item, key)) for key in _keys(entry)],
        )
        for entry in entries
    ]


def _keys(entry):
    return (*entry.keys, *(key for _, key in entry.quality))


def _piece(entry, names, geobox, step):
    sensor, item = entry.sensor, entry.item
    floats = np.dtype(sensor.dtype).kind == "f"
    sources = [
        Source(
            key=key,
            address=address_of(item, key),
            resampling=_resampling(sensor.band(name), step),
            nodata=sensor.nodata[0],
            floats=floats,
        )
        for name, key in zip(names, entry.keys, strict=True)
    ]
    sources += [
        Source(
            key=key,
            address=address_of(item, key),
            resampling=layer.resampling,
            nodata=layer.nodata,
            floats=False,
        )
        for layer, key in entry.quality
    ]
    linear = [_settled_linear(entry, name) for name in names]
    layers = [layer for layer, _ in entry.quality]
    return Piece(
        item=item.id,
        sources=tuple(sources),
        conversion=conversion_of(sensor, linear, len(names), layers),
        reach=shapely.to_wkb(reach_of(item, entry.keys[0], geobox)),
    )


def _settled_linear(entry, name):
    """Return the conversion of a band, with the offset that was settled where it is in question."""
    sensor = entry.sensor
    if sensor.rule == "sentinel-2-baseline":
        return Linear(scale=sensor.scale, offset=entry.settled.used, told_by="settled")
    return linear_of(entry.item, sensor, name)


def _resampling(band, step):
    return "average" if step >= COARSER * band.resolution else band.resampling


def reach_of(item: pystac.Item, key: str, geobox: GeoBox) -> shapely.Geometry:
    """Return what an item may cover, in pixels of a grid.

    Parameters
    ----------
    item : Item
    key : str
        Of an asset; where it states the shape and transform of its raster (`proj`
        extension), the raster's extent counts.
    geobox : GeoBox

    Returns
    -------
    Geometry
        A polygon in columns and rows. The footprint with a margin where the raster's shape is
        not stated, and the whole grid where a footprint cannot be drawn on the grid's CRS.
    """
    raster = raster_box(item, key)
    if raster is not None:
        outline = raster.extent
    else:
        footprint = footprint_of(item)
        size = max(
            footprint.bounds[2] - footprint.bounds[0], footprint.bounds[3] - footprint.bounds[1]
        )
        outline = Geometry(footprint.buffer(FOOTPRINT_MARGIN * size), grid.WGS84)
    finest = max(outline.boundingbox.span_x, outline.boundingbox.span_y) / STEPS
    assert geobox.crs is not None, "grids that are loaded on have a CRS"
    drawn = outline.to_crs(geobox.crs, resolution=finest, check_and_fix=True)
    a, b, c, d, e, f = tuple(~geobox.affine)[:6]
    pixels = affine_transform(drawn.geom, [a, b, d, e, c, f])
    if pixels.is_empty or not np.isfinite(pixels.bounds).all():
        return shapely.box(0, 0, geobox.shape.x, geobox.shape.y)
    return shapely.make_valid(pixels).buffer(1.0)


def raster_box(item: pystac.Item, key: str) -> GeoBox | None:
    """Return the grid of an asset's raster as the item states it, None if it does not."""
    fields = {**item.properties, **item.assets[key].extra_fields}
    shape, transform = fields.get("proj:shape"), fields.get("proj:transform")
    code = fields.get("proj:code") or fields.get("proj:epsg")
    if not shape or not transform or not code:
        return None
    crs = code if isinstance(code, str) else f"EPSG:{code}"
    try:
        box = GeoBox((int(shape[0]), int(shape[1])), Affine(*transform[:6]), crs)
    except CRSError:
        return None
    # Some catalogues state another zone or code (3271 for 32701): then the footprint counts.
    return box if grid.touches(footprint_of(item), box) else None
