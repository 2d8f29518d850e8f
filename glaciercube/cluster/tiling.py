"""The lattice of blocks, as integers: which pixels glaciers need, and the tiles that hold them."""

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube.grid.lattice import POLAR_NORTH, POLAR_SOUTH
from glaciercube.windows import Window

POLES = {POLAR_NORTH: "north", POLAR_SOUTH: "south"}
"""How the names of tiles on polar planes begin."""


def windows_of(bounds: np.ndarray, resolution: float, reach: float) -> np.ndarray:
    """Return the pixels that bounds touch.

    Parameters
    ----------
    bounds : array (place, 4)
        West, south, east, north, in units of the plane.
    resolution : float
        Pixel size in the same units.
    reach : float
        Added on all sides.

    Returns
    -------
    array (place, 4), int64
        First row, last + 1, first column, last + 1; counted from coordinate (0, 0), rows
        downwards.

    Examples
    --------
    >>> windows_of(np.array([[105.0, -20.0, 120.0, 31.0]]), 10, 0).tolist()
    [[-4, 2, 10, 12]]
    """
    west, south, east, north = bounds.T
    low = np.floor(np.stack([-(north + reach), west - reach]) / resolution)
    high = np.ceil(np.stack([-(south - reach), east + reach]) / resolution)
    return np.stack([low[0], high[0], low[1], high[1]], axis=1).astype(np.int64)


def spans_of(windows: np.ndarray, block: int, halo: int = 0) -> np.ndarray:
    """Return the blocks that windows touch, with a halo around them.

    Parameters
    ----------
    windows : array (place, 4), int
        See `windows_of`.
    block : int
        Rows and columns of a block.
    halo : int
        Pixels.

    Returns
    -------
    array (place, 4), int64
        First row of blocks, last + 1, first column, last + 1.

    Examples
    --------
    >>> spans_of(np.array([[-4, 20, 10, 12]]), 10), spans_of(np.array([[-4, 20, 10, 12]]), 10, 1)
    (array([[-1,  2,  1,  2]]), array([[-1,  3,  0,  2]]))
    """
    low = np.floor_divide(windows[:, [0, 2]] - halo, block)
    high = -np.floor_divide(-(windows[:, [1, 3]] + halo), block)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)


def joined(windows: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the smallest window (or span) around those of each label.

    Parameters
    ----------
    windows : array (place, 4), int
    labels : array (place,), int
        0 to `count` - 1, each at least once.
    count : int

    Examples
    --------
    >>> joined(np.array([[0, 2, 0, 2], [1, 3, -5, 1]]), np.array([0, 0]), 1)
    array([[ 0,  3, -5,  2]])
    """
    out = np.empty((count, 4), np.int64)
    for column, extreme in enumerate((np.minimum, np.maximum, np.minimum, np.maximum)):
        order = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[order], np.arange(count))
        out[:, column] = extreme.reduceat(windows[order, column], starts)
    return out


def geobox_of(crs: str, span: np.ndarray, block: int, resolution: float) -> GeoBox:
    """Return the grid of a span of blocks.

    Parameters
    ----------
    crs : str
    span : array (4,), int
        See `spans_of`.
    block : int
    resolution : float

    Examples
    --------
    >>> geobox_of("EPSG:32632", np.array([-2, 0, 3, 4]), 16, 10.0)
    GeoBox((32, 16), Affine(10.0, 0.0, 480.0,
           0.0, -10.0, 320.0), CRS('EPSG:32632'))
    """
    top, bottom, left, right = (int(edge) for edge in span)
    size = block * resolution
    affine = Affine(resolution, 0, left * size, 0, -resolution, -top * size)
    return GeoBox(((bottom - top) * block, (right - left) * block), affine, crs)


def core_of(window: np.ndarray, span: np.ndarray, block: int) -> Window:
    """Return a window in pixels of the grid of a span.

    Examples
    --------
    >>> core_of(np.array([-30, -4, 50, 60]), np.array([-2, 0, 3, 4]), 16)
    Window(y0=2, y1=28, x0=2, x1=12)
    """
    y0, y1, x0, x1 = (int(edge) for edge in window)
    top, left = int(span[0]) * block, int(span[2]) * block
    return Window(y0 - top, y1 - top, x0 - left, x1 - left)


def names_of(crs: str, spans: np.ndarray) -> list[str]:
    """Return the names of the tiles of a plane, from the places of their first blocks.

    Parameters
    ----------
    crs : str
        UTM or polar stereographic.
    spans : array (tile, 4), int
        See `spans_of`.

    Returns
    -------
    list of str
        Plane, column of the first block east (e) or west (w) of coordinate 0, row of its upper
        edge north (n) or south (s) of it. Tiles of the same first block are numbered.

    Examples
    --------
    >>> names_of("EPSG:32632", np.array([[-512, -510, 41, 43], [-512, -511, 41, 42]]))
    ['utm32n-e0041-n0512', 'utm32n-e0041-n0512-2']
    """
    code = crs.removeprefix("EPSG:")
    plane = POLES.get(crs) or f"utm{code[3:]}{'n' if code[2] == '6' else 's'}"
    seen: dict[str, int] = {}
    out = []
    for top, _, left, _ in spans.tolist():
        east, north = _side(left, "e", "w"), _side(-top, "n", "s")
        name = f"{plane}-{east}-{north}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return out


def _side(number, above, below):
    return f"{above if number >= 0 else below}{abs(number):04d}"
