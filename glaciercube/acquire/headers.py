"""What the header of a user's GeoTIFF says: grid, bands, nodata and offset; no pixel is read."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from glaciercube import sensors
from glaciercube.acquire.offsets import CIRRUS
from glaciercube.errors import AcquireError, GridError, SensorError
from glaciercube.sensors import Linear, Sensor


@dataclass(frozen=True, kw_only=True)
class Raster:
    """One file, as its header describes it."""

    path: Path
    identity: tuple[str, int, int]
    """Absolute path, size (bytes) and time of the last change (ns)."""

    geobox: GeoBox
    dtype: np.dtype
    """Of all its bands together."""

    layers: dict[str, int]
    """Index of each of the sensor's bands, by this package's names."""

    quality: dict[str, int]
    """Index of each of the sensor's quality layers, by name."""

    cirrus: int | None
    nodata: float | None
    declared: Linear | None
    """How its tags, or the scale and offset of its bands, say that numbers become values."""


def open_header(path: Path, sensor: Sensor) -> Raster:
    """Return what a file's header says, without reading a pixel.

    Raises
    ------
    AcquireError
        If it cannot be opened as a raster.
    GridError
        If it has no coordinate reference system, or its grid is turned.
    SensorError
        If it has none of the sensor's bands.
    """
    try:
        with rasterio.open(path) as source:
            geobox = geobox_of(source, path)
            layers, quality, cirrus = _layers(source, path, sensor)
            stat = path.stat()
            return Raster(
                path=path,
                identity=(str(path.resolve()), stat.st_size, stat.st_mtime_ns),
                geobox=geobox,
                dtype=np.result_type(*source.dtypes),
                layers=layers,
                quality=quality,
                cirrus=cirrus,
                nodata=source.nodata,
                declared=_declared(source, sensor, layers),
            )
    except rasterio.errors.RasterioIOError as error:
        raise AcquireError(f"cannot open {path} as a raster: {error}") from error


def kind_of(raster: Raster) -> str:
    """Return whether a file holds "digital numbers" or "reflectance".

    Raises
    ------
    SensorError
        If its numbers are too small for either.
    """
    if raster.dtype.kind == "f":
        return "reflectance"
    if raster.dtype.kind in "iu" and raster.dtype.itemsize > 1:
        return "digital numbers"
    raise SensorError(
        f"{raster.path.name} needs digital numbers (16 bit) or reflectance (float), found "
        f"{raster.dtype}; is it a preview image?"
    )


def geobox_of(source: rasterio.DatasetReader, path: Path) -> GeoBox:
    """Return the grid of an open raster.

    Raises
    ------
    GridError
        If it has no coordinate reference system, or its grid is turned.
    """
    if source.crs is None:
        raise GridError(
            f"{path} has no coordinate reference system; set it with: "
            f"rio edit-info --crs EPSG:... {path.name}"
        )
    if not source.transform.is_rectilinear or source.transform.a <= 0:
        raise GridError(
            f"{path} needs rows and columns along the axes of {source.crs}, found "
            f"{source.transform.to_gdal()}; warp it with: gdalwarp {path.name} north-up.tif"
        )
    code = source.crs.to_epsg()
    return GeoBox(source.shape, source.transform, f"EPSG:{code}" if code else source.crs.to_wkt())


def _layers(source, path, sensor):
    """Return the index of each band, of each quality layer and of the cirrus band."""
    told = {text: index for index, text in enumerate(source.descriptions, start=1) if text}
    if not told:
        if source.count != len(sensor.bands):
            raise SensorError(
                f"{path.name} has {source.count} bands without descriptions, {sensor.name} has "
                f"{len(sensor.bands)}; name them, with rasterio: "
                f"open(path, 'r+').descriptions = {sensor.names[:2]} ..."
            )
        return {name: n for n, name in enumerate(sensor.names, start=1)}, {}, None
    layers = {}
    for band in (*sensor.bands, *sensor.more):
        index = _first(told, (*band.keys, band.name))
        if index is not None:
            layers[band.name] = index
    if not layers:
        known = [band.keys[-1] for band in sensor.bands]
        raise SensorError(
            f"{path.name} has none of the bands of {sensor.name}: it has {list(told)}, known "
            f"are {known} and {list(sensor.names)}; set the descriptions of its bands"
        )
    found = {layer.name: _first(told, layer.keys) for layer in sensor.quality}
    quality = {name: index for name, index in found.items() if index is not None}
    return layers, quality, _first(told, CIRRUS)


def _first(told, keys):
    return next((told[key] for key in keys if key in told), None)


def _declared(source, sensor, layers):
    """Return the conversion in a file's tags, or in the scale and offset of its bands."""
    if np.result_type(*source.dtypes).kind == "f":
        return None
    name, index = next(iter(layers.items()))
    scale, offset = source.scales[index - 1], source.offsets[index - 1]
    stated = (scale, offset) != (1.0, 0.0)
    if sensor.rule == "sentinel-2-baseline":
        stated = offset != 0 and math.isclose(scale, sensor.scale, rel_tol=1e-6)
    asset = {"raster:bands": [{"scale": scale, "offset": offset}]} if stated else None
    return sensors.linear_of(sensor, source.tags(), sensor.band(name), asset)
