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
from glaciercube.acquire.pixels import FLAGS, Meaning, flag, meaning_of
from glaciercube.errors import SchemaError
from glaciercube.sensors import Sensor

ALGORITHM_VERSION = 1
"""Part of every array's name: raised when the same sources give other numbers."""


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


def assemble(
    measured: da.Array,
    *,
    geobox: GeoBox,
    sensor: Sensor,
    bands: Sequence[str],
    times: Sequence[Any],
    quality: bool,
    provenance: Sequence[dict[str, Any]],
) -> xr.Dataset:
    """Return the cube of measured blocks.

    Parameters
    ----------
    measured : dask array (time, band + 1, y, x), float32
        Reflectance and quality codes as `pixels.measure` returns them.
    geobox : GeoBox
    sensor : Sensor
    bands : sequence of str
        Names of the bands, in the array's order.
    times : sequence of datetime64
        UTC, ascending.
    quality : bool
        Whether the last layer holds the provider's quality codes.
    provenance : sequence of dict
        One entry per time, without tokens or signatures.

    Returns
    -------
    Dataset
        `reflectance`, `valid` and the provider's flags, lazy.
    """
    one = {"units": "1"}
    variables = {
        "reflectance": (
            ("time", "band", "y", "x"),
            _layers(measured, len(bands)),
            {**one, "long_name": f"{sensor.level} reflectance"},
        ),
        "valid": (schema.TIME_DIMS, _valid(measured), {**one, "long_name": "was measured"}),
    }
    for name in FLAGS:
        meaning = meaning_of(sensor.quality, name) if quality else None
        if meaning is not None:
            text = f"{name.replace('_', ' ')} in the provider's opinion"
            attrs = {**one, "long_name": text}
            variables[name] = (schema.TIME_DIMS, _flag(measured, name, meaning), attrs)
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
    schema.check(out, schema.CUBE, "the loaded cube")
    return out


def _layers(measured, bands):
    return _derive(measured, _take_bands, "reflectance", np.float32, bands=bands)


def _valid(measured):
    return _derive(measured, _take_valid, "valid", np.bool_)


def _flag(measured, name, meaning):
    return _derive(measured, _take_flag, name, np.bool_, meaning=meaning)


def _derive(measured, function, name, dtype, **options):
    """Return what a kernel makes of each block, with a name that says what it will hold."""
    token = tokenize(ALGORITHM_VERSION, measured.name, name, sorted(options.items()))
    if name == "reflectance":
        chunks = (measured.chunks[0], (options["bands"],), *measured.chunks[2:])
        drop = None
    else:
        chunks = (measured.chunks[0], *measured.chunks[2:])
        drop = 1
    return da.map_blocks(
        function,
        measured,
        dtype=dtype,
        chunks=chunks,
        drop_axis=drop,
        meta=np.empty((0,) * len(chunks), dtype),
        name=f"acquire-{name}-{token}",
        **options,
    )


def _take_bands(block, bands):
    return block[:, :bands]


def _take_valid(block):
    return np.isfinite(block[:, 0])


def _take_flag(block, meaning: Meaning):
    return flag(block[:, -1], meaning)
