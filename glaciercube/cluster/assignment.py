"""Which tile each piece of work belongs to: about equal amounts, near each other, whole pieces."""

from dataclasses import dataclass

import numpy as np

from glaciercube.cluster.tiling import joined

FILL = 0.85
"""Share of a tile's work at which halving aims: cuts between blocks miss it by some, and what is
over the limit is cut once more. Of 0.8 to 1 it left the fewest half-empty tiles."""

SKEW = 0.15
"""How much a cut across the shorter side of a group must be fairer (share of its work) to be
preferred to one across the longer side."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large a tile may become before it is cut, if it holds more than one piece."""

    work: float
    """Useful pixels."""

    side: int
    """Blocks along each side."""


def assigned(homes: np.ndarray, spans: np.ndarray, work: np.ndarray, limits: Limits) -> np.ndarray:
    """Return the tile of each piece.

    Parameters
    ----------
    homes : array (piece, 2)
        Row and column of the middle of each piece; groups are cut between different ones.
    spans : array (piece, 4), int
        Blocks that each piece needs; see `tiling.spans_of`.
    work : array (piece,)
        Useful pixels.
    limits : Limits
        A piece larger than these is a tile of its own.

    Returns
    -------
    array (piece,), int
        Numbers of tiles, from 0, each used.

    Notes
    -----
    All pieces are halved again and again, each time where the work is best shared, until every
    group is within the limits; then neighbours that are within them together are joined, the
    smallest first.

    Examples
    --------
    >>> homes = np.array([[0, 0], [0, 1], [0, 8], [0, 9]])
    >>> spans = np.column_stack([homes[:, 0], homes[:, 0] + 1, homes[:, 1], homes[:, 1] + 1])
    >>> assigned(homes, spans, np.ones(4), Limits(work=2, side=4)).tolist()
    [0, 0, 1, 1]
    """
    labels = np.zeros(len(work), np.int64)
    waiting, done = [np.arange(len(work))], 0
    while waiting:
        group = waiting.pop()
        if len(group) == 1 or _fits(_around(spans[group]), work[group].sum(), limits):
            labels[group] = done
            done += 1
        else:
            first = _first_half(homes[group], spans[group], work[group], limits)
            waiting += [group[~first], group[first]]
    return _joined_up(labels, spans, work, limits)


def _around(spans):
    return np.stack(
        [spans[..., 0].min(-1), spans[..., 1].max(-1), spans[..., 2].min(-1), spans[..., 3].max(-1)]
    )


def _fits(span, work, limits):
    return work <= limits.work and max(span[1] - span[0], span[3] - span[2]) <= limits.side


def _first_half(homes, spans, work, limits):
    """Return which pieces of a group go to the first of two halves."""
    around = _around(spans)
    sides = np.array([around[1] - around[0], around[3] - around[2]])
    parts = max(work.sum() / (FILL * limits.work), sides.max() / limits.side)
    wanted = np.floor(np.ceil(parts) / 2) / np.ceil(parts)
    best, chosen = np.inf, np.arange(len(work)) < len(work) // 2
    for axis in (0, 1):
        places = np.unique(homes[:, axis])
        if len(places) < 2:
            continue
        at = np.searchsorted(places, homes[:, axis])
        if work.sum() > limits.work:
            shares = np.cumsum(np.bincount(at, work))[:-1] / work.sum()
        else:
            shares = (places[1:] - places[0]) / (places[-1] - places[0])
        cut = int(np.argmin(abs(shares - wanted)))
        off = abs(shares[cut] - wanted) + SKEW * (1 - sides[axis] / sides.max())
        if off < best:
            best, chosen = off, at <= cut
    return chosen


def _joined_up(labels, spans, work, limits):
    """Return labels after small groups were joined with neighbours."""
    count = labels.max() + 1
    around = joined(spans, labels, count)
    total = np.bincount(labels, work, count)
    now = np.arange(count)
    alive = np.ones(count, bool)
    for group in np.argsort(total, kind="stable"):
        while alive[group]:
            partner = _partner(group, around, total, alive, limits)
            if partner is None:
                break
            around[partner] = _around(around[[group, partner]][np.newaxis])[:, 0]
            total[partner] += total[group]
            alive[group] = False
            now[now == group] = partner
    return np.unique(now[labels], return_inverse=True)[1]


def _partner(group, around, total, alive, limits):
    """Return the group with which another is joined at the least empty space, None if none."""
    both = np.stack([around, np.broadcast_to(around[group], around.shape)], axis=1)
    span = _around(both)
    tall, wide = span[1] - span[0], span[3] - span[2]
    fits = alive & (total + total[group] <= limits.work) & (np.maximum(tall, wide) <= limits.side)
    fits[group] = False
    if not fits.any():
        return None
    area = (around[:, 1] - around[:, 0]) * (around[:, 3] - around[:, 2])
    empty = np.where(fits, tall * wide - area, np.iinfo(np.int64).max)
    return int(np.argmin(empty))
