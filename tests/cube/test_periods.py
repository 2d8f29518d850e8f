import numpy as np
import pandas as pd
import pytest

from glaciercube.cube.periods import periods_of
from glaciercube.errors import SchemaError

TIMES = pd.DatetimeIndex(
    ["2020-10-05T10:00", "2021-06-30T23:59", "2021-07-01", "2021-07-31T23:59:59", "2021-10-01"]
)


def days_of(periods):
    return [(str(one.start.date()), str(one.end.date()), one.places) for one in periods]


def test_all_dates_are_one_period():
    assert days_of(periods_of(TIMES, None, "10-01")) == [
        ("2020-10-05", "2021-10-01", (0, 1, 2, 3, 4))
    ]


def test_glacier_years_bear_the_year_they_end_in():
    periods = periods_of(TIMES, "glacier-year", "10-01")
    assert [one.glacier_year for one in periods] == [2021, 2022]
    assert days_of(periods) == [
        ("2020-10-01", "2021-09-30", (0, 1, 2, 3)),
        ("2021-10-01", "2022-09-30", (4,)),
    ]


@pytest.mark.parametrize(
    ("name", "ends", "places"),
    [
        ("year", ["2020-12-31", "2021-12-31"], [(0,), (1, 2, 3, 4)]),
        (
            "month",
            ["2020-10-31", "2021-06-30", "2021-07-31", "2021-10-31"],
            [(0,), (1,), (2, 3), (4,)],
        ),
        ("Q", ["2020-12-31", "2021-06-30", "2021-09-30", "2021-12-31"], [(0,), (1,), (2, 3), (4,)]),
        ("Y-SEP", ["2021-09-30", "2022-09-30"], [(0, 1, 2, 3), (4,)]),
    ],
)
def test_named_periods(name, ends, places):
    periods = periods_of(TIMES, name, "10-01")
    assert [str(one.end.date()) for one in periods] == ends
    assert [one.places for one in periods] == places


def test_days_are_counted_from_1970_whatever_the_first_date():
    whole = {one.end: one for one in periods_of(TIMES, "16D", "10-01")}
    part = periods_of(TIMES[2:], "16D", "10-01")
    for one in part[1:]:
        assert whole[one.end].start == one.start
    for one in whole.values():
        assert (one.end - one.start).days == 15
        assert (one.start - pd.Timestamp("1970-01-01")).days % 16 == 0
    assert sorted(place for one in whole.values() for place in one.places) == [0, 1, 2, 3, 4]


def test_start_and_end_are_included_whole():
    assert periods_of(TIMES, ("2021-07", "2021-07"), "10-01")[0].places == (2, 3)
    assert periods_of(TIMES, ("2021-07-01", "2021-07-31"), "10-01")[0].places == (2, 3)
    assert periods_of(TIMES, ["2021", "2021"], "10-01")[0].places == (1, 2, 3, 4)
    moments = (np.datetime64("2021-07-01"), pd.Timestamp("2021-07-31"))
    assert periods_of(TIMES, moments, "10-01")[0].places == (2, 3)


def test_periods_may_overlap_and_are_sorted_by_their_ends():
    periods = periods_of(TIMES, [("2021-07", "2021-10"), ("2021-06", "2021-07")], "10-01")
    assert days_of(periods) == [
        ("2021-06-01", "2021-07-31", (1, 2, 3)),
        ("2021-07-01", "2021-10-31", (2, 3, 4)),
    ]


def test_the_middle_of_a_period():
    (one,) = periods_of(TIMES, ("2021-07-01", "2021-07-31"), "10-01")
    assert str(one.middle.date()) == "2021-07-16"


@pytest.mark.parametrize("wrong", ["fortnight", "2M", "0D", "h", "glacier year"])
def test_unknown_name(wrong):
    with pytest.raises(SchemaError, match=f"'glacier-year', 'year', 'month'.*found '{wrong}'"):
        periods_of(TIMES, wrong, "10-01")


@pytest.mark.parametrize("wrong", [5, (), ["2021"], [("2021", "2022"), "2023"]])
def test_no_period(wrong):
    with pytest.raises(SchemaError, match="or several of these; found"):
        periods_of(TIMES, wrong, "10-01")


@pytest.mark.parametrize("wrong", [("summer", "2021"), (3.5, "2021")])
def test_start_that_is_no_day(wrong):
    with pytest.raises(SchemaError, match="days such as '2021-07-01', found"):
        periods_of(TIMES, wrong, "10-01")


def test_all_problems_of_stated_periods_are_listed():
    wrong = [("2021", "2020"), ("2019", "2019"), ("2021-06", "2021-07"), ("2021-07", "2021-07")]
    with pytest.raises(SchemaError) as caught:
        periods_of(TIMES, wrong, "10-01")
    text = str(caught.value)
    assert "5 dates from 2020-10-05 to 2021-10-01" in text
    assert "('2021', '2020') ends before it starts" in text
    assert "('2019', '2019') holds no date" in text
    assert "two end on the same day" in text
