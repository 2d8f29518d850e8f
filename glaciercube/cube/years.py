"""Glacier-years: when they start, and which one a date belongs to."""

from datetime import date

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from glaciercube.errors import SchemaError

YEAR_STARTS = {"north": "10-01", "south": "04-01"}
"""Month and day on which a glacier-year starts (Cogley et al. 2011, hydrological year)."""


def year_start_of(geobox: GeoBox) -> str:
    """Return the day on which a glacier-year starts at the place of a grid, as "MM-DD".

    Parameters
    ----------
    geobox : GeoBox

    Examples
    --------
    >>> year_start_of(GeoBox.from_bbox((7, 46, 8, 47), "EPSG:4326", resolution=0.1))
    '10-01'
    >>> year_start_of(GeoBox.from_bbox((-69, -55, -68, -54), "EPSG:4326", resolution=0.1))
    '04-01'
    """
    box = geobox.geographic_extent.boundingbox
    return YEAR_STARTS["south" if box.bottom + box.top < 0 else "north"]


def glacier_years(times: pd.DatetimeIndex, start: str) -> np.ndarray:
    """Return the glacier-year of each date: the calendar year in which it ends.

    Parameters
    ----------
    times : DatetimeIndex
    start : str
        "MM-DD" on which a year starts.

    Raises
    ------
    SchemaError
        If `start` is no day.

    Examples
    --------
    >>> glacier_years(pd.DatetimeIndex(["2021-09-30", "2021-10-01"]), "10-01").tolist()
    [2021, 2022]
    >>> glacier_years(pd.DatetimeIndex(["2021-01-01", "2021-12-31"]), "01-01").tolist()
    [2021, 2021]
    """
    first = _day(start)
    day = times.month.to_numpy() * 100 + times.day.to_numpy()
    begun = day >= first.month * 100 + first.day
    return times.year.to_numpy() + np.where(begun & (not _whole(first)), 1, 0)


def year_bounds(year: int, start: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last day of a glacier-year.

    Parameters
    ----------
    year : int
        The calendar year in which it ends.
    start : str
        "MM-DD" on which a year starts.

    Raises
    ------
    SchemaError
        If `start` is no day.

    Examples
    --------
    >>> [str(day.date()) for day in year_bounds(2021, "10-01")]
    ['2020-10-01', '2021-09-30']
    >>> [str(day.date()) for day in year_bounds(2021, "01-01")]
    ['2021-01-01', '2021-12-31']
    """
    first = _day(start)
    begins = year if _whole(first) else year - 1
    opening = pd.Timestamp(begins, first.month, first.day)
    following = pd.Timestamp(begins + 1, first.month, first.day)
    return opening, following - pd.Timedelta(days=1)


def _day(start):
    try:
        return date.fromisoformat(f"2001-{start}")
    except ValueError as error:
        raise SchemaError(f"year_start needs a day as 'MM-DD', found {start!r}") from error


def _whole(first):
    return first.month == 1 and first.day == 1
