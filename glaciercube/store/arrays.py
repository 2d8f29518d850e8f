"""The Zarr arrays of stores, opened once per process."""

import time
from collections.abc import Hashable
from threading import Lock
from typing import Any, Literal

import numpy as np
import zarr

from glaciercube.errors import StoreError
from glaciercube.store import dates, ledger
from glaciercube.store.layout import Block, Layout, Stored
from glaciercube.store.places import Directory, Place

KEPT = 64
"""Arrays kept open per process; the one opened first goes first."""

TRUSTED_S = 30.0
"""How long a store that is not a directory is taken for the one it was (s): asking costs a
request."""

_arrays: dict[tuple[Any, ...], tuple[str, zarr.Array]] = {}
_stamps: dict[Place, tuple[float, Hashable]] = {}
_lock = Lock()


def array_of(
    place: Place, stored: Stored, fingerprint: str, mode: Literal["r", "r+"] = "r"
) -> zarr.Array:
    """Return the Zarr array of a variable, opened on first use.

    Parameters
    ----------
    place : Place
    stored : Stored
        The variable. Its shape counts, not that on disk: a longer time axis is written
        before readers see it.
    fingerprint : str
        Of the store that the caller means.
    mode : str
        "r" to read, "r+" to write.

    Raises
    ------
    StoreError
        If there is no store any more, or another one has taken its place.
    """
    if not place.shared:
        return dates.resized(_open(place, stored, mode), stored.shape)
    with _lock:
        key = (place, stored.name, mode, stored.shape, _stamp(place))
        if key not in _arrays:
            found = ledger.read_header(place, times=()).fingerprint
            _arrays[key] = (found, dates.resized(_open(place, stored, mode), stored.shape))
            while len(_arrays) > KEPT:
                _arrays.pop(next(iter(_arrays)))
        found, array = _arrays[key]
    if found != fingerprint:
        raise StoreError(
            f"the store {str(place)!r} was replaced since it was read "
            f"({fingerprint[:8]} then, {found[:8]} now); read it again"
        )
    return array


def _open(place, stored, mode):
    return zarr.open_array(place.zarr(writable=mode == "r+"), path=stored.name, mode=mode)


def _stamp(place):
    """Return what changes when another store takes the place of this one."""
    now = time.monotonic()
    asked, known = _stamps.get(place, (-TRUSTED_S, None))
    if known is not None and not isinstance(place, Directory) and now - asked < TRUSTED_S:
        return known
    try:
        stamp = place.stamp(ledger.HEADER)
    except OSError:
        ledger.read_header(place)  # says what is there instead
        raise
    _stamps[place] = (now, stamp)
    return stamp


def shard_key(array: zarr.Array, layout: Layout, at: tuple[Stored, Block]) -> str:
    """Return the key of the shard of one variable and block."""
    stored, block = at
    return f"{stored.name}/{array.metadata.encode_chunk_key(layout.place(stored, block))}"


def write_codes(
    place: Place, array: zarr.Array, codes: np.ndarray, layout: Layout, at: tuple[Stored, Block]
) -> None:
    """Write the shard of one block, whatever was there; none where no pixel holds a value."""
    stored, block = at
    if stored.is_blank(codes):
        place.delete(shard_key(array, layout, at))
        return
    wide, whole, selection = _whole_shard(array, codes, layout, at)
    try:
        wide[selection] = whole
    except (ValueError, RuntimeError):
        # Zarr reads the index of the shard that is there, and that is damaged.
        place.delete(shard_key(array, layout, at))
        wide[selection] = whole


def _whole_shard(array, codes, layout, at):
    """Return an array, and what to write where, so that the shard of a block is written whole.

    One that reaches beyond the image would be merged with what is there, damage included.
    """
    stored, block = at
    lengths, _ = layout.shards(stored)
    selection = layout.selection(stored, block)
    if codes.shape == lengths:
        return array, codes, selection
    whole = np.full(lengths, stored.blank, codes.dtype)
    whole[tuple(slice(0, length) for length in codes.shape)] = codes
    starts = [part.indices(size)[0] for part, size in zip(selection, stored.shape, strict=True)]
    stops = [start + length for start, length in zip(starts, lengths, strict=True)]
    wide = tuple(max(stop, size) for stop, size in zip(stops, array.shape, strict=True))
    return dates.resized(array, wide), whole, tuple(map(slice, starts, stops))
