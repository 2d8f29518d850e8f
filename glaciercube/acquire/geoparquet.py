"""Items of a stac-geoparquet file: one row each, properties as columns."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pystac
import shapely
from shapely.geometry import mapping

from glaciercube import grid
from glaciercube.acquire.intervals import Interval
from glaciercube.errors import AcquireError

NEEDED = ("id", "geometry", "assets")
"""Columns without which a table holds no items."""

SUFFIXES = (".parquet", ".geoparquet")

_TOP = (
    "type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets",
    "collection",
)  # fmt: skip
_EDGES = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
_SLACK = timedelta(seconds=1)


def is_geoparquet(path: str | Path) -> bool:
    """Say whether a path or address names a Parquet file, or a folder of some.

    Examples
    --------
    >>> is_geoparquet("scenes.parquet"), is_geoparquet("catalog.json")
    (True, False)
    """
    if str(path).lower().endswith(SUFFIXES):
        return True
    folder = Path(path)
    return folder.is_dir() and any(folder.rglob("*.parquet"))


def read_items(
    path: str | Path,
    place: gpd.GeoDataFrame | None = None,
    interval: Interval = (None, None),
) -> list[pystac.Item]:
    """Return the items of a stac-geoparquet file over an area in a period.

    Parameters
    ----------
    path : path
        A file or a folder of them; also an address that pyarrow reads ("s3://...").
    place : GeoDataFrame, optional
        Rows elsewhere are not decoded.
    interval : (datetime, datetime)
        UTC; None where it is open. Rows of other times are not read.

    Returns
    -------
    list of Item
        In the file's order.

    Raises
    ------
    AcquireError
        If it is no stac-geoparquet.
    """
    dataset = _opened(path)
    keep = _in_interval(dataset.schema, interval)
    found = []
    for batch in dataset.to_batches(filter=keep):
        if place is not None:
            shapes = shapely.from_wkb(batch.column("geometry").to_numpy(zero_copy_only=False))
            batch = batch.filter(pa.array(_touching(shapes, place)))
        found += [pystac.Item.from_dict(document_of(row)) for row in batch.to_pylist()]
    return found


def document_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a stac-geoparquet table as the JSON of an item.

    Parameters
    ----------
    row : dict
        By column, as pyarrow gives it. A column that is empty for this item is left out, as one
        table holds the properties and assets of all its items.

    Examples
    --------
    >>> row = {"id": "a", "eo:cloud_cover": 3.0, "s2:mgrs_tile": None, "links": None}
    >>> document_of(row)["properties"]
    {'eo:cloud_cover': 3.0}
    """
    plain = {name: _plain(value, name) for name, value in row.items() if value is not None}
    properties = {name: value for name, value in plain.items() if name not in _TOP}
    if "start_datetime" in properties:
        properties.setdefault("datetime", None)  # an interval says that it has no instant
    out = {name: plain[name] for name in _TOP if name in plain}
    out["properties"] = properties
    return {
        "type": "Feature", "stac_version": "1.0.0", "links": [], "assets": {}, "geometry": None,
        **out,
    }  # fmt: skip


def _opened(path):
    try:
        dataset = pa.dataset.dataset(str(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AcquireError(f"{path} is no Parquet file that can be read: {error}") from error
    missing = [name for name in NEEDED if name not in dataset.schema.names]
    if missing:
        raise AcquireError(
            f"a stac-geoparquet file has the columns {list(NEEDED)}, {path} lacks {missing}; "
            f"it has {dataset.schema.names[:8]}"
        )
    return dataset


def _in_interval(schema, interval):
    """Return what a row's time must fulfil, None if all may be needed."""
    start, end = interval
    is_time = "datetime" in schema.names and pa.types.is_timestamp(schema.field("datetime").type)
    if not is_time or (start is None and end is None):
        return None
    zone = schema.field("datetime").type.tz
    time = pyarrow.dataset.field("datetime")
    inside = pyarrow.dataset.scalar(True)
    if start is not None:
        inside = inside & (time >= _scalar(start - _SLACK, zone))
    if end is not None:
        inside = inside & (time <= _scalar(end + _SLACK, zone))
    return inside | time.is_null()


def _scalar(moment: datetime, zone):
    naive = moment.replace(tzinfo=None)
    return pa.scalar(naive if zone is None else moment, pa.timestamp("us", tz=zone))


def _touching(shapes, place):
    """Return which footprints are over a place; a row without one may be anywhere."""
    known = np.array([shape is not None for shape in shapes], bool)
    found = ~known
    found[known] = grid.touching(list(shapes[known]), place)
    return found


def _plain(value: Any, name: str) -> Any:
    """Return a value of a row as JSON has it."""
    if isinstance(value, bytes):
        return mapping(shapely.from_wkb(value))
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and name in ("assets", "links"):
        return json.loads(value)
    if isinstance(value, dict):
        if name == "bbox":
            return [value[edge] for edge in _EDGES if value.get(edge) is not None]
        return dict(_entries(value))
    if isinstance(value, list):
        return [_plain(one, "") for one in value]
    return value


def _entries(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, one in value.items():
        if one is not None:
            yield name, _plain(one, name)
