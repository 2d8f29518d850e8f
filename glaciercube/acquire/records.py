"""What a cube is made from as JSON without secrets, and back: items, elevation, outlines, grids."""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import pystac
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid
from glaciercube.acquire.access import FROM_AFAR, came_from_afar, is_remote
from glaciercube.acquire.elevation import is_raster
from glaciercube.acquire.ground import ground_of
from glaciercube.acquire.heights import Source
from glaciercube.acquire.identities import glimpse_of, public
from glaciercube.acquire.items import SENSOR, address_of, asset_of
from glaciercube.acquire.offsets import CIRRUS
from glaciercube.acquire.plans import Entry
from glaciercube.acquire.proximity import MAX_DISTANCE_M
from glaciercube.errors import AcquireError
from glaciercube.store.lineage import fingerprint

VERSION = 1
"""Of recipes; a newer one is refused."""

KEPT = ("proj:", "raster:", "file:", "checksum:", "bands")
"""Beginnings of an asset's fields that matter for reading it."""

MANY = 5
"""Names shown in a message at most."""


def grid_record(geobox: GeoBox) -> dict[str, Any]:
    """Return a grid as JSON.

    Examples
    --------
    >>> box = GeoBox.from_bbox((0, 0, 100, 50), "EPSG:32632", resolution=10)
    >>> geobox_of_record(grid_record(box)) == box
    True
    """
    return {
        "crs": str(geobox.crs),
        "shape": [geobox.shape.y, geobox.shape.x],
        "transform": [float(value) for value in tuple(geobox.affine)[:6]],
    }


def geobox_of_record(record: Mapping[str, Any]) -> GeoBox:
    """Return the grid of a record."""
    rows, columns = record["shape"]
    return GeoBox((rows, columns), Affine(*record["transform"]), record["crs"])


def outlines_record(frame: gpd.GeoDataFrame | gpd.GeoSeries) -> dict[str, Any]:
    """Return the geometries of outlines as JSON, without their columns.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        With a CRS.
    """
    some = frame.geometry[frame.geometry.notna()].to_numpy()
    whole = zlib.compress(shapely.to_wkb(shapely.geometrycollections(some)))
    return {"crs": frame.crs.to_string(), "polygons": base64.b64encode(whole).decode()}


def outlines_of_record(record: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Return the outlines of a record.

    Examples
    --------
    >>> frame = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    >>> outlines_of_record(outlines_record(frame)).geometry.equals(frame.geometry)
    True
    """
    whole = shapely.from_wkb(zlib.decompress(base64.b64decode(record["polygons"])))
    return gpd.GeoDataFrame(geometry=list(shapely.get_parts(whole)), crs=record["crs"])


def on_grid(
    frame: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox, margin_m: float = 0.0
) -> tuple[gpd.GeoDataFrame, str]:
    """Return the outlines that matter for a grid, and a hash of them, in whatever order.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        Polygons with a CRS.
    geobox : GeoBox
    margin_m : float
        How far beyond the grid they matter (m).
    """
    outlines = grid.area_frame(frame)
    polygons = cover.in_pixels(outlines, geobox)
    ground = ground_of(geobox)
    # A fifth more, as a pixel is not as long everywhere on a grid.
    across, down = (1.2 * margin_m / abs(step) + 1 for step in (ground.step_x, ground.step_y))
    rows, columns = geobox.shape
    near = shapely.intersects(
        polygons, shapely.box(-across, -down, columns + across, rows + down)
    ) & ~shapely.is_empty(polygons)
    told = fingerprint(*sorted(shapely.to_wkb(polygons[near]).tolist()))
    return outlines[near], told


def glaciers_on(
    frame: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox
) -> tuple[gpd.GeoDataFrame, str]:
    """Return the outlines on a grid and as far around as a distance to them is told; see `on_grid`.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
    geobox : GeoBox
    """
    return on_grid(frame, geobox, MAX_DISTANCE_M)


def item_record(entry: Entry) -> dict[str, Any]:
    """Return an item as JSON: what reading it again needs, its addresses without a credential.

    Parameters
    ----------
    entry : Entry
    """
    item, sensor = entry.item, entry.sensor
    dark = [asset_of(item, sensor.band(name).keys) for name in sensor.dark]
    more = [key for key in (*dark, asset_of(item, CIRRUS)) if key is not None]
    whole = item.to_dict(include_self_link=False, transform_hrefs=False)
    keys = dict.fromkeys([*_keys(entry), *more])
    record: dict[str, Any] = {
        **{key: whole[key] for key in ("type", "stac_version", "id", "geometry")},
        "bbox": whole.get("bbox"),
        "collection": item.collection_id,
        "properties": {**_without_secrets(whole["properties"]), SENSOR: sensor.name},
        "links": [],
        "assets": {key: _asset(item, key, whole["assets"][key]) for key in keys},
    }
    if came_from_afar(item):
        record[FROM_AFAR] = True
    return json.loads(json.dumps(record, default=str))


def _keys(entry):
    return (*entry.keys, *(key for _, key in entry.quality))


def _asset(item, key, fields):
    kept = {name: value for name, value in fields.items() if name.startswith(KEPT)}
    media = {"type": fields["type"]} if fields.get("type") else {}
    return {"href": public(address_of(item, key)), **media, **_without_secrets(kept)}


def _without_secrets(value):
    """Return JSON whose addresses hold no credential."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return public(value) if isinstance(value, str) else value


def items_of_records(
    records: Iterable[Mapping[str, Any]], dem: Mapping[str, Any] | None
) -> list[pystac.Item]:
    """Return the items of records, in a catalogue that holds their elevation.

    Parameters
    ----------
    records : iterable of dict
        As `item_record` makes them.
    dem : dict or None
        As `dem_record` makes it.
    """
    items = [pystac.Item.from_dict(dict(record), migrate=False) for record in records]
    if dem is not None and "collection" in dem:
        catalog = _catalog_of(dem)
        for item in items:
            item.set_root(catalog)
    return items


def dem_record(dem: str | Path, source: Source) -> dict[str, Any]:
    """Return where elevation is from, as JSON.

    Parameters
    ----------
    dem : path or str
        As the user gave it.
    source : Source
        What was found of it.
    """
    if is_raster(dem):
        (address,) = source.files
        return {"raster": public(address)}
    files = zip(source.files, source.identity, source.boxes, strict=True)
    return {
        "collection": source.name,
        "vertical_datum": source.datum,
        "files": [
            {
                "id": told[0],
                "address": public(address),
                "version": told[2],
                "boxes": [*map(list, boxes)],
            }
            for address, told, boxes in files
        ],
    }


def _catalog_of(dem):
    """Return a catalogue of no more than the files of a collection of elevation."""
    always: list[Any] = [None, None]
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]), pystac.TemporalExtent([always])
    )
    catalog = pystac.Catalog("recipe", "Elevation of a recipe", href="recipe/catalog.json")
    collection = pystac.Collection(dem["collection"], "Elevation", extent)
    catalog.add_child(collection)
    for one in dem["files"]:
        collection.add_item(_dem_item(one, dem["vertical_datum"]))
    return catalog


def _dem_item(one, datum):
    shape = shapely.MultiPolygon([shapely.box(*box) for box in one["boxes"]])
    item = pystac.Item(
        one["id"],
        shape.__geo_interface__,
        list(shape.bounds),
        pystac.utils.str_to_datetime("2000-01-01T00:00:00Z"),
        {"vertical_datum": datum},
    )
    stated = {"file:checksum": one["version"]} if one["version"] else {}
    item.add_asset("data", pystac.Asset(one["address"], roles=["data"], extra_fields=stated))
    if is_remote(one["address"]):
        item.extra_fields[FROM_AFAR] = True
    return item


def dem_of_record(record: Mapping[str, Any] | None) -> str | None:
    """Return the elevation of a record as `load` takes it."""
    if record is None:
        return None
    return str(record["raster"] if "raster" in record else record["collection"])


def load_record(
    entries: Sequence[Entry], geobox: GeoBox, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how to load a cube of items again.

    Parameters
    ----------
    entries : sequence of Entry
        What is read.
    geobox : GeoBox
    options : mapping
        Of `load`, as JSON.
    """
    addresses = [address_of(entry.item, key) for entry in entries for key in _keys(entry)]
    dem = options.get("dem", {})
    addresses += [dem["raster"]] if "raster" in dem else []
    addresses += [one["address"] for one in dem.get("files", ())]
    return {
        "verb": "load",
        "version": VERSION,
        "items": [item_record(entry) for entry in entries],
        "grid": grid_record(geobox),
        "files": local_files(addresses),
        **options,
    }


def local_files(addresses: Iterable[str | Path]) -> dict[str, str]:
    """Return a glimpse of each local file of some sources, by its path; see `glimpse_of`."""
    local = {str(one) for one in addresses if "://" not in str(one)}
    glimpses = {path: glimpse_of(path) for path in sorted(local)}
    return {path: glimpse for path, glimpse in glimpses.items() if glimpse is not None}


def require_files(files: Mapping[str, str]) -> None:
    """Raise an error if files are gone or not what they were.

    Parameters
    ----------
    files : mapping of str to str
        As `local_files` returns them.

    Raises
    ------
    AcquireError
        That names them.
    """
    now = {path: glimpse_of(path) for path in files}
    gone = [path for path, glimpse in now.items() if glimpse is None]
    changed = [path for path in files if now[path] not in (None, files[path])]
    problems = [
        f"{len(some)} {what}: {', '.join(some[:MANY])}"
        for what, some in (("gone", gone), ("changed", changed))
        if some
    ]
    if problems:
        raise AcquireError(
            f"to make a cube again its {len(files)} files are needed as they were, but "
            f"{'; '.join(problems)}; put them back, or load and write what there is now"
        )


def plain_dates(dates: Sequence[Any] | None) -> list[str] | None:
    """Return dates as text that means the same.

    Examples
    --------
    >>> plain_dates(["2021-08-01", 2022])
    ['2021-08-01', '2022']
    """
    return None if dates is None else [str(date) for date in dates]
