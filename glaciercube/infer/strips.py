"""Where a halo smaller than the exact one changes classes: strips along the edges of a tile.

A pixel whose whole receptive field lies within what a tile reads gets the same numbers whatever the
halo. With a halo h below the exact one H these are all but those nearer than H - h to an edge that
is not the image's own, and these look no farther inwards than H: so a smaller halo is tried on
windows of about 2 H by the tile's side along each edge, which give what the whole tile would give.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from glaciercube.infer import block, dihedral
from glaciercube.infer.reads import Read
from glaciercube.infer.work import Work, bounding, parts_of
from glaciercube.schema import NODATA
from glaciercube.windows import Window


def classes_of(read: Read, reported: np.ndarray, work: Work, tile: Window) -> np.ndarray:
    """Return the class layers of a tile, computed as a block is.

    Parameters
    ----------
    read : Read
        Holds what the tile reads.
    reported : array (y, x), bool
        Pixels of the tile that are of interest and measured; True somewhere.
    work : Work
        Of exact networks.
    tile : Window

    Returns
    -------
    array (task, y, x), uint8
        Codes; 255 where not reported or obscured.
    """
    out = np.full((_tasks(work), *tile.shape), NODATA, np.uint8)
    for part in parts(reported, work, tile):
        inside = part.inside(tile)
        views = {
            view: view.expand(part, work.halo, work.shape, work.stride) for view in _views(work)
        }
        codes = block.codes_of(read, reported[inside], work, part, views.__getitem__)
        out[(slice(None), *inside)] = codes
    return out


def differing(
    read: Read,
    reported: np.ndarray,
    exact: np.ndarray,
    work: Work,
    tile: Window,
    halo: int,
) -> np.ndarray:
    """Return how many pixels of a tile have other classes with a smaller halo, for each task.

    Parameters
    ----------
    read : Read
        Holds what the tile reads with the exact halo.
    reported : array (y, x), bool
        Pixels of the tile that count; True somewhere.
    exact : array (task, y, x), uint8
        As `classes_of` gives it with the exact halo.
    work : Work
        With the exact halo.
    tile : Window
    halo : int
        The smaller one, a multiple of the stride.

    Returns
    -------
    array (task,), int
    """
    small = replace(work, halo=halo)
    count = np.zeros(len(exact), int)
    for part in parts(reported, small, tile):
        for strip in strips(part, work, small):
            inside = strip.inside(tile)
            if not reported[inside].any():
                continue
            seen = {
                view: view.expand(part, halo, work.shape, work.stride).cut(
                    view.expand(strip, work.halo, work.shape, work.stride)
                )
                for view in _views(work)
            }
            codes = block.codes_of(read, reported[inside], small, strip, seen.__getitem__)
            other = np.array(codes) != exact[(slice(None), *inside)]
            count += (other & reported[inside]).sum(axis=(1, 2))
    return count


def parts(reported: np.ndarray, work: Work, tile: Window) -> Iterator[Window]:
    """Yield the windows that a tile is computed in; see `work.parts_of`."""
    target = bounding(reported, tile)
    inside = target.inside(tile)
    for part in parts_of(reported[inside], target, work.reach):
        if reported[part.inside(tile)].any():
            yield part


def strips(part: Window, work: Work, small: Work) -> list[Window]:
    """Return the windows of a part that its halo may change.

    Parameters
    ----------
    part : Window
        That is computed as one.
    work, small : Work
        With the exact halo and with the smaller one.

    Returns
    -------
    list of Window
        At most four, that do not overlap; the part as a whole where these are more work.

    Examples
    --------
    >>> from glaciercube.infer.work import Work
    >>> some = {"refs": (), "bands": (), "planes": (), "times": (), "positions": ()}
    >>> work = Work(halo=4, stride=1, chunks=((1,), (500,), (500,)), **some)
    >>> strips(Window(0, 100, 100, 200), work, replace(work, halo=1))
    [Window(y0=97, y1=100, x0=100, x1=200), Window(y0=0, y1=97, x0=100, x1=103), \
Window(y0=0, y1=97, x0=197, x1=200)]
    """
    inner = _untouched(part, work, small)
    if not all(inner.shape):
        return [part]
    found = [
        Window(part.y0, inner.y0, part.x0, part.x1),
        Window(inner.y1, part.y1, part.x0, part.x1),
        Window(inner.y0, inner.y1, part.x0, inner.x0),
        Window(inner.y0, inner.y1, inner.x1, part.x1),
    ]
    found = [one for one in found if all(one.shape)]
    whole = small.reads(part)
    pixels = sum(np.prod(whole.cut(work.reads(one)).shape) for one in found)
    return found if pixels < np.prod(whole.shape) else [part]


def _untouched(part, work, small):
    """Return the pixels of a part whose receptive fields lie within what it reads, in all views."""
    reads = [view.expand(part, small.halo, work.shape, work.stride) for view in _views(work)]
    rows, columns = work.shape
    return Window(
        max(part.y0, *(one.y0 + work.halo if one.y0 else part.y0 for one in reads)),
        min(part.y1, *(one.y1 - work.halo if one.y1 < rows else part.y1 for one in reads)),
        max(part.x0, *(one.x0 + work.halo if one.x0 else part.x0 for one in reads)),
        min(part.x1, *(one.x1 - work.halo if one.x1 < columns else part.x1 for one in reads)),
    ).cut(part)


def _views(work):
    return dihedral.VIEWS[: work.views]


def _tasks(work):
    return len({ref.card.task for ref in work.refs})
