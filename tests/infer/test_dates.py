"""Which dates are seen together: by the rules, whatever else a cube holds."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from cards import make_card
from hypothesis import given
from hypothesis import strategies as st

from glaciercube.infer.dates import away_by, name_of, seasons, seen, seen_by
from glaciercube.model.dates import declared

START = date(2019, 1, 1)


def times_of(*days):
    return np.array(days, "datetime64[ns]")


def labels(times, rows):
    """Return what is seen by its date, None where padded."""
    return [[None if at < 0 else times[at] for at in row] for row in rows.tolist()]


def slowly(times, declaration):
    """Return the dates (not indices) that are seen with each date, by the words of the rules."""
    found = []
    for own in times:
        may = [each for each in times if may_be_seen(each, own, declaration)]
        before, after = [t for t in may if t < own], [t for t in may if t > own]
        count = declaration["count"]
        if declaration["anchor"] == "nearest":
            chosen = sorted(may, key=lambda t: (abs(day(t) - day(own)), t > own, abs(t - own)))
            chosen = sorted(chosen[:count])
            found.append(chosen + [None] * (count - len(chosen)))
            continue
        n_before = count // 2 if declaration["anchor"] == "centred" else count - 1
        n_after = count - 1 - n_before
        before, after = before[len(before) - min(n_before, len(before)) :], after[:n_after]
        padded = [None] * (n_before - len(before)), [None] * (n_after - len(after))
        found.append([*padded[0], *before, own, *after, *padded[1]])
    return found


def day(time):
    return time.astype("datetime64[D]")


def may_be_seen(time, own, declaration):
    if declaration["days"] is not None:
        far = abs(day(time) - day(own)) > np.timedelta64(declaration["days"], "D")
        if far:
            return False
    if declaration["season"] is None or time == own:
        return True
    return season_of(time, declaration["season"]) == season_of(own, declaration["season"]) != None  # noqa: E711


def season_of(time, season):
    """Return the year in which the season of a date starts; None outside the season."""
    at = day(time).item()
    first, last = season
    for year in (at.year - 1, at.year):
        begin = f"{year}-{first}"
        end = f"{year + (first > last)}-{last}"
        if begin <= at.isoformat() <= end:
            return year
    return None


declarations = st.fixed_dictionaries(
    {
        "count": st.integers(1, 7),
        "anchor": st.sampled_from(["centred", "past", "nearest"]),
        "season": st.sampled_from(
            [None, ["06-01", "09-30"], ["10-01", "04-30"], ["01-01", "12-31"], ["10-01", "09-30"]]
        ),
        "days": st.sampled_from([None, 1, 16, 60, 400]),
    }
)


@st.composite
def cubes(draw):
    """Return dates of a few years, some of the same day, in order."""
    hours = draw(st.sets(st.integers(0, 3 * 365 * 4), min_size=1, max_size=25))
    return times_of(
        *(f"{START + timedelta(hour // 4)}T{hour % 4 * 6:02d}" for hour in sorted(hours))
    )


@given(cubes(), declarations)
def test_the_rules_are_those_that_are_written(times, declaration):
    assert labels(times, seen(times, declaration)) == slowly(times, declaration)


@given(cubes(), declarations, st.randoms(use_true_random=False))
def test_the_order_of_a_cube_does_not_matter(times, declaration, random):
    places = list(range(len(times)))
    random.shuffle(places)
    expected = labels(times, seen(times, declaration))
    shuffled = labels(times[places], seen(times[places], declaration))
    assert shuffled == [expected[at] for at in places]


@given(cubes(), declarations, st.data())
def test_a_cube_that_has_what_is_seen_gives_the_same(times, declaration, data):
    own = data.draw(st.integers(0, len(times) - 1))
    rows = seen(times, declaration)
    needed = {at for at in rows[own].tolist() if at >= 0}
    more = data.draw(st.sets(st.integers(0, len(times) - 1)))
    kept = sorted(needed | more)
    part = seen(times[kept], declaration)
    assert labels(times[kept], part)[kept.index(own)] == labels(times, rows)[own]


@given(cubes(), declarations, cubes())
def test_dates_far_away_change_nothing(times, declaration, others):
    far = others + np.timedelta64(20 * 365, "D")
    declaration = declaration | {"days": 500}
    before = labels(times, seen(times, declaration))
    longer = np.concatenate([far, times])
    assert labels(longer, seen(longer, declaration))[len(far) :] == before


@given(cubes(), declarations)
def test_the_date_itself_is_seen_in_its_place_and_the_others_in_order(times, declaration):
    for own, row in enumerate(seen(times, declaration).tolist()):
        there = [at for at in row if at >= 0]
        assert own in there
        assert there == sorted(there)
        assert len(row) == declaration["count"]
        if declaration["anchor"] == "centred":
            assert row[declaration["count"] // 2] == own
        if declaration["anchor"] == "past":
            assert row[-1] == own


def test_a_southern_summer_goes_across_new_year():
    times = times_of("2020-12-20", "2021-01-05", "2021-04-30", "2021-05-01", "2021-10-01")
    declaration = declared({"count": 5, "season": ["10-01", "04-30"], "anchor": "nearest"})
    assert seen(times, declaration).tolist() == [
        [0, 1, 2, -1, -1],
        [0, 1, 2, -1, -1],
        [0, 1, 2, -1, -1],
        [3, -1, -1, -1, -1],
        [4, -1, -1, -1, -1],
    ]


def test_a_season_has_its_first_and_last_day_and_the_leap_day():
    days = np.array(
        ["2019-12-14", "2019-12-15", "2020-02-29", "2020-03-01", "1969-12-31", "1970-01-01"],
        "datetime64[D]",
    )
    inside, year = seasons(days, ("12-15", "02-29"))
    assert inside.tolist() == [False, True, True, False, True, True]
    assert year[inside].tolist() == [2019, 2019, 1969, 1969]


def test_two_seasons_that_touch_stay_apart():
    times = times_of("2021-09-30", "2021-10-01")
    declaration = declared({"count": 3, "season": ["10-01", "09-30"]})
    assert seen(times, declaration).tolist() == [[-1, 0, -1], [-1, 1, -1]]


def test_of_equally_near_dates_those_before_come_first_whatever_the_hour():
    times = times_of("2021-08-01T10:00:09", "2021-08-06T10:00:00", "2021-08-11T10:00:01")
    declaration = declared({"count": 2, "anchor": "nearest"})
    assert seen(times, declaration)[1].tolist() == [0, 1]


def test_scenes_of_one_moment_are_all_seen_and_each_sees_itself():
    times = times_of("2021-08-01", "2021-08-01", "2021-08-01")
    declaration = declared({"count": 1, "anchor": "nearest"})
    assert seen(times, declaration).tolist() == [[0], [1], [2]]
    declaration = declared({"count": 3})
    assert seen(times, declaration).tolist() == [[-1, 0, 1], [0, 1, 2], [1, 2, -1]]


def test_days_are_those_of_the_calendar():
    times = times_of("2021-08-01T23:00", "2021-08-06T22:00", "2021-08-07T01:00")
    declaration = declared({"count": 3, "anchor": "nearest", "days": 5})
    assert seen(times, declaration).tolist() == [[0, 1, -1], [0, 1, 2], [1, 2, -1]]


def test_each_declaration_is_known_by_its_name(tmp_path, card):
    one = make_card(tmp_path, seed=1, dates={"count": 2, "anchor": "past"})
    same = make_card(tmp_path, seed=2, dates={"anchor": "past", "count": 2})
    times = times_of("2021-08-01", "2021-08-02")
    found = seen_by(times, [card, one, same])
    assert found == {name_of(one): ((-1, 0), (0, 1))}
    assert seen_by(times, [card]) == {}


def test_days_away_are_those_of_the_calendar_below_0_before_the_date(tmp_path, card):
    dates = {"count": 3, "season": ["06-01", "09-30"], "day": True}
    one = make_card(tmp_path, seed=1, dates=dates)
    without = make_card(tmp_path, seed=2, dates={"count": 3})
    times = times_of("2021-07-01T23:00", "2021-07-11T01:00", "2021-09-01", "2022-07-01")
    found = away_by(times, [card, without, one])
    assert found == {name_of(one): ((0, 0, 10), (-10, 0, 52), (-52, 0, 0), (0, 0, 0))}
    assert away_by(times, [card, without]) == {}


@given(cubes(), declarations, st.randoms(use_true_random=False))
def test_days_away_follow_the_dates_seen(tmp_path_factory, times, declaration, random):
    random.shuffle(times)
    card = DAYS.get("card") or DAYS.setdefault("card", make_card(tmp_path_factory.mktemp("card")))
    card = replace(card, dates=declaration | {"day": True})
    (found,) = away_by(times, [card]).values()
    for own, (row, away) in enumerate(zip(seen(times, declaration), found, strict=True)):
        days = [(day(times[at]) - day(times[own])).astype(int) if at >= 0 else 0 for at in row]
        assert list(away) == days


DAYS = {}


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_the_unit_of_a_time_does_not_matter(unit):
    times = times_of("2021-08-01", "2021-08-02").astype(f"datetime64[{unit}]")
    assert seen(times, declared({"count": 2, "days": 1})).tolist() == [[-1, 0], [0, 1]]
