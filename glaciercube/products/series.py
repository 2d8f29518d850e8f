"""The series of each glacier: area, accumulation area ratio and snowline at each date."""

import json

import dask.array as da
import geopandas as gpd
import numpy as np
import xarray as xr
from dask.base import tokenize
from shapely.geometry import box

from glaciercube import cover, grid, schema
from glaciercube.errors import GridError, SchemaError
from glaciercube.products import areas, tables
from glaciercube.products.snowlines import BIN_HEIGHT_M, snowline

KM2 = 1e-6
CORRELATION_LENGTH_M = 300.0
"""Pixels nearer than this are taken to be wrong together. Own choice: about the reach of
the bundled networks at 10 m, within which two pixels share most of their input."""

VARIABLES = {
    "area": ("km2", "glacier area"),
    "area_uncertainty": ("km2", "uncertainty of the glacier area: half a pixel of margin"),
    "area_probability": ("km2", "sum of glacier probability times pixel area"),
    "area_observed": ("km2", "glacier area that was observed, whatever was not"),
    "observed_fraction": ("1", "share of the outline that was observed"),
    "snow_area": ("km2", "snow-covered glacier area"),
    "aar": ("1", "transient accumulation area ratio: snow over glacier"),
    "aar_with_firn": ("1", "share of snow and firn over glacier"),
    "aar_uncertainty": ("1", "uncertainty of the accumulation area ratio from confidence"),
    "snowline": ("m", "altitude of the transient snowline (of snow, not firn)"),
    "snowline_uncertainty": ("m", "uncertainty of the snowline altitude"),
}
REASON_DTYPE = np.dtype("<U200")


def summarize(
    layers: xr.Dataset,
    glaciers: gpd.GeoDataFrame | None = None,
    *,
    elevation: xr.DataArray | None = None,
    min_observed: float = 0.9,
) -> xr.Dataset:
    """Return area, accumulation area ratio and snowline of each glacier, not yet computed.

    Parameters
    ----------
    layers : Dataset
        `extent` and/or `facies` (time, y, x), uint8; used as well where present:
        `confidence`, `glacier_probability`, `elevation`.
    glaciers : GeoDataFrame, optional
        Outlines with `rgi_id` and `glac_name`, in any CRS. Without them the whole grid is
        one glacier "all", which needs `extent`.
    elevation : DataArray (y, x), optional
        Surface elevation (m) on the grid of the layers; by default theirs.
    min_observed : float
        Share of a glacier that must be observed for an area, an accumulation area ratio or
        a snowline to be given, 0 to 1.

    Returns
    -------
    Dataset (glacier, time), float64, lazy
        `area`, `area_uncertainty`, `area_probability`, `area_observed`, `snow_area` (km2),
        `observed_fraction`, `aar`, `aar_with_firn`, `aar_uncertainty` (1), `snowline`,
        `snowline_uncertainty` (m), and `reason`: why any of them is NaN.

    Raises
    ------
    SchemaError
        If there is neither `extent` nor `facies`, or only `facies` and no outlines.
    GridError
        If `elevation` lies on another grid or no outline touches the grid.

    Notes
    -----
    Each pixel counts with the share of it that the outline covers. Nothing is scaled up
    to what was not observed: `area_observed` is always there, `area` only from
    `min_observed` on. An outline that leaves the grid is unobserved there.

    `area_uncertainty` is half a pixel on each edge between glacier and not glacier
    (Granshaw & Fountain 2006; Paul et al. 2017), and the glacier that may hide where
    nothing was observed: see `products.areas.area_uncertainty`.

    Transient AAR = snow / (snow + refrozen + firn + ice + debris) over observed glacier.
    Its uncertainty is binomial: sqrt(m (1 - m) / n) with m the mean of 1 - confidence and
    n the glacier area in squares of 300 m (at least 1), within which pixels are taken to be
    wrong together. It knows nothing of a bias between categories.

    The snowline: see `products.snowlines.snowline`.
    """
    geobox = _checked(layers, glaciers, min_observed)
    heights = elevation if elevation is not None else layers.get("elevation")
    if heights is not None:
        if set(heights.dims) != set(schema.GRID_DIMS):
            raise SchemaError(f"elevation needs dims ('y', 'x'), found {heights.dims}")
        grid.require_same(grid.grid_of(heights, "elevation"), geobox, ("elevation", "the layers"))
    inside = _inside_shares(glaciers, geobox)
    has = [name for name in ("facies", "confidence", "glacier_probability") if name in layers]
    has += ["elevation"] if heights is not None else []
    merged = tables.lazy_tables(layers, glaciers, geobox, heights, BIN_HEIGHT_M)
    options = {"inside": inside, "has": tuple(has), "min_observed": min_observed}
    token = tokenize(merged.name, inside.tolist(), has, min_observed)
    numbers = da.map_blocks(
        _numbers, merged, **options, name=f"series-{token}", dtype=np.float64, new_axis=(1, 2),
        chunks=(merged.chunks[0], (len(inside),), (len(VARIABLES),)), meta=np.empty((0, 0, 0)),
    )  # fmt: skip
    reasons = da.map_blocks(
        _reasons, merged, **options, name=f"reasons-{token}", dtype=REASON_DTYPE, new_axis=1,
        chunks=(merged.chunks[0], (len(inside),)), meta=np.empty((0, 0), REASON_DTYPE),
    )  # fmt: skip
    return _dataset(layers, glaciers, numbers, reasons, min_observed)


def _checked(layers, glaciers, min_observed):
    """Return the grid, or raise what the layers and outlines lack."""
    codes = [name for name in ("extent", "facies") if name in layers]
    if not codes:
        raise SchemaError(
            "summarize needs 'extent' or 'facies' (time, y, x), but the layers have "
            f"{sorted(map(str, layers.data_vars))}; make them with predict"
        )
    schema.check(layers, {name: schema.LAYERS[name] for name in codes}, "the layers")
    if "extent" not in codes and glaciers is None:
        raise SchemaError(
            "summarize needs outlines (glaciers=...) or 'extent': the layers have facies only, "
            "which do not tell a glacier from a snowy slope"
        )
    if not 0 <= min_observed <= 1:
        raise SchemaError(f"min_observed is a share from 0 to 1, found {min_observed}")
    return grid.grid_of(layers, "the layers")


def _inside_shares(glaciers, geobox):
    """Return the share of each outline that lies on the grid."""
    if glaciers is None:
        return np.ones(1)
    polygons = cover.in_pixels(glaciers, geobox)
    whole = box(0, 0, geobox.shape.x, geobox.shape.y)
    total = np.array([one.area for one in polygons])
    on_grid = np.array([one.intersection(whole).area for one in polygons])
    if not on_grid.any():
        raise GridError(
            f"none of the {len(polygons)} outlines touches the grid of the layers "
            f"({grid.describe(geobox)})"
        )
    return np.divide(on_grid, total, out=np.zeros(len(total)), where=total > 0)


def _numbers(cells, inside, has, min_observed):
    """Return the variables (date, glacier, variable)."""
    out = np.full((len(cells), len(inside), len(VARIABLES)), np.nan)
    for place, table in enumerate(cells):
        for number, share in enumerate(inside):
            found, _ = describe(table.get(number), share, has, min_observed)
            out[place, number] = [found.get(name, np.nan) for name in VARIABLES]
    return out


def _reasons(cells, inside, has, min_observed):
    """Return why variables are NaN (date, glacier)."""
    out = np.full((len(cells), len(inside)), "", REASON_DTYPE)
    for place, table in enumerate(cells):
        for number, share in enumerate(inside):
            _, why = describe(table.get(number), share, has, min_observed)
            out[place, number] = "; ".join(f"{name}: {text}" for name, text in why.items())
    return out


def describe(
    sums: areas.Sums | None, inside: float, has: tuple[str, ...], min_observed: float
) -> tuple[dict[str, float], dict[str, str]]:
    """Return what is known of one glacier at one date, and why the rest is not.

    Parameters
    ----------
    sums : areas.Sums or None
        None where the glacier lies outside the grid.
    inside : float
        Share of the outline that lies on the grid.
    has : tuple of str
        Which of facies, confidence, glacier_probability and elevation there are.
    min_observed : float

    Returns
    -------
    numbers : dict of str to float
        By the names of VARIABLES; what is missing is NaN.
    reasons : dict of str to str
        By name of a variable.
    """
    if sums is None or sums["cover"] == 0:
        return {"observed_fraction": 0.0, "area_observed": 0.0}, {"area": "outside the grid"}
    observed = sums["observed"] / sums["cover"] * inside
    found = {"observed_fraction": observed, "area_observed": sums["glacier"] * KM2}
    if observed < min_observed:
        return found, {"area": f"observed {observed:.2f} < {min_observed:.2f}"}
    found["area"] = sums["glacier"] * KM2
    found["area_uncertainty"] = areas.area_uncertainty(sums, inside) * KM2
    why = {}
    if "glacier_probability" in has:
        found["area_probability"] = sums["probability"] * KM2
    else:
        why["area_probability"] = "no glacier probability"
    if "facies" not in has:
        return found, {**why, "aar": "no facies"}
    _add_ratio(sums, has, min_observed, found, why)
    if "aar" in found:
        _add_snowline(sums, has, min_observed, found, why)
    return found, why


def _add_ratio(sums, has, min_observed, found, why):
    known = sum(sums[kind] for kind in areas.KINDS)
    if sums["glacier"] == 0:
        why["aar"] = "no glacier"
        return
    if known < min_observed * sums["glacier"]:
        share = known / sums["glacier"]
        why["aar"] = f"facies known of {share:.2f} of the glacier < {min_observed:.2f}"
        return
    found["snow_area"] = sums["snow"] * KM2
    found["aar"] = sums["snow"] / known
    found["aar_with_firn"] = (sums["snow"] + sums["firn"]) / known
    if "confidence" not in has or sums["trusted"] == 0:
        why["aar_uncertainty"] = "no confidence"
        return
    wrong = min(max(sums["doubt"] / sums["trusted"], 0.0), 0.5)
    patches = max(1.0, known / CORRELATION_LENGTH_M**2)
    found["aar_uncertainty"] = float(np.sqrt(wrong * (1 - wrong) / patches))


def _add_snowline(sums, has, min_observed, found, why):
    if "elevation" not in has:
        why["snowline"] = "no elevation"
        return
    share = sums["elevated"] / sums["glacier"]
    if share < min_observed:
        why["snowline"] = f"elevation known of {share:.2f} of the glacier < {min_observed:.2f}"
        return
    altitude, uncertainty, reason = snowline(sums.bins[0], sums.bins[1], sums.first, BIN_HEIGHT_M)
    if reason:
        why["snowline"] = reason
        return
    found["snowline"], found["snowline_uncertainty"] = altitude, uncertainty


def _dataset(layers, glaciers, numbers, reasons, min_observed):
    """Return the series with coordinates, units and names."""
    ids, names = _labels(glaciers)
    out = xr.Dataset(
        {
            name: (("glacier", "time"), numbers[..., place].T, {"units": units, "long_name": title})
            for place, (name, (units, title)) in enumerate(VARIABLES.items())
        },
        coords={"glacier": ids, "glac_name": ("glacier", names), "time": layers["time"]},
    )
    out["reason"] = (("glacier", "time"), reasons.T, {"long_name": "why a value is missing"})
    kept = {name: layers["time"].coords[name] for name in layers["time"].coords}
    kept = {name: one for name, one in kept.items() if one.dims == ("time",)}
    out = out.assign_coords(kept)
    out["glacier"].attrs["long_name"] = "glacier"
    known = {
        name: layers.attrs[name]
        for name in ("sensor", "level", "cards", "simulated")
        if name in layers.attrs
    }
    out.attrs = {**known, "summarize": json.dumps({"min_observed": min_observed})}
    return out


def _labels(glaciers):
    """Return ids and names of glaciers; a running number where outlines have no id."""
    if glaciers is None:
        return np.array(["all"]), np.array(["all"])
    size = len(glaciers)
    ids = _texts(glaciers, ("rgi_id", "RGIId", "id", "glims_id"), [str(n) for n in range(size)])
    names = _texts(glaciers, ("glac_name", "Name", "name"), [""] * size)
    if len(set(ids)) < size:
        twice = sorted({one for one in ids if ids.count(one) > 1})
        raise SchemaError(
            f"each outline needs an id of its own, found twice: {twice[:5]}; dissolve them"
        )
    return np.array(ids), np.array(names)


def _texts(frame, columns, default):
    for column in columns:
        if column in frame and not frame[column].isna().any():
            return [str(value) for value in frame[column]]
    return default
