"""Layers as Cloud Optimized GeoTIFFs: colours, category names, nodata and overviews for GIS."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask
import dask.array as da
import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
import xarray as xr
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from glaciercube import grid, schema
from glaciercube.errors import SchemaError, StoreError
from glaciercube.store.layout import BLOCK, Stored, stored_variable
from glaciercube.windows import Window, edges

TILE = 512
"""Rows and columns of a tile in the file."""

AT_ONCE = 8
"""Blocks computed together: this many are in memory at most."""


@dataclass(frozen=True)
class _Raster:
    """One file to be: one variable at one date."""

    name: str
    stored: Stored
    codes: da.Array
    """(band, y, x), as in the file."""

    labels: tuple[str, ...]
    """What each band of the file is; empty if there is one without a name."""

    time: pd.Timestamp | None
    attrs: dict[str, Any]


def export(
    layers: xr.Dataset,
    directory: str | os.PathLike,
    *,
    variables: Sequence[str] | None = None,
) -> list[Path]:
    """Write layers as Cloud Optimized GeoTIFFs, one per variable and date.

    Parameters
    ----------
    layers : Dataset
        From `predict` or `annual`, lazy or not.
    directory : str or path
        Made if it does not exist; files of the same name are replaced, each at once.
    variables : sequence of str, optional
        Names; all layers of `schema.LAYERS` if None.

    Returns
    -------
    list of Path
        The files, such as `facies_2021-08-01.tif`.

    Raises
    ------
    SchemaError
        If there is no layer to export, or no variable of a name.
    StoreError
        If the directory cannot be written.

    Notes
    -----
    Class layers have a colour table, category names (in the band's metadata and a file
    `.aux.xml` beside, which QGIS reads), nodata 255 and overviews by the most frequent
    category. Probability, confidence and reflectance are integers with scale, offset and
    nodata, other numbers float32 or as they are; their overviews are averages. Blocks are
    computed a few at a time, all variables of a date together, so memory does not grow with
    the extent.
    """
    chosen = _chosen(layers, variables)
    geobox = grid.grid_of(layers, "the layers")
    if geobox.affine.e > 0:  # GIS software expects the north on top
        layers = layers.isel(y=slice(None, None, -1))
        geobox = grid.grid_of(layers, "the layers")
    target = Path(directory)
    with _disk(target):
        target.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".export-", dir=target))
    try:
        return [
            path
            for rasters in _by_date(layers, chosen)
            for path in _export_date(rasters, geobox, draft, target)
        ]
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _chosen(layers, variables):
    spatial = [
        str(name) for name, array in layers.data_vars.items() if array.dims[-2:] == ("y", "x")
    ]
    names = [name for name in spatial if name in schema.LAYERS]
    if variables is not None:
        names = list(variables)
    missing = [name for name in names if name not in spatial]
    if missing:
        raise SchemaError(f"there are no layers {missing} to export; there are {spatial}")
    if not names:
        raise SchemaError(
            f"export needs one of {sorted(schema.LAYERS)}, the layers have {spatial}; "
            "name others with variables=[...]"
        )
    return names


def _by_date(layers: xr.Dataset, names: list[str]) -> Iterator[list[_Raster]]:
    """Yield the rasters that are computed together: without time first, then of each date."""
    fixed = [name for name in names if "time" not in layers[name].dims]
    dated = [name for name in names if "time" in layers[name].dims]
    if fixed:
        yield [_raster(layers[name], name, None, "") for name in fixed]
    if not dated:
        return
    times = pd.DatetimeIndex(layers.indexes["time"])
    days = times.strftime("%Y-%m-%d")
    stamps = days if days.is_unique else times.strftime("%Y-%m-%dT%H%M%S")
    for number, (time, stamp) in enumerate(zip(times, stamps, strict=True)):
        cut = layers.isel(time=number)
        yield [_raster(cut[name], name, time, f"_{stamp}") for name in dated]


def _raster(array, name, time, ending):
    stored = stored_variable(name, array.dims, array.shape, array.dtype)
    data = array.data
    if not isinstance(data, da.Array):
        data = da.from_array(data, chunks=(*(-1,) * (data.ndim - 2), BLOCK, BLOCK))
    steps = {axis: -1 for axis in range(data.ndim - 2)}
    kind = np.dtype("uint8" if stored.codes == "bool" else stored.codes)
    codes = data.rechunk(steps).map_blocks(_encode, stored, kind, dtype=kind)
    labels: tuple[str, ...] = ()
    if array.ndim == 3:
        dim = array.dims[0]
        coordinate = array[dim].values if dim in array.coords else range(array.sizes[dim])
        labels = tuple(str(label) for label in coordinate)
    return _Raster(
        name=f"{name}{ending}",
        stored=stored,
        codes=codes if array.ndim == 3 else codes[np.newaxis],
        labels=labels,
        time=time,
        attrs=dict(array.attrs),
    )


def _encode(values, stored, kind):
    return stored.encode(values)[0].astype(kind, copy=False)


def _export_date(rasters, geobox, draft, target):
    """Write the rasters of one date block by block, then copy each to its final form."""
    drafts = {raster.name: draft / f"{raster.name}.tif" for raster in rasters}
    with ExitStack() as stack:
        files = [
            stack.enter_context(rasterio.open(drafts[raster.name], "w", **_profile(raster, geobox)))
            for raster in rasters
        ]
        for raster, file in zip(rasters, files, strict=True):
            _describe(raster, file)
        for part in _parts(rasters[0].codes.chunks[1:]):
            blocks = [
                [raster.codes[(slice(None), *window.slices)] for window in part]
                for raster in rasters
            ]
            for file, computed in zip(files, dask.compute(blocks)[0], strict=True):
                for window, codes in zip(part, computed, strict=True):
                    with _disk(target):
                        file.write(codes, window=RasterWindow.from_slices(*window.slices))
    with _disk(target):
        return [_finish(raster, drafts[raster.name], target) for raster in rasters]


@contextmanager
def _disk(target):
    """Say which directory it is that cannot be written."""
    try:
        yield
    except (OSError, RasterioError) as error:
        raise StoreError(f"{str(target)!r} cannot be written: {error}") from error


def _parts(chunks):
    """Return the windows of all blocks, a few at a time."""
    windows = [Window(*rows, *columns) for rows in edges(chunks[0]) for columns in edges(chunks[1])]
    return [windows[first : first + AT_ONCE] for first in range(0, len(windows), AT_ONCE)]


def _profile(raster, geobox):
    return {
        "driver": "GTiff",
        "dtype": raster.codes.dtype,
        "count": raster.codes.shape[0],
        "height": geobox.shape.y,
        "width": geobox.shape.x,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": _nodata(raster),
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "lzw",
        "bigtiff": "if_safer",
        "interleave": "band",
    }


def _nodata(raster):
    """Return the nodata value: none for masks and counts, whose zeros are values."""
    stored = raster.stored
    if stored.fill is None:
        return np.nan
    if stored.scale_factor is not None or _task(raster) is not None:
        return stored.fill
    return None


def _task(raster):
    return raster.stored.name if raster.stored.name in schema.TASKS else None


def _describe(raster, file):
    """Give a file its scale, colours, names and tags."""
    stored = raster.stored
    if stored.scale_factor is not None:
        file.scales = (stored.scale_factor,) * file.count
        file.offsets = (stored.add_offset,) * file.count
    units = raster.attrs.get("units", "1")
    for number, label in enumerate(raster.labels or (stored.name,), start=1):
        file.set_band_description(number, label)
        if units != "1":
            file.set_band_unit(number, str(units))
    tags = {key: str(raster.attrs[key]) for key in ("long_name", "units") if key in raster.attrs}
    if raster.time is not None:
        tags["TIFFTAG_DATETIME"] = raster.time.strftime("%Y:%m:%d %H:%M:%S")
    file.update_tags(**tags)
    if _task(raster) is not None:
        file.colorinterp = [ColorInterp.palette]
        file.write_colormap(1, colours(stored.name))
        file.update_tags(
            1, **{f"category_{code}": name for code, name in names(stored.name).items()}
        )


def colours(task: str) -> dict[int, tuple[int, int, int, int]]:
    """Return red, green, blue and alpha (0-255) of each code of a class layer.

    Examples
    --------
    >>> colours("extent")[1]
    (0, 114, 178, 255)
    """
    table = {category.code: category.colour for category in schema.TASKS[task]}
    table[schema.NODATA] = schema.NODATA_COLOUR
    rgb = {code: bytes.fromhex(colour.removeprefix("#")) for code, colour in table.items()}
    return {
        code: (red, green, blue, 0 if code == schema.NODATA else 255)
        for code, (red, green, blue) in rgb.items()
    }


def names(task: str) -> dict[int, str]:
    """Return the name of each code of a class layer.

    Examples
    --------
    >>> names("extent")
    {0: 'not_glacier', 1: 'glacier', 255: 'nodata'}
    """
    table = {category.code: category.name for category in schema.TASKS[task]}
    return {**table, schema.NODATA: "nodata"}


def _finish(raster, draft, target):
    """Copy a plain GeoTIFF to a Cloud Optimized one, and put it in its place at once."""
    task = _task(raster)
    ready = draft.with_suffix(".cog.tif")
    rasterio.shutil.copy(
        draft,
        ready,
        driver="COG",
        compress="deflate",
        predictor="no" if task is not None else "yes",
        blocksize=TILE,
        bigtiff="if_safer",
        overview_resampling="mode" if task is not None else "average",
    )
    final = target / f"{raster.name}.tif"
    beside = final.with_name(f"{final.name}.aux.xml")
    if task is not None:
        described = ready.with_name("described.aux.xml")
        _write_names(described, names(task))
        os.replace(described, beside)
    else:
        beside.unlink(missing_ok=True)
    os.replace(ready, final)
    draft.unlink()
    return final


def _write_names(path, table):
    """Write category names where GDAL looks for them: a list by code, gaps left empty."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    listed = ElementTree.SubElement(band, "CategoryNames")
    for code in range(max(table) + 1):
        ElementTree.SubElement(listed, "Category").text = table.get(code, "")
    ElementTree.ElementTree(root).write(path, encoding="utf-8")
