"""Tiles and halos as integers: which pixels a block reads, and which of them it reports."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glaciercube.errors import GridError

NOISE = 1e-3
"""A pixel edge this close below the middle between two lattice lines counts as in the middle
(pixels): grids that lie half a pixel off are common, and floats must not tear them apart."""

STRIP = 1 << 15
"""Pixels worked on at a time, so that what is between stays in the processor's cache."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: rows y0 to y1, columns x0 to x1, the ends not included."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns.

        >>> Window(2, 5, 0, 4).shape
        (3, 4)
        """
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of the whole image."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def inside(self, outer: "Window") -> tuple[slice, slice]:
        """Return this window's slices within an array that holds an outer window.

        >>> Window(4, 8, 0, 4).inside(Window(2, 10, 0, 6))
        (slice(2, 6, None), slice(0, 4, None))
        """
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )

    def cut(self, other: "Window") -> "Window":
        """Return the part that lies within another window; without pixels if there is none.

        >>> Window(-4, 8, 0, 4).cut(Window(0, 6, 2, 9))
        Window(y0=0, y1=6, x0=2, x1=4)
        >>> Window(0, 2, 0, 2).cut(Window(5, 9, 0, 2)).shape
        (0, 2)
        """
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Window(y0, max(y0, min(self.y1, other.y1)), x0, max(x0, min(self.x1, other.x1)))

    def holds(self, other: "Window") -> bool:
        """Say whether another window lies within this one.

        >>> Window(0, 8, 0, 8).holds(Window(2, 8, 0, 3))
        True
        """
        rows = self.y0 <= other.y0 and other.y1 <= self.y1
        return rows and self.x0 <= other.x0 and other.x1 <= self.x1


def edges(sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return start and stop of each chunk along one axis.

    Parameters
    ----------
    sizes : tuple of int
        Chunk sizes in order, as Dask states them.

    Examples
    --------
    >>> edges((4, 4, 2))
    ((0, 4), (4, 8), (8, 10))
    """
    stops = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return tuple((stop - size, stop) for size, stop in zip(sizes, stops, strict=True))


def expand(window: Window, halo: int, shape: tuple[int, int], stride: int = 1) -> Window:
    """Return the window a block must read: its own and a halo, cut at the image's borders.

    Parameters
    ----------
    window : Window
        What the block reports.
    halo : int
        Pixels needed on each side.
    shape : tuple of int
        Rows and columns of the whole image.
    stride : int
        Total stride of the network: the start lies on a multiple of it, and so does
        the stop unless it is the image's own border (pooling pads there).

    Returns
    -------
    Window
        Never beyond the image: padding at true borders is the network's own, the same
        there as for the whole image.

    Examples
    --------
    >>> expand(Window(0, 8, 8, 16), 3, (100, 20))
    Window(y0=0, y1=11, x0=5, x1=19)
    >>> expand(Window(8, 16, 8, 16), 3, (100, 20), stride=4)
    Window(y0=4, y1=20, x0=4, x1=20)
    """
    y0, y1 = _stretch(window.y0, window.y1, halo, shape[0], stride)
    x0, x1 = _stretch(window.x0, window.x1, halo, shape[1], stride)
    return Window(y0, y1, x0, x1)


def _stretch(start, stop, halo, size, stride):
    first = max(0, start - halo) // stride * stride
    last = min(size, -(-(stop + halo) // stride) * stride)
    return first, last


def hull(windows: Sequence[Window]) -> Window:
    """Return the smallest window that holds all of some windows.

    Examples
    --------
    >>> hull([Window(0, 4, 8, 12), Window(2, 6, 0, 4)])
    Window(y0=0, y1=6, x0=0, x1=12)
    """
    return Window(
        min(window.y0 for window in windows),
        max(window.y1 for window in windows),
        min(window.x0 for window in windows),
        max(window.x1 for window in windows),
    )


def lattice_offset(affine: Sequence[float]) -> tuple[int, int]:
    """Return the row and column of a grid's first pixel, counted from coordinate (0, 0).

    Parameters
    ----------
    affine : sequence of float
        The six numbers (a, b, c, d, e, f) of x = a column + b row + c, y = d column + e row + f
        in the units of the CRS, or more, of which the first six count (an `Affine`).

    Returns
    -------
    tuple of int
        Row and column, in pixels. Rows count along the grid's own y axis: where it goes down
        (e < 0) the rows north of coordinate 0 are negative.

    Raises
    ------
    GridError
        If the grid is rotated, or a number is not finite or a pixel has no size.

    Notes
    -----
    A grid whose pixels do not lie on multiples of their size is taken as lying on the nearest
    ones; half a pixel off (Landsat) it is taken as the later ones. Two cubes cut of one grid
    lie off by the same part of a pixel, so their numbers differ by the whole pixels between
    their corners, whatever that part.

    Examples
    --------
    >>> lattice_offset((10, 0, 600_000, 0, -10, 5_200_000))
    (-520000, 60000)
    >>> lattice_offset((30, 0, 300_015, 0, -30, -1_499_985))  # half a pixel off
    (50000, 10001)
    """
    a, b, c, d, e, f = (float(number) for number in tuple(affine)[:6])
    if b or d:
        raise GridError(f"a lattice of windows needs a grid that is not rotated, found {affine}")
    if not all(math.isfinite(number) for number in (a, c, e, f)) or not a or not e:
        raise GridError(f"a lattice of windows needs pixels of finite size, found {affine}")
    return _nearest(f / e), _nearest(c / a)


def windows_on(
    block: Window, size: int, step: int, offset: tuple[int, int] = (0, 0)
) -> tuple[Window, ...]:
    """Return all windows of the global lattice that touch a block, in the lattice's order.

    Parameters
    ----------
    block : Window
        In pixels of the cube.
    size : int
        Rows and columns of a window.
    step : int
        Rows and columns from one window to the next, at most `size`.
    offset : tuple of int
        Row and column of the cube's first pixel, counted from the lattice's anchor; see
        `lattice_offset`.

    Returns
    -------
    tuple of Window
        In pixels of the cube, row by row; they may reach beyond the cube. Together they hold
        the block, and reach at most `size - 1` pixels beyond it.

    Raises
    ------
    GridError
        If the windows would leave gaps.

    Notes
    -----
    Windows start on multiples of `step` from the anchor. Which windows hold a pixel, and
    their order, depends on the pixel's place on the ground alone: not on the block, and not
    on the cube's corner.

    Examples
    --------
    >>> windows_on(Window(0, 4, 0, 8), 4, 4)
    (Window(y0=0, y1=4, x0=0, x1=4), Window(y0=0, y1=4, x0=4, x1=8))
    >>> windows_on(Window(0, 4, 0, 2), 4, 4, offset=(1, -5))[0]
    Window(y0=-1, y1=3, x0=-3, x1=1)
    """
    if not 1 <= step <= size:
        raise GridError(
            f"windows need 1 <= step <= size to leave no gap, found step {step} and size {size}"
        )
    rows = _starts(block.y0, block.y1, size, step, offset[0])
    columns = _starts(block.x0, block.x1, size, step, offset[1])
    return tuple(Window(y, y + size, x, x + size) for y in rows for x in columns)


def _starts(start, stop, size, step, offset):
    """Return the starts, in pixels of the cube, of the windows that touch a part of an axis."""
    if stop <= start:
        return range(0)
    first = (start + offset - size) // step + 1
    last = (stop + offset - 1) // step
    return range(first * step - offset, last * step - offset + 1, step)


def _nearest(position):
    return math.floor(position + 0.5 + NOISE)


def strips(shape: Sequence[int], pixels: int = STRIP) -> list[slice]:
    """Return the rows of an image in strips of some pixels, one row at least.

    Examples
    --------
    >>> strips((5, 10), 20)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)]
    """
    rows = max(1, pixels // max(1, shape[1]))
    return [slice(start, start + rows) for start in range(0, shape[0], rows)]
