"""What `load` would make of items, said before a pixel is read."""

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import pystac

from glaciercube import grid, sensors
from glaciercube.acquire.access import PUBLIC, access_of, is_remote, require_trusted
from glaciercube.acquire.assembly import chunks_of, require_chunk, told_flags
from glaciercube.acquire.estimates import Share, compressed_bytes, cube_bytes, shares_of, touched
from glaciercube.acquire.items import (
    address_of,
    cloud_cover_of,
    crs_of,
    linear_of,
    sensors_of_items,
    single,
)
from glaciercube.acquire.placement import central_longitude, grid_for, over_grid
from glaciercube.acquire.plans import group_of, names_of
from glaciercube.acquire.reports import Explanation
from glaciercube.acquire.scenes import SIMULATED
from glaciercube.errors import AcquireError, SensorError

NOT_STATED = "not stated"


def explain(
    items: Sequence[pystac.Item],
    area: Any = None,
    *,
    resolution: float | None = None,
    crs: Any = None,
    bands: Sequence[str] | None = None,
    chunk: int = 1024,
    snap: bool = False,
) -> Explanation:
    """Return what `load` would make of items; no pixel is read and nothing asked.

    Parameters
    ----------
    items : sequence of Item
        What `search` left out of them is listed too.
    area, resolution, crs, bands, chunk, snap
        As `scenes.load` takes them.

    Returns
    -------
    Explanation
        Print it to read it.

    Raises
    ------
    AcquireError
        If there is no item, or none is over the area.
    SensorError
        If items are of no or of several sensors, or have no band in common.
    GridError
        If the area is empty or has no coordinate reference system.

    Notes
    -----
    Times are solar days at the middle of the grid. Empty chunks are told by the footprints, and
    `load` decides by the rasters, which are larger. Bytes to be read are those of the part of
    each item under the grid at native resolution: coarser grids read overviews, hence less, and
    whole tiles of files are read at the edges, hence more. Offsets are those that the metadata
    declare; what the pixels say is seen by `load` only.
    """
    require_chunk(chunk)
    left_out = getattr(items, "dropped", ())  # by `search`, where items are what it returned
    items = list(items)
    if not items:
        raise AcquireError("an explanation needs at least one item, found none; search wider")
    rows = sensors_of_items(items)
    geobox = grid_for(
        items, rows, area, resolution=resolution, crs=crs, snap=chunk if snap else None
    )
    over = over_grid(items, geobox)
    kept, dropped = single(item for item, near in zip(items, over, strict=True) if near)
    rows = sensors_of_items(kept)
    names = names_of(kept, rows, bands)
    scenes = shares_of(kept, rows, geobox)
    groups = _groups(scenes, geobox)
    flags = _flags(scenes)
    blocks = [chunks_of(length, chunk) for length in (geobox.shape.y, geobox.shape.x)]
    count = len(groups) * len(blocks[0]) * len(blocks[1])
    memory, disk = cube_bytes(rows[0], geobox, len(groups), len(names), len(flags) + 2)
    return Explanation(
        sensors=_counted(row.name for row in rows),
        providers=_counted(_provider(scene) for scene in scenes),
        access=_access(scenes, names),
        given=len(items) + len(left_out),
        used=len(kept),
        outside=[item.id for item, near in zip(items, over, strict=True) if not near],
        duplicates=[
            {"item": one.item.id, "kept": one.kept.id, "reason": one.reason}
            for one in (*left_out, *dropped)
        ],
        days=[group[0] for group in groups],
        most_items=max(len(own) for own in groups.values()),
        grid=grid.describe(geobox),
        shape=(geobox.shape.y, geobox.shape.x),
        chunk=chunk,
        blocks=(len(blocks[0]), len(blocks[1])),
        chunks=count,
        empty_chunks=count - touched(groups.values(), blocks),
        bands=names,
        lacking=_lacking(scenes),
        quality=_counted(layer.name for one in scenes for layer, _ in one.quality),
        flags=flags,
        offsets=_counted(_offset(scene, names[0]) for scene in scenes),
        crs=_counted(crs_of(item) or NOT_STATED for item in kept),
        without_raster=sum(not one.states_raster(names[0]) for one in scenes),
        cloud_cover=_cloud_cover(kept),
        bytes_memory=memory,
        bytes_disk=disk,
        bytes_read=round(sum(scene.bytes_read(names) for scene in scenes)),
        bytes_read_compressed=compressed_bytes(scenes, names),
        notes=_notes(scenes, names[0]),
    )


def _counted(names) -> dict[str, int]:
    """Return how often each name comes, the most frequent first, then by name."""
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


def _groups(scenes, geobox):
    """Return the scenes of each time of the cube, in order."""
    longitude = central_longitude(geobox)
    groups: dict[tuple[Any, ...], list[Share]] = {}
    for scene in scenes:
        groups.setdefault(group_of(scene.item, scene.sensor, longitude), []).append(scene)
    return groups


def _flags(scenes):
    told = [told_flags([layer for layer, _ in scene.quality]) for scene in scenes]
    return [name for name in told[0] if all(name in one for one in told)]


def _lacking(scenes):
    lacking = {
        scene.item.id: [name for name in scene.sensor.names if not scene.key(name)]
        for scene in scenes
    }
    return {name: missing for name, missing in lacking.items() if missing}


def _provider(scene):
    assets = {key: {"href": asset.href} for key, asset in scene.item.assets.items()}
    return sensors.provider_of(scene.sensor, assets)


def _offset(scene, name):
    """Return the class of offset that an item's metadata put it in."""
    try:
        linear = linear_of(scene.item, scene.sensor, name)
    except SensorError:
        return "refused"
    if linear is None:
        return NOT_STATED
    return f"{linear.offset:+g} DN ({linear.told_by})"


def _access(scenes, names):
    """Return what reading from each place needs."""
    found = {}
    for scene in scenes:
        address = address_of(scene.item, scene.key(names[0]))
        if is_remote(address):
            found[urlsplit(address).hostname or ""] = _need(address, scene.item)
        else:
            found["files of this machine"] = ""
    return dict(sorted(found.items()))


def _need(address, item):
    row = access_of(address)
    if row is not None and row.token:
        free = urlsplit(address).hostname in PUBLIC
        return "" if free else "a token of the Planetary Computer, which is fetched when it is read"
    if row is not None and row.login:
        return "a login in a browser; the item states no other address"
    payer = item.properties.get("storage:requester_pays") is True
    if payer or (row is not None and "AWS_REQUEST_PAYER" in row.options):
        return "AWS keys: the requester pays"
    if row is not None and "AWS_S3_ENDPOINT" in row.options:
        return f"keys of {row.name}"
    return ""


def _cloud_cover(items):
    covers = [cover for item in items if (cover := cloud_cover_of(item)) is not None]
    if not covers:
        return {"stated": 0}
    return {
        "least": min(covers), "median": median(covers), "most": max(covers), "stated": len(covers),
    }  # fmt: skip


def _notes(scenes, name):
    """Return what is to be known, and what `load` would refuse."""
    notes = []
    for scene in scenes:
        try:
            linear_of(scene.item, scene.sensor, name)
        except SensorError as error:
            notes.append(f"load refuses {scene.item.id}: {error}")
    try:
        require_trusted([scene.item for scene in scenes])
    except AcquireError as error:
        notes.append(f"load refuses: {error}")
    if any(scene.item.properties.get(SIMULATED) for scene in scenes):
        notes.append("simulated: no satellite has measured this")
    return notes
