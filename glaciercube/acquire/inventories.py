"""Glacier outlines of inventories and users: polygons with RGI 7 column names."""

import difflib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd

from glaciercube import grid
from glaciercube.acquire.outline_checks import (
    CHANGED,
    areal,
    mended,
    require_fitting_crs,
    require_stated_place,
    single,
)
from glaciercube.acquire.outline_columns import (
    NAME,
    RGI_ID,
    boundaries,
    columns_of,
    dated,
    latest,
    named,
)
from glaciercube.acquire.outline_files import Source, rows_of, sources_of, table_of
from glaciercube.errors import AcquireError, GlacierCubeWarning, GridError

MANY = 5
"""Names shown in a message at most."""


def read_outlines(
    path: str | Path,
    *,
    name: str | None = None,
    ids: str | Sequence[str] | None = None,
    within: Any = None,
    region: int | str | None = None,
    layer: str | None = None,
    analyses: Literal["all", "latest"] = "all",
) -> gpd.GeoDataFrame:
    """Return glacier outlines of a file.

    Parameters
    ----------
    path : path
        GeoPackage, GeoParquet, shapefile or anything else that OGR reads; a zip archive or a
        folder of such files of one inventory.
    name : str, optional
        Glaciers of this name: the whole name in any letter case, else part of it.
    ids : str or sequence of str, optional
        Glaciers of these identifiers (`rgi_id`).
    within : GeoDataFrame, GeoBox, geometry or (west, south, east, north), optional
        Glaciers that touch this area, whole; see `grid.area_frame`.
    region : int or str, optional
        First-order region of RGI, such as 11.
    layer : str, optional
        Of a file with several.
    analyses : "all" or "latest"
        Of a glacier with outlines of several dates all, or those of the latest date.

    Returns
    -------
    GeoDataFrame
        Polygons, valid, with the file's columns; those of RGI 5 and 6 and of GLIMS under
        their RGI 7 names, `rgi_id` and `glac_name` first (the row number and None where the
        file has none). `src_date` is datetime64, the first day of what is known, and
        `src_precision` says "day", "month" or "year". Other units as the file has them.
        `attrs["report"]` says what was mended, cut out and left out.

    Raises
    ------
    AcquireError
        If the file cannot be read, holds no polygon, or none of that name, identifier, area,
        region or layer; the message shows close ones.
    GridError
        If the file states no coordinate reference system, or one that does not fit its
        coordinates.
    """
    if analyses not in ("all", "latest"):
        raise AcquireError(f"analyses is 'all' or 'latest', found {analyses!r}")
    place = None if within is None else grid.area_frame(within)
    number = None if region is None else f"{int(region):02d}"
    sources = sources_of(path, layer=layer, region=number)
    for source in sources:
        if source.crs is not None and source.bounds is not None:
            require_fitting_crs(source.crs, source.bounds, source.address)
    wanted = [ids] if isinstance(ids, str) else ids
    frame = _read(sources, path, place, _Choice(wanted, name, path))
    frame = _in_place(_in_region(frame, number, path), place, path)
    return _checked(frame, path, analyses)


class _Choice:
    """Which rows are wanted, by identifier and name."""

    def __init__(self, ids, name, path):
        self.ids = None if ids is None else [str(one) for one in ids]
        self.name, self.path = name, path

    def __bool__(self):
        return self.ids is not None or self.name is not None

    def of(self, table):
        """Return the rows of a table that are wanted."""
        if self.ids is not None:
            table = _by_id(table, self.ids, self.path)
        return table if self.name is None else _by_name(table, self.name, self.path)


def area_of(area: Any) -> gpd.GeoDataFrame:
    """Return an area as a GeoDataFrame, read from an outlines file where one is named.

    Parameters
    ----------
    area : path, (identifier, path), or anything that `grid.area_frame` takes
        ("RGI60-11.01450", "rgi.gpkg") is a glacier of a file, also with several identifiers:
        (["RGI60-11.01450", "RGI60-11.01346"], "rgi.gpkg"). A path alone is all its outlines.

    Raises
    ------
    AcquireError
        If the text is no file, or the file lacks the glacier.
    GridError
        If it is no area; see `grid.area_frame`.
    """
    if isinstance(area, str | Path):
        if not Path(area).exists() and not str(area).startswith(("/vsi", "http", "s3:")):
            raise AcquireError(
                f"an area given as text is an outlines file, and there is no file {str(area)!r}; "
                f"a glacier of a file is given as ({str(area)!r}, 'outlines.gpkg')"
            )
        return read_outlines(area)
    if isinstance(area, tuple | list) and len(area) == 2 and isinstance(area[1], str | Path):
        return read_outlines(area[1], ids=area[0])
    return grid.area_frame(area)


def _read(sources: list[Source], path, place, choice):
    """Return the wanted rows of all sources under their RGI 7 names."""
    numbers: list[np.ndarray | None] = [None] * len(sources)
    if choice:
        tables = [
            named(table_of(one, columns_of(one.fields), place), one.stem, one.fields)
            for one in sources
        ]
        table = pd.concat(tables, keys=range(len(sources)))
        chosen = choice.of(table).index
        numbers = [
            chosen.get_level_values(1)[chosen.get_level_values(0) == number].to_numpy()
            for number in range(len(sources))
        ]
    frames = []
    for source, some in zip(sources, numbers, strict=True):
        if some is not None and not len(some):
            continue
        frame = _georeferenced(rows_of(source, place, some), source.address)
        frame = named(frame, source.stem, source.fields)
        frames.append(frame.assign(source=source.stem) if len(sources) > 1 else frame)
    return pd.concat(frames)


def _georeferenced(frame, path):
    if not isinstance(frame, gpd.GeoDataFrame):
        raise AcquireError(f"outlines need a geometry, {path} has only {list(frame.columns)}")
    if frame.crs is None:
        raise GridError(
            f"outlines need a coordinate reference system, {path} states none; set it with "
            "geopandas.read_file(path).set_crs(...).to_file(...)"
        )
    if len(frame):
        require_fitting_crs(frame.crs, frame.total_bounds, path)
    return frame


def _in_region(frame, region, path):
    """Return the rows of a first-order region, where a column says it."""
    if region is None or "o1region" not in frame:
        return frame
    own = pd.to_numeric(frame["o1region"], errors="coerce")
    chosen = frame[own == int(region)]
    if chosen.empty and len(frame):
        held = sorted({f"{int(one):02d}" for one in own.dropna()})
        raise AcquireError(f"{path} has no outlines of region {region}; it has regions {held}")
    return chosen


def _in_place(frame, place, path):
    """Return the rows that touch an area."""
    if place is None:
        return frame
    some = frame[frame.geometry.notna()]
    chosen = some[grid.touching(list(some.geometry.to_crs(grid.WGS84)), place)]
    if chosen.empty:
        box = ", ".join(
            f"({west:.3f}, {south:.3f}, {east:.3f}, {north:.3f})"
            for west, south, east, north in grid.geographic_boxes(place)
        )
        raise AcquireError(
            f"{path} has no outline within the area {box} (west, south, east, north); look at "
            "read_outlines(path).total_bounds"
        )
    return chosen


def _checked(frame, path, analyses):
    """Return outlines mended, each once, dated; with the report, and one warning."""
    whole = frame
    polygons, repaired = mended(frame)
    polygons, left_out = areal(polygons)
    if polygons.empty:
        found = sorted({str(kind) for kind in whole.geom_type.dropna()}) or ["nothing"]
        raise AcquireError(f"outlines need polygons, {path} has {found}; choose another layer")
    require_stated_place(polygons, path)
    polygons, unknown = dated(polygons)
    polygons, notes = boundaries(polygons)
    if polygons.empty:
        raise AcquireError(f"{path} has no glacier boundary; {'; '.join(notes)}")
    polygons, twice, parts = single(polygons)
    if analyses == "latest":
        polygons = latest(polygons)
    report = {
        "path": str(path),
        "rows": len(whole),
        "outlines": len(polygons),
        "mended": repaired,
        "left_out": left_out,
        "duplicates": twice,
        "several_parts": parts,
        "dates_not_understood": sorted(set(unknown)),
        "notes": notes,
    }
    _warn(report)
    out = polygons.reset_index(drop=True)
    out.attrs["report"] = report
    return out


def _warn(report):
    """Warn once of everything that may make the outlines other than the user expects."""
    rows, notes = report["rows"], []
    if report["mended"]:
        text = f"{len(report['mended'])} of {rows} outlines crossed themselves, mended"
        changed = [
            one[RGI_ID]
            for one in report["mended"]
            if one["change_percent"] is None or abs(one["change_percent"]) > CHANGED
        ]
        if changed:
            text += f" (area changed by more than {CHANGED:g} %: {changed[:MANY]})"
        notes.append(text)
    if report["left_out"]:
        notes.append(f"{len(report['left_out'])} of {rows} rows are no polygon, left out")
    if report["duplicates"]:
        twice = report["duplicates"]
        notes.append(f"rows that repeat another left out: {twice[:MANY]}")
    if report["dates_not_understood"]:
        notes.append(f"dates not understood: {report['dates_not_understood'][:MANY]}")
    if notes:
        text = f"{report['path']}: {'; '.join(notes)}; see .attrs['report']"
        warnings.warn(text, GlacierCubeWarning, stacklevel=4)


def _by_id(frame, ids, path):
    held = set(frame[RGI_ID])
    missing = [one for one in ids if one not in held]
    if missing:
        raise AcquireError(
            f"no outline {missing[:MANY]} in {path}; {_close(missing[0], sorted(held))}"
        )
    return frame[frame[RGI_ID].isin(ids)]


def _by_name(frame, name, path):
    names = frame[NAME].fillna("").astype(str)
    small = names.str.casefold().str.strip()
    wanted = name.casefold().strip()
    chosen = small == wanted
    if not chosen.any():
        chosen = small.str.contains(wanted, regex=False)
    if not chosen.any() or not wanted:
        held = sorted(set(names) - {""})
        raise AcquireError(f"no outline is called {name!r} in {path}; {_close(name, held)}")
    return frame[chosen]


def _close(wanted, held):
    """Return which names are close to a wanted one, or some of those there are."""
    if not held:
        return "its outlines have no names; choose with ids="
    small = {text.casefold(): text for text in held}
    near = difflib.get_close_matches(wanted.casefold(), list(small), n=MANY, cutoff=0.5)
    if near:
        return f"close are {[small[text] for text in near]}"
    return f"it has {len(held)} such as {held[:MANY]}"
