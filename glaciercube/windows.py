"""Tiles and halos as integers: which pixels a block reads, and which of them it reports."""

from dataclasses import dataclass


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
