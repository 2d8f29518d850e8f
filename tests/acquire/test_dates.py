"""Dates of files."""

from pathlib import Path

import pandas as pd
import pytest

from glaciercube.acquire.dates import date_in, stamps_of
from glaciercube.errors import AcquireError


@pytest.mark.parametrize(
    ("name", "day", "precision"),
    [
        ("s2_20220805.tif", "2022-08-05", "day"),
        ("s2-2022-08-05-v1.tif", "2022-08-05", "day"),
        ("s2_2022_08_05.tif", "2022-08-05", "day"),
        ("S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.tif", "2019-06-29", "day"),
        ("LC08_L2SP_005009_20150710_20200908_02_T2.tif", "2015-07-10", "day"),
        ("vinciguerra_s2_l1c_2019.tif", "2019-01-01", "year"),
        ("glacier2021.tif", "2021-01-01", "year"),
        ("tile_20221399_of_2022.tif", "2022-01-01", "year"),
    ],
)
def test_dates_are_found_in_names(name, day, precision):
    stamp = date_in(name)
    assert stamp.time == pd.Timestamp(day)
    assert stamp.precision == precision


@pytest.mark.parametrize("name", ["glacier.tif", "B12.tif", "scene_1750.tif", "id_12022.tif"])
def test_a_name_without_a_date_is_refused(name):
    with pytest.raises(AcquireError, match=rf"found none in '{name}'.*dates= \(--dates\)"):
        date_in(name)


def test_a_name_with_two_years_is_refused():
    with pytest.raises(AcquireError, match=r"found the years \['2019', '2020'\]"):
        date_in("mean_2019_to_2020.tif")


def test_given_dates_count_and_not_the_names():
    paths = [Path("2001.tif"), Path("b.tif"), Path("c.tif")]
    given = ["2020-07-01", pd.Timestamp("2021-07-01T10:30:00+02:00"), "2022"]
    stamps = stamps_of(paths, given)
    assert [stamp.time.isoformat() for stamp in stamps] == [
        "2020-07-01T00:00:00",
        "2021-07-01T08:30:00",
        "2022-01-01T00:00:00",
    ]
    assert [stamp.precision for stamp in stamps] == ["day", "second", "year"]


def test_as_many_dates_as_files():
    with pytest.raises(AcquireError, match="2 files, 1 dates"):
        stamps_of([Path("a.tif"), Path("b.tif")], ["2020"])


@pytest.mark.parametrize("bad", ["yesterday-ish", "2020-13-01", None, ""])
def test_a_date_that_is_none(bad):
    with pytest.raises(AcquireError, match="a date is such as '2022-08-05', found"):
        stamps_of([Path("a.tif")], [bad])


def test_two_files_of_one_date_are_refused_by_name():
    with pytest.raises(AcquireError, match="a_2020.tif and b_2020.tif are both of 2020-01-01"):
        stamps_of([Path("a_2020.tif"), Path("b_2020.tif")], None)
