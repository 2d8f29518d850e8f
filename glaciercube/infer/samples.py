"""Which parts of a cube stand for all of it: a handful of tiles, spread over dates and ground."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from glaciercube.infer.work import Work
from glaciercube.windows import Window, edges

TILES = 6
"""That stand for the cube, at least, as far as it has them."""

LOOKS = 64
"""Tiles whose `valid` is looked at, at most."""

FULL = 0.5
"""Share of what is of interest in a tile that must be measured for it to be taken at once."""

PLASTIC = 1.32471795724474602596
"""Root of x^3 = x + 1: steps of its inverse and of the square of that spread over a plane evenly,
however many they are (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences")."""


@dataclass(frozen=True)
class Sample:
    """A tile of one date."""

    date: int
    window: Window
    pixels: int
    """Of interest and measured, as far as `valid` tells."""


def samples_of(
    work: Work, valid: Callable[[int, Window], np.ndarray], margin: int, least: int
) -> list[Sample]:
    """Return tiles of a cube that were measured well.

    Parameters
    ----------
    work : Work
        Its chunks, stride and region.
    valid : callable
        Gives (y, x), bool, of a date and a window.
    margin : int
        Pixels of the image that must lie around each tile.
    least : int
        Pixels wanted in all of them.

    Returns
    -------
    list of Sample
        The same for the same cube. Those with half of their pixels measured first; fewer than
        wanted where `LOOKS` looks find no more.
    """
    found: list[Sample] = []
    full: list[Sample] = []
    for date, window in islice(_places(work, margin), LOOKS):
        wanted = wanted_of(work, window)
        pixels = int((valid(date, window) & wanted).sum()) if wanted.any() else 0
        if pixels:
            found.append(Sample(date, window, pixels))
        if pixels and pixels >= FULL * wanted.sum():
            full.append(found[-1])
            if _enough(full, least):
                return full
    best: list[Sample] = []
    for one in sorted(found, key=lambda one: -one.pixels):  # of equals those seen first
        if not _enough(best, least):
            best.append(one)
    return best


def wanted_of(work: Work, window: Window) -> np.ndarray:
    """Return which pixels (y, x) of a window are of interest."""
    if work.region is None:
        return np.ones(window.shape, bool)
    return work.region.inside(window)


def _enough(samples, least):
    return len(samples) >= TILES and sum(one.pixels for one in samples) >= least


def spread(work: Work) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield dates and blocks, by row and column, spread over a cube however many are taken.

    Parameters
    ----------
    work : Work
        Of whose blocks those are given that touch its region; some more than once.
    """
    blocks, dates = _blocks(work), len(work.times)
    if not blocks or not dates:
        return
    for number in range(4 * LOOKS):
        date = int((0.5 + number / PLASTIC) % 1 * dates)
        yield date, blocks[int((0.5 + number / PLASTIC**2) % 1 * len(blocks))]


def _places(work: Work, margin: int) -> Iterator[tuple[int, Window]]:
    """Yield dates and tiles, spread however many are taken; those of a date share half at most."""
    seen: defaultdict[int, list[Window]] = defaultdict(list)
    rows, columns = edges(work.chunks[1]), edges(work.chunks[2])
    for date, (row, column) in spread(work):
        window = _within((rows[row][0], columns[column][0]), work, margin)
        if window is not None and not any(_share_much(window, one) for one in seen[date]):
            seen[date].append(window)
            yield date, window


def _share_much(one, other):
    return 2 * math.prod(one.cut(other).shape) > math.prod(one.shape)


def _blocks(work):
    """Return row and column of the blocks of one date, those that touch the region."""
    rows, columns = edges(work.chunks[1]), edges(work.chunks[2])
    return [
        (row, column)
        for row, y in enumerate(rows)
        for column, x in enumerate(columns)
        if work.region is None or work.region.touches(Window(*y, *x))
    ]


def _within(start, work, margin):
    """Return a tile as large as a block, moved so that the image lies around it on all sides."""
    spans = [
        _span(first, max(sizes), size, margin, work.stride)
        for first, sizes, size in zip(start, work.chunks[1:], work.shape, strict=True)
    ]
    if any(first >= last for first, last in spans):
        return None
    return Window(*spans[0], *spans[1])


def _span(start, length, size, margin, stride):
    """Return where a tile starts and stops along one axis, moved by whole strides.

    >>> _span(0, 64, 300, 24, 8), _span(256, 64, 300, 24, 8), _span(0, 64, 100, 24, 8)
    ((24, 88), (208, 272), (24, 76))
    """
    length = min(length, max(0, size - 2 * margin))
    low, high = margin, size - margin - length
    if start < low:
        start += -(-(low - start) // stride) * stride
    elif start > high:
        start -= -(-(start - high) // stride) * stride
        start += stride if start < low else 0
    return start, min(start + length, size - margin)
