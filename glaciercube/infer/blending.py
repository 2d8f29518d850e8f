"""Windows of a network that cannot be tiled exactly, blended into one block. NumPy only.

The windows lie on a lattice anchored at coordinate (0, 0) of the CRS, and a pixel's windows and
their weights depend on its place in that lattice alone. Each window is computed by every block
that it touches, so that a block needs no neighbour, and each pixel's sum runs in the lattice's
order: its result is the same bit for bit whatever the blocks, their order, and the cube's corner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from glaciercube.errors import GridError, WeightsError
from glaciercube.windows import Window, hull, windows_on

HANN_FLOOR = 1e-3
"""Least Hann weight (of 1 in the middle of a window), so that none vanishes at the edges."""

GAUSSIAN_SIGMA = 1 / 8
"""Standard deviation of Gaussian weights (sides of a window); Isensee et al. 2021."""


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Which windows of an image a network sees, and how their results become one."""

    size: int
    """Rows and columns of a window (pixels): what the network was trained on."""

    step: int
    """From one window to the next (pixels), at most `size`; half of it is usual."""

    shape: tuple[int, int]
    """Rows and columns of the whole image."""

    offset: tuple[int, int] = (0, 0)
    """Row and column of the image's first pixel; see `windows.lattice_offset`."""

    weights: Literal["hann", "gaussian"] = "hann"
    """Falling from the middle of a window to its edges, never to zero."""

    batch: int = 1
    """Windows handed to the network at a time, at most."""

    fill: float | tuple[float, ...] = 0.0
    """What a network sees beyond the image: one number, or one of each channel."""

    def __post_init__(self):
        """Refuse windows with gaps, unknown weights and empty batches."""
        if not 1 <= self.step <= self.size:
            raise GridError(
                "blended windows need 1 <= step <= size to leave no gap, found "
                f"step {self.step} and size {self.size}"
            )
        if self.weights not in ("hann", "gaussian"):
            raise GridError(f"weights must be 'hann' or 'gaussian', found {self.weights!r}")
        if self.batch < 1:
            raise GridError(f"a batch has at least one window, found batch={self.batch}")

    def windows(self, block: Window, reported: np.ndarray | None = None) -> tuple[Window, ...]:
        """Return the windows that a block needs, in the lattice's order.

        Parameters
        ----------
        block : Window
            What is reported, within the image.
        reported : array (y, x), bool, optional
            Pixels of the block whose result counts, all by default: a window without any of
            them is left out.

        Examples
        --------
        >>> blend = Blend(size=4, step=2, shape=(8, 8))
        >>> len(blend.windows(Window(0, 4, 0, 4)))
        9
        >>> blend.windows(Window(0, 2, 0, 2), np.array([[False, False], [False, False]]))
        ()
        """
        found = windows_on(block, self.size, self.step, self.offset)
        if reported is None:
            return found
        return tuple(each for each in found if reported[each.cut(block).inside(block)].any())

    def reads(self, block: Window, reported: np.ndarray | None = None) -> Window:
        """Return the window of the image that must be read for a block.

        Parameters
        ----------
        block : Window
        reported : array (y, x), bool, optional
            As of `windows`.

        Returns
        -------
        Window
            At most `size - 1` pixels more than the block on each side, cut at the image's
            borders; without pixels if no window is needed.

        Examples
        --------
        >>> Blend(size=4, step=2, shape=(8, 7)).reads(Window(0, 4, 4, 7))
        Window(y0=0, y1=6, x0=2, x1=7)
        """
        found = self.windows(block, reported)
        if not found:
            return Window(block.y0, block.y0, block.x0, block.x0)
        return hull(found).cut(Window(0, self.shape[0], 0, self.shape[1]))


def blended(
    values: np.ndarray,
    reported: np.ndarray,
    *,
    outer: Window,
    block: Window,
    blend: Blend,
    predict: Callable[[np.ndarray], np.ndarray],
    categories: int,
) -> np.ndarray:
    """Return the blended probabilities of one block.

    Parameters
    ----------
    values : array (channel, y, x), float32
        Normalised, and filled where not measured, of the window `outer`.
    reported : array (y, x), bool
        Pixels of the block whose result counts: measured, and in the region of interest. A
        window that touches none of them never reaches the network.
    outer : Window
        What was read; it must hold `blend.reads(block, reported)`.
    block : Window
        What to report.
    blend : Blend
    predict : callable
        Takes images (n, channel, size, size), float32, C-contiguous, n at most `blend.batch`,
        and returns probabilities (n, category, size, size), not scores. The images are
        overwritten by the next batch. For a result that does not depend on the blocks it must
        give each image the same bits whatever images are with it, and whatever n; a library
        that chooses its algorithm by n does so to 1e-6, and with `batch=1` exactly.
    categories : int
        Number of categories that `predict` gives.

    Returns
    -------
    array (category, y, x), float32
        Probabilities 0-1, NaN where not reported. A reported pixel has the weighted mean of
        all windows of the lattice that hold it; its weights sum to 1 to 1e-6.

    Raises
    ------
    GridError
        If less was read than the windows need, or a mask has not the block's shape.
    WeightsError
        If the network's result has another size than its input.

    Notes
    -----
    What lies beyond the image is `blend.fill`. Cubes that overlap agree on the pixels whose
    windows lie within both, so on all that are `size - 1` or more from the edge of either.

    Examples
    --------
    >>> blend = Blend(size=4, step=2, shape=(6, 6))
    >>> whole = Window(0, 6, 0, 6)
    >>> halves = lambda images: np.full((len(images), 2, 4, 4), 0.5, np.float32)
    >>> found = blended(
    ...     np.zeros((3, 6, 6), np.float32), np.ones((6, 6), bool), outer=whole, block=whole,
    ...     blend=blend, predict=halves, categories=2,
    ... )
    >>> found.shape, float(abs(found - 0.5).max()) < 1e-6
    ((2, 6, 6), True)
    """
    if reported.shape != block.shape:
        raise GridError(f"a mask of the block {block.shape} is needed, found {reported.shape}")
    windows = blend.windows(block, reported)
    _check_read(values, outer, blend.reads(block, reported))
    weight = _weights(blend.size, blend.step, blend.weights)
    total = np.zeros((categories, *block.shape), np.float32)
    side = (blend.size, blend.size)
    images = np.empty((min(blend.batch, len(windows)), len(values), *side), np.float32)
    scratch = np.empty(blend.size**2, np.float32)
    for first in range(0, len(windows), blend.batch):
        some = windows[first : first + blend.batch]
        for image, window in zip(images, some, strict=False):
            _look(image, values, outer, window, blend.fill)
        found = predict(images[: len(some)])
        if found.shape != (needed := (len(some), categories, *side)):
            raise WeightsError(
                f"the network must give probabilities of shape {needed}, found {found.shape}; "
                "its output must have the size of its input"
            )
        for probability, window in zip(found, some, strict=True):
            _add(total, probability, weight, window, block, scratch)
    if not reported.all():
        np.copyto(total, np.float32(np.nan), where=~reported)
    return total


def profile(size: int, step: int, weights: Literal["hann", "gaussian"] = "hann") -> np.ndarray:
    """Return the weights of a window along one axis.

    Parameters
    ----------
    size, step : int
        Of the windows (pixels).
    weights : {"hann", "gaussian"}
        Hann (Blackman and Tukey 1958) raised by a floor of 0.001, or Gaussian with a standard
        deviation of an eighth of the window (Isensee et al. 2021,
        https://doi.org/10.1038/s41592-020-01008-z).

    Returns
    -------
    array (size,), float64
        Above 0 everywhere. Those of all windows that hold a pixel sum to 1: which ones do, and
        with which weights, repeats every `step` pixels, so that the sum is known beforehand
        and pixels need no count of their own.

    Examples
    --------
    >>> profile(4, 2).round(3)
    array([0.147, 0.853, 0.853, 0.147])
    >>> profile(4, 4)
    array([1., 1., 1., 1.])
    """
    place = (np.arange(size) + 0.5) / size
    if weights == "hann":
        raw = HANN_FLOOR + (1 - HANN_FLOOR) * 0.5 * (1 - np.cos(2 * np.pi * place))
    else:
        raw = np.exp(-0.5 * ((place - 0.5) / GAUSSIAN_SIGMA) ** 2)
    phase = np.arange(size) % step
    return raw / np.bincount(phase, weights=raw)[phase]


@lru_cache(maxsize=8)
def _weights(size, step, weights):
    along = profile(size, step, weights)
    both = np.outer(along, along).astype(np.float32)
    both.flags.writeable = False
    return both


def _check_read(values, outer, needed):
    if values.shape[1:] != outer.shape:
        raise GridError(f"values of the window {outer.shape} are needed, found {values.shape[1:]}")
    if 0 not in needed.shape and not outer.holds(needed):
        raise GridError(f"the windows of the block need {needed}, read was {outer}")


def _look(image, values, outer, window, fill):
    """Write into an image (channel, size, size) what a window shows."""
    part = window.cut(outer)
    if part != window:
        image[:] = np.asarray(fill, np.float32).reshape(-1, 1, 1)
    image[(slice(None), *part.inside(window))] = values[(slice(None), *part.inside(outer))]


def _add(total, probability, weight, window, block, scratch):
    """Add the weighted result of a window to the part of a block that it holds.

    One category at a time, so that the product stays in the processor's cache.
    """
    part = window.cut(block)
    here, there = part.inside(window), part.inside(block)
    share = weight[here]
    product = scratch[: share.size].reshape(share.shape)
    for whole, each in zip(total, probability, strict=True):
        np.multiply(each[here], share, out=product, casting="same_kind")
        whole[there] += product
