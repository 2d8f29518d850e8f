"""Glacier outlines of inventories and users: polygons with RGI 7 column names."""

import difflib
import warnings
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import pyogrio
import shapely

from glaciercube.errors import AcquireError, GlacierCubeWarning, GridError

RGI_ID, NAME = "rgi_id", "glac_name"
"""RGI 7 columns of the identifier and the name."""

COLUMNS = {
    "rgiid": RGI_ID,
    "name": NAME,
    "glacier": NAME,
    "glimsid": "glims_id",
    "bgndate": "src_date",
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

PARQUET = (".parquet", ".geoparquet")
MANY = 5
"""Names shown in a message at most."""


def read_outlines(
    path: str | Path, *, name: str | None = None, ids: Sequence[str] | None = None
) -> gpd.GeoDataFrame:
    """Return glacier outlines of a file.

    Parameters
    ----------
    path : path
        GeoPackage, GeoParquet, shapefile or anything else that OGR reads.
    name : str, optional
        Glaciers of this name: the whole name in any letter case, else part of it.
    ids : sequence of str, optional
        Glaciers of these identifiers (`rgi_id`).

    Returns
    -------
    GeoDataFrame
        Polygons, valid, with the file's columns; those of RGI 5 and 6 under their RGI 7
        names, `rgi_id` and `glac_name` first (the row number and None where the file has
        none). Units as the file has them.

    Raises
    ------
    AcquireError
        If the file cannot be read, holds no polygon, or none of that name or identifier;
        the message shows close ones.
    GridError
        If the file states no coordinate reference system.
    """
    frame = _named(_polygons(_read(path), path), path)
    if ids is not None:
        frame = _by_id(frame, [str(one) for one in ids], path)
    if name is not None:
        frame = _by_name(frame, name, path)
    return frame.reset_index(drop=True)


def _read(path):
    try:
        if str(path).lower().endswith(PARQUET):
            frame = gpd.read_parquet(path)
        else:
            frame = gpd.read_file(path)
    except (pyogrio.errors.DataSourceError, OSError, ValueError) as error:
        raise AcquireError(
            f"cannot read outlines from {path}: {error}; needed is a GeoPackage, GeoParquet or "
            "shapefile"
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise AcquireError(f"outlines need a geometry, {path} has only {list(frame.columns)}")
    return frame


def _polygons(frame, path):
    """Return the rows with polygons, mended; warn of what was mended or left out."""
    if frame.crs is None:
        raise GridError(
            f"outlines need a coordinate reference system, {path} states none; set it with "
            "geopandas.read_file(path).set_crs(...).to_file(...)"
        )
    broken = ~frame.is_valid & frame.geometry.notna()
    mended = frame.set_geometry(
        frame.geometry.where(~broken, frame.geometry.apply(_mended)), crs=frame.crs
    )
    kinds = mended.geom_type
    areal = kinds.isin(["Polygon", "MultiPolygon"]) & ~mended.is_empty
    if not areal.any():
        found = sorted({str(kind) for kind in kinds.dropna()}) or ["nothing"]
        raise AcquireError(f"outlines need polygons, {path} has {found}; choose another layer")
    notes = []
    if broken.any():
        notes.append(f"{int(broken.sum())} of {len(frame)} outlines crossed themselves, mended")
    if not areal.all():
        notes.append(f"{int((~areal).sum())} of {len(frame)} rows are no polygon, left out")
    if notes:
        warnings.warn(f"{path}: {'; '.join(notes)}", GlacierCubeWarning, stacklevel=3)
    return mended[areal]


def _mended(geometry):
    """Return a valid geometry; of a mixed result only its polygons."""
    if geometry is None or geometry.is_valid:
        return geometry
    valid = shapely.make_valid(geometry)
    parts = [part for part in shapely.get_parts(valid) if part.area > 0]
    return shapely.union_all(parts) if parts else valid


def _named(frame, path):
    """Return outlines with RGI 7 column names, the identifier and the name first."""
    taken = set(frame.columns)
    renamed = {}
    for column in frame.columns:
        new = COLUMNS.get(str(column).lower())
        if new is not None and new not in taken:
            renamed[column] = new
            taken.add(new)
    out = frame.rename(columns=renamed)
    if RGI_ID not in out:
        out[RGI_ID] = [f"{Path(path).stem}-{number}" for number in range(1, len(out) + 1)]
    if NAME not in out:
        out[NAME] = None
    out[RGI_ID] = out[RGI_ID].astype(str)
    first = [RGI_ID, NAME]
    return out[[*first, *(column for column in out.columns if column not in first)]]


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
