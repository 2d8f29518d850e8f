"""The units of work of overviews: native pixels that become one shard of each level."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
import zarr

from glaciercube.errors import StoreError
from glaciercube.store import arrays, dates, ledger
from glaciercube.store.layout import Block
from glaciercube.store.levels import Pyramid
from glaciercube.store.places import Place
from glaciercube.windows import Window

RECORDS = f"{ledger.FOLDER}/overviews"
"""Folder of what is known of each unit, and of all levels."""


@dataclass(frozen=True)
class Unit:
    """One part of a store that becomes one shard of each level."""

    block: Block
    """Of the pyramid's units."""

    sources: dict[str, str | None]
    """Checksum of each native block that it touches, by the block's key; None if not written."""

    @property
    def key(self) -> str:
        """Of its record."""
        return f"{RECORDS}/{self.block.key}.json"


def units_of(pyramid: Pyramid, checksums: Mapping[Block, str | None]) -> list[Unit]:
    """Return all units of a store.

    Parameters
    ----------
    pyramid : Pyramid
    checksums : mapping
        Of each native block of the store; None of those that are not written.
    """
    layout, units = pyramid.layout, pyramid.units
    return [
        Unit(
            unit,
            {
                block.key: checksums[block]
                for block in _blocks_in(layout, units.window(unit), unit.time)
            },
        )
        for unit in units.all_blocks()
    ]


def _blocks_in(layout, window: Window, time):
    """Return the blocks that a window touches."""
    down, across = layout.block
    return [
        Block(row, column, time=time)
        for row in range(window.y0 // down, -(-window.y1 // down))
        for column in range(window.x0 // across, -(-window.x1 // across))
    ]


def derive_unit(unit: Unit, *, place: Place, pyramid: Pyramid, version: str) -> Any:
    """Derive all levels of one unit, then write its record; return what `commit` needs.

    Parameters
    ----------
    unit : Unit
    place : Place
        To write to.
    pyramid : Pyramid
    version : str
        Fingerprint of the pyramid.

    Raises
    ------
    StoreError
        If native pixels cannot be read, or levels not be written.
    """
    place = place.writing()
    digest = xxhash.xxh3_128()
    with naming(place, f" at {pyramid.units.window(unit.block)}"):
        native = zarr.open_group(place.zarr(), mode="r", use_consolidated=False)
        for number, stored in enumerate(pyramid.layout.variables):
            if stored.temporal != (unit.block.time is not None):
                continue
            shards = _reduced(native[stored.name], number, unit, pyramid)
            for factor, codes in zip(pyramid.factors, shards, strict=True):
                level = pyramid.level(factor)
                _write(place, codes, level, (level.variables[number], unit.block))
                digest.update(codes.data)
        record = {"fingerprint": version, "sources": unit.sources, "checksum": digest.hexdigest()}
        place.write(unit.key, json.dumps(record).encode())
    return place.token()


def is_sound(unit: Unit, *, place: Place, pyramid: Pyramid) -> bool:
    """Say whether the levels of a unit hold what was written, by the checksum of its record.

    Parameters
    ----------
    unit : Unit
        That has a record.
    place : Place
    pyramid : Pyramid
    """
    digest = xxhash.xxh3_128()
    try:
        for number, stored in enumerate(pyramid.layout.variables):
            if stored.temporal != (unit.block.time is not None):
                continue
            for level in map(pyramid.level, pyramid.factors):
                of_level = level.variables[number]
                array = zarr.open_array(place.zarr(), path=of_level.name, mode="r")
                array = dates.resized(array, of_level.shape)
                codes = np.asarray(array[level.selection(of_level, unit.block)])
                digest.update(np.ascontiguousarray(codes).data)
        return json.loads(place.read(unit.key)).get("checksum") == digest.hexdigest()
    except (OSError, ValueError, RuntimeError, KeyError):  # whatever a codec makes of damaged bytes
        return False


def _reduced(array, number, unit, pyramid):
    """Return one variable of a unit at every level, from one reading of its native pixels."""
    stored = pyramid.layout.variables[number]
    window = pyramid.units.window(unit.block)
    shards = [
        np.empty(level.block_shape(level.variables[number], unit.block), stored.codes)
        for level in map(pyramid.level, pyramid.factors)
    ]
    for tile in pyramid.tiles(window):
        codes = _pixels(array, stored, tile, unit, pyramid.layout)
        levels = pyramid.reductions[stored.name].levels(codes, pyramid.factors)
        for factor, shard, cells in zip(pyramid.factors, shards, levels, strict=True):
            y, x = (tile.y0 - window.y0) // factor, (tile.x0 - window.x0) // factor
            shard[..., y : y + cells.shape[-2], x : x + cells.shape[-1]] = cells
    return shards


def _pixels(array, stored, tile: Window, unit, layout):
    """Return native codes; of blocks that are not written there is nothing to see yet."""
    first = unit.block.time or 0
    rows, columns = tile.slices
    where = {"time": slice(first, first + 1), "y": rows, "x": columns}
    codes = np.array(array[tuple(where.get(dim, slice(None)) for dim in stored.dims)])
    for block in _blocks_in(layout, tile, unit.block.time):
        if unit.sources[block.key] is None:
            part = layout.window(block)
            y0, x0 = max(part.y0 - tile.y0, 0), max(part.x0 - tile.x0, 0)
            codes[..., y0 : part.y1 - tile.y0, x0 : part.x1 - tile.x0] = stored.blank
    return codes


def _write(place, codes, level, at):
    array = zarr.open_array(place.zarr(writable=True), path=at[0].name, mode="r+")
    arrays.write_codes(place, dates.resized(array, at[0].shape), codes, level, at)


@contextmanager
def naming(place: Place, where: str = "") -> Iterator[None]:
    """Say of which store it is that overviews cannot be made."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(
            f"the overviews of {str(place)!r}{where} cannot be made: {type(error).__name__}: "
            f"{error}; verify(path) says whether the store is sound"
        ) from error
