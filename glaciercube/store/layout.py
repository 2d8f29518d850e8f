"""What a store looks like on disk: its blocks, its shards, and how values become codes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from glaciercube import radiometry, schema
from glaciercube.windows import Window, strips

LAYOUT_VERSION = 2
"""Of the files on disk; a newer one is refused by name."""

ALGORITHM_VERSION = 1
"""Of the numbers on disk; raised by hand, and part of the fingerprint of every store."""

BLOCK = 1024
"""Rows and columns of a block where the data say nothing."""

INNER = 256
"""Rows and columns of the chunks inside a shard: small, so that halos are read cheaply."""

INNER_OF_BYTES = 512
"""The same of variables with one byte per pixel: a chunk costs as much as its bytes."""

SMALLEST_INNER = 32
"""Below this many pixels an inner chunk costs more than it saves."""

STRIP = 1 << 17
"""Pixels coded at a time, so that what is between stays in the processor's cache."""


@dataclass(frozen=True, order=True)
class Block:
    """The unit of work and of resuming: all variables of one date and one rectangle."""

    row: int
    column: int
    time: int | None = None
    """Index of the date; None for the block of the variables that have no time."""

    @property
    def key(self) -> str:
        """Name of the block's ledger record.

        >>> Block(0, 2, time=5).key
        '5.0.2'
        >>> Block(0, 2).key
        'static.0.2'
        """
        first = "static" if self.time is None else str(self.time)
        return f"{first}.{self.row}.{self.column}"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One variable as it lies on disk."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    """In memory."""

    codes: str
    """Data type on disk."""

    fill: float | None
    """Code of a pixel without a value, and of a block that is not stored; None is NaN."""

    scale_factor: float | None = None
    """As in CF; None if the values are stored as they are."""

    add_offset: float | None = None

    @property
    def temporal(self) -> bool:
        """Whether it has one layer per date."""
        return self.dims[0] == "time"

    @property
    def blank(self) -> Any:
        """The fill code in the type on disk."""
        return np.dtype(self.codes).type(np.nan if self.fill is None else self.fill)

    def encode(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the codes of values, and how many values lay beyond the codes' range."""
        if self.scale_factor is None or self.add_offset is None or self.fill is None:
            return np.ascontiguousarray(values, dtype=self.codes), 0
        codes, beyond = np.empty(values.shape, self.codes), 0
        for index in np.ndindex(values.shape[:-2]):
            for strip in strips(values.shape[-2:], STRIP):
                rows = (*index, strip)
                codes[rows], more = radiometry.pack_counted(
                    values[rows], self.codes, self.scale_factor, self.add_offset, int(self.fill)
                )
                beyond += more
        return codes, beyond

    @property
    def ends(self) -> tuple[float, float]:
        """Least and greatest value that the codes can hold."""
        if self.scale_factor is None or self.add_offset is None:
            return -math.inf, math.inf
        info = np.iinfo(self.codes)
        low = info.min + (self.fill == info.min)
        high = info.max - (self.fill == info.max)
        return (
            low * self.scale_factor + self.add_offset,
            high * self.scale_factor + self.add_offset,
        )

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the values of codes: float32 where scaled, else as stored."""
        if self.scale_factor is None or self.add_offset is None or self.fill is None:
            return codes.astype(self.dtype, copy=False)
        table = _table(self.codes, self.scale_factor, self.add_offset, int(self.fill))
        values = np.empty(codes.shape, table.dtype)
        flat, out = np.ravel(codes), values.reshape(-1)
        for start in range(0, flat.size, STRIP):
            part = slice(start, start + STRIP)
            # "clip" never clips, the table has every code: it spares a copy of the places
            np.take(table, flat[part], mode="clip", out=out[part])
        return values

    def is_blank(self, codes: np.ndarray) -> bool:
        """Say whether no pixel holds a value."""
        if not self._blank_at(codes.flat[0]):
            return False
        return bool(np.isnan(codes).all() if self.fill is None else (codes == self.blank).all())

    def _blank_at(self, code):
        return np.isnan(code) if self.fill is None else code == self.blank


@lru_cache(maxsize=16)
def _table(dtype, scale_factor, add_offset, fill):
    """Return the value of every code: one look-up instead of arithmetic in float64."""
    codes = np.arange(np.iinfo(dtype).max + 1, dtype=np.int64)
    return radiometry.unpack(codes, scale_factor, add_offset, fill)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the variables of a store are cut into blocks; small enough to travel with a task."""

    times: int
    rows: int
    columns: int
    block: tuple[int, int]
    """Rows and columns of a block."""

    variables: tuple[Stored, ...]

    def of(self, temporal: bool) -> tuple[Stored, ...]:
        """Return the variables with time, or those without."""
        return tuple(stored for stored in self.variables if stored.temporal == temporal)

    def stored(self, name: str) -> Stored:
        """Return the variable of a name."""
        return next(stored for stored in self.variables if stored.name == name)

    def counts(self, temporal: bool) -> tuple[int, int, int]:
        """Return the number of blocks along time, y and x; zeros if there is no variable."""
        if not self.of(temporal):
            return 0, 0, 0
        down = math.ceil(self.rows / self.block[0])
        across = math.ceil(self.columns / self.block[1])
        return self.times if temporal else 1, down, across

    def block_at(self, place: tuple[int, ...], temporal: bool) -> Block:
        """Return the block at a place in the lattice of `counts`."""
        return Block(place[1], place[2], time=place[0] if temporal else None)

    def blocks(self, temporal: bool) -> list[Block]:
        """Return all blocks with time, or all without."""
        return [self.block_at(place, temporal) for place in np.ndindex(*self.counts(temporal))]

    def all_blocks(self) -> list[Block]:
        """Return all blocks, those without time first."""
        return self.blocks(temporal=False) + self.blocks(temporal=True)

    def window(self, block: Block) -> Window:
        """Return the pixels of a block."""
        y0, x0 = block.row * self.block[0], block.column * self.block[1]
        y1, x1 = min(self.rows, y0 + self.block[0]), min(self.columns, x0 + self.block[1])
        return Window(y0, y1, x0, x1)

    def selection(self, stored: Stored, block: Block) -> tuple[slice, ...]:
        """Return where a block's pixels lie in one variable."""
        first = 0 if block.time is None else block.time
        rows, columns = self.window(block).slices
        where = {"time": slice(first, first + 1), "y": rows, "x": columns}
        return tuple(where.get(dim, slice(None)) for dim in stored.dims)

    def block_shape(self, stored: Stored, block: Block) -> tuple[int, ...]:
        """Return the shape of a block of one variable."""
        where = self.selection(stored, block)
        return tuple(
            len(range(*part.indices(size))) for part, size in zip(where, stored.shape, strict=True)
        )

    def place(self, stored: Stored, block: Block) -> tuple[int, ...]:
        """Return the number of a block's shard along each dimension of one variable."""
        where = {"time": block.time or 0, "y": block.row, "x": block.column}
        return tuple(where.get(dim, 0) for dim in stored.dims)

    def shards(self, stored: Stored) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shape of a variable's shards and of the chunks inside them."""
        size = dict(zip(stored.dims, stored.shape, strict=True))
        outer, inner = {**size, "time": 1}, {**size, "time": 1}
        plain = len(stored.dims) <= 3 and np.dtype(stored.codes).itemsize == 1
        most = INNER_OF_BYTES if plain else INNER
        for dim, length, step in (
            ("y", self.rows, self.block[0]),
            ("x", self.columns, self.block[1]),
        ):
            outer[dim], inner[dim] = shard_and_chunk(length, step, most)
        return tuple(outer[dim] for dim in stored.dims), tuple(inner[dim] for dim in stored.dims)


def shard_and_chunk(length: int, step: int, most: int = INNER) -> tuple[int, int]:
    """Return the length of a shard and of the chunks inside it, along one axis.

    Parameters
    ----------
    length : int
        Pixels along the axis.
    step : int
        Pixels of a block.
    most : int
        Pixels of an inner chunk at most.

    Examples
    --------
    >>> shard_and_chunk(5000, 1024)
    (1024, 256)
    >>> shard_and_chunk(5000, 1000)
    (1000, 250)
    >>> shard_and_chunk(600, 1024)  # one block: the shard may reach beyond the image
    (768, 256)
    >>> shard_and_chunk(5000, 997)  # a prime number has no useful parts
    (997, 997)
    """
    if length <= step:
        inner = min(length, most)
        return math.ceil(length / inner) * inner, inner
    inner = next(size for size in range(min(step, most), 0, -1) if step % size == 0)
    return step, inner if inner >= min(SMALLEST_INNER, step) else step


def stored_variable(name: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype) -> Stored:
    """Return how a variable is stored: as `schema` says, else as it is.

    Examples
    --------
    >>> stored_variable("extent", ("time", "y", "x"), (1, 8, 8), "uint8").fill
    255
    """
    known = schema.VARIABLES.get(name)
    encoding: Mapping[str, Any] = known.encoding if known is not None else {}
    kind = np.dtype(dtype)
    fill = encoding.get("_FillValue", schema.NODATA if name in schema.TASKS else 0)
    return Stored(
        name=name,
        dims=dims,
        shape=shape,
        dtype=str(kind),
        codes=encoding.get("dtype", str(kind)),
        fill=None if kind.kind == "f" and not encoding else fill,
        scale_factor=encoding.get("scale_factor"),
        add_offset=encoding.get("add_offset"),
    )


def layout_of(identity: Mapping[str, Any], times: int) -> Layout:
    """Return the layout that a store's identity describes, with a number of dates."""
    rows, columns = identity["grid"]["shape"]
    sizes = {"time": times, "y": rows, "x": columns}
    sizes |= {dim: len(labels) for dim, labels in identity["labels"].items()}
    block_rows, block_columns = identity["block"]
    return Layout(
        times=times,
        rows=rows,
        columns=columns,
        block=(block_rows, block_columns),
        variables=tuple(
            Stored(
                name=name,
                dims=tuple(entry["dims"]),
                shape=tuple(sizes[dim] for dim in entry["dims"]),
                dtype=entry["dtype"],
                codes=entry["codes"],
                fill=entry["fill"],
                scale_factor=entry["scale_factor"],
                add_offset=entry["add_offset"],
            )
            for name, entry in identity["variables"].items()
        ),
    )
