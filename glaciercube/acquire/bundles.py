"""Products as providers pack them: one file per band, told by what their names end with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac
import rasterio
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.acquire.dates import Stamp, stamps_of
from glaciercube.acquire.headers import geobox_of
from glaciercube.acquire.items import SENSOR
from glaciercube.errors import AcquireError, GridError
from glaciercube.sensors import Sensor

SHOWN = 5
"""Names shown in a message at most."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The files of one scene."""

    name: str
    """What their names have in common."""

    files: Mapping[str, Path]
    """By the first key of the band or quality layer."""


def bundles_of(paths: Sequence[Path], sensor: Sensor) -> list[Bundle]:
    """Return the scenes that files of one band each belong to, in the order of the files.

    Parameters
    ----------
    paths : sequence of Path
        Such as ``LC08_..._SR_B3.TIF``, ``T32TMS_..._B03_10m.jp2`` or ``HLS.S30...B03.tif``.
    sensor : Sensor

    Returns
    -------
    list of Bundle
        Empty if no name ends with one of the sensor's bands: then each file holds all bands.
        Files of a scene that are no band of the sensor (thermal, angles) are left out.

    Raises
    ------
    AcquireError
        If two files of a scene are the same band.

    Examples
    --------
    >>> from glaciercube.sensors import SENSORS
    >>> paths = [Path(f"LC08_20200801_{end}.TIF") for end in ("SR_B3", "QA_PIXEL", "ST_B10")]
    >>> (bundle,) = bundles_of(paths, SENSORS["landsat-oli-c2-l2"])
    >>> bundle.name, list(bundle.files)
    ('LC08_20200801', ['green', 'qa_pixel'])
    """
    endings = _endings(sensor)
    found: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in paths:
        told = _told(path, endings)
        if told is None:
            continue
        name, key = told
        files = found.setdefault((path.parent, name), {})
        if key in files:
            raise AcquireError(
                f"a scene needs one file for each band, but {files[key].name} and {path.name} are "
                f"both {key!r}; leave one out"
            )
        files[key] = path
    return [Bundle(name=name, files=files) for (_, name), files in found.items()]


def _endings(sensor):
    """Return the first key of each band and layer by what names of files may end with."""
    layers = [*sensor.bands, *sensor.more, *sensor.quality]
    return {
        ending.removesuffix(".TIF").upper(): layer.keys[0]
        for layer in layers
        for ending in layer.keys
    }


def _told(path, endings):
    """Return the scene's name and the key of the band, None if the name tells no band."""
    stem = path.stem
    matches = [
        (start, endings[stem[start:].upper()])
        for start in (match.end() for match in re.finditer(r"[_.\-]", stem))
        if stem[start:].upper() in endings
    ]
    if not matches:
        return None
    start, key = matches[0]  # the longest ending: "SR_B3" before "B3"
    return stem[: start - 1], key


def items_of(bundles: Sequence[Bundle], sensor: Sensor, dates: Sequence[Any] | None) -> list:
    """Return a STAC item for each scene, and the precision of its date.

    Parameters
    ----------
    bundles : sequence of Bundle
    sensor : Sensor
    dates : sequence, optional
        One per scene, in their order; from the names if None.

    Returns
    -------
    list of (Item, Stamp)

    Raises
    ------
    AcquireError
        As `dates.stamps_of` raises, or if a file cannot be opened.
    GridError
        If a file has no coordinate reference system.
    """
    stamps = stamps_of([Path(bundle.name) for bundle in bundles], dates)
    return [(_item(one, sensor, stamp), stamp) for one, stamp in zip(bundles, stamps, strict=True)]


def _item(bundle: Bundle, sensor: Sensor, stamp: Stamp) -> pystac.Item:
    boxes = {key: geobox_of_file(path) for key, path in bundle.files.items()}
    extent = grid.geographic(next(iter(boxes.values()))).union_all()
    item = pystac.Item(
        bundle.name,
        extent.__geo_interface__,
        list(extent.bounds),
        stamp.time.to_pydatetime(),
        {SENSOR: sensor.name, **_tags(next(iter(bundle.files.values())))},
        collection=sensor.collections[0],
    )
    metadata = next(iter(bundle.files.values())).with_name(f"{bundle.name}_MTL.json")
    if metadata.exists():
        item.add_asset("MTL.json", pystac.Asset(str(metadata.resolve()), roles=["metadata"]))
    for key, path in bundle.files.items():
        box = boxes[key]
        fields = {
            "proj:code": grid.crs_name(box),
            "proj:shape": list(box.shape),
            "proj:transform": list(box.affine)[:6],
        }
        item.add_asset(key, pystac.Asset(str(path.resolve()), roles=["data"], extra_fields=fields))
    return item


def _tags(path):
    with rasterio.open(path) as file:
        return dict(file.tags())


def geobox_of_file(path: Path) -> GeoBox:
    """Return the grid of a file.

    Raises
    ------
    AcquireError
        If it cannot be opened as a raster.
    GridError
        If it has no coordinate reference system, or its grid is turned.
    """
    try:
        with rasterio.open(path) as file:
            return geobox_of(file, path)
    except rasterio.errors.RasterioIOError as error:
        raise AcquireError(f"cannot open {path} as a raster: {error}") from error


def finest_grid(bundles: Sequence[Bundle], names: Sequence[str] | None, sensor: Sensor) -> GeoBox:
    """Return the grid of the finest of the bands that are to be read, the same in all scenes.

    Raises
    ------
    GridError
        If scenes have different ones.
    """
    wanted = [sensor.band(name).keys[0] for name in (names or sensor.names)]
    first: tuple[Path, GeoBox] | None = None
    for bundle in bundles:
        files = [bundle.files[key] for key in wanted if key in bundle.files]
        boxes = [(path, geobox_of_file(path)) for path in files or bundle.files.values()]
        finest = min(boxes, key=lambda pair: abs(pair[1].resolution.x))
        if first is None:
            first = finest
        elif first[1] != finest[1]:
            raise GridError(
                f"scenes of one cube need the same grid: {first[0].name} is on "
                f"{grid.describe(first[1])}, {finest[0].name} on {grid.describe(finest[1])}; "
                "give tiles apart, or make STAC items of them and use load"
            )
    assert first is not None, "there is at least one bundle"
    return first[1]
