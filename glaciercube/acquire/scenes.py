"""Items of a catalogue to a cube: one grid, one layer per solar day, offsets harmonised."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import geopandas as gpd
import numpy as np
import pystac
import xarray as xr
from dask.base import tokenize

from glaciercube import grid
from glaciercube.acquire.access import require_trusted
from glaciercube.acquire.assembly import (
    ALGORITHM_VERSION,
    assemble,
    chunks_of,
    provenance_of,
    require_chunk,
    told_flags,
)
from glaciercube.acquire.blocks import read_block, target_of
from glaciercube.acquire.elevation import grid_token
from glaciercube.acquire.factors import with_factors
from glaciercube.acquire.glaciers import glacier_layers_on
from glaciercube.acquire.items import (
    address_of,
    asset_of,
    deduplicated,
    linear_of,
    mean_sun,
    sensors_of_items,
    time_of,
)
from glaciercube.acquire.lineage import SceneInputs, scene_parts, with_inputs, with_recipe
from glaciercube.acquire.offsets import CIRRUS, Check, Scene, Settled, require_check, settle
from glaciercube.acquire.placement import central_longitude, grid_for, over_grid
from glaciercube.acquire.plans import (
    Entry,
    group_of,
    identities,
    moments_of,
    names_of,
    orbit_of,
    quality_of,
)
from glaciercube.acquire.reader import ItemDriver
from glaciercube.acquire.records import (
    dem_record,
    glaciers_on,
    load_record,
    on_grid,
    outlines_record,
)
from glaciercube.acquire.relief import elevation_source, terrain_on
from glaciercube.acquire.tasks import per_block
from glaciercube.acquire.wanted import wanted_of
from glaciercube.errors import AcquireError, SchemaError

SIMULATED = "glaciercube:simulated"
"""Item property that says that no satellite has measured this."""

OnReadError = Literal["record", "raise"]
"""What to do where a source cannot be read."""


def load(  # noqa: PLR0913 - the verb itself
    items: Sequence[pystac.Item],
    area: Any = None,
    *,
    resolution: float | None = None,
    crs: Any = None,
    bands: Sequence[str] | None = None,
    dem: str | Path | None = None,
    terrain: Sequence[str] = (),
    outlines: gpd.GeoDataFrame | None = None,
    within: gpd.GeoDataFrame | None = None,
    chunk: int = 1024,
    snap: bool = False,
    check: Check = "warn",
    on_read_error: OnReadError = "record",
    allow_local: bool = False,
) -> xr.Dataset:
    """Return a cube of items, lazily: one layer per solar day on one grid.

    Parameters
    ----------
    items : sequence of Item
        Of one sensor or family of sensors, such as `search` returns; repeated ones are left
        out.
    area : GeoDataFrame, geometry, (west, south, east, north), GeoBox or path, optional
        What the grid covers, see `acquire.inventories.area_of`; a GeoBox is the grid. None
        takes the items' footprints.
    resolution : float, optional
        Pixel size (m; degrees if `crs` is geographic); the sensor's finest if None.
    crs : optional
        Of the grid; the UTM zone of the area's centre if None.
    bands : sequence of str, optional
        Names as in the sensor's table; all that every item has if None.
    dem : path or str, optional
        Adds `elevation` from a raster, or from a collection of the items' catalogue such
        as "cop-dem-glo-30".
    terrain : sequence of str
        Some of "slope", "aspect", "hillshade" and "cast_shadow", made of the elevation; the
        last two for each date's sun, which every item must state. See `relief.terrain_on`.
    outlines : GeoDataFrame, optional
        Adds `glacier` (the pixel's centre lies inside), `glacier_fraction` (the share of the
        pixel) and `glacier_distance` (m, 0 inside, at most 5 km).
    within : GeoDataFrame, optional
        Blocks that none of these polygons touches are not read and stay not measured, their
        elevation void; so time and bytes follow the glaciers, not the area. Buffer them by
        what the networks need to see around a glacier.
    chunk : int
        Rows and columns of a block (pixels).
    snap : bool
        Start the grid on the lattice of chunks, so that cubes of neighbouring areas share
        chunks too; they share pixels in any case. Enlarges the grid by less than a chunk.
    check : "warn", "raise", "trust-pixels", "trust-metadata" or False
        What to do where pixels contradict the offset their metadata declare, after one
        small read per item; see `acquire.offsets.settle`. False reads no pixel now.
    on_read_error : "record" or "raise"
        What to do where a source cannot be read in the end: leave a hole, say so in
        `read_failed` and record it (`acquire.failures`), or raise.
    allow_local : bool
        Whether items of a remote catalogue may name local files. Their addresses are not to
        be trusted, so by default they may not.

    Returns
    -------
    Dataset
        `reflectance` (time, band, y, x) - of radar `backscatter` -, `valid`, the provider's
        flags, `read_failed` and, on request, `elevation`; `time` is the first item's of the
        day (UTC). Coordinates `sun_azimuth` and `sun_elevation` (time) where all items
        state them, `platform` (time), and of radar `orbit_state` and `relative_orbit`.

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
    the nearest pixel), nodata left out. Each item is converted by its own offset and scale
    before those of one day are laid over each other, so no shift reaches the mosaic; radar
    scenes of different orbits are times of their own. One task reads all of a block of a day,
    through odc-loader; remote reads follow `odc.stac.configure_rio`, and assets are signed as
    each is opened. All variables share this reading, so compute or write them together.
    """
    require_check(check)
    require_chunk(chunk)
    _require_policy(on_read_error)
    _require_dem(terrain, dem)
    items = _some(list(items))
    rows = sensors_of_items(items)
    require_trusted(items, allow_local=allow_local)
    geobox = grid_for(
        items, rows, area, resolution=resolution, crs=crs, snap=chunk if snap else None
    )
    wanted = None if within is None else wanted_of(within, geobox, chunk)
    over = over_grid(items, geobox)
    kept, dropped = deduplicated(item for item, one in zip(items, over, strict=True) if one)
    rows = sensors_of_items(kept)
    kept = [with_factors(item, row) for item, row in zip(kept, rows, strict=True)]
    names = names_of(kept, rows, bands)
    forgive = on_read_error == "record"
    entries = _entries(kept, names, geobox, check, forgive)
    groups = _grouped(entries)
    flags = _flags(entries)
    moments = list(moments_of(entries, names, geobox).values())
    target = target_of(geobox, len(names), chunk, forgive, ItemDriver().capture_env(), wanted)
    cube = assemble(
        _measured(entries, names, geobox, moments, target),
        geobox=geobox,
        sensor=entries[0].sensor,
        bands=names,
        times=[_first_time(own) for own in groups],
        flags=(*flags, "read_failed"),
        provenance=[_record(own, dropped) for own in groups],
    )
    parts = dict(zip(cube["time"].values, scene_parts(groups, moments), strict=True))
    told = _parameters(entries, moments, names)
    cube = with_inputs(cube, cube.data_vars, told, SceneInputs(parts, wanted))
    cube = _described(cube, groups)
    options: dict[str, Any] = {"bands": names, "chunk": chunk, "check": check}
    options |= {"allow_local": allow_local, "terrain": list(terrain)}
    if within is not None:
        options["within"] = outlines_record(on_grid(within, geobox)[0])
    if dem is not None:
        ground = terrain_on(
            geobox, dem, layers=terrain, suns=cube.coords, items=kept, chunk=chunk, wanted=wanted
        )
        cube = cube.assign(ground.data_vars)
        options["dem"] = dem_record(dem, elevation_source(ground))
    if outlines is not None:
        cube = cube.assign(glacier_layers_on(geobox, outlines, chunk=chunk).data_vars)
        options["outlines"] = outlines_record(glaciers_on(outlines, geobox)[0])
    return grid.georeferenced(with_recipe(cube, load_record(entries, geobox, options)), geobox)


def _require_dem(terrain, dem):
    if len(terrain) > 0 and dem is None:
        raise AcquireError(
            f"terrain={list(terrain)} needs dem=, a raster or a collection such as "
            "'cop-dem-glo-30'; found None"
        )


def _require_policy(on_read_error):
    if on_read_error not in get_args(OnReadError):
        raise SchemaError(
            f"on_read_error is one of {list(get_args(OnReadError))}, found {on_read_error!r}"
        )


def _some(items):
    if len(items) == 0:
        raise AcquireError("a cube needs at least one item, found none; search again, wider")
    return items


def _entries(items, names, geobox, check, forgive):
    """Return what to read of each item, by time, its offset settled."""
    rows = sensors_of_items(items)
    keys = [
        tuple(asset_of(item, row.band(name).keys) or "" for name in names)
        for item, row in zip(items, rows, strict=True)
    ]
    settled = _settled(items, rows, names, keys, check, forgive)
    longitude = central_longitude(geobox)
    return [
        Entry(
            item=item,
            sensor=row,
            group=group_of(item, row, longitude),
            keys=own,
            quality=quality_of(item, row),
            settled=one,
        )
        for item, row, own, one in zip(items, rows, keys, settled, strict=True)
    ]


def _settled(items, rows, names, keys, check, forgive):
    """Return the offset of each item: looked for in the pixels where metadata may be wrong."""
    if rows[0].rule == "sentinel-2-baseline":
        scenes = [
            _scene(item, row, names[0], own[0])
            for item, row, own in zip(items, rows, keys, strict=True)
        ]
        return settle(scenes, rows[0], check, forgive=forgive)
    linear = [linear_of(item, row, names[0]) for item, row in zip(items, rows, strict=True)]
    return [
        Settled(used=one.offset, declared=one.offset, observed=None, floor=None)
        for one in linear
        if one is not None  # only Sentinel-2 leaves an offset undeclared
    ]


def _scene(item, sensor, name, key):
    """Return the overviews to look at: the darkest band, and cirrus where there is one."""
    found = [(dark, asset_of(item, sensor.band(dark).keys)) for dark in sensor.dark]
    dark = [(one, held) for one, held in found if held is not None][:1] or [("first", key)]
    cirrus = asset_of(item, CIRRUS)
    if cirrus is not None:
        dark.append(("cirrus", cirrus))
    linear = linear_of(item, sensor, name)
    return Scene(
        name=item.id,
        date=time_of(item).date().isoformat(),
        declared=None if linear is None else round(linear.offset),
        dark={one: (address_of(item, held), 1) for one, held in dark},
    )


def _grouped(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries of each time, in order of the first."""
    groups: dict[Any, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return list(groups.values())


def _flags(entries):
    """Return the flags that every item tells."""
    told = [told_flags([layer for layer, _ in entry.quality]) for entry in entries]
    return tuple(name for name in told[0] if all(name in one for one in told))


def _parameters(entries, moments, names):
    """Return what all blocks of a cube of items have in common."""
    first = moments[0].pieces[0].sources
    return {
        "made_by": "load",
        "algorithm": ALGORITHM_VERSION,
        "sensor": entries[0].sensor.family,
        "resampling": {name: one.resampling for name, one in zip(names, first, strict=False)},
    }


def _measured(entries, names, geobox, moments, target):
    """Return the measured blocks of each time (time, band + 1, y, x), lazily."""
    token = tokenize(
        ALGORITHM_VERSION, identities(entries), grid_token(geobox), names, target.chunk,
        [repr(piece.conversion) for one in moments for piece in one.pieces],
        [source.resampling for source in moments[0].pieces[0].sources], target.wanted,
    )  # fmt: skip
    return per_block(
        read_block,
        moments,
        (chunks_of(geobox.shape.y, target.chunk), chunks_of(geobox.shape.x, target.chunk)),
        layers=len(names) + 1,
        name=f"scenes-{token}",
        target=target,
    )


def _first_time(entries):
    return min(time_of(entry.item) for entry in entries).replace(tzinfo=None)


def _described(cube, groups):
    """Return the cube with what is known of each time: sun, platform and orbit."""
    cube = _with_sun(cube, groups)
    first = [own[0] for own in groups]
    platforms = [
        ", ".join(sorted({str(entry.item.properties.get("platform", "")) for entry in own}))
        for own in groups
    ]
    if all(platforms):
        cube = cube.assign_coords(
            platform=("time", [name.lower().replace("_", "-") for name in platforms])
        )
    if first[0].sensor.level == "backscatter":
        states, numbers = zip(*(orbit_of(entry.item) for entry in first), strict=True)
        cube = cube.assign_coords(
            orbit_state=("time", list(states)),
            relative_orbit=("time", np.array(numbers, np.int32)),
        )
    rows = {entry.sensor.name for own in groups for entry in own}
    if len(rows) > 1:
        cube.attrs["sensor"] = first[0].sensor.family
    if any(entry.item.properties.get(SIMULATED) for own in groups for entry in own):
        cube.attrs["simulated"] = 1
    return cube


def _with_sun(cube, groups):
    suns = [sun for own in groups if (sun := mean_sun([entry.item for entry in own]))]
    if len(suns) < len(groups):
        return cube
    attrs = {"units": "degree"}
    azimuth = {**attrs, "standard_name": "solar_azimuth_angle", "long_name": "clockwise from north"}
    elevation = {**attrs, "standard_name": "solar_elevation_angle"}
    return cube.assign_coords(
        sun_azimuth=("time", np.array([sun[0] for sun in suns], np.float32), azimuth),
        sun_elevation=("time", np.array([sun[1] for sun in suns], np.float32), elevation),
    )


def _record(entries, dropped):
    """Return the provenance of one time."""
    own = {time_of(entry.item).date() for entry in entries}
    sources = [
        {
            "id": entry.item.id,
            "collection": entry.item.collection_id,
            "conversion": "digital numbers",
            **entry.settled.record(),
        }
        for entry in entries
    ]
    repeated = sorted(item.id for item in dropped if time_of(item).date() in own)
    return provenance_of(_first_time(entries), "second", sources, dropped=repeated)
