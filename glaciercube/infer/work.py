"""What every block of one prediction shares, and where each block lies. No Dask, no torch."""

from dataclasses import dataclass

import numpy as np

from glaciercube.model.reference import ModelRef
from glaciercube.store.reading import Source
from glaciercube.windows import Window, expand

PROBABILITY = "probability/"
"""Prefix of the planes that hold the probability of one facies each."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every block shares: one small object in the graph, whatever its number of blocks."""

    refs: tuple[ModelRef, ...]
    bands: tuple[str, ...]
    """Names of the bands that reach a block, in order."""

    planes: tuple[str, ...]
    """What a block gives, in order: names of layers, and "probability/<facies>"."""

    halo: int
    stride: int
    chunks: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """Of the result along time, y and x."""

    times: tuple[str, ...]
    """Dates for messages."""

    positions: tuple[int, ...]
    """Where `bands` are among those of the cube."""

    reflectance: Source | None = None
    """What the blocks read themselves; direct strategy only."""

    valid: Source | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole image."""
        return sum(self.chunks[1]), sum(self.chunks[2])

    def place(self, block: tuple[int, ...]) -> tuple[range, Window, Window]:
        """Return the dates of a block, what it reports and what it reads.

        Parameters
        ----------
        block : tuple of int
            Its number along time, plane, y and x.
        """
        (start, stop), (y0, y1), (x0, x1) = (
            (sum(sizes[:number]), sum(sizes[: number + 1]))
            for sizes, number in zip(self.chunks, (block[0], *block[2:]), strict=True)
        )
        inner = Window(y0, y1, x0, x1)
        return range(start, stop), inner, expand(inner, self.halo, self.shape, self.stride)


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
