"""One raster on a grid: read as it is where pixels coincide, else resampled alike in every cut."""

from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioReader
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import xy
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

ALIGNED = 1e-3
"""Pixels whose edges lie this close (pixels) coincide."""

TOLERANCE = 1e-9
"""Error of a position allowed in warping (pixels). Blocks of different cuts then agree to the
bit; GDAL's own 0.125 lets them differ. Exact positions take three to five times as long, in
another CRS only (benchmarks/warp.py)."""

Roi = tuple[slice, slice]


def read_raster(
    source: RasterSource, context: Any, config: RasterLoadParams, geobox: GeoBox, **options: Any
) -> tuple[Roi, np.ndarray]:
    """Return the pixels of a raster on a grid, as `odc.loader.RioReader.read` does.

    Parameters
    ----------
    source : RasterSource
        `uri` is opened as it is, `band` counts from 1.
    context : object
        Of the driver.
    config : RasterLoadParams
        `resampling`, and the nodata to assume (`src_nodata_fallback`) and to fill with
        (`fill_value`).
    geobox : GeoBox
        A block, or any other part of a grid: what a pixel gets depends on its place alone.
    **options
        As `RioReader.read` takes them; passed on where pixels do not coincide.

    Returns
    -------
    roi : (slice, slice)
        Rows and columns of the grid that the raster reaches.
    pixels : array (y, x)
        In the raster's own type; nodata is `fill_value`.

    Notes
    -----
    Where the raster's pixels are those of the grid, a window is read and nothing resampled.
    In the same CRS odc-loader resamples; positions are linear there. In another CRS GDAL
    warps with exact positions, scale and overview fixed for the whole raster.
    """
    with rasterio.open(source.uri) as raster:
        index = source.band or 1
        if _other_crs(raster, geobox):
            level = overview_of(raster, geobox, index)
            return _warped(source.uri, index, config, geobox, level)
        start = native_window(raster, geobox)
        if start is not None:
            return _native(raster, index, start, config, geobox)
    return RioReader(source, context).read(config, geobox, **options)


def _other_crs(raster, geobox):
    if raster.crs is None:
        return False  # odc-loader says what is wrong
    return not geobox.crs == str(raster.crs)


def native_window(raster: rasterio.DatasetReader, geobox: GeoBox) -> tuple[int, int] | None:
    """Return the raster's row and column at a grid's first pixel, None if pixels do not coincide.

    Both may lie outside the raster. The CRSs must be the same.
    """
    own, wanted = raster.transform, geobox.affine
    steps = np.array([own.a, own.e, own.b, own.d])
    if not np.allclose(steps, [wanted.a, wanted.e, wanted.b, wanted.d], rtol=1e-9, atol=1e-12):
        return None
    if own.b or own.d:
        return None
    column, row = (wanted.c - own.c) / own.a, (wanted.f - own.f) / own.e
    if abs(column - round(column)) > ALIGNED or abs(row - round(row)) > ALIGNED:
        return None
    return round(row), round(column)


def _native(raster, index, start, config, geobox) -> tuple[Roi, np.ndarray]:
    """Read the part of a raster that a grid with the same pixels covers."""
    (row, column), (rows, columns) = start, tuple(geobox.shape)
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + rows, raster.height), min(column + columns, raster.width)
    if top >= bottom or left >= right:
        return np.s_[0:0, 0:0], np.empty((0, 0), raster.dtypes[index - 1])
    pixels = raster.read(index, window=Window(left, top, right - left, bottom - top))
    roi = slice(top - row, bottom - row), slice(left - column, right - column)
    return roi, _filled(pixels, _nodata(raster, index, config), config.fill_value)


def _nodata(raster, index, config):
    """Return the raster's own nodata, else the one to assume."""
    own = raster.nodatavals[index - 1]
    return config.src_nodata_fallback if own is None else own


def _filled(pixels, nodata, fill):
    if nodata is None or fill is None or nodata == fill:
        return pixels
    missing = np.isnan(pixels) if nodata != nodata else pixels == nodata
    pixels[missing] = fill
    return pixels


def _warped(address, index, config, geobox, level) -> tuple[Roi, np.ndarray]:
    """Warp a raster of another CRS, positions exact."""
    opened = {} if level is None else {"overview_level": level}
    with rasterio.open(address, **opened) as raster:
        across, down = scale_of(raster, geobox)
        with WarpedVRT(
            raster,
            crs=str(geobox.crs),
            transform=geobox.affine,
            height=geobox.shape.y,
            width=geobox.shape.x,
            resampling=Resampling[config.resampling],
            src_nodata=_nodata(raster, index, config),
            nodata=config.fill_value,
            tolerance=TOLERANCE,
            # GDAL would guess these anew for each window, and so would smooth each differently.
            XSCALE=across,
            YSCALE=down,
        ) as warped:
            return np.s_[0 : geobox.shape.y, 0 : geobox.shape.x], warped.read(index)


def scale_of(raster: rasterio.DatasetReader, geobox: GeoBox) -> tuple[float, float]:
    """Return pixels of a grid per pixel of a raster along x and y, 1 at most.

    Taken at the raster's centre, so that all blocks of a grid have the same.
    """
    to_grid = Transformer.from_crs(raster.crs.to_wkt(), str(geobox.crs), always_xy=True)
    row, column = raster.height // 2, raster.width // 2
    x, y = to_grid.transform(
        *xy(raster.transform, [row, row, row + 1], [column, column + 1, column])
    )
    step = geobox.resolution
    lengths = np.hypot((x[1:] - x[0]) / step.x, (y[1:] - y[0]) / step.y)
    across, down = (float(min(1, one)) if np.isfinite(one) else 1.0 for one in lengths)
    return across, down


def overview_of(
    raster: rasterio.DatasetReader, geobox: GeoBox, index: int = 1, finer: float = 1
) -> int | None:
    """Return the level of the coarsest overview that is still fine enough for a grid, or None.

    Parameters
    ----------
    raster : DatasetReader
    geobox : GeoBox
    index : int
        Of the band.
    finer : float
        Pixels of the overview, along each axis, that must go into one of the grid.
    """
    across, down = scale_of(raster, geobox)
    factor = min(1 / across, 1 / down) / finer
    levels = [n for n, size in enumerate(raster.overviews(index)) if size <= factor * 1.001]
    return levels[-1] if levels else None
