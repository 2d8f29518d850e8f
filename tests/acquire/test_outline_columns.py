"""Columns of inventories: dates, and the lines of GLIMS."""

import datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.outline_columns import dated, parse_date
from glaciercube.errors import AcquireError, GlacierCubeWarning


@pytest.mark.parametrize(
    ("value", "moment", "precision"),
    [
        ("20030813", "2003-08-13", "day"),
        ("20030799", "2003-07-01", "month"),
        ("20039999", "2003-01-01", "year"),
        ("20009900", "2000-01-01", "year"),
        ("20030231", "2003-02-01", "month"),
        (20030813, "2003-08-13", "day"),
        (20030813.0, "2003-08-13", "day"),
        ("2003-07-30T00:00:00", "2003-07-30", "day"),
        ("2003-07-30 10:11:12", "2003-07-30", "day"),
        ("2003-07", "2003-07-01", "month"),
        ("13-08-2003", "2003-08-13", "day"),
        ("13.08.2003", "2003-08-13", "day"),
        (1989, "1989-01-01", "year"),
        (1989.0, "1989-01-01", "year"),
        (datetime.date(2003, 8, 13), "2003-08-13", "day"),
        (pd.Timestamp("2003-08-13T10:00", tz="UTC"), "2003-08-13", "day"),
        ("-9999999", None, None),
        (-9999999, None, None),
        (None, None, None),
        (float("nan"), None, None),
        (pd.NaT, None, None),
        ("", None, None),
        ("summer", None, None),
        ("99999999", None, None),
        ("00001301", None, None),
    ],
)
def test_dates_as_inventories_write_them(value, moment, precision):
    expected = None if moment is None else pd.Timestamp(moment)
    assert parse_date(value) == (expected, precision)


def test_dates_become_dates_and_say_how_precisely():
    frame = gpd.GeoDataFrame(
        {"src_date": ["20030813", "20039999", "-9999999"], "end_date": ["20040101", None, "x"]},
        geometry=[shapely.Point(0, 0)] * 3,
    )
    out, unknown = dated(frame)
    assert list(out.columns)[:3] == ["src_date", "src_precision", "end_date"]
    assert out["src_date"].dtype == out["end_date"].dtype == np.dtype("datetime64[ns]")
    assert out["src_precision"].tolist() == ["day", "year", None]
    assert out["src_date"].isna().tolist() == [False, False, True]
    assert unknown == ["x"]


def test_dates_that_are_not_understood_are_told(tmp_path):
    gpd.GeoDataFrame(
        {"date": ["summer 2003"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326
    ).to_file(tmp_path / "a.gpkg")
    with pytest.warns(GlacierCubeWarning, match=r"dates not understood: \['summer 2003'\]"):
        out = read_outlines(tmp_path / "a.gpkg")
    assert out["src_date"].isna().all()


@pytest.mark.parametrize("column", ["Année", "year", "Año", "date"])
def test_years_of_users_are_dates(tmp_path, column):
    frame = gpd.GeoDataFrame({column: [1989]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    frame.to_file(tmp_path / "a.gpkg")
    out = read_outlines(tmp_path / "a.gpkg")
    assert out["src_date"].tolist() == [pd.Timestamp("1989-01-01")]
    assert out["src_precision"].tolist() == ["year"]


# GLIMS


@pytest.fixture
def glims(tmp_path):
    """Return a file of two glaciers as GLIMS writes them; one at two dates, with rock in it."""
    one, other, early, late = "G010000E46000N", "G010050E46050N", "2003-08-13", "2015-08-29"
    rows = [
        (one, "glac_bound", 1, early, shapely.box(10, 46, 10.1, 46.1)),
        (one, "intrnl_rock", 1, early, shapely.box(10.02, 46.02, 10.04, 46.04)),
        (one, "intrnl_rock", 1, early, shapely.box(10.06, 46.02, 10.08, 46.04)),
        (one, "debris_cov", 1, early, shapely.box(10, 46, 10.1, 46.01)),
        (one, "glac_bound", 2, late, shapely.box(10, 46, 10.1, 46.08)),
        (other, "glac_bound", 3, early, shapely.box(10.2, 46, 10.3, 46.1)),
        (other, "glac_bound", 4, early, shapely.box(10.2, 46, 10.3, 46.09)),
    ]
    columns = ["glac_id", "line_type", "anlys_id", "src_date", "geometry"]
    frame = gpd.GeoDataFrame(pd.DataFrame(rows, columns=columns), crs=4326)
    frame["glac_name"], frame["db_area"], frame["anlys_time"] = "One", 1.0, "2016-01-01T00:00:00"
    frame.to_file(tmp_path / "glims_polygons.shp")
    return tmp_path / "glims_polygons.shp"


def test_glims_boundaries_less_the_rock_of_the_same_analysis(glims):
    out = read_outlines(glims)
    assert list(out.columns)[:2] == ["rgi_id", "glac_name"]
    assert out["line_type"].unique().tolist() == ["glac_bound"]
    assert out["anlys_id"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(
        out.geometry.to_crs(4326).area, [0.01 - 2 * 0.0004, 0.008, 0.01, 0.009]
    )
    assert {"area_km2", "src_precision"} <= set(out.columns)
    report = out.attrs["report"]
    assert report["notes"] == [
        "2 polygons of rock cut out of 1 glaciers",
        "lines that bound no glacier left out: 1 debris_cov",
    ]
    assert report["several_parts"] == ["G010050E46050N"]


def test_glims_of_the_latest_date_and_analysis(glims):
    out = read_outlines(glims, analyses="latest")
    assert out["anlys_id"].tolist() == [2, 4]
    one = read_outlines(glims, ids="G010000E46000N")
    assert one["src_date"].dt.year.tolist() == [2003, 2015]
    with pytest.raises(AcquireError, match="analyses is 'all' or 'latest', found 'newest'"):
        read_outlines(glims, analyses="newest")


def test_glims_without_boundaries(glims, tmp_path):
    frame = gpd.read_file(glims)
    frame[frame["line_type"] == "debris_cov"].to_file(tmp_path / "b.shp")
    with pytest.raises(AcquireError, match="b.shp has no glacier boundary; lines that bound no gl"):
        read_outlines(tmp_path / "b.shp")
