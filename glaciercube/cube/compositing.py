"""The dates of a block to one picture: median, medoid, best pixel. NumPy in, NumPy out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from glaciercube.schema import NO_DAY

POINTS = 1000
"""Of each part of a pixel's score; whole numbers, so that equal scores are equal."""

PARTS = 1000
"""Of a point; of equal points the nearer day is better."""

DAY_SPREAD = 30.0
"""Days after which a date's score falls to 61 %. Own choice; a Gauss curve as in Griffiths et al.
(2013) and White et al. (2014), not checked against the papers."""

CLOUD_REACH_M = 1500.0
"""Distance (m) beyond which a cloud does no harm: 50 pixels of Landsat (Griffiths et al. 2013,
White et al. 2014; not checked against the papers)."""

CLOUD_SLOPE = 0.2 / 30.0
"""Steepness (1/m) of the cloud score: 0.2 per pixel of Landsat (as above, not checked)."""

NOWHERE = -1
"""Choice of a pixel that no date shows."""

PIXELS = 16_384
"""Pixels compared at once, so that a date's values stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """All dates of a period for one piece of the grid, oldest first."""

    values: np.ndarray
    """(time, band, y, x), float32."""

    clear: np.ndarray
    """(time, y, x), bool."""

    flags: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What is picked with the values, each (time, y, x)."""

    failed: np.ndarray | None = None
    """(time, y, x), bool: where a source could not be read."""

    cloud_score: np.ndarray | None = None
    """(time, y, x), uint16."""


def compose(
    stack: Stack, how: str, days: Sequence[int], scores: Sequence[int]
) -> dict[str, np.ndarray]:
    """Return one picture of all dates.

    Parameters
    ----------
    stack : Stack
    how : "median", "medoid" or "best-pixel"
    days : sequence of int
        Each date in days since 1970-01-01.
    scores : sequence of int
        Of each date, for "best-pixel"; more is better. In parts of a point if the stack has a
        cloud score.

    Returns
    -------
    dict
        `values` (band, y, x) float32, NaN where no date is clear; `acquired` (y, x) int32;
        `observations` (y, x) uint16; `valid`, and `read_failed` if known, (y, x) bool; but for
        the median each flag (y, x).
    """
    seen = observed(stack.values, stack.clear)
    count = seen.sum(axis=0, dtype=np.uint16)
    if how == "median":
        middle = median(stack.values, seen)
        choice = nearest(stack.values, seen, middle)
        out = {"values": middle.astype(np.float32)}
    else:
        choice = medoid(stack.values, seen) if how == "medoid" else _best(stack, seen, scores)
        out = {"values": pick(stack.values, choice)}
        out |= {name: pick(flag, choice) for name, flag in stack.flags.items()}
    table = np.array([NO_DAY, *days], np.int32)
    out |= {"acquired": table[choice + 1], "observations": count, "valid": count > 0}
    if stack.failed is not None:
        out["read_failed"] = stack.failed.any(axis=0) & (count == 0)
    return out


def observed(values: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Return where a date is an observation: clear, and a number in every band.

    Parameters
    ----------
    values : array (time, band, y, x), float32
    clear : array (time, y, x), bool

    Returns
    -------
    array (time, y, x), bool

    Notes
    -----
    A pixel that lacks one band is no observation, so that all bands of a composite rest on
    the same dates.
    """
    out = clear.copy()
    for band in range(values.shape[1]):
        out &= np.isfinite(values[:, band])
    return out


def median(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the median of each band over the dates that show a pixel.

    Parameters
    ----------
    values : array (time, band, y, x), float32
    seen : array (time, y, x), bool

    Returns
    -------
    array (band, y, x), float64
        The mean of the two middle values where their number is even; NaN where none is seen.

    Examples
    --------
    >>> values = np.float32([0.3, 0.1, 9.0, 0.2]).reshape(4, 1, 1, 1)
    >>> seen = np.array([True, True, False, True]).reshape(4, 1, 1)
    >>> median(values, seen).astype(np.float32).item()
    0.20000000298023224
    """
    flat, known = values.reshape(*values.shape[:2], -1), seen.reshape(len(seen), -1)
    out = np.empty(flat.shape[1:], np.float64)
    for start in range(0, flat.shape[2], PIXELS):
        part = slice(start, start + PIXELS)
        out[:, part] = _median(flat[:, :, part], known[:, part])
    return out.reshape(values.shape[1:])


def _median(values, seen):
    """Return the median of some pixels (band, pixel), each one's dates side by side to sort."""
    count = seen.sum(axis=0, dtype=np.intp)
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    pixels = np.arange(count.size)
    out = np.empty(values.shape[1:], np.float64)
    for band, middle in enumerate(out):
        lane = np.where(seen, values[:, band], np.float32(np.inf)).T.copy()
        lane.sort(axis=1)
        middle[:] = lane[pixels, lower]
        middle += lane[pixels, upper]
    out /= 2
    out[:, count == 0] = np.nan
    return out


def nearest(values: np.ndarray, seen: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return which date is nearest to a target in all bands: least sum of squared differences.

    Parameters
    ----------
    values : array (time, band, y, x), float32
    seen : array (time, y, x), bool
    target : array (band, y, x), float64

    Returns
    -------
    array (y, x), int16
        The earliest of equals; -1 where none is seen.
    """
    choice = np.full(seen.shape[1:], NOWHERE, np.int16)
    least = np.full(seen.shape[1:], np.inf)
    for place, date in enumerate(values):
        distance = np.zeros(least.shape)
        for band, wanted in zip(date, target, strict=True):
            # In float64 two observations are equally far from the middle between them.
            difference = band.astype(np.float64) - wanted
            distance += difference * difference
        closer = seen[place] & (distance < least)
        choice[closer] = place
        least[closer] = distance[closer]
    return choice


def medoid(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return which date has the least sum of distances to all others.

    Parameters
    ----------
    values : array (time, band, y, x), float32
    seen : array (time, y, x), bool

    Returns
    -------
    array (y, x), int16
        The earliest of equals; -1 where none is seen.

    Notes
    -----
    The medoid of Flood (2013): Euclidean distances over all bands, not squared. Of two
    observations it is the earlier.

    Examples
    --------
    >>> values = np.float32([0.1, 0.9, 0.2]).reshape(3, 1, 1, 1)
    >>> medoid(values, np.ones((3, 1, 1), bool)).item()
    2
    """
    shape = seen.shape[1:]
    flat, known = values.reshape(*values.shape[:2], -1), seen.reshape(len(seen), -1)
    choice = np.empty(known.shape[1], np.int16)
    for start in range(0, choice.size, PIXELS):
        part = slice(start, start + PIXELS)
        choice[part] = _medoid(flat[:, :, part], known[:, part])
    return choice.reshape(shape)


def _medoid(values, seen):
    values = np.where(seen[:, np.newaxis], values, np.float32(0))
    total = np.zeros(seen.shape, np.float32)
    for first in range(len(values)):
        for second in range(first + 1, len(values)):
            distance = _distance(values[first], values[second])
            distance *= seen[first] & seen[second]
            total[first] += distance
            total[second] += distance
    return _least(total, seen)


def _distance(first, second):
    difference = first - second
    difference *= difference
    squared = difference[0]
    for band in difference[1:]:
        squared += band
    return np.sqrt(squared, out=squared)


def _least(cost, seen):
    choice = np.where(seen, cost, np.float32(np.inf)).argmin(axis=0).astype(np.int16)
    return np.where(seen.any(axis=0), choice, np.int16(NOWHERE))


def best(score: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return which date has the highest score.

    Parameters
    ----------
    score : array (time, y, x), int32, 0 or more
    seen : array (time, y, x), bool

    Returns
    -------
    array (y, x), int16
        The earliest of equals; -1 where none is seen.
    """
    score = np.where(seen, score, np.int32(-1))
    choice = score.argmax(axis=0).astype(np.int16)
    return np.where(seen.any(axis=0), choice, np.int16(NOWHERE))


def _best(stack, seen, scores):
    score = np.asarray(scores, np.int32)[:, np.newaxis, np.newaxis]
    if stack.cloud_score is not None:
        score = score + PARTS * stack.cloud_score.astype(np.int32)
    return best(score, seen)


def pick(values: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Return the values of the chosen date of each pixel.

    Parameters
    ----------
    values : array (time, ..., y, x)
    choice : array (y, x), int16

    Returns
    -------
    array (..., y, x)
        Where no date is chosen NaN, or False or 0.
    """
    place = np.maximum(choice, 0).astype(np.intp)
    index = place.reshape(1, *(1,) * (values.ndim - 3), *choice.shape)
    out = np.take_along_axis(values, index, axis=0)[0]
    out[..., choice == NOWHERE] = np.nan if values.dtype.kind == "f" else 0
    return out


def day_scores(distances: Sequence[float]) -> tuple[int, ...]:
    """Return the score of dates by their distance to the wanted day, in parts of a point.

    Parameters
    ----------
    distances : sequence of float
        In days.

    Returns
    -------
    tuple of int
        Points of a Gauss curve, and what is left of 999 days as the parts.

    Examples
    --------
    >>> day_scores([0, 30, 60, 200, 210])
    (1000999, 607969, 135939, 799, 789)
    """
    away = np.abs(np.asarray(distances, np.float64))
    points = np.round(POINTS * np.exp(-0.5 * (away / DAY_SPREAD) ** 2))
    left = PARTS - 1 - np.minimum(np.round(away), PARTS - 1)
    return tuple((PARTS * points + left).astype(int).tolist())


def cloud_scores(blocked: np.ndarray, steps: tuple[float, float]) -> np.ndarray:
    """Return the score of pixels by their distance to the nearest cloud or shadow.

    Parameters
    ----------
    blocked : array (time, y, x), bool
        True under cloud or shadow.
    steps : (float, float)
        Height and width of a pixel (m).

    Returns
    -------
    array (time, y, x), uint16
        1000 / (1 + exp(-k (d - r / 2))) with the distance d to the nearest blocked pixel, at
        most the reach r = 1500 m, and k = 0.2 / 30 m: 7 at a cloud, 500 at 750 m, 993 from
        1500 m on (the form of Griffiths et al. 2013 and White et al. 2014, not checked against
        the papers).

    Examples
    --------
    >>> cloud_scores(np.array([[[True, False, False, False]]]), (750.0, 750.0)).tolist()
    [[[7, 500, 993, 993]]]
    """
    out = np.empty(blocked.shape, np.uint16)
    for date, under in zip(out, blocked, strict=True):
        date[...] = _points(_metres(under, steps))
    return out


def _metres(under, steps):
    if not under.any():
        return np.float64(CLOUD_REACH_M)
    distance = ndimage.distance_transform_edt(~under, sampling=steps)
    # Whole metres: the last digit of a distance may depend on which of two equally near
    # clouds is found.
    return np.minimum(np.round(distance), CLOUD_REACH_M)


def _points(metres):
    return np.round(POINTS / (1 + np.exp(-CLOUD_SLOPE * (metres - CLOUD_REACH_M / 2))))
