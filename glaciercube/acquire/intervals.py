"""Periods and seasons, however a user writes them."""

import calendar
import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd

from glaciercube.errors import AcquireError

Interval = tuple[datetime | None, datetime | None]
"""First and last moment (UTC); None where it is open."""

Days = tuple[tuple[int, int], ...]
"""First and last (month, day) of each year."""

_ZONE = re.compile(r"T.*[+-]\d{2}:?\d{2}$")
_DAY_OF_YEAR = re.compile(r"(\d{2})-(\d{2})")


def parse_period(period: Any) -> Interval:
    """Return the first and last moment of a period, UTC; None where it is open.

    Parameters
    ----------
    period : str, date or (start, end)
        "2021", "2019/2023", "2021-07/2021-09", "2021-07-14/..", a year or date, or a pair of
        them; the end is included as far as it is stated. Times without a zone are UTC.

    Raises
    ------
    AcquireError
        If it is not understood, or ends before it starts.

    Examples
    --------
    >>> start, end = parse_period("2021-07/2021-09")
    >>> start.isoformat(), end.isoformat()
    ('2021-07-01T00:00:00+00:00', '2021-09-30T23:59:59.999999+00:00')
    """
    if period is None:
        return None, None
    parts = _parts(period)
    if len(parts) == 1:
        parts = parts * 2
    if len(parts) != 2:
        raise AcquireError(
            f"a period is such as '2021', '2019/2023' or (start, end), found {period!r}"
        )
    start, end = _moment(parts[0], period), _moment(parts[1], period, last=True)
    if start is not None and end is not None and end < start:
        raise AcquireError(
            f"a period ends after it starts, found {period!r}: {start.date()} to {end.date()}; "
            "swap the two"
        )
    return start, end


def parse_season(season: tuple[str, str] | None) -> Days | None:
    """Return the first and last (month, day) of a season.

    Raises
    ------
    AcquireError

    Examples
    --------
    >>> parse_season(("07-01", "09-30"))
    ((7, 1), (9, 30))
    """
    if season is None:
        return None
    days = []
    for text in season:
        match = _DAY_OF_YEAR.fullmatch(str(text))
        month, day = (int(match[1]), int(match[2])) if match else (0, 0)
        # A leap year, so that a season may start or end on 29 February.
        if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(2000, month)[1]:
            raise AcquireError(f"a season is two days such as ('07-01', '09-30'), found {season!r}")
        days.append((month, day))
    if len(days) != 2:
        raise AcquireError(f"a season is two days such as ('07-01', '09-30'), found {season!r}")
    return tuple(days)


def within(time: datetime, interval: Interval) -> bool:
    """Say whether a time lies in an interval, its ends included."""
    start, end = interval
    return (start is None or time >= start) and (end is None or time <= end)


def in_season(time: datetime, days: Days) -> bool:
    """Say whether a time lies in a season, its first and last day (UTC) included.

    Examples
    --------
    >>> in_season(datetime(2022, 1, 7), parse_season(("12-15", "03-15")))
    True
    """
    first, last = days
    day = (time.month, time.day)
    if first <= last:
        return first <= day <= last
    return day >= first or day <= last


def interval_text(interval: Interval) -> str:
    """Return an interval for a message.

    Examples
    --------
    >>> interval_text(parse_period("2021-07/.."))
    '2021-07-01/..'
    """
    start, end = (".." if moment is None else moment.date().isoformat() for moment in interval)
    return f"{start}/{end}"


def _parts(period):
    if isinstance(period, str):
        return period.split("/")
    if isinstance(period, int | date | np.datetime64):
        return [period]
    return list(period)


def _moment(part, period, last=False):
    """Return one end of a period; the last moment of a year, month or day for its end."""
    if part is None or str(part).strip() in ("", ".."):
        return None
    try:
        stamp = _edge(part, last)
    except (ValueError, TypeError) as error:
        raise AcquireError(
            f"a period is such as '2021-07/2021-09', found {part!r} in {period!r}"
        ) from error
    moment = stamp.floor("us").to_pydatetime(warn=False)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _edge(part, last):
    if isinstance(part, datetime | pd.Timestamp):
        return pd.Timestamp(part)
    if not isinstance(part, str | int | date | np.datetime64):
        raise TypeError(f"{type(part).__name__} is no date")
    text = str(part).strip().removesuffix("Z")
    if _ZONE.search(text):
        return pd.Timestamp(text)
    span = pd.Period(text)
    return span.end_time if last else span.start_time
