"""A raster of another CRS on a block: exact positions against GDAL's approximate ones.

Run: python benchmarks/warp.py [--size 1024] [--repeats 3]
The same file, grid and resampling (bilinear) in one process, in turn; the best of the repeats
counts. "differs in cuts" says how far a pixel moves, in digital numbers, if the block is read in
four parts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioReader
from rasterio.transform import from_origin

from glaciercube.acquire.rasters import read_raster

CONFIG = RasterLoadParams(fill_value=0, src_nodata_fallback=0, resampling="bilinear")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = RasterSource(make_file(Path(folder) / "noise.tif", 2 * options.size))
        print(f"{'CRS':12} {'way':34} {'time':>6} {'differs in cuts':>16}")
        for crs in ("EPSG:32631", "EPSG:3413"):
            geobox = block_of(crs, options.size)
            ways = {"odc-loader, error 1/8 pixel (floor)": by_odc, "exact (read_raster)": by_us}
            found = {
                name: best_of(way, source, geobox, options.repeats) for name, way in ways.items()
            }
            floor = next(iter(found.values()))
            for name, seconds in found.items():
                moved = difference(ways[name], source, geobox)
                print(f"{crs:12} {name:34} {seconds / floor:6.2f} {moved:16d}")


def make_file(path: Path, size: int) -> str:
    """Write white noise in UTM zone 32, the hardest thing to resample alike."""
    numbers = np.random.default_rng(0).integers(1, 9000, (size, size)).astype(np.uint16)
    profile = {
        "driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32632", "height": size,
        "width": size, "transform": from_origin(600_000, 5_200_000, 10, 10), "nodata": 0,
        "tiled": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers, 1)
    return str(path)


def block_of(crs: str, size: int) -> GeoBox:
    """Return a block in the middle of the file, in another CRS."""
    middle = GeoBox.from_bbox((609_000, 5_190_000, 610_000, 5_191_000), "EPSG:32632", resolution=10)
    x, y = middle.extent.to_crs(crs).centroid.coords[0]
    x, y, half = round(x, -1), round(y, -1), 5 * size
    return GeoBox.from_bbox((x - half, y - half, x + half, y + half), crs, resolution=10)


def by_odc(source: RasterSource, geobox: GeoBox) -> np.ndarray:
    """Read as odc-loader does."""
    roi, pixels = RioReader(source, None).read(CONFIG, geobox)
    return placed(roi, pixels, geobox)


def by_us(source: RasterSource, geobox: GeoBox) -> np.ndarray:
    """Read as this package does."""
    roi, pixels = read_raster(source, None, CONFIG, geobox)
    return placed(roi, pixels, geobox)


def placed(roi, pixels, geobox):
    """Return pixels on the whole of a grid."""
    out = np.zeros(tuple(geobox.shape), np.uint16)
    out[roi] = pixels
    return out


def best_of(way, source, geobox, repeats):
    """Return the shortest time (s)."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        way(source, geobox)
        times.append(time.perf_counter() - started)
    return min(times)


def difference(way, source, geobox):
    """Return how far the parts of a block differ from the whole (DN)."""
    whole, half = way(source, geobox).astype(int), geobox.shape.y // 2
    worst = 0
    for rows in (slice(0, half), slice(half, geobox.shape.y)):
        for columns in (slice(0, half), slice(half, geobox.shape.x)):
            part = way(source, geobox[rows, columns]).astype(int)
            worst = max(worst, int(np.abs(part - whole[rows, columns]).max()))
    return worst


if __name__ == "__main__":
    main()
