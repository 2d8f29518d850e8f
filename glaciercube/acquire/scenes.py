"""Items of a catalogue to a cube: one grid, one layer per solar day, offsets harmonised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import odc.stac
import pystac
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.acquire.assembly import ALGORITHM_VERSION, assemble, provenance_of, require_chunk
from glaciercube.acquire.elevation import elevation_on, grid_token
from glaciercube.acquire.items import (
    address_of,
    asset_of,
    declared_offset,
    deduplicated,
    footprint_of,
    identity_of,
    mean_sun,
    sensor_of_items,
    time_of,
)
from glaciercube.acquire.offsets import CIRRUS, Check, Scene, Settled, require_check, settle
from glaciercube.acquire.pixels import Conversion, conversion_of, fill, measure
from glaciercube.acquire.reader import ItemDriver
from glaciercube.errors import AcquireError, SensorError
from glaciercube.sensors import Sensor

COARSER = 1.5
"""A grid this many times coarser than a band takes the mean of its pixels, else bilinear."""


SIMULATED = "glaciercube:simulated"
"""Item property that says that no satellite has measured this."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One item, what is to be read of it, and how."""

    item: pystac.Item
    day: date
    """Solar day at the centre of the grid."""

    keys: tuple[str, ...]
    """Asset key of each band."""

    quality: str | None
    settled: Settled

    @property
    def group(self) -> tuple[Any, ...]:
        """What items must share to be read and mosaicked together."""
        return self.settled.used, self.keys, self.quality or "", str(self.item.collection_id)


def load(  # noqa: PLR0913 - the verb itself
    items: Sequence[pystac.Item],
    area: Any = None,
    *,
    resolution: float = 10,
    crs: Any = None,
    bands: Sequence[str] | None = None,
    dem: str | Path | None = None,
    chunk: int = 1024,
    check: Check = "warn",
) -> xr.Dataset:
    """Return a cube of items, lazily: one layer per solar day on one grid.

    Parameters
    ----------
    items : sequence of Item
        Of one sensor, such as `search` returns; repeated ones are left out.
    area : GeoDataFrame, geometry, (west, south, east, north) or GeoBox, optional
        What the grid covers; a GeoBox is the grid. None takes the items' footprints.
    resolution : float
        Pixel size (m; degrees if `crs` is geographic).
    crs : optional
        Of the grid; the UTM zone of the area's centre if None.
    bands : sequence of str, optional
        Names as in the sensor's table; all that every item has if None.
    dem : path or str, optional
        Adds `elevation` from a raster, or from a collection of the items' catalogue such
        as "cop-dem-glo-30".
    chunk : int
        Rows and columns of a block (pixels).
    check : "warn", "raise", "trust-pixels", "trust-metadata" or False
        What to do where pixels contradict the offset their metadata declare, after one
        small read per item; see `acquire.offsets.settle`. False reads no pixel now.

    Returns
    -------
    Dataset
        `reflectance` (time, band, y, x), `valid`, the provider's flags and, on request,
        `elevation`; `time` is the first item's of the day (UTC). Coordinates
        `sun_azimuth` and `sun_elevation` (time) where all items state them.

    Raises
    ------
    AcquireError
        If no item touches the area, or an overview or the elevation cannot be read.
    SensorError
        If items are of several sensors, lack bands, or `check` is "raise" and offsets differ.
    GridError
        If the area has no coordinate reference system.

    Notes
    -----
    Digital numbers are warped as they are (bilinear, the mean on a coarser grid; quality by
    the nearest pixel), nodata left out. Items of one day with different offsets are read
    apart, converted, and then laid over each other, so no shift reaches the mosaic.
    Remote reads follow `odc.stac.configure_rio`; assets of the Planetary Computer are signed
    as each is opened (extra `pc`). All variables share one read of each block, so compute
    or write them together.
    """
    require_check(check)
    require_chunk(chunk)
    items = _some(list(items))
    sensor = sensor_of_items(items)
    geobox = _grid(items, area, resolution, crs)
    kept, dropped = deduplicated(_touching(items, geobox))
    entries = _entries(kept, geobox, sensor, bands, check)
    names = _names(kept, sensor, bands)
    days = sorted({entry.day for entry in entries})
    measured = _mosaic(entries, days, names, geobox, sensor, chunk)
    by_day = {day: [entry for entry in entries if entry.day == day] for day in days}
    cube = assemble(
        measured,
        geobox=geobox,
        sensor=sensor,
        bands=names,
        times=[_first_time(by_day[day]) for day in days],
        quality=all(entry.quality is not None for entry in entries),
        provenance=[_record(by_day[day], dropped) for day in days],
    )
    cube = _with_sun(cube, [by_day[day] for day in days])
    if any(item.properties.get(SIMULATED) for item in kept):
        cube.attrs["simulated"] = 1
    if dem is not None:
        cube["elevation"] = elevation_on(geobox, dem, items=kept, chunk=chunk)
        cube = grid.georeferenced(cube, geobox)
    return cube


def _some(items):
    if len(items) == 0:
        raise AcquireError("a cube needs at least one item, found none; search again, wider")
    return items


def _grid(items, area, resolution, crs):
    if isinstance(area, GeoBox):
        return area
    if area is None:
        footprints = [footprint_of(item) for item in items]
        area = grid.area_frame(footprints[0])
        for footprint in footprints[1:]:
            area.loc[len(area)] = [footprint]
    return grid.grid_around(area, resolution, crs)


def _touching(items, geobox):
    extent = grid.area_frame(geobox).to_crs(grid.WGS84).geometry.iloc[0]
    near = [item for item in items if footprint_of(item).intersects(extent)]
    if not near:
        raise AcquireError(
            f"a cube needs items over {grid.describe(geobox)}, but none of the {len(items)} "
            "touches it; search with the same area"
        )
    return near


def _names(items, sensor, bands):
    """Return the names of the bands to load."""
    if bands is not None:
        return [sensor.band(name).name for name in bands]
    names = [band.name for band in sensor.bands if all(asset_of(item, band.keys) for item in items)]
    if not names:
        raise SensorError(
            f"the items need assets of {sensor.name} such as {sensor.bands[0].keys}, "
            f"{items[0].id} has {list(items[0].assets)}"
        )
    return names


def _entries(items, geobox, sensor, bands, check):
    """Return what to read of each item, its offset settled."""
    names = _names(items, sensor, bands)
    keys = [_keys(item, names, sensor) for item in items]
    wide = [asset_of(item, sensor.quality.keys) if sensor.quality else None for item in items]
    everywhere = all(key is not None for key in wide)
    settled = settle(
        [_scene(item, own, sensor) for item, own in zip(items, keys, strict=True)], sensor, check
    )
    longitude = float(grid.area_frame(geobox).to_crs(grid.WGS84).geometry.iloc[0].centroid.x)
    return [
        Entry(
            item=item,
            day=(time_of(item) + timedelta(hours=longitude / 15)).date(),
            keys=own,
            quality=quality if everywhere else None,
            settled=one,
        )
        for item, own, quality, one in zip(items, keys, wide, settled, strict=True)
    ]


def _keys(item, names, sensor):
    found = {name: asset_of(item, sensor.band(name).keys) for name in names}
    missing = [name for name, key in found.items() if key is None]
    if missing:
        raise SensorError(
            f"each item needs the bands {names}, {item.id} lacks {missing}; it has the assets "
            f"{list(item.assets)}"
        )
    return tuple(found.values())


def _scene(item, keys, sensor):
    """Return the overviews to look at: the darkest band, and cirrus where there is one."""
    found = [(name, asset_of(item, sensor.band(name).keys)) for name in sensor.dark]
    dark = [(name, key) for name, key in found if key is not None][:1] or [("first", keys[0])]
    cirrus = asset_of(item, CIRRUS)
    if cirrus is not None:
        dark.append(("cirrus", cirrus))
    return Scene(
        name=item.id,
        date=time_of(item).date().isoformat(),
        declared=declared_offset(item, sensor, keys[0]),
        dark={name: (address_of(item, key), 1) for name, key in dark},
    )


def _mosaic(entries, days, names, geobox, sensor, chunk):
    """Return the measured blocks of each day (time, band + 1, y, x), lazily."""
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    parts = []
    for key in sorted(groups):
        own = sorted({entry.day for entry in groups[key]})
        parts.append((own, _load_group(groups[key], own, names, geobox, sensor, chunk)))
    return _overlay(parts, days)


def _load_group(entries, days, names, geobox, sensor, chunk):
    """Return the measured blocks of items that share keys and offset, one layer per day."""
    first = entries[0]
    day_of = {(entry.item.id, str(entry.item.collection_id)): entry.day for entry in entries}
    keys = [*first.keys] if first.quality is None else [*first.keys, first.quality]
    resampling = _resampling(first, names, geobox, sensor)
    loaded = odc.stac.load(
        [entry.item for entry in entries],
        bands=keys,
        geobox=geobox,
        chunks={"time": 1, "y": chunk, "x": chunk},
        groupby=lambda item, parsed, index: day_of[item.id, str(item.collection_id)],
        resampling=resampling,
        driver=ItemDriver(),
        nodata=sensor.nodata,
        stac_cfg={"*": {"assets": _assets(first, sensor), "warnings": "ignore"}},
    )
    conversion = conversion_of(sensor, first.settled.used, first.quality is not None)
    identities = [
        (entry.day.isoformat(), entry.item.id, identity_of(address_of(entry.item, key)))
        for entry in entries
        for key in keys
    ]
    token = tokenize(
        ALGORITHM_VERSION, identities, grid_token(geobox), names, chunk, repr(conversion),
        sorted(resampling.items()),
    )  # fmt: skip
    layers = [loaded[key].data for key in keys]
    return da.map_blocks(
        measure_block,
        *layers,
        conversion=conversion,
        quality=first.quality is not None,
        new_axis=1,
        chunks=(layers[0].chunks[0], (len(names) + 1,), *layers[0].chunks[1:]),
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
        name=f"scenes-{token}",
    )


def _resampling(entry, names, geobox, sensor) -> dict[str, str]:
    step = float(np.sqrt(np.median(grid.pixel_area(geobox))))
    how = {
        key: "average" if step >= COARSER * sensor.band(name).resolution else "bilinear"
        for name, key in zip(names, entry.keys, strict=True)
    }
    return how if entry.quality is None else {**how, entry.quality: "nearest"}


def _assets(entry: Entry, sensor: Sensor) -> Mapping[str, Any]:
    """Return what odc-stac shall assume of assets whose items do not state it."""
    numbers = {"data_type": "uint16", "nodata": sensor.nodata}
    if entry.quality is None or sensor.quality is None:
        return {"*": numbers}
    kind = "uint8" if sensor.quality.kind == "classes" else "uint16"
    return {"*": numbers, entry.quality: {"data_type": kind, "nodata": 0}}


def measure_block(*layers: np.ndarray, conversion: Conversion, quality: bool) -> np.ndarray:
    """Return one block of one day: reflectance by band and quality codes, float32.

    Parameters
    ----------
    *layers : array (1, y, x), integer
        Digital numbers by band, and last the quality layer if there is one.
    conversion : Conversion
    quality : bool

    Returns
    -------
    array (1, band + 1, y, x), float32
        See `pixels.measure`.
    """
    bands = layers[:-1] if quality else layers
    numbers = np.stack([layer[0] for layer in bands])
    return measure(numbers, layers[-1][0] if quality else None, conversion)[np.newaxis]


def _overlay(parts, days):
    """Return one layer per day from groups that hold some days each, holes filled in order."""
    having = [
        tuple(n for n, (own, _) in enumerate(parts) if day in own) for day in days
    ]  # fmt: skip
    runs = []
    for who, run in groupby(range(len(days)), key=lambda number: having[number]):
        span = [days[number] for number in run]
        pieces = [parts[n][1][_span(parts[n][0], span)] for n in who]
        whole = pieces[0]
        for piece in pieces[1:]:
            whole = da.map_blocks(
                fill,
                whole,
                piece,
                dtype=np.float32,
                meta=np.empty((0, 0, 0, 0), np.float32),
                name=f"overlay-{tokenize(ALGORITHM_VERSION, whole.name, piece.name)}",
            )
        runs.append(whole)
    return runs[0] if len(runs) == 1 else da.concatenate(runs, axis=0)


def _span(own, span):
    start = own.index(span[0])
    return slice(start, start + len(span))


def _first_time(entries):
    return min(time_of(entry.item) for entry in entries).replace(tzinfo=None)


def _with_sun(cube, days):
    suns = [sun for entries in days if (sun := mean_sun([entry.item for entry in entries]))]
    if len(suns) < len(days):
        return cube
    attrs = {"units": "degree"}
    azimuth = {**attrs, "standard_name": "solar_azimuth_angle", "long_name": "clockwise from north"}
    elevation = {**attrs, "standard_name": "solar_elevation_angle"}
    return cube.assign_coords(
        sun_azimuth=("time", np.array([sun[0] for sun in suns], np.float32), azimuth),
        sun_elevation=("time", np.array([sun[1] for sun in suns], np.float32), elevation),
    )


def _record(entries, dropped):
    """Return the provenance of one day."""
    own = {_date(entry.item) for entry in entries}
    sources = [
        {
            "id": entry.item.id,
            "collection": entry.item.collection_id,
            "conversion": "digital numbers",
            **entry.settled.record(),
        }
        for entry in entries
    ]
    repeated = sorted(item.id for item in dropped if _date(item) in own)
    return provenance_of(_first_time(entries), "second", sources, dropped=repeated)


def _date(item):
    return time_of(item).date()
