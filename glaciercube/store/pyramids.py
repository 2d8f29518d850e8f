"""Pixels reduced to coarser cells, always from the pixels themselves. NumPy in, NumPy out.

A cell of factor f is a square of f x f pixels whose first one is a multiple of f from the
array's corner; the cells at the far ends may be cut off. Each factor is a multiple of the one
before, so that counts and sums are passed on from level to level: these add up exactly, which
medians, modes and rounded means do not.
"""

from collections.abc import Iterator, Sequence

import numpy as np

FEW = 32
"""Up to so many different codes are counted one by one, more are sorted."""

CANCELLED = 1e-6
"""Length of a mean unit vector below which it has no direction (1)."""


def modes(
    codes: np.ndarray, factors: Sequence[int], nodata: float | None = None
) -> list[np.ndarray]:
    """Return the most frequent code of each cell, at each factor.

    Parameters
    ----------
    codes : array (..., y, x), bool or integer
    factors : sequence of int
        Pixels along one side of a cell, each a multiple of the one before.
    nodata : int, optional
        Code of pixels that were not observed.

    Returns
    -------
    list of array (..., y, x)
        In the type of the codes.

    Notes
    -----
    Two votes are held. The first: are most of the cell's pixels `nodata`? Then the cell is.
    Else the second, among the other pixels: which code is the most frequent? A tie goes to the
    code of the pixel in the middle of the cell (the lower right one of the four in the middle
    where the side is even), which favours no code, so that areas are kept; if that pixel has
    none of the tied codes, to the least of them.

    Examples
    --------
    >>> one = np.array([[1, 1, 2, 2], [1, 2, 3, 2]], np.uint8)
    >>> modes(one, (2,))[0]
    array([[1, 2]], dtype=uint8)
    >>> modes(np.array([[0, 0, 255], [1, 255, 255], [1, 1, 1]], np.uint8), (3,), nodata=255)[0]
    array([[1]], dtype=uint8)
    """
    if codes.dtype == bool:
        return [level.view(bool) for level in modes(codes.view(np.uint8), factors)]
    present = _present(codes)
    if present.size == 1:
        return [np.full(cell_shape(codes.shape, factor), present[0]) for factor in factors]
    kinds = [code for code in present.tolist() if code != nodata]
    hidden = None if nodata is None or nodata not in present else codes == nodata
    if len(kinds) > FEW:
        winners: Iterator[np.ndarray] = (_modes_by_sorting(codes, f, nodata) for f in factors)
    else:
        winners = _modes_by_counting(codes, factors, kinds)
    if hidden is None or nodata is None:
        return list(winners)
    return [
        np.where(lost, codes.dtype.type(nodata), winner)
        for lost, winner in zip(_majority(hidden, factors), winners, strict=True)
    ]


def means(
    values: np.ndarray, factors: Sequence[int], fill: float | None = None
) -> list[np.ndarray]:
    """Return the mean of each cell's pixels that hold a value, at each factor.

    Parameters
    ----------
    values : array (..., y, x), integer or float
        Values, or codes that are values but for a scale and an offset.
    factors : sequence of int
        Pixels along one side of a cell, each a multiple of the one before.
    fill : int, optional
        Code of a pixel without a value; None is NaN.

    Returns
    -------
    list of array (..., y, x)
        In the type of the values, codes rounded to the nearest (halves to the even one);
        `fill` or NaN where no pixel of a cell holds a value.

    Examples
    --------
    >>> means(np.array([[10, 20, 255], [30, 255, 255]], np.uint8), (2,), fill=255)[0]
    array([[ 20, 255]], dtype=uint8)
    """
    held = ~np.isnan(values) if fill is None else values != fill
    found = []
    for total, count in _totals(np.where(held, values, values.dtype.type(0)), held, factors):
        mean = _quotient(total, count)
        if fill is not None:
            mean = np.where(count > 0, np.rint(mean), fill)
        found.append(mean.astype(values.dtype))
    return found


def directions(degrees: np.ndarray, factors: Sequence[int]) -> list[np.ndarray]:
    """Return the mean direction of each cell's pixels that have one, at each factor.

    Parameters
    ----------
    degrees : array (..., y, x), float
        Directions (degree); NaN where there is none.
    factors : sequence of int
        Pixels along one side of a cell, each a multiple of the one before.

    Returns
    -------
    list of array (..., y, x)
        0 to 360 (degree); NaN where no pixel has a direction, or they cancel.

    Notes
    -----
    The direction of the sum of unit vectors (Mardia and Jupp 2000, section 2.2): the mean of
    350 and 10 degrees is 0, not 180.

    Examples
    --------
    >>> directions(np.array([[350.0, 10.0]]), (2,))[0].round(6) % 360
    array([[0.]])
    """
    held = ~np.isnan(degrees)
    angle = np.radians(np.where(held, degrees, 0), dtype=np.float64)
    east = _totals(np.where(held, np.sin(angle), 0), held, factors)
    north = _totals(np.where(held, np.cos(angle), 0), held, factors)
    found = []
    for (x, count), (y, _) in zip(east, north, strict=True):
        length = _quotient(np.hypot(x, y), count)
        mean = np.degrees(np.arctan2(x, y)) % 360
        mean = np.where(length > CANCELLED, mean, np.nan)
        found.append(mean.astype(degrees.dtype))
    return found


def cell_shape(shape: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Return the shape of an array (..., y, x) in cells.

    Examples
    --------
    >>> cell_shape((3, 5, 8), 4)
    (3, 2, 2)
    """
    return (*shape[:-2], -(-shape[-2] // factor), -(-shape[-1] // factor))


def cell_sums(values: np.ndarray, factor: int, dtype: np.dtype) -> np.ndarray:
    """Return the sum of each cell's pixels, in a type that must hold it.

    Examples
    --------
    >>> cell_sums(np.ones((3, 4), np.uint8), 2, np.dtype("uint16"))
    array([[4, 4],
           [2, 2]], dtype=uint16)
    """
    return _sums_along(_sums_along(values, factor, -2, dtype), factor, -1, dtype)


def _sums_along(values, factor, axis, dtype):
    shape = list(values.shape)
    shape[axis] = -(-shape[axis] // factor)
    totals = np.zeros(shape, dtype)
    for first in range(min(factor, values.shape[axis])):
        part = np.moveaxis(values, axis, 0)[first::factor]
        np.moveaxis(totals, axis, 0)[: len(part)] += part
    return totals


def _totals(values, held, factors):
    """Yield the sum of the values and the number of those held, at each factor."""
    kind, most = values.dtype, factors[-1] ** 2
    if kind.kind == "f":
        sums = np.dtype(np.float64)
    else:
        sums = np.dtype(np.int64 if kind.kind == "i" else _type_for(int(np.iinfo(kind).max) * most))
    before, total, count = 1, values, held
    for factor in factors:
        total = cell_sums(total, factor // before, sums)
        count = cell_sums(count, factor // before, _type_for(factor**2))
        before = factor
        yield total, count


def _type_for(most):
    """Return the least unsigned type that holds a number."""
    return np.dtype(np.min_scalar_type(most))


def _quotient(total, count):
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _present(codes):
    """Return the different codes, sorted."""
    if codes.dtype == np.uint8:
        return np.flatnonzero(np.bincount(codes.ravel(), minlength=256)).astype(np.uint8)
    return np.unique(codes)


def _middle(pixels, factor):
    """Return the pixel in the middle of each cell."""
    rows, columns = (_middle_index(length, factor) for length in pixels.shape[-2:])
    return pixels[..., rows[:, np.newaxis], columns]


def _middle_index(length, factor):
    starts = np.arange(0, length, factor)
    return starts + np.minimum(factor, length - starts) // 2


def _majority(chosen, factors):
    """Return whether most pixels of each cell are chosen; the one in the middle breaks a tie."""
    pixels = _totals(
        np.ones(chosen.shape[-2:], np.uint8), np.ones(chosen.shape[-2:], bool), factors
    )
    counts = _totals(np.zeros(chosen.shape, np.uint8), chosen, factors)
    return [
        2 * count.astype(np.int64) + _middle(chosen, factor) > whole.astype(np.int64)
        for factor, (_, count), (_, whole) in zip(factors, counts, pixels, strict=True)
    ]


def _modes_by_counting(codes, factors, kinds):
    """Return the mode of each cell: one count of the cells' pixels per code."""
    middles = [_middle(codes, factor) for factor in factors]
    winners = [np.full(middle.shape, kinds[0], codes.dtype) for middle in middles]
    scores = [np.full(middle.shape, -1, np.int32) for middle in middles]
    for code in kinds:
        before, count = 1, codes == code
        for number, factor in enumerate(factors):
            count = cell_sums(count, factor // before, _type_for(factor**2))
            before = factor
            score = 2 * count.astype(np.int32) + (middles[number] == code)
            better = score > scores[number]
            winners[number][better] = code
            scores[number][better] = score[better]
    return iter(winners)


def _modes_by_sorting(codes, factor, nodata):
    """Return the mode of each cell: all pairs of cell and code, counted."""
    shape = cell_shape(codes.shape, factor)
    rows = np.arange(codes.shape[-2])[:, np.newaxis] // factor
    columns = np.arange(codes.shape[-1]) // factor
    layer = np.arange(int(np.prod(shape[:-2], dtype=np.int64))).reshape(*shape[:-2], 1, 1)
    cells = (layer * shape[-2] + rows) * shape[-1] + columns
    kinds, kind = np.unique(codes, return_inverse=True)
    pairs, counts = np.unique(cells.ravel() * kinds.size + kind.ravel(), return_counts=True)
    cell, code = pairs // kinds.size, kinds[pairs % kinds.size]
    score = 2 * counts + (code == _middle(codes, factor).ravel()[cell])
    if nodata is not None:
        score[code == nodata] = -1
    order = np.lexsort((code, -score, cell))
    first = order[np.r_[True, np.diff(cell[order]) > 0]]
    return code[first].reshape(shape)
