"""Periods and seasons, however they are written."""

import re
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from glaciercube.acquire.intervals import in_season, parse_period, parse_season, within
from glaciercube.errors import AcquireError

DAY = (datetime(2022, 8, 5, tzinfo=UTC), datetime(2022, 8, 5, 23, 59, 59, 999999, tzinfo=UTC))


@pytest.mark.parametrize(
    "period",
    [
        "2022-08-05",
        date(2022, 8, 5),
        np.datetime64("2022-08-05"),
        (date(2022, 8, 5), date(2022, 8, 5)),
        ["2022-08-05", np.datetime64("2022-08-05")],
        ("2022-08-05T00:00:00", "2022-08-05"),
        ("2022-08-05T02:00:00+02:00", "2022-08-05"),
    ],
)
def test_a_day_is_whole_however_it_is_written(period):
    assert parse_period(period) == DAY


def test_a_year_may_be_a_number():
    assert parse_period(2022) == parse_period("2022") == parse_period((2022, 2022))


def test_an_instant_is_one():
    noon = datetime(2022, 8, 5, 12)
    assert parse_period(noon) == (noon.replace(tzinfo=UTC),) * 2
    assert parse_period((pd.Timestamp(noon), None)) == (noon.replace(tzinfo=UTC), None)


def test_the_ends_are_included():
    interval = parse_period("2021/2022")
    assert within(datetime(2021, 1, 1, tzinfo=UTC), interval)
    assert within(datetime(2022, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), interval)
    assert not within(datetime(2023, 1, 1, tzinfo=UTC), interval)


def test_a_season_runs_over_the_new_year():
    winter = parse_season(("12-15", "02-29"))
    inside = [in_season(datetime(2022, *day), winter) for day in ((12, 15), (1, 1), (2, 28))]
    outside = [in_season(datetime(2022, *day), winter) for day in ((12, 14), (3, 1), (7, 1))]
    assert all(inside)
    assert not any(outside)


@pytest.mark.parametrize(
    ("period", "text"),
    [
        ("2023/2021", "a period ends after it starts, found '2023/2021': 2023-01-01 to 2021-12-31"),
        ("summer", "found 'summer' in 'summer'"),
        ("2021/2022/2023", "found '2021/2022/2023'"),
        (("2021", "2022", "2023"), "a period is such as '2021'"),
        ((object(), "2022"), "a period is such as '2021-07/2021-09', found <object"),
    ],
)
def test_a_period_that_is_not_understood(period, text):
    with pytest.raises(AcquireError, match=re.escape(text)):
        parse_period(period)


def test_a_period_may_be_open():
    assert parse_period(None) == (None, None)
    assert parse_period("../..") == (None, None)


@pytest.mark.parametrize(
    "season", [("07-01", "13-01"), ("July", "09-01"), ("02-30", "03-01"), ("07-01",)]
)
def test_a_season_that_is_not_understood(season):
    with pytest.raises(
        AcquireError, match=r"a season is two days such as \('07-01', '09-30'\), found"
    ):
        parse_season(season)
