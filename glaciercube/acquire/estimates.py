"""How much there is to read and to keep, from what items state; no pixel is read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import geopandas as gpd
import numpy as np
import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely import STRtree

from glaciercube import grid, schema
from glaciercube.acquire.items import asset_of, footprint_of
from glaciercube.acquire.placement import footprints_on
from glaciercube.acquire.plans import quality_of
from glaciercube.sensors import Quality, Sensor


@dataclass(frozen=True, kw_only=True)
class Share:
    """One item, and the part of a grid that its footprint covers."""

    item: pystac.Item
    sensor: Sensor
    part: shapely.Geometry
    """In columns and rows."""

    area: float
    """Of the part (square metres)."""

    whole: float
    """Of the footprint (square metres)."""

    quality: tuple[tuple[Quality, str], ...]
    """Quality layers it has, with their asset keys."""

    def key(self, name: str) -> str:
        """Return the key of a band's asset, "" if there is none."""
        return asset_of(self.item, self.sensor.band(name).keys) or ""

    def states_raster(self, name: str) -> bool:
        """Say whether shape and transform of a band's raster are stated."""
        fields = self._fields(self.key(name))
        return bool(fields.get("proj:shape") and fields.get("proj:transform"))

    def files(self, names: Sequence[str]) -> Iterator[tuple[str, float]]:
        """Give the key of each file that is read, and bytes per square metre of it."""
        for name in names:
            band = self.sensor.band(name)
            yield self.key(name), self._density(self.key(name), self.sensor.dtype, band.resolution)
        usual = median(band.resolution for band in self.sensor.bands)
        for layer, key in self.quality:
            yield key, self._density(key, layer.dtype, usual)

    def bytes_read(self, names: Sequence[str]) -> float:
        """Return how much is read, before compression."""
        return sum(self.area * density for _, density in self.files(names))

    def bytes_compressed(self, names: Sequence[str]) -> float | None:
        """Return how much is read as the sizes of files tell it, None if one is not stated."""
        sizes = [self._fields(key).get("file:size") for key, _ in self.files(names)]
        if not all(sizes):
            return None
        return sum(sizes) * min(1.0, self.area / self.whole) if self.whole > 0 else 0.0

    def _density(self, key, dtype, resolution):
        transform = self._fields(key).get("proj:transform")
        pixel = resolution**2
        if transform:
            stated = abs(transform[0] * transform[4] - transform[1] * transform[3])
            pixel = stated if stated >= 1 else pixel  # less is in degrees
        return np.dtype(dtype).itemsize / pixel

    def _fields(self, key):
        asset = self.item.assets.get(key)
        return {**self.item.properties, **(asset.extra_fields if asset else {})}


def shares_of(items: Sequence[pystac.Item], rows: Sequence[Sensor], geobox: GeoBox) -> list[Share]:
    """Return the part of a grid that each item covers.

    Parameters
    ----------
    items : sequence of Item
    rows : sequence of Sensor
        Of the items.
    geobox : GeoBox
    """
    footprints = gpd.GeoSeries([footprint_of(item) for item in items], crs=grid.WGS84)
    pixel = float(np.mean(grid.pixel_area(geobox)))
    return [
        Share(
            item=item,
            sensor=row,
            part=part,
            area=part.area * pixel,
            whole=whole * 1e6,
            quality=quality_of(item, row),
        )
        for item, row, part, whole in zip(
            items,
            rows,
            footprints_on(items, geobox),
            grid.ground_area(footprints).tolist(),
            strict=True,
        )
    ]


def cube_bytes(
    sensor: Sensor, geobox: GeoBox, times: int, bands: int, masks: int
) -> tuple[int, int]:
    """Return the size of a cube in memory, and on disk before compression.

    Parameters
    ----------
    sensor : Sensor
        Of its items.
    geobox : GeoBox
    times, bands : int
    masks : int
        Variables of one byte a pixel: `valid`, `read_failed` and the flags.

    Examples
    --------
    >>> from glaciercube.sensors import SENTINEL_2_L2A
    >>> box = GeoBox.from_bbox((0, 0, 1000, 1000), "EPSG:32632", resolution=10)
    >>> cube_bytes(SENTINEL_2_L2A, box, times=2, bands=3, masks=4)
    (320000, 200000)
    """
    pixels = geobox.shape.y * geobox.shape.x * times
    values = schema.VARIABLES[sensor.variable]
    stored = values.encoding.get("dtype", values.dtype)
    memory, disk = (np.dtype(dtype).itemsize for dtype in (values.dtype, stored))
    return pixels * (bands * memory + masks), pixels * (bands * disk + masks)


def compressed_bytes(shares: Sequence[Share], names: Sequence[str]) -> int | None:
    """Return how much is read as the sizes of files tell it, None if one is not stated."""
    known = [share.bytes_compressed(names) for share in shares]
    return None if None in known else round(sum(size for size in known if size is not None))


def touched(times: Iterable[Sequence[Share]], blocks: Sequence[Sequence[int]]) -> int:
    """Return how many chunks a footprint touches.

    Parameters
    ----------
    times : iterable of sequence of Share
        What is laid over each other at each time.
    blocks : (sequence of int, sequence of int)
        Sizes along y and x.
    """
    bottom, right = (np.cumsum(sizes) for sizes in blocks)
    top, left = bottom - blocks[0], right - blocks[1]
    boxes = shapely.box(
        left[np.newaxis, :], top[:, np.newaxis], right[np.newaxis, :], bottom[:, np.newaxis]
    )
    tree = STRtree(boxes.ravel())
    count = 0
    for shares in times:
        # A footprint that ends on the edge of a block holds no pixel of it.
        parts = [share.part.buffer(-1e-6) for share in shares]
        count += len(np.unique(tree.query(parts, predicate="intersects")[1]))
    return count
