"""Dates of files: given by the user, or found in the file's name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from glaciercube.errors import AcquireError

_DAY = re.compile(r"(?<!\d)((?:19|20)\d{2})([-_]?)(\d{2})\2(\d{2})(?!\d)")
_YEAR = re.compile(r"(?<!\d)(19[89]\d|20[0-4]\d|2050)(?!\d)")


@dataclass(frozen=True)
class Stamp:
    """When a scene was taken, and how precisely this is known."""

    time: pd.Timestamp
    """UTC, without time zone."""

    precision: Literal["second", "day", "year"]
    """With "year" the time is 1 January, whatever the season."""


def stamps_of(paths: Sequence[Path], dates: Sequence[Any] | None) -> list[Stamp]:
    """Return the date of each file.

    Parameters
    ----------
    paths : sequence of Path
    dates : sequence of str, datetime or datetime64, optional
        One per file, in the files' order; from the names if None.

    Raises
    ------
    AcquireError
        If there are not as many dates as files, one cannot be understood, or two files
        have the same.
    """
    if dates is not None and len(dates) != len(paths):
        raise AcquireError(
            f"each file needs one date: {len(paths)} files, {len(dates)} dates; "
            "give dates= in the order of the files"
        )
    stamps = (
        [date_in(path.name) for path in paths]
        if dates is None
        else [_given(date) for date in dates]
    )
    seen: dict[pd.Timestamp, Path] = {}
    for path, stamp in zip(paths, stamps, strict=True):
        if stamp.time in seen:
            raise AcquireError(
                f"each file needs a date of its own, but {seen[stamp.time].name} and "
                f"{path.name} are both of {stamp.time.date()}; give dates= (--dates) or "
                "mosaic the files of a date first"
            )
        seen[stamp.time] = path
    return stamps


def date_in(name: str) -> Stamp:
    """Return the date in a file's name: a day, else a lone year.

    Parameters
    ----------
    name : str
        With YYYYMMDD, YYYY-MM-DD, YYYY_MM_DD, or a year 1980 to 2050 alone. The first day
        counts: in names of products this is when the scene was taken.

    Raises
    ------
    AcquireError
        If there is no date, or several years and no day.

    Examples
    --------
    >>> date_in("T32TMS_20220805T103031_B04.tif").time
    Timestamp('2022-08-05 00:00:00')
    >>> date_in("glacier_s2_2019.tif")
    Stamp(time=Timestamp('2019-01-01 00:00:00'), precision='year')
    """
    for year, _, month, day in _DAY.findall(name):
        try:
            return Stamp(pd.Timestamp(int(year), int(month), int(day)), "day")
        except ValueError:
            continue
    years = sorted(set(_YEAR.findall(name)))
    if len(years) == 1:
        return Stamp(pd.Timestamp(int(years[0]), 1, 1), "year")
    found = f"the years {years}" if years else "none"
    raise AcquireError(
        f"a file name needs a date such as 20220805, 2022-08-05 or 2022, found {found} in "
        f"{name!r}; rename it or give dates= (--dates)"
    )


def _given(date):
    text = str(date).strip()
    if _YEAR.fullmatch(text):
        return Stamp(pd.Timestamp(int(text), 1, 1), "year")
    time = pd.to_datetime(date, errors="coerce")
    if not isinstance(time, pd.Timestamp):
        raise AcquireError(f"a date is such as '2022-08-05', found {date!r}; correct dates=")
    if time.tzinfo is not None:
        time = time.tz_convert("UTC").tz_localize(None)
    whole = time == time.normalize()
    return Stamp(time.as_unit("ns"), "day" if whole else "second")
