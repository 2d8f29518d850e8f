"""What may be wrong with outlines: broken polygons, rows twice, coordinates of another CRS."""

import re
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glaciercube import grid
from glaciercube.acquire.outline_columns import DATE, RGI_ID
from glaciercube.errors import GridError

MANY = 5
"""Names shown in a message at most."""

CHANGED = 1.0
"""A mended outline whose area changed by more (%) is named in the warning."""

FAR = 1.0
"""Outlines further than this from where their own columns say they are (degrees)."""

_GLIMS_ID = re.compile(r"G(\d{6})E(\d{5})([NS])")
_METHODS = ("structure", "linework")


def mended(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """Return outlines with every polygon valid, and what was done to those that were not.

    Parameters
    ----------
    frame : GeoDataFrame
        With `rgi_id`.

    Returns
    -------
    frame : GeoDataFrame
        Of a mended geometry only its polygons.
    report : list of dict
        `rgi_id`, `reason`, `method`, `area_before_km2`, `area_after_km2` and
        `change_percent` (None where the area was zero) of each mended outline.

    Notes
    -----
    GEOS mends by "structure" (a hole is a hole even where it overlaps another or leaves its
    polygon; parts that overlap count once) or by "linework" (what an odd number of rings
    holds). The result whose area is nearer to the broken polygon's is taken, structure of two
    alike.
    """
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    broken = np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes))
    reasons = shapely.is_valid_reason(shapes[broken])
    before = shapes[broken].copy()
    methods = []
    for row in broken:
        shapes[row], method = _mend(shapes[row])
        methods.append(method)
    out = frame.set_geometry(gpd.GeoSeries(shapes, frame.index, crs=frame.crs))
    old, new = (
        grid.ground_area(gpd.GeoSeries(list(some), crs=frame.crs))
        for some in (before, shapes[broken])
    )
    report = [
        {
            RGI_ID: str(frame[RGI_ID].iloc[row]),
            "reason": reason,
            "method": method,
            "area_before_km2": float(was),
            "area_after_km2": float(now),
            "change_percent": float(100 * (now / was - 1)) if was > 0 else None,
        }
        for row, reason, method, was, now in zip(broken, reasons, methods, old, new, strict=True)
    ]
    return out, report


def _mend(geometry):
    """Return a valid geometry and how it was made."""
    found = [
        _areal(shapely.make_valid(geometry, method=one, keep_collapsed=one != "structure"))
        for one in _METHODS
    ]
    off = [abs(one.area - geometry.area) for one in found]
    best = 1 if off[1] < off[0] - 1e-9 * abs(geometry.area) else 0
    return found[best], _METHODS[best]


def _areal(valid):
    if valid.geom_type in ("Polygon", "MultiPolygon"):
        return valid
    parts = [part for part in shapely.get_parts(valid) if part.area > 0]
    return shapely.union_all(parts) if parts else valid


def areal(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """Return the rows that are polygons, and of each other row what it is instead."""
    kinds = frame.geom_type
    empty = frame.is_empty | frame.geometry.isna()
    keep = kinds.isin(["Polygon", "MultiPolygon"]) & ~empty
    report = [
        {RGI_ID: str(one), "reason": "no geometry" if nothing else f"a {kind}"}
        for one, kind, nothing in zip(frame[RGI_ID][~keep], kinds[~keep], empty[~keep], strict=True)
    ]
    return frame[keep], report


def single(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[str], list[str]]:
    """Return outlines each once.

    Returns
    -------
    frame : GeoDataFrame
        Without rows that repeat another's identifier, date and geometry.
    twice : list of str
        Identifiers of the rows that were left out.
    parts : list of str
        Identifiers that several rows of one date bear with different geometries; they stay,
        as a glacier may have parts.
    """
    keys = [one for one in (RGI_ID, DATE) if one in frame]
    shapes = pd.Series(shapely.to_wkb(shapely.normalize(frame.geometry.to_numpy())), frame.index)
    same = frame[keys].assign(shape=shapes).duplicated()
    once = frame[~same]
    several = once[keys].duplicated(keep=False)
    return once, sorted(frame[RGI_ID][same].unique()), sorted(once[RGI_ID][several].unique())


def require_fitting_crs(crs: Any, bounds: Any, where: object) -> None:
    """Raise an error if coordinates cannot be those of their CRS.

    Parameters
    ----------
    crs : pyproj.CRS
    bounds : (west, south, east, north) in the CRS
    where : path
        Of the file, for the message.

    Raises
    ------
    GridError
        If degrees are stated and the numbers are none, or the other way round.
    """
    x0, y0, x1, y1 = (float(edge) for edge in bounds)
    if not np.isfinite([x0, y0, x1, y1]).all():
        return
    found = f"x {x0:g} to {x1:g} and y {y0:g} to {y1:g}"
    set_it = f"set the right one with geopandas.read_file({str(where)!r}).set_crs(..., "
    set_it += "allow_override=True).to_file(...)"
    small = max(abs(x0), abs(x1)) <= 360 and max(abs(y0), abs(y1)) <= 90
    if crs.is_geographic and not small:
        if max(abs(x0), abs(x1)) <= 90 and max(abs(y0), abs(y1)) <= 360:
            raise GridError(
                f"{where} says {crs.name} (degrees), but its coordinates are {found}: latitude "
                "ends at 90, so longitude and latitude seem swapped; swap x and y"
            )
        raise GridError(
            f"{where} says {crs.name} (degrees), but its coordinates are {found}, which look "
            f"like metres; {set_it}"
        )
    if crs.is_projected and small:
        raise GridError(
            f"{where} says {crs.name} (metres), but its coordinates are {found}, which look "
            f"like degrees; {set_it}"
        )


def require_stated_place(frame: gpd.GeoDataFrame, where: object) -> None:
    """Raise an error if outlines lie elsewhere than their own columns say.

    Columns `cenlon` and `cenlat` say it, else a GLIMS identifier such as G010758E46800N
    (longitude 10.758 east, latitude 46.800 north).

    Raises
    ------
    GridError
    """
    stated = _stated(frame)
    if stated is None:
        return
    middles = shapely.centroid(shapely.envelope(frame.geometry.to_numpy()))
    place = gpd.GeoSeries(middles, crs=frame.crs).to_crs(grid.WGS84)
    longitude, latitude = (np.asarray(one, float) for one in stated)
    off_x = abs((place.x.to_numpy() - longitude + 180) % 360 - 180) * np.cos(np.radians(latitude))
    off = np.hypot(off_x, place.y.to_numpy() - latitude)
    known = np.isfinite(longitude) & np.isfinite(latitude)
    off = np.where(np.isfinite(off), off, np.inf)[known]
    if len(off) and np.median(off) > FAR:
        row = int(np.flatnonzero(known)[np.argsort(off)[len(off) // 2]])
        x, y = float(place.x.iloc[row]), float(place.y.iloc[row])
        raise GridError(
            f"{where} puts {frame[RGI_ID].iloc[row]} at longitude {x:.2f}, latitude {y:.2f} by its "
            f"CRS {frame.crs.name}, but its own columns say {longitude[row]:.2f}, "
            f"{latitude[row]:.2f}; the CRS is wrong, or x and y are swapped"
        )


def _stated(frame):
    if {"cenlon", "cenlat"} <= set(frame.columns):
        return [pd.to_numeric(frame[one], errors="coerce") for one in ("cenlon", "cenlat")]
    small = {str(one).lower(): one for one in frame.columns}
    if "glims_id" not in small:
        return None
    found = [_GLIMS_ID.fullmatch(str(one).strip()) for one in frame[small["glims_id"]]]
    longitude = [int(one[1]) / 1000 if one else np.nan for one in found]
    latitude = [
        int(one[2]) / 1000 * (-1 if one[3] == "S" else 1) if one else np.nan for one in found
    ]
    return longitude, latitude
