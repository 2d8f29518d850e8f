"""Maps of layers, cubes and outlines: north up, in kilometres, one panel per date."""

import math
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import colors, patches

from glaciercube import grid, schema, terrain
from glaciercube.errors import SchemaError

MAX_PIXELS = 1000
"""Along each axis; larger maps are thinned before anything is computed."""

COLUMNS = 4
PANEL_INCHES = 3.2
TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("swir16", "nir", "red")
COLOURINGS = {TRUE_COLOUR: "true colour", FALSE_COLOUR: "false colour (swir16, nir, red)"}
DEGREE_KM = 111.32
NOT_OBSERVED: dict[str, Any] = {
    "facecolor": "white",
    "edgecolor": schema.NODATA_COLOUR,
    "hatch": "////",
}
SUN_AZIMUTH, SUN_ELEVATION = 315.0, 45.0
SHADE = 0.3
"""How dark full shade is drawn."""


def plot_layers(
    layers: xr.Dataset,
    *,
    axes: Any = None,
    layer: str | None = None,
    outlines: gpd.GeoDataFrame | None = None,
    max_maps: int = 12,
) -> np.ndarray:
    """Return Axes with one map of categories per date.

    Parameters
    ----------
    layers : Dataset
        `facies` or `extent` (time, y, x), uint8; shaded by `elevation` where present.
    axes : Axes or sequence of Axes, optional
        One per date; by default a new figure.
    layer : {"facies", "extent"}, optional
        Which to draw; facies where there are any.
    outlines : GeoDataFrame, optional
        Drawn on top, in any CRS.
    max_maps : int
        Of more dates, this many are drawn, evenly spread.

    Returns
    -------
    array of Axes

    Raises
    ------
    SchemaError
        If there is no such layer or there are too few Axes.
    """
    name = layer or ("facies" if "facies" in layers else "extent")
    if name not in schema.TASKS or name not in layers:
        raise SchemaError(
            f"plot has no layer {name!r} to draw; there are "
            f"{sorted(set(schema.TASKS) & set(map(str, layers.data_vars)))}"
        )
    dates, total = _dates(layers, max_maps)
    small = _thinned(dates)
    codes = small[name].transpose("time", "y", "x").values
    picture = _palette(name)[codes]
    if "elevation" in small:
        picture[..., :3] *= _shading(small)[..., np.newaxis]
    panels = _maps(picture, small, axes, outlines)
    present = set(np.unique(codes).tolist())
    handles = [
        patches.Patch(facecolor=one.colour, edgecolor="0.5", label=one.name.replace("_", " "))
        for one in schema.TASKS[name]
        if one.code in present
    ]
    if schema.NODATA in present:
        handles.append(patches.Patch(label="not observed", **NOT_OBSERVED))
    _legend(panels, handles, axes)
    _title(
        panels, axes, [schema.flag_attrs(name)["long_name"], *_notes(layers, len(panels), total)]
    )
    return panels


def plot_cube(
    cube: xr.Dataset,
    *,
    axes: Any = None,
    bands: Sequence[str] | None = None,
    outlines: gpd.GeoDataFrame | None = None,
    max_maps: int = 12,
) -> np.ndarray:
    """Return Axes with one colour picture per date.

    Parameters
    ----------
    cube : Dataset
        `reflectance` (time, band, y, x).
    axes : Axes or sequence of Axes, optional
        One per date; by default a new figure.
    bands : three names, optional
        For red, green and blue; true colour where the cube has it, else swir16, nir, red.
    outlines : GeoDataFrame, optional
        Drawn on top, in any CRS.
    max_maps : int
        Of more dates, this many are drawn, evenly spread.

    Returns
    -------
    array of Axes
        Reflectance 0 to 1 in steps that the eye sees as even (square root), the same for
        all dates; hatched where not measured.

    Raises
    ------
    SchemaError
        If the cube lacks a band or there are too few Axes.
    """
    have = [str(band) for band in cube["band"].values]
    chosen = tuple(bands or (TRUE_COLOUR if set(TRUE_COLOUR) <= set(have) else FALSE_COLOUR))
    if len(chosen) != 3 or not set(chosen) <= set(have):
        raise SchemaError(f"plot needs three bands of {have} for colours, found {list(chosen)}")
    dates, total = _dates(cube, max_maps)
    small = _thinned(dates)
    values = small["reflectance"].sel(band=list(chosen)).transpose("time", "y", "x", "band").values
    seen = ~np.isnan(values).any(axis=-1, keepdims=True)
    picture = np.concatenate([np.sqrt(np.clip(np.nan_to_num(values), 0, 1)), seen], axis=-1)
    panels = _maps(picture, small, axes, outlines)
    words = f"reflectance, {COLOURINGS.get(chosen, ', '.join(chosen) + ' as red, green, blue')}"
    _title(panels, axes, [words, *_notes(cube, len(panels), total)])
    return panels


def plot_outlines(outlines: gpd.GeoDataFrame, *, axes: Any = None) -> plt.Axes:
    """Return Axes with outlines coloured by year.

    Parameters
    ----------
    outlines : GeoDataFrame
        In any CRS; by the year of `src_date` where there is that column.
    axes : Axes, optional
        By default a new figure.

    Raises
    ------
    SchemaError
        If there are no outlines or no CRS.
    """
    if outlines.empty or outlines.crs is None:
        raise SchemaError(
            f"plot needs outlines with a coordinate reference system, found {len(outlines)} rows "
            f"and CRS {outlines.crs}"
        )
    projected = outlines.to_crs(outlines.estimate_utm_crs())
    frame = projected.set_geometry(projected.geometry.scale(1e-3, 1e-3, origin=(0, 0)))
    if axes is None:
        _, axes = plt.subplots(layout="constrained", figsize=(6.5, 6))
    years = frame["src_date"].dt.year if "src_date" in frame else None
    if years is None:
        frame.boundary.plot(ax=axes, color="#0072b2", linewidth=1.2)
    else:
        _by_year(frame, years, axes)
    axes.set_aspect("equal")
    axes.set_xlabel(f"easting (km, {projected.crs.to_string()})")
    axes.set_ylabel("northing (km)")
    axes.ticklabel_format(useOffset=False, style="plain")
    words = ["glacier outlines", *(["simulated data"] if outlines.attrs.get("simulated") else [])]
    axes.set_title(", ".join(words), fontsize=10, loc="left")
    return axes


def _by_year(frame, years, axes):
    span = sorted(years.unique())
    table = plt.get_cmap("viridis")
    handles = []
    for place, year in enumerate(span):
        share = place / max(1, len(span) - 1)
        colour = colors.to_hex(table(0.9 * share))
        frame[years == year].boundary.plot(ax=axes, color=colour, linewidth=2.4 - 1.4 * share)
        handles.append(patches.Patch(color=colour, label=str(year)))
    axes.legend(handles=handles, frameon=False, fontsize=8, title="year", loc="best")


def _dates(data, max_maps):
    """Return at most so many dates, evenly spread, and how many there are."""
    if "time" not in data.dims:
        static = [name for name in data.data_vars if name == "elevation"]
        data = data.drop_vars(static).expand_dims("time").assign(data[static])
    total = data.sizes["time"]
    if total <= max_maps:
        return data, total
    places = np.unique(np.linspace(0, total - 1, max_maps).round().astype(int))
    return data.isel(time=places), total


def _thinned(data):
    """Return every n-th pixel, so that no map has more than MAX_PIXELS a side."""
    step = max(1, math.ceil(max(data.sizes["y"], data.sizes["x"]) / MAX_PIXELS))
    every = slice(step // 2, None, step)
    return data.isel(y=every, x=every)


def _palette(name):
    """Return red, green, blue and opacity of each code; what is not observed is transparent."""
    table = np.zeros((256, 4))
    for one in schema.TASKS[name]:
        table[one.code] = colors.to_rgba(one.colour)
    return table


def _shading(data):
    """Return the relief's shade, 1 in full light (y, x)."""
    geobox = grid.grid_of(data, "the layers")
    step_x, step_y = geobox.resolution.x, geobox.resolution.y
    if _geographic(geobox):
        middle = math.cos(math.radians(float(data["y"].mean())))
        step_x, step_y = step_x * DEGREE_KM * 1e3 * middle, step_y * DEGREE_KM * 1e3
    elevation = data["elevation"].transpose("y", "x").values
    slope, aspect = terrain.slope_aspect(elevation, step_x, step_y)
    light = terrain.hillshade(slope, aspect, SUN_AZIMUTH, SUN_ELEVATION)
    flat = math.sin(math.radians(SUN_ELEVATION))
    return np.nan_to_num(np.clip(1 - SHADE + SHADE * light / flat, 0, 1), nan=1.0)


def _maps(picture, data, axes, outlines):
    """Return Axes with a picture (time, y, x, red green blue opacity) each, its date and scale."""
    geobox = grid.grid_of(data, "the data")
    panels = _panels(axes, picture.shape[:3])
    box = geobox.boundingbox
    unit = 1.0 if _geographic(geobox) else 1e-3
    extent = [value * unit for value in (box.left, box.right, box.bottom, box.top)]
    upright = picture if geobox.affine.e < 0 else picture[:, ::-1]
    upright = upright if geobox.affine.a > 0 else upright[:, :, ::-1]
    for axis, one, moment in zip(panels, upright, _titles(data), strict=True):
        axis.patch.set(**NOT_OBSERVED)
        axis.imshow(one, extent=extent, interpolation="nearest")
        if _geographic(geobox):
            axis.set_aspect(1 / math.cos(math.radians((box.bottom + box.top) / 2)))
        axis.set_title(moment, fontsize=9)
        axis.ticklabel_format(useOffset=False, style="plain")
        axis.tick_params(labelsize=7)
        axis.locator_params(nbins=4)
        if outlines is not None:
            line = outlines.to_crs(str(geobox.crs)).geometry.boundary.scale(
                unit, unit, origin=(0, 0)
            )
            line.plot(ax=axis, color="black", linewidth=0.9, aspect=None)
            axis.set_xlim(extent[:2])
            axis.set_ylim(extent[2:])
    _labels(panels, geobox)
    _scale_bar(panels[0], geobox, extent)
    return panels


def _geographic(geobox):
    return geobox.crs is not None and geobox.crs.geographic


def _titles(data):
    if "time" not in data.coords:
        return [""] * data.sizes["time"]
    dates = [str(np.datetime_as_string(moment, unit="D")) for moment in data["time"].values]
    if "glacier_year" in data.coords:
        years = data["glacier_year"].values
        return [f"{year} (to {date})" for year, date in zip(years, dates, strict=True)]
    return dates


def _panels(axes, shape):
    count, rows, columns = shape
    if axes is not None:
        given = np.atleast_1d(np.asarray(axes, object)).ravel()
        if len(given) < count:
            raise SchemaError(f"plot needs {count} Axes for {count} dates, found {len(given)}")
        return given[:count]
    wide = min(COLUMNS, count)
    tall = math.ceil(count / wide)
    height = PANEL_INCHES * min(2.0, max(0.5, rows / columns))
    _, made = plt.subplots(
        tall, wide, squeeze=False, sharex=True, sharey=True, layout="constrained",
        figsize=(max(5.0, PANEL_INCHES * wide + 1.2), height * tall + 0.8),
    )  # fmt: skip
    for axis in made.ravel()[count:]:
        axis.set_visible(False)
    return made.ravel()[:count]


def _labels(panels, geobox):
    geographic = _geographic(geobox)
    across = (
        f"longitude (°, {grid.crs_name(geobox)})"
        if geographic
        else f"easting (km, {grid.crs_name(geobox)})"
    )
    upward = "latitude (°)" if geographic else "northing (km)"
    for axis in panels:
        if axis.get_subplotspec() is None or axis.get_subplotspec().is_first_col():
            axis.set_ylabel(upward, fontsize=8)
        axis.set_xlabel(across, fontsize=8)
        axis.label_outer()


def _scale_bar(axis, geobox, extent):
    """Draw a bar of a round length, about a quarter of the map's width."""
    left, right, bottom, top = extent
    per_km = 1.0
    if _geographic(geobox):
        per_km = 1 / (DEGREE_KM * math.cos(math.radians((bottom + top) / 2)))
    length = _round_length((right - left) / per_km / 4)
    start = left + 0.05 * (right - left)
    height = bottom + 0.05 * (top - bottom)
    words = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    axis.plot(
        [start, start + length * per_km], [height, height], color="white", linewidth=5, zorder=5
    )
    axis.plot(
        [start, start + length * per_km], [height, height], color="black", linewidth=2.5, zorder=5
    )
    box = {"facecolor": "white", "alpha": 0.7, "pad": 1, "linewidth": 0}
    axis.text(
        start + length * per_km / 2, height + 0.025 * (top - bottom), words, ha="center",
        va="bottom", fontsize=7, bbox=box, zorder=6,
    )  # fmt: skip


def _round_length(length):
    """Return the largest of 1, 2, 5 times a power of ten that is not longer.

    >>> _round_length(0.3)
    0.2
    """
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length)


def _legend(panels, handles, axes):
    if axes is None:
        figure = panels[0].figure
        figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    else:
        panels[0].legend(handles=handles, fontsize=7, loc="upper right")


def _notes(data, drawn, total):
    notes = [f"{drawn} of {total} dates"] if drawn < total else []
    if data.attrs.get("sensor"):
        notes.append(str(data.attrs["sensor"]))
    return [*notes, "simulated data"] if data.attrs.get("simulated") else notes


def _title(panels, axes, words):
    if axes is None:
        panels[0].figure.suptitle(", ".join(words), fontsize=10)
    elif "simulated data" in words:
        panels[0].set_title(f"{panels[0].get_title()} (simulated data)", fontsize=9)
