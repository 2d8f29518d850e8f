"""A user's own multiband GeoTIFFs, one per date, to a cube."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from dask.base import tokenize
from rasterio.windows import Window

from glaciercube import grid, sensors
from glaciercube.acquire.assembly import (
    ALGORITHM_VERSION,
    assemble,
    chunks_of,
    provenance_of,
    require_chunk,
    told_flags,
)
from glaciercube.acquire.bundles import bundles_of, finest_grid, items_of
from glaciercube.acquire.dates import Stamp, stamps_of
from glaciercube.acquire.headers import Raster, kind_of, open_header
from glaciercube.acquire.lineage import Part, SceneInputs, with_inputs, with_recipe
from glaciercube.acquire.offsets import Check, Scene, Settled, require_check, settle
from glaciercube.acquire.overviews import overview
from glaciercube.acquire.pixels import Conversion, conversion_of, measure
from glaciercube.acquire.records import VERSION, local_files, plain_dates
from glaciercube.acquire.scenes import load
from glaciercube.acquire.tasks import per_block
from glaciercube.errors import AcquireError, SensorError
from glaciercube.sensors import Linear

MOST_REFLECTANCE = 10.0
"""Of a scene's 99th percentile; snow in sun-facing slopes reaches 2, digital numbers thousands."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What one task needs to read blocks of one file."""

    path: str
    indexes: tuple[int, ...]
    quality: tuple[int, ...]
    """Indexes of the quality layers."""

    conversion: Conversion


def from_files(
    paths: str | Path | Sequence[str | Path],
    sensor: str,
    *,
    dates: Sequence[Any] | None = None,
    bands: Sequence[str] | None = None,
    chunk: int = 1024,
    check: Check = "warn",
) -> xr.Dataset:
    """Return a cube of a user's own GeoTIFFs: one file per date, or one per date and band.

    Parameters
    ----------
    paths : path or sequence of path
        Files on one grid, all bands in each. Bands are told by their descriptions, such as
        "B03", "B3" or "green"; without descriptions a file must have exactly the sensor's
        bands, in its order. Or files of one band each as providers pack them, told by what
        their names end with (``..._SR_B3.TIF``, ``..._B03_10m.jp2``); the grid is that of the
        finest band.
    sensor : str
        Such as "sentinel-2-l1c"; see `glaciercube.sensors.SENSORS`.
    dates : sequence of str or datetime, optional
        One per file (per scene), in the order of `paths`. None takes them from the names: YYYYMMDD,
        YYYY-MM-DD, YYYY_MM_DD, or a lone year, which becomes 1 January (`precision` "year"
        in the provenance) whatever the season was.
    bands : sequence of str, optional
        Names as in the sensor's table; all that every file has if None.
    chunk : int
        Rows and columns of a block (pixels).
    check : "warn", "raise", "trust-pixels", "trust-metadata" or False
        What to do where a file's pixels contradict the offset its tags declare; see
        `acquire.offsets.settle`. False reads no pixel now.

    Returns
    -------
    Dataset
        `reflectance` (time, band, y, x), `valid` and, from a quality layer in the files,
        the provider's flags; lazy, one read per block.

    Raises
    ------
    AcquireError
        If a file cannot be opened, has no date, shares its date, or measured nothing.
    GridError
        If a file has no coordinate reference system or the grids differ.
    SensorError
        If the sensor or a band is unknown, missing or not told, or the files do not hold
        digital numbers or reflectance.

    Notes
    -----
    Integers are digital numbers, converted with the sensor's scale and the settled offset.
    Floats are taken as reflectance as they are (`conversion` "none" in the provenance).

    A store of the cube knows a file by what it holds: the same file elsewhere is the same, and
    of one that changed only its date is computed again. Of files over 64 MiB samples are
    compared, and the time of their last change, which a copy must then keep (``cp -p``).
    """
    table = sensors.sensor_of(sensor)
    require_check(check)
    require_chunk(chunk)
    files = _paths(paths)
    recipe = {
        "verb": "from_files",
        "version": VERSION,
        "paths": [str(path.resolve()) for path in files],
        "sensor": table.name,
        "dates": plain_dates(dates),
        "bands": None if bands is None else list(bands),
        "chunk": chunk,
        "check": check,
        "files": local_files(path.resolve() for path in files),
    }
    bundles = bundles_of(files, table)
    if bundles:
        cube = _of_bundles(bundles, table, dates, bands, chunk, check)
        return with_recipe(cube, recipe)
    stamps = stamps_of(files, dates)
    ordered = sorted(zip(stamps, files, strict=True), key=lambda pair: pair[0].time)
    rasters = [open_header(path, table) for _, path in ordered]
    names = _shared_bands(rasters, table, bands)
    _require_one_grid(rasters)
    kind = _require_one_kind(rasters)
    settled = _settle(rasters, [stamp for stamp, _ in ordered], table, check, kind)
    layers = [one for one in table.quality if all(one.name in r.quality for r in rasters)]
    sources = [
        _source(raster, names, one, table, layers)
        for raster, one in zip(rasters, settled, strict=True)
    ]
    cube = assemble(
        _read(rasters, sources, names, chunk),
        geobox=rasters[0].geobox,
        sensor=table,
        bands=names,
        times=[stamp.time for stamp, _ in ordered],
        flags=told_flags(layers),
        provenance=[
            _entry(stamp, raster, one, kind)
            for (stamp, _), raster, one in zip(ordered, rasters, settled, strict=True)
        ],
    )
    told = {"made_by": "from_files", "algorithm": ALGORITHM_VERSION, "sensor": table.name}
    inputs = SceneInputs(dict(zip(cube["time"].values, map(_parts, sources), strict=True)))
    cube = with_inputs(cube, cube.data_vars, told | {"kind": kind}, inputs)
    return with_recipe(cube, recipe)


def _parts(source):
    """Return of what the blocks of a date are made: one file, wherever it lies."""
    told = [source.indexes, source.quality, repr(source.conversion)]
    return [Part(told=json.dumps(told), sources=((source.path, ""),))]


def _of_bundles(bundles, sensor, dates, bands, chunk, check):
    """Return the cube of scenes with one file per band: as items on the grid of the finest."""
    dated = items_of(bundles, sensor, dates)
    cube = load(
        [item for item, _ in dated],
        finest_grid(bundles, bands, sensor),
        bands=bands,
        chunk=chunk,
        check=check,
        on_read_error="raise",
    )
    entries = json.loads(cube.attrs["provenance"])
    precisions = {str(stamp.time.date()): stamp.precision for _, stamp in dated}
    for entry in entries:
        entry["precision"] = precisions.get(entry["time"][:10], entry["precision"])
    cube.attrs["provenance"] = json.dumps(entries)
    return cube.drop_vars("read_failed")


def _paths(paths):
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    if not files:
        raise AcquireError("a cube needs at least one file, found an empty list of paths")
    return [Path(path) for path in files]


def _shared_bands(rasters, sensor, bands):
    """Return the names to load, in the sensor's order or the user's."""
    if bands is not None:
        wanted = [sensor.band(name).name for name in bands]
    else:
        wanted = [n for n in sensor.names if any(n in raster.layers for raster in rasters)]
    lacking = {
        raster.path.name: [name for name in wanted if name not in raster.layers]
        for raster in rasters
    }
    problems = [f"{name} lacks {missing}" for name, missing in lacking.items() if missing]
    if problems:
        raise SensorError(
            f"each file needs the bands {wanted}, but {'; '.join(problems)}; "
            "choose with bands= those that all files have"
        )
    return wanted


def _require_one_grid(rasters):
    first = rasters[0]
    for raster in rasters[1:]:
        grid.require_same(first.geobox, raster.geobox, (first.path.name, raster.path.name))


def _require_one_kind(rasters):
    """Return whether the files hold digital numbers or reflectance."""
    kinds = {raster.path.name: kind_of(raster) for raster in rasters}
    if len(set(kinds.values())) > 1:
        raise SensorError(
            f"all files need digital numbers, or all reflectance, found {kinds}; convert one kind"
        )
    return next(iter(kinds.values()))


def _settle(rasters, stamps, sensor, check, kind):
    if kind == "reflectance":
        if check is not False:
            for raster in rasters:
                _require_reflectance(raster)
        return [Settled(used=0, declared=None, observed=None, floor=None) for _ in rasters]
    if sensor.rule != "sentinel-2-baseline":
        offsets = [raster.declared.offset for raster in rasters]
        return [Settled(used=n, declared=n, observed=None, floor=None) for n in offsets]
    scenes = [
        Scene(
            name=raster.path.name,
            date=str(stamp.time.date()),
            declared=None if raster.declared is None else round(raster.declared.offset),
            dark=_dark(raster, sensor),
        )
        for raster, stamp in zip(rasters, stamps, strict=True)
    ]
    return settle(scenes, sensor, check)


def _require_reflectance(raster):
    """Raise an error if floats look like digital numbers, or nothing was measured."""
    name, index = next(iter(raster.layers.items()))
    seen = overview(str(raster.path), index, float("nan"))
    if not seen.size:
        raise AcquireError(
            f"a scene needs measured pixels, but {raster.path.name} is nodata everywhere in "
            f"[{name!r}]; leave it out"
        )
    top = float(np.percentile(seen, 99))
    if top > MOST_REFLECTANCE:
        raise SensorError(
            f"floats are taken as reflectance, nominally 0 to 1, but {raster.path.name} reaches "
            f"{top:.0f} in {name!r}; write digital numbers as uint16"
        )


def _dark(raster, sensor):
    names = [name for name in sensor.dark if name in raster.layers]
    names = names or list(raster.layers)[:1]
    dark = {name: (str(raster.path), raster.layers[name]) for name in names}
    if raster.cirrus is not None:
        dark["cirrus"] = (str(raster.path), raster.cirrus)
    return dark


def _read(rasters, sources, names, chunk):
    """Return the measured blocks of all files, lazily: one task per block."""
    shape = rasters[0].geobox.shape
    sizes = chunks_of(shape.y, chunk), chunks_of(shape.x, chunk)
    token = tokenize(
        ALGORITHM_VERSION,
        [raster.identity for raster in rasters],
        [repr(s) for s in sources],
        sizes,
    )
    return per_block(
        read_block,
        sources,
        sizes,
        layers=len(names) + 1,
        name=f"files-{token}",
        chunk=chunk,
        shape=tuple(shape),
    )


def _source(raster, names, one, sensor, layers):
    own = () if raster.nodata is None else (raster.nodata,)
    scale = sensor.scale if raster.declared is None else raster.declared.scale
    linear = Linear(scale=scale, offset=one.used, told_by="settled")
    nodata = (*sensor.nodata, *own)
    if kind_of(raster) == "reflectance":
        linear, nodata = Linear(scale=1.0, offset=0.0, told_by="reflectance"), own
    conversion = conversion_of(sensor, linear, len(names), layers)
    return Source(
        path=str(raster.path.resolve()),
        indexes=tuple(raster.layers[name] for name in names),
        quality=tuple(raster.quality[layer.name] for layer in layers),
        conversion=replace(conversion, nodata=nodata),
    )


def read_block(sources, rows, columns, chunk, shape):
    """Return one block of one file: reflectance by band and quality codes, float32.

    Parameters
    ----------
    sources : array (1,) of Source
    rows, columns : array (1,), int
        First row and column of the block.
    chunk : int
        Rows and columns of a whole block.
    shape : tuple of int
        Rows and columns of the file.

    Returns
    -------
    array (1, band + 1, y, x), float32
        See `pixels.measure`.
    """
    source, row, column = sources[0], int(rows[0]), int(columns[0])
    window = Window(column, row, min(chunk, shape[1] - column), min(chunk, shape[0] - row))
    try:
        with rasterio.open(source.path) as raster:
            numbers = raster.read(source.indexes, window=window)
            codes = [raster.read(index, window=window) for index in source.quality]
    except rasterio.errors.RasterioError as error:
        raise AcquireError(
            f"cannot read {source.path} at y {row}-{row + window.height}, "
            f"x {column}-{column + window.width}: {error}; was it moved or is it cut short?"
        ) from error
    return measure(numbers, codes, source.conversion)[np.newaxis]


def _entry(stamp: Stamp, raster: Raster, one: Settled, kind: str) -> dict[str, Any]:
    source = {
        "id": raster.path.name,
        "conversion": "none" if kind == "reflectance" else kind,
        **one.record(),
    }
    return provenance_of(stamp.time, stamp.precision, [source])
