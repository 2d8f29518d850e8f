"""Measured blocks to the cube that flows on: names, flags, coordinates and provenance."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.acquire.pixels import flag
from glaciercube.errors import SchemaError
from glaciercube.sensors import FLAGS, Quality, Sensor

ALGORITHM_VERSION = 2
"""Part of every array's name: raised when the same sources give other numbers."""


LONG_NAMES = {
    "surface": "surface reflectance",
    "top-of-atmosphere": "top-of-atmosphere reflectance",
    "backscatter": "terrain-corrected gamma nought, linear power",
}


def chunks_of(size: int, chunk: int) -> tuple[int, ...]:
    """Return the chunk sizes along an axis.

    Examples
    --------
    >>> chunks_of(2500, 1024)
    (1024, 1024, 452)
    """
    return tuple(min(chunk, size - start) for start in range(0, size, chunk))


def require_chunk(chunk: int) -> None:
    """Raise an error if a chunk size is no number of pixels.

    Raises
    ------
    SchemaError
    """
    if not isinstance(chunk, int) or chunk < 1:
        raise SchemaError(f"chunk is a number of pixels such as 1024, found {chunk!r}")


def provenance_of(
    time: datetime, precision: str, sources: Sequence[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """Return one time's entry in a cube's provenance.

    Parameters
    ----------
    time : datetime
        UTC.
    precision : "second", "day" or "year"
    sources : sequence of dict
        One per item or file: `id`, `conversion`, `offset_used`, `offset_declared`,
        `offset_observed` (DN) and `floor`, the darkest pixels' number.
    **more
        What else there is to say.

    Returns
    -------
    dict
        With `offset_used` of all sources at the top; None there if they differ.
    """
    offsets = {source["offset_used"] for source in sources}
    return {
        "time": time.isoformat(),
        "precision": precision,
        "offset_used": offsets.pop() if len(offsets) == 1 else None,
        "sources": list(sources),
        **more,
    }


def told_flags(layers: Sequence[Quality]) -> tuple[str, ...]:
    """Return which flags some quality layers tell, in the order of a cube's variables.

    Examples
    --------
    >>> from glaciercube.sensors import SENTINEL_2_L1C
    >>> told_flags(SENTINEL_2_L1C.quality)
    ('cloud',)
    """
    told = {name for layer in layers for name in layer.flags}
    return tuple(name for name in FLAGS if name in told)


def assemble(
    measured: da.Array,
    *,
    geobox: GeoBox,
    sensor: Sensor,
    bands: Sequence[str],
    times: Sequence[Any],
    flags: Sequence[str],
    provenance: Sequence[dict[str, Any]],
) -> xr.Dataset:
    """Return the cube of measured blocks.

    Parameters
    ----------
    measured : dask array (time, band + 1, y, x), float32
        Values and flags as `pixels.measure` returns them.
    geobox : GeoBox
    sensor : Sensor
    bands : sequence of str
        Names of the bands, in the array's order.
    times : sequence of datetime64
        UTC, ascending.
    flags : sequence of str
        Which flags become variables.
    provenance : sequence of dict
        One entry per time, without tokens or signatures.

    Returns
    -------
    Dataset
        `reflectance` (of radar `backscatter`), `valid` and the flags, lazy.
    """
    one = {"units": "1"}
    variables = {
        sensor.variable: (
            ("time", "band", "y", "x"),
            _layers(measured, sensor.variable, len(bands)),
            {**one, "long_name": LONG_NAMES[sensor.level]},
        ),
        "valid": (schema.TIME_DIMS, _valid(measured), {**one, "long_name": "was measured"}),
    }
    for name in flags:
        attrs = {**one, "long_name": _describe(name)}
        variables[name] = (schema.TIME_DIMS, _flag(measured, name), attrs)
    dataset = xr.Dataset(
        variables,
        coords={"time": pd.DatetimeIndex(list(times)).as_unit("ns"), "band": list(bands)},
        attrs={
            "sensor": sensor.name,
            "level": sensor.level,
            "provenance": json.dumps(list(provenance)),
        },
    )
    out = grid.georeferenced(dataset, geobox)
    wanted = schema.RADAR_CUBE if sensor.level == "backscatter" else schema.CUBE
    schema.check(out, wanted, "the loaded cube")
    return out


def _describe(name):
    if name == "read_failed":
        return "a source could not be read and no other covers the pixel"
    if name == "saturated":
        return "a band was saturated, its reflectance is a lower bound"
    return f"{name.replace('_', ' ')} in the provider's opinion"


def _layers(measured, name, bands):
    chunks = (measured.chunks[0], (bands,), *measured.chunks[2:])
    return _derive(measured, _take_bands, name, np.float32, chunks, bands=bands)


def _valid(measured):
    return _derive(measured, _take_valid, "valid", np.bool_, _one_layer(measured))


def _flag(measured, name):
    return _derive(measured, _take_flag, name, np.bool_, _one_layer(measured), flag_name=name)


def _one_layer(measured):
    return (measured.chunks[0], *measured.chunks[2:])


def _derive(measured, function, name, dtype, chunks, **options):
    """Return what a kernel makes of each block, with a name that says what it will hold.

    Where the bands go, the kernel is given a list of the one block along them: Dask would
    copy what it joins itself.
    """
    token = tokenize(ALGORITHM_VERSION, measured.name, name, sorted(options.items()))
    bands = len(chunks) == 4
    return da.blockwise(
        function,
        "tbyx" if bands else "tyx",
        measured,
        "tbyx",
        adjust_chunks={"b": chunks[1]} if bands else None,
        concatenate=None,
        align_arrays=False,
        dtype=dtype,
        meta=np.empty((0,) * len(chunks), dtype),
        name=f"acquire-{name}-{token}",
        **options,
    )


def _take_bands(block, bands):
    return block[:, :bands]


def _take_valid(blocks):
    return np.isfinite(blocks[0][:, 0])


def _take_flag(blocks, flag_name):
    return flag(blocks[0], flag_name)
