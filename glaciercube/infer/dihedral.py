"""The eight views of an image, turned and flipped, and the way back. NumPy only.

Exactness. A network with a stride looks at cells that are counted from the image's first row
and column. Flipped, it counts from the last ones. So each view has a lattice of its own, and a
block that is to give what the whole image gives in a view must start, as that view sees it, on
that view's lattice: `View.expand` is `windows.expand` in the coordinates of the view. Where the
sides of the image are multiples of the stride all views read the same window; where they are
not, a window grows by less than one stride, towards the inside of the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from glaciercube.windows import Window, expand, hull


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to look at an image: flipped first, then rows and columns exchanged."""

    name: str
    flip_y: bool = False
    flip_x: bool = False
    transpose: bool = False

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Return an array (..., y, x) as this view sees it; nothing is copied.

        >>> quarter = next(view for view in VIEWS if view.name == "turned 90")
        >>> quarter.apply(np.array([[1, 2, 3], [4, 5, 6]]))
        array([[3, 6],
               [2, 5],
               [1, 4]])
        """
        flipped = self._flip(array)
        return flipped.swapaxes(-1, -2) if self.transpose else flipped

    def invert(self, array: np.ndarray) -> np.ndarray:
        """Return an array (..., y, x) of this view as the image has it; nothing is copied."""
        return self._flip(array.swapaxes(-1, -2) if self.transpose else array)

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns that this view has of an image of a shape."""
        return (shape[1], shape[0]) if self.transpose else shape

    def window(self, window: Window, shape: tuple[int, int]) -> Window:
        """Return where a window of an image of a shape lies in this view.

        >>> flipped = next(view for view in VIEWS if view.name == "upside down")
        >>> flipped.window(Window(0, 2, 0, 4), (10, 8))
        Window(y0=8, y1=10, x0=0, x1=4)
        """
        y0, y1, x0, x1 = self._mirror(window, shape)
        return Window(x0, x1, y0, y1) if self.transpose else Window(y0, y1, x0, x1)

    def back(self, window: Window, shape: tuple[int, int]) -> Window:
        """Return where a window of this view lies in the image, whose shape is given."""
        if self.transpose:
            window = Window(window.x0, window.x1, window.y0, window.y1)
        return Window(*self._mirror(window, shape))

    def expand(self, window: Window, halo: int, shape: tuple[int, int], stride: int = 1) -> Window:
        """Return the window of the image that a block must read for this view.

        Parameters
        ----------
        window : Window
            What the block reports.
        halo : int
            Pixels needed on each side.
        shape : tuple of int
            Rows and columns of the whole image.
        stride : int
            Total stride of the network.

        Returns
        -------
        Window
            In pixels of the image. As the view sees it, it starts on a multiple of the stride,
            and stops on one or at the image's border, as the whole image in this view does.

        Examples
        --------
        >>> VIEWS[0].expand(Window(8, 16, 0, 8), 4, (30, 30), stride=8)
        Window(y0=0, y1=24, x0=0, x1=16)
        >>> flipped = next(view for view in VIEWS if view.name == "upside down")
        >>> flipped.expand(Window(8, 16, 0, 8), 4, (30, 30), stride=8)
        Window(y0=0, y1=22, x0=0, x1=16)
        """
        seen = expand(self.window(window, shape), halo, self.shape(shape), stride)
        return self.back(seen, shape)

    def _flip(self, array):
        return array[..., :: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def _mirror(self, window, shape):
        y0, y1, x0, x1 = window.y0, window.y1, window.x0, window.x1
        if self.flip_y:
            y0, y1 = shape[0] - y1, shape[0] - y0
        if self.flip_x:
            x0, x1 = shape[1] - x1, shape[1] - x0
        return y0, y1, x0, x1


VIEWS = (
    View(name="as it is"),
    View(name="turned 90", flip_x=True, transpose=True),
    View(name="turned 180", flip_y=True, flip_x=True),
    View(name="turned 270", flip_y=True, transpose=True),
    View(name="upside down", flip_y=True),
    View(name="left to right", flip_x=True),
    View(name="transposed", transpose=True),
    View(name="transposed across", flip_y=True, flip_x=True, transpose=True),
)
"""The dihedral group D4: quarter turns against the clock, and their mirror images."""


def reads(
    window: Window,
    halo: int,
    shape: tuple[int, int],
    stride: int = 1,
    views: Sequence[View] = VIEWS,
) -> Window:
    """Return the window that a block must read for several views.

    Parameters
    ----------
    window : Window
        What the block reports.
    halo : int
        Pixels needed on each side.
    shape : tuple of int
        Rows and columns of the whole image.
    stride : int
        Total stride of the network.
    views : sequence of View

    Returns
    -------
    Window
        Equal to `windows.expand` where the sides of the image are multiples of the stride,
        else less than one stride more on a side.

    Examples
    --------
    >>> reads(Window(8, 16, 0, 8), 4, (32, 32), stride=8)
    Window(y0=0, y1=24, x0=0, x1=16)
    """
    return hull([view.expand(window, halo, shape, stride) for view in views])


def through(
    view: View,
    values: np.ndarray,
    scores: Callable[[np.ndarray, tuple[slice, slice]], np.ndarray],
    *,
    outer: Window,
    seen: Window,
    inner: Window,
) -> np.ndarray:
    """Return what a network gives for a block in one view, as the image has it.

    Parameters
    ----------
    view : View
    values : array (channel, y, x), float32
        Of the window `outer`, normalised and filled.
    scores : callable
        Takes images (1, channel, y, x), C-contiguous, and the slices of rows and columns to
        report; returns (1, category, rows, columns).
    outer : Window
        What was read.
    seen : Window
        Of it, what the network is to see: `view.expand` of the block.
    inner : Window
        What the block reports.

    Returns
    -------
    array (category, y, x)
        Of the window `inner`; a view of what `scores` gave, so not contiguous.

    Notes
    -----
    A network that knows directions (sensors' noise, sun from the south) sees turned images as
    unlike any that it was trained on, unless it was trained on turned ones.
    """
    image = view.apply(values[(slice(None), *seen.inside(outer))])
    rows, columns = inner.inside(seen)
    local = Window(rows.start, rows.stop, columns.start, columns.stop)
    asked = view.window(local, seen.shape).slices
    return view.invert(scores(np.ascontiguousarray(image)[np.newaxis], asked)[0])
