"""Periods: which dates belong together, from a name, a frequency or days."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from glaciercube.cube.years import glacier_years, year_bounds
from glaciercube.errors import SchemaError

NAMES = {"year": "Y", "month": "M"}
"""Calendar periods by name, as pandas calls them."""

KNOWN = "None, 'glacier-year', 'year', 'month', a frequency such as 'Q', 'W' or '16D', (start, end)"


@dataclass(frozen=True, kw_only=True)
class Period:
    """A stretch of days and the dates that lie in it."""

    start: pd.Timestamp
    """First day."""

    end: pd.Timestamp
    """Last day; the period includes it."""

    places: tuple[int, ...]
    """Indices of its dates in the sorted time axis."""

    glacier_year: int | None = None

    @property
    def middle(self) -> pd.Timestamp:
        """The day in the middle."""
        return (self.start + (self.end - self.start) / 2).normalize()


def periods_of(times: pd.DatetimeIndex, period: Any, year_start: str) -> list[Period]:
    """Return the periods that hold any of some dates, in order of their ends.

    Parameters
    ----------
    times : DatetimeIndex
        Sorted, at least one.
    period : None, str, (start, end) or a sequence of (start, end)
        None is all dates together. "glacier-year", "year" and "month"; a pandas period
        such as "Q" or "W-SUN"; a number of days as "16D", counted from 1970-01-01 so that
        all cubes have the same periods. Start and end are days, months or years ("2021-07"
        ends with 31 July), both included; they may overlap.
    year_start : str
        "MM-DD" on which a glacier-year starts.

    Raises
    ------
    SchemaError
        If the period is none of these, holds no date, or two end on the same day.

    Examples
    --------
    >>> times = pd.DatetimeIndex(["2021-07-05", "2021-08-01", "2021-08-31"])
    >>> [(str(one.end.date()), one.places) for one in periods_of(times, "month", "10-01")]
    [('2021-07-31', (0,)), ('2021-08-31', (1, 2))]
    >>> [one.places for one in periods_of(times, ("2021-08", "2021-08"), "10-01")]
    [(1, 2)]
    """
    if period is None:
        return [_between(times, times[0].normalize(), times[-1].normalize())]
    if isinstance(period, str):
        return _named(times, period, year_start)
    return _stated(times, _pairs(period))


def _named(times, name, year_start):
    if name == "glacier-year":
        years = glacier_years(times, year_start)
        return [
            Period(
                start=year_bounds(int(year), year_start)[0],
                end=year_bounds(int(year), year_start)[1],
                places=tuple(np.nonzero(years == year)[0].tolist()),
                glacier_year=int(year),
            )
            for year in np.unique(years)
        ]
    days = re.fullmatch(r"([1-9]\d*)D", name)
    if days:
        return _in_steps(times, int(days[1]))
    try:
        spans = times.to_period(NAMES.get(name, name))
        unit = spans.freq.n == 1 and spans[0].end_time - spans[0].start_time >= pd.Timedelta("23h")
    except (ValueError, TypeError, AttributeError) as error:
        raise SchemaError(f"a period is {KNOWN}; found {name!r}") from error
    if not unit:
        raise SchemaError(f"a period is {KNOWN}; found {name!r}")
    return [
        _between(times, one.start_time.normalize(), one.end_time.normalize())
        for one in spans.unique()
    ]


def _in_steps(times, days):
    """Return periods of some days, counted from 1970-01-01."""
    numbers = times.to_numpy().astype("datetime64[D]").astype(np.int64) // days * days
    starts = [pd.Timestamp(int(number), unit="D") for number in np.unique(numbers)]
    return [_between(times, start, start + pd.Timedelta(days=days - 1)) for start in starts]


def _between(times, start, end):
    after = times < end + pd.Timedelta(days=1)
    return Period(
        start=start, end=end, places=tuple(np.nonzero((times >= start) & after)[0].tolist())
    )


def _pairs(period):
    """Return (start, end) pairs as they were given."""
    given = list(period) if isinstance(period, Sequence) else []
    one = len(given) == 2 and not any(_is_pair(part) for part in given)
    pairs = [tuple(given)] if one else [tuple(part) for part in given if _is_pair(part)]
    if not pairs or (not one and len(pairs) < len(given)):
        raise SchemaError(f"a period is {KNOWN}, or several of these; found {period!r}")
    return pairs


def _is_pair(part):
    return isinstance(part, list | tuple) and len(part) == 2


def _stated(times, pairs):
    found = []
    problems = []
    for pair in pairs:
        start, end = _edge(pair[0], last=False), _edge(pair[1], last=True)
        found.append(_between(times, start, end))
        if start > end:
            problems.append(f"{pair!r} ends before it starts")
        elif not found[-1].places:
            problems.append(f"{pair!r} holds no date")
    ends = [one.end for one in found]
    if len(set(ends)) < len(ends):
        problems.append(f"two end on the same day; their ends are {[str(e.date()) for e in ends]}")
    if problems:
        raise SchemaError(
            "periods need a start, a later end of their own and a date between; the cube has "
            f"{len(times)} dates from {times[0].date()} to {times[-1].date()}:\n  "
            + "\n  ".join(problems)
        )
    return sorted(found, key=lambda one: one.end)


def _edge(value, last):
    """Return the first or last day of what a user calls a day, month or year."""
    try:
        span = pd.Period(value) if isinstance(value, str) else pd.Period(value, freq="D")
        return (span.end_time if last else span.start_time).normalize()
    except (ValueError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"a period's start and end are days such as '2021-07-01', found {value!r}"
        ) from error
