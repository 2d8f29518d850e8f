"""The Zarr arrays of stores, opened once per process."""

import os
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import zarr

from glaciercube.errors import StoreError
from glaciercube.store import ledger
from glaciercube.store.layout import Block, Layout, Stored

KEPT = 64
"""Arrays kept open per process; the one opened first goes first."""

_arrays: dict[tuple[Any, ...], tuple[str, zarr.Array]] = {}
_lock = Lock()


def array_of(
    path: Path, variable: str, fingerprint: str, mode: Literal["r", "r+"] = "r"
) -> zarr.Array:
    """Return the Zarr array of a variable, opened on first use.

    Parameters
    ----------
    path : Path
        Of the store.
    variable : str
    fingerprint : str
        Of the store that the caller means.
    mode : str
        "r" to read, "r+" to write.

    Raises
    ------
    StoreError
        If there is no store any more, or another one has taken its place.
    """
    with _lock:
        key = (str(path), variable, mode, _stamp(path))
        if key not in _arrays:
            found = ledger.read_header(path).fingerprint
            _arrays[key] = (found, zarr.open_array(path / variable, mode=mode))
            while len(_arrays) > KEPT:
                _arrays.pop(next(iter(_arrays)))
        found, array = _arrays[key]
    if found != fingerprint:
        raise StoreError(
            f"the store {str(path)!r} was replaced since it was read "
            f"({fingerprint[:8]} then, {found[:8]} now); read it again"
        )
    return array


def _stamp(path):
    """Return what changes when another store takes the place of this one."""
    try:
        status = os.stat(ledger.header_path(path))
    except OSError:
        ledger.read_header(path)  # says what is there instead
        raise
    return status.st_ino, status.st_mtime_ns


def shard_path(path: Path, array: zarr.Array, layout: Layout, at: tuple[Stored, Block]) -> Path:
    """Return the file that holds the shard of one variable and block."""
    stored, block = at
    return path / stored.name / array.metadata.encode_chunk_key(layout.place(stored, block))


def write_codes(
    path: Path, array: zarr.Array, codes: np.ndarray, layout: Layout, at: tuple[Stored, Block]
) -> None:
    """Write the shard of one block, whatever was there; none where no pixel holds a value."""
    stored, block = at
    if stored.is_blank(codes):
        shard_path(path, array, layout, at).unlink(missing_ok=True)
        return
    selection = layout.selection(stored, block)
    try:
        array[selection] = codes
    except (ValueError, RuntimeError):
        # A shard at the image's border is merged with what is there, and that is damaged.
        shard_path(path, array, layout, at).unlink(missing_ok=True)
        array[selection] = codes
