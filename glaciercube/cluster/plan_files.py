"""The file of a plan: one GeoParquet that a person can open, with what the job does inside."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq

from glaciercube.errors import StoreError

KEY = b"glaciercube:plan"
"""Of the file's metadata; holds JSON."""

VERSION = 1
"""Of the layout: raised when older versions could not read it."""

FIELDS = ("options", "outlines", "fingerprint", "tiles")
"""What the JSON needs to have."""


def canonical(options: Mapping[str, Any]) -> str:
    """Return options as text, equal if they are."""
    return json.dumps(options, sort_keys=True, allow_nan=False)


def write_plan(tiles: gpd.GeoDataFrame, header: Mapping[str, Any], path: Path) -> None:
    """Write a plan whole or not at all.

    Parameters
    ----------
    tiles : GeoDataFrame
    header : mapping
        JSON, with `FIELDS`.
    path : Path

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    memory = io.BytesIO()
    tiles.to_parquet(memory, index=False, write_covering_bbox=True)
    memory.seek(0)
    table = pq.read_table(memory)
    text = json.dumps({"version": VERSION, **header}, sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: text.encode()})
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StoreError(f"the plan cannot be written to {path}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    """Return what a plan's file says of the job.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreError
        If it is no plan, or one of a newer version.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} is no plan: a GeoParquet file that glaciercube wrote is needed ({error})"
        ) from error
    if KEY not in metadata:
        raise StoreError(
            f"{path} is no plan: its metadata lacks {KEY.decode()!r}, as it does after another "
            "program saved it; make it again with plan"
        )
    try:
        header = json.loads(metadata[KEY])
        version = int(header["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is no plan: its metadata is broken ({error!r})") from error
    if version > VERSION:
        raise StoreError(
            f"{path} is a plan of version {version}, this glaciercube reads up to {VERSION}; "
            "install a newer one"
        )
    lacking = [name for name in FIELDS if name not in header]
    if lacking:
        raise StoreError(f"{path} is no plan: its metadata lacks {lacking}")
    return header
