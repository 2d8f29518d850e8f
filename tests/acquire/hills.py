"""Small elevation files with a known shape, for tests of terrain."""

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.transform import from_origin


def write_dem(path, heights, corner, step, crs="EPSG:32632", nodata=-9999):
    """Write heights (y, x) whose upper left corner is at a place, and return the path."""
    profile = {
        "driver": "GTiff", "count": 1, "dtype": heights.dtype, "crs": crs, "nodata": nodata,
        "height": heights.shape[0], "width": heights.shape[1],
        "transform": from_origin(*corner, step, step),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(heights, 1)
    return path


def sampled(function, corner, step, shape):
    """Return a function of x and y at the centres of a file's pixels."""
    x = corner[0] + (np.arange(shape[1]) + 0.5) * step
    y = corner[1] - (np.arange(shape[0]) + 0.5) * step
    return function(x, y[:, np.newaxis]).astype(np.float32)


def in_degrees(function, crs):
    """Return a function of longitude and latitude that is one of x and y in a CRS."""
    to_crs = Transformer.from_crs(4326, crs, always_xy=True)

    def other(longitude, latitude):
        shape = np.broadcast_shapes(np.shape(longitude), np.shape(latitude))
        return function(
            *to_crs.transform(np.broadcast_to(longitude, shape), np.broadcast_to(latitude, shape))
        )

    return other


def box_at(x, y, rows, columns, step, crs="EPSG:32632", south_up=False):
    """Return a grid whose upper left corner is at x, y."""
    box = GeoBox((rows, columns), Affine(step, 0, x, 0, -step, y), crs)
    return box.flipy() if south_up else box


def mountains(x, y):
    """Return rough terrain (m) of wavelengths between 0.3 and 6 km."""
    heights = 2000 + 500 * np.sin(x / 950) * np.cos(y / 800) + 200 * np.sin(x / 310 + y / 270)
    return heights + 60 * np.sin(x / 60) * np.sin(y / 47)
