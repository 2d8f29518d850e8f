"""Which dates of a cube a network sees with each of them. NumPy only."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from glaciercube.model.card import ModelCard

PADDED = -1
"""In place of a date where a network sees fewer than it takes."""

_OFF_SEASON = np.iinfo(np.int64).min

Seen = Mapping[str, tuple[tuple[int, ...], ...]]
"""Dates that are seen with each date, for each declaration by its `name_of`."""

Away = Mapping[str, tuple[tuple[int, ...], ...]]
"""How many days after each date those are that are seen with it, likewise."""


def seen(times: np.ndarray, dates: Mapping[str, Any]) -> np.ndarray:
    """Return the dates that a network sees with each date of a cube.

    Parameters
    ----------
    times : array (time,), datetime64
        Dates of the cube, UTC, in any order.
    dates : mapping
        As of `ModelCard.dates`, not empty.

    Returns
    -------
    array (time, count), int64
        Indices of `times`, ascending in time, the date itself always among them; -1 where the
        network sees no date.

    Notes
    -----
    What may be seen with a date are the dates of its season, at most `days` days (calendar days,
    UTC) from it. A season that goes across new year belongs to the year in which it starts. A
    date outside the season is seen alone. Of these dates the `anchor` takes

    - "centred": the count // 2 before the date, the date itself, and those after it that make up
      the count. The date always stands in place count // 2, as where one side has too few
      dates, that side is padded and the other does not stand in for it.
    - "past": the last ones before the date, and it itself in the last place.
    - "nearest": those the fewest days away; of equally near ones those before the date. They
      come first, the padding last: where the date stands among them varies.

    Dates that a cube has beside those seen change nothing.

    Examples
    --------
    >>> days = ["2021-07-01", "2021-07-11", "2021-09-01", "2022-07-01"]
    >>> times = np.array(days, "datetime64[ns]")
    >>> more = {"count": 3, "season": ["06-01", "09-30"], "days": None}
    >>> seen(times, {"anchor": "centred", **more}).tolist()
    [[-1, 0, 1], [0, 1, 2], [1, 2, -1], [-1, 3, -1]]
    >>> seen(times, {"anchor": "past", **more}).tolist()
    [[-1, -1, 0], [-1, 0, 1], [0, 1, 2], [-1, -1, 3]]
    >>> seen(times, {"anchor": "nearest", **more}).tolist()
    [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3, -1, -1]]
    """
    order = np.argsort(times, kind="stable")
    days = times[order].astype("datetime64[D]")
    first, stop = _stretches(days, dates)
    count, own = dates["count"], np.arange(len(times))[:, np.newaxis]
    if dates["anchor"] == "nearest":
        ranks = _nearest(days, first, stop, count)
    else:
        before = count // 2 if dates["anchor"] == "centred" else count - 1
        ranks = own + np.arange(count) - before
    inside = (first[:, np.newaxis] <= ranks) & (ranks < stop[:, np.newaxis])
    found = np.empty(ranks.shape, np.int64)
    found[order] = np.where(inside, order[ranks.clip(0, len(times) - 1)], PADDED)
    return found


def seen_by(times: np.ndarray, cards: Iterable[ModelCard]) -> Seen:
    """Return the dates that the networks of some cards see with each date.

    Parameters
    ----------
    times : array (time,), datetime64
    cards : iterable of ModelCard

    Returns
    -------
    mapping of str to tuple (time,) of tuple (count,) of int
        By `name_of` each declaration; empty if every network sees one date.
    """
    return {
        name_of(card): tuple(tuple(one) for one in seen(times, card.dates).tolist())
        for card in cards
        if card.dates
    }


def away_by(times: np.ndarray, cards: Iterable[ModelCard]) -> Away:
    """Return how many days after each date those are that the networks of some cards see with it.

    Parameters
    ----------
    times : array (time,), datetime64
    cards : iterable of ModelCard

    Returns
    -------
    mapping of str to tuple (time,) of tuple (count,) of int
        Calendar days, UTC, below 0 for dates before it, and 0 where a network sees no date; by
        `name_of` each declaration with `day`, empty if there is none.
    """
    return {
        name_of(card): tuple(tuple(one) for one in _days_away(times, card.dates).tolist())
        for card in cards
        if card.dates.get("day")
    }


def name_of(card: ModelCard) -> str:
    """Return what tells the dates that a card declares from those of others."""
    return json.dumps(dict(card.dates), sort_keys=True)


def seasons(days: np.ndarray, season: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return whether days lie in a season, and of which year it is.

    Parameters
    ----------
    days : array (time,), datetime64[D]
    season : (str, str)
        First and last day as "MM-DD", both included.

    Returns
    -------
    inside : array (time,), bool
    year : array (time,), int64
        In which the season starts; of no meaning outside it.

    Examples
    --------
    >>> days = np.array(["2020-10-01", "2021-04-30", "2021-05-01", "2021-11-01"], "datetime64[D]")
    >>> inside, year = seasons(days, ("10-01", "04-30"))
    >>> inside.tolist(), year[inside].tolist()
    ([True, True, False, True], [2020, 2020, 2021])
    """
    first, last = (int(text[:2]) * 100 + int(text[3:]) for text in season)
    months, years = days.astype("datetime64[M]"), days.astype("datetime64[Y]").astype(np.int64)
    number = (months.astype(np.int64) % 12 + 1) * 100 + (days - months).astype(np.int64) + 1
    year, begun, ended = years + 1970, number >= first, number > last
    if first <= last:
        return begun & ~ended, year
    return begun | ~ended, year - ~begun


def _days_away(times, dates):
    found, days = seen(times, dates), times.astype("datetime64[D]").astype(np.int64)
    return np.where(found == PADDED, 0, days[found] - days[:, np.newaxis])


def _stretches(days, dates):
    """Return the first and the one after the last of the dates that may be seen with each.

    They follow each other, as the dates are in order.
    """
    first, stop = np.zeros(len(days), np.int64), np.full(len(days), len(days))
    if dates["days"] is not None:
        reach = np.timedelta64(dates["days"], "D")
        first = np.searchsorted(days, days - reach, "left")
        stop = np.searchsorted(days, days + reach, "right")
    if dates["season"] is not None:
        inside, year = seasons(days, dates["season"])
        year = np.where(inside, year, _OFF_SEASON)
        starts = np.r_[True, (year[1:] != year[:-1]) | ~inside[1:]]
        group = np.cumsum(starts) - 1
        edges = np.append(np.flatnonzero(starts), len(days))
        first, stop = np.maximum(first, edges[group]), np.minimum(stop, edges[group + 1])
    return first, stop


def _nearest(days, first, stop, count):
    """Return the dates nearest to each, in order, and behind them one that may not be seen."""
    found = np.full((len(days), count), PADDED)
    for own, (begin, end) in enumerate(zip(first, stop, strict=True)):
        ranks = np.arange(max(begin, own - count), min(end, own + count + 1))
        away = np.abs(days[ranks] - days[own])
        nearest = np.lexsort((np.abs(ranks - own), ranks > own, away))[:count]
        found[own, : len(nearest)] = np.sort(ranks[nearest])
    return found
