"""What every block of one prediction shares, and what each block reads. No Dask, no torch."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np

from glaciercube.cover.regions import Region
from glaciercube.errors import SchemaError
from glaciercube.infer import dates, dihedral, quantized
from glaciercube.infer.blending import Blend
from glaciercube.infer.choices import Choice
from glaciercube.model.card import WINDOW, ModelCard
from glaciercube.model.dates import YEAR, planes
from glaciercube.model.reference import ModelRef
from glaciercube.schema import TASKS
from glaciercube.store.reading import Source
from glaciercube.windows import Window, expand, hull

PROBABILITY = "probability/"
"""Prefix of the planes that hold the probability of one facies each."""

TILE = 256
"""Side of the parts (pixels) that a block is cut into where only few of them are wanted."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every block shares: one small object in the graph, whatever its number of blocks."""

    refs: tuple[ModelRef, ...]
    """Networks; those of one task are an ensemble."""

    bands: tuple[str, ...]
    """Names of the bands that reach a block, in order."""

    planes: tuple[str, ...]
    """What a block gives, in order: names of layers, and "probability/<facies>"."""

    halo: int
    """Pixels on each side that a result depends on; of an inexact network, what counts as it."""

    stride: int
    chunks: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """Of the result along time, y and x."""

    times: tuple[str, ...]
    """Dates for messages."""

    positions: tuple[int, ...]
    """Where `bands` are among those of the cube."""

    offset: tuple[int, int] = (0, 0)
    """Row and column of the first pixel from the CRS's origin; see `windows.lattice_offset`."""

    views: int = 1
    """How many of `dihedral.VIEWS` are averaged: 1, or all 8."""

    quantized: bool = False
    """Whether shares are given as codes of 8 bits."""

    choices: tuple[Choice, ...] = ()
    """How the networks run; empty as long as that is not measured."""

    region: Region | None = None
    """What is of interest; the rest of the cube is nodata and costs nothing."""

    seen: dates.Seen = field(default_factory=dict)
    """Which dates of the cube are seen with each, of cards that declare `dates`."""

    away: dates.Away = field(default_factory=dict)
    """How many days after each date these are, of cards that declare `day` among them."""

    depth: int | None = None
    """Pixels around a block that its neighbours give; None if each block reads for itself."""

    reflectance: Source | None = None
    """What the blocks read themselves; direct strategy only."""

    valid: Source | None = None

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole image."""
        return sum(self.chunks[1]), sum(self.chunks[2])

    @property
    def dtype(self) -> str:
        """Of the planes: codes are exact in either."""
        return "uint8" if self.quantized else "float32"

    @property
    def reach(self) -> int:
        """Pixels around a block, at most, that it reads."""
        sizes = [self.blend_of(ref).size - 1 for ref in self.refs if not ref.card.exact]
        return max([self.halo + self.stride - 1, *sizes])

    def place(self, block: tuple[int, ...]) -> tuple[range, Window]:
        """Return the dates of a block, and its pixels.

        Parameters
        ----------
        block : tuple of int
            Its number along time, plane, y and x.
        """
        (start, stop), (y0, y1), (x0, x1) = (
            (sum(sizes[:number]), sum(sizes[: number + 1]))
            for sizes, number in zip(self.chunks, (block[0], *block[2:]), strict=True)
        )
        return range(start, stop), Window(y0, y1, x0, x1)

    def seen_with(self, date: int, card: ModelCard) -> tuple[int, ...]:
        """Return the dates that a network sees with a date, and -1 for those it lacks."""
        return self.seen[dates.name_of(card)][date] if card.dates else (date,)

    def years_away(self, date: int, card: ModelCard) -> np.ndarray:
        """Return how long after a date those are that a network sees with it.

        Returns
        -------
        array (count,), float32
            Years of 365 days; 0 for those it lacks.
        """
        return np.array(self.away[dates.name_of(card)][date], np.float32) / np.float32(YEAR)

    def others_of(self, date: int) -> list[int]:
        """Return the dates beside it that any network sees with a date, in the cube's order."""
        every = {other for each in self.seen.values() for other in each[date]}
        return sorted(every - {date, dates.PADDED})

    def time_chunks(self, number: int) -> list[int]:
        """Return which chunks along time hold what is seen with the dates of one of them."""
        own = self.dates_in(number)
        others = {other for date in own for other in self.others_of(date)}
        return sorted({number, *map(self.chunk_of, others)})

    def chunk_of(self, date: int) -> int:
        """Return which chunk along time holds a date."""
        return bisect_right(self._stops, date)

    def dates_in(self, number: int) -> range:
        """Return the dates of a chunk along time."""
        stop = self._stops[number]
        return range(stop - self.chunks[0][number], stop)

    @cached_property
    def _stops(self):
        return list(accumulate(self.chunks[0]))

    def given(self, block: Window) -> Window:
        """Return what the neighbours of a block give it, with the block."""
        return expand(block, self.depth or 0, self.shape)

    def reads(self, target: Window) -> Window:
        """Return what must be read for some pixels.

        Parameters
        ----------
        target : Window

        Returns
        -------
        Window
            Cut at the image's borders.
        """
        views = dihedral.VIEWS[: self.views]
        found = [dihedral.reads(target, self.halo, self.shape, self.stride, views)]
        found += [self.blend_of(ref).reads(target) for ref in self.refs if not ref.card.exact]
        return hull(found)

    def blend_of(self, ref: ModelRef) -> Blend:
        """Return the windows that a network sees which is not exact."""
        size = ref.card.window or -(-WINDOW // ref.card.stride) * ref.card.stride
        return Blend(
            size=size,
            step=max(1, size // 2),
            shape=self.shape,
            offset=self.offset,
            fill=_beyond(ref.card),
        )

    def blank(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the planes (plane, y, x) of pixels of which nothing is known.

        Examples
        --------
        >>> from glaciercube.infer.work import Work
        >>> some = {"refs": (), "bands": (), "halo": 0, "stride": 1, "times": ()}
        >>> work = Work(planes=("facies", "confidence"), chunks=((), (), ()), positions=(), **some)
        >>> work.blank((1, 2)).tolist()
        [[[255.0, 255.0]], [[nan, nan]]]
        """
        return quantized.blank([name in TASKS for name in self.planes], shape, self.quantized)

    @property
    def sources(self) -> tuple[Source, Source]:
        """What a block of the direct strategy reads: valid, and reflectance.

        Raises
        ------
        SchemaError
            If the blocks are given what they need by their neighbours.
        """
        if self.valid is None or self.reflectance is None:
            raise SchemaError("a block reads a store by the direct strategy only, it has no source")
        return self.valid, self.reflectance


def _beyond(card):
    """Return what a network sees beyond the image, of each channel: no date was measured there."""
    zeros = sum(planes(card.dates).values()) if card.dates else 0
    if not zeros:
        return card.fill
    return ((card.fill,) * len(card.bands) + (0.0,) * zeros) * card.dates["count"]


def bounding(mask: np.ndarray, block: Window) -> Window:
    """Return the smallest window that holds all pixels of a mask.

    Parameters
    ----------
    mask : array (y, x), bool
        Of the block; True somewhere.
    block : Window

    Examples
    --------
    >>> bounding(np.array([[False, False], [False, True]]), Window(8, 10, 4, 6))
    Window(y0=9, y1=10, x0=5, x1=6)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Window(
        block.y0 + int(rows[0]),
        block.y0 + int(rows[-1]) + 1,
        block.x0 + int(columns[0]),
        block.x0 + int(columns[-1]) + 1,
    )


def parts_of(mask: np.ndarray, target: Window, halo: int) -> list[Window]:
    """Return the windows to compute so that all pixels of a mask are reported.

    Parameters
    ----------
    mask : array (y, x), bool
        Of the target.
    target : Window
    halo : int
        Read around each of them.

    Returns
    -------
    list of Window
        The target as a whole, or those parts of it that the mask touches, where these are
        fewer pixels with their halos.
    """
    parts = [
        bounding(mask[tile.inside(target)], tile)
        for tile in _tiles(target)
        if mask[tile.inside(target)].any()
    ]
    return parts if _cost(parts, halo) < 0.8 * _cost([target], halo) else [target]


def _tiles(target):
    for y in range(target.y0, target.y1, TILE):
        for x in range(target.x0, target.x1, TILE):
            yield Window(y, min(y + TILE, target.y1), x, min(x + TILE, target.x1))


def _cost(windows: Iterable[Window], halo: int) -> int:
    return sum((one.shape[0] + 2 * halo) * (one.shape[1] + 2 * halo) for one in windows)


def measured_share(measured: np.ndarray, inner: tuple[slice, slice], halo: int) -> np.ndarray:
    """Return the share of each pixel's receptive field that was measured.

    Parameters
    ----------
    measured : array (y, x), bool
        Of the window that was read.
    inner : tuple of slice
        Rows and columns to report, within that window.
    halo : int
        The receptive field is a square of 2 halo + 1 pixels.

    Returns
    -------
    array (y, x), float32
        0 to 1. What lies beyond the window counts as not measured: the window of a block
        ends less than a halo away only at the image's border. Exact, as it counts integers,
        so that it does not depend on chunks.

    Examples
    --------
    >>> measured_share(np.ones((3, 3), bool), (slice(0, 3), slice(1, 3)), 1)
    array([[0.6666667 , 0.44444445],
           [1.        , 0.6666667 ],
           [0.6666667 , 0.44444445]], dtype=float32)
    """
    total = np.zeros((measured.shape[0] + 1, measured.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(measured, axis=0, dtype=np.int64), axis=1, out=total[1:, 1:])
    above, below = _reach(inner[0], halo, measured.shape[0])
    left, right = _reach(inner[1], halo, measured.shape[1])
    rows = total[below] - total[above]
    count = rows[:, right] - rows[:, left]
    return (count / (2 * halo + 1) ** 2).astype(np.float32)


def _reach(part, halo, size):
    pixels = np.arange(part.start, part.stop)
    return np.maximum(pixels - halo, 0), np.minimum(pixels + halo + 1, size)
