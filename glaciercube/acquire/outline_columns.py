"""The columns of inventories: RGI 7 names, dates as dates, the lines of GLIMS."""

import re
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

RGI_ID, NAME = "rgi_id", "glac_name"
"""RGI 7 columns of the identifier and the name."""

DATE, PRECISION, END = "src_date", "src_precision", "end_date"

COLUMNS = {
    "rgiid": RGI_ID,
    "name": NAME,
    "glacier": NAME,
    "glimsid": "glims_id",
    "bgndate": DATE,
    "enddate": END,
    "cenlon": "cenlon",
    "cenlat": "cenlat",
    "o1region": "o1region",
    "o2region": "o2region",
    "area": "area_km2",
    "zmin": "zmin_m",
    "zmax": "zmax_m",
    "zmed": "zmed_m",
    "slope": "slope_deg",
    "aspect": "aspect_deg",
    "lmax": "lmax_m",
}
"""RGI 7 names of the columns of RGI 5 and 6 and of other inventories, in small letters."""

LINE, ANALYSIS, GLACIER = "line_type", "anlys_id", "glac_id"
"""GLIMS columns: what a polygon outlines, in which analysis, of which glacier."""

GLIMS_COLUMNS = {"glac_id": RGI_ID, "db_area": "area_km2"}
"""RGI 7 names of columns that only GLIMS has."""

BOUNDARY, ROCK = "glac_bound", "intrnl_rock"
"""GLIMS line types: the glacier, and rock within it that is none of it."""

YEARS = ("date", "year", "annee", "année", "año", "ano", "jahr", "anno")
"""Columns in small letters that hold the date where no other does."""

_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_ISO = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?(?:[T ].*)?")
_DAY_FIRST = re.compile(r"(\d{1,2})[-./](\d{1,2})[-./](\d{4})")


def columns_of(fields: tuple[str, ...]) -> list[str]:
    """Return the columns of a file that hold identifiers and names."""
    wanted = (RGI_ID, NAME)
    known = COLUMNS | (GLIMS_COLUMNS if LINE in fields else {})
    return [one for one in fields if one in wanted or known.get(one.lower()) in wanted]


def named(frame: pd.DataFrame, stem: str, fields: tuple[str, ...]) -> pd.DataFrame:
    """Return outlines with RGI 7 column names, the identifier and the name first.

    Parameters
    ----------
    frame : DataFrame
        Indexed by the numbers of rows in the file.
    stem : str
        Of the file; with the number of the row it names rows that have no identifier.
    fields : tuple of str
        All columns of the file, of which the frame may hold a part.
    """
    known = COLUMNS | (GLIMS_COLUMNS if LINE in fields else {})
    taken, renamed = set(fields), {}
    for column in fields:
        new = known.get(str(column).lower())
        if new is not None and new not in taken:
            renamed[column] = new
            taken.add(new)
    out = frame.rename(columns=renamed)
    if RGI_ID not in out:
        out[RGI_ID] = [f"{stem}-{number}" for number in out.index]
    if NAME not in out:
        out[NAME] = None
    out[RGI_ID] = out[RGI_ID].astype(str)
    first = [RGI_ID, NAME]
    return out[[*first, *(column for column in out.columns if column not in first)]]


def dated(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Return outlines with `src_date` as a date and `src_precision`, and what was not understood.

    Parameters
    ----------
    frame : GeoDataFrame
        `src_date` (or, without it, a column such as "date" or "year") as RGI 5 and 6
        ("20030799", unknown parts 99), RGI 7 and GLIMS (ISO) or users ("13-08-2003", 2003)
        write it.

    Returns
    -------
    frame : GeoDataFrame
        `src_date` and `end_date` datetime64[ns], the first day of what is known; NaT if
        nothing is. `src_precision` "day", "month" or "year".
    texts : list of str
        Dates that were not understood.
    """
    out, unknown = frame.copy(), []
    if DATE not in out:
        small = {str(one).lower(): one for one in out.columns}
        found = [small[one] for one in YEARS if one in small]
        if not found:
            return out, []
        out[DATE] = out[found[0]]
    for column in (DATE, END):
        if column in out:
            parts = [parse_date(value) for value in out[column]]
            unknown += [
                str(value)
                for value, (_, precision) in zip(out[column], parts, strict=True)
                if precision is None and not _is_missing(value)
            ]
            out[column] = pd.DatetimeIndex([moment or pd.NaT for moment, _ in parts]).as_unit("ns")
            if column == DATE:
                where = list(out.columns).index(DATE) + 1
                if PRECISION in out:
                    out = out.drop(columns=PRECISION)
                precision = [one for _, one in parts]
                out.insert(where, PRECISION, pd.Series(precision, out.index, dtype=object))
    return out, unknown


def parse_date(
    value: object,
) -> tuple[pd.Timestamp | None, Literal["day", "month", "year"] | None]:
    """Return the first day of an inventory's date, and how precisely it is known.

    Examples
    --------
    >>> parse_date("20030799"), parse_date("20009999")
    ((Timestamp('2003-07-01 00:00:00'), 'month'), (Timestamp('2000-01-01 00:00:00'), 'year'))
    >>> parse_date("-9999999")
    (None, None)
    """
    if _is_missing(value):
        return None, None
    if hasattr(value, "year"):
        return pd.Timestamp(value).tz_localize(None).normalize(), "day"  # type: ignore[arg-type]
    text = str(value).strip().removesuffix(".0")
    if match := _COMPACT.fullmatch(text):
        year, month, day = (int(part) for part in match.groups())
    elif match := _ISO.fullmatch(text):
        year, month, day = (int(part or 0) for part in match.groups())
    elif match := _DAY_FIRST.fullmatch(text):
        day, month, year = (int(part) for part in match.groups())
    else:
        return None, None
    return _moment(year, month, day)


def _moment(year, month, day):
    """Return the first day of a date whose month or day may be no month or day, as 99."""
    if not 1850 <= year <= 2100:
        return None, None
    for parts, precision in (((month, day), "day"), ((month, 1), "month"), ((1, 1), "year")):
        try:
            return pd.Timestamp(year, *parts), precision
        except ValueError:
            continue
    return None, None


def _is_missing(value):
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return True
    return str(value).strip().removesuffix(".0") in ("", "-9999999", "-9999", "99999999", "nan")


def boundaries(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Return the glaciers of GLIMS lines: boundaries less the rock within, per analysis.

    Parameters
    ----------
    frame : GeoDataFrame
        Valid polygons; where there is no column `line_type` it is returned as it is.

    Returns
    -------
    frame : GeoDataFrame
        Rows of `glac_bound`, whose `intrnl_rock` of the same analysis (or, without
        `anlys_id`, of the same glacier and date) is cut out.
    notes : list of str
        What was cut out and left out.
    """
    if LINE not in frame:
        return frame, []
    kind = frame[LINE].astype(str).str.strip()
    glaciers, rocks = frame[kind == BOUNDARY].copy(), frame[kind == ROCK]
    keys = [ANALYSIS] if ANALYSIS in frame else [one for one in (RGI_ID, DATE) if one in frame]
    notes = []
    if len(rocks) and len(glaciers):
        inner = rocks.groupby(keys, dropna=False)[rocks.geometry.name].agg(shapely.union_all)
        index = pd.MultiIndex.from_frame(glaciers[keys]) if len(keys) > 1 else glaciers[keys[0]]
        hole = inner.reindex(index).to_numpy()
        some = np.array([isinstance(one, shapely.Geometry) for one in hole])
        shapes = glaciers.geometry.to_numpy().copy()
        shapes[some] = shapely.difference(shapes[some], hole[some])
        glaciers = glaciers.set_geometry(gpd.GeoSeries(shapes, glaciers.index, crs=frame.crs))
        notes.append(f"{len(rocks)} polygons of rock cut out of {int(some.sum())} glaciers")
    other = kind[~kind.isin([BOUNDARY, ROCK])]
    if len(other):
        counts = ", ".join(f"{number} {name}" for name, number in other.value_counts().items())
        notes.append(f"lines that bound no glacier left out: {counts}")
    return glaciers, notes


def latest(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return of each glacier the rows of its latest date, and of these its latest analysis."""
    newest = frame
    for column in (DATE, "anlys_time", ANALYSIS):
        if column in newest:
            values = newest[column]
            if values.dtype == object:
                values = pd.to_datetime(values, errors="coerce")
            rank = values.rank().fillna(0)
            newest = newest[rank == rank.groupby(newest[RGI_ID]).transform("max")]
    return newest
