"""Time series of glaciers as lines with their uncertainty."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from glaciercube.errors import SchemaError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f")
"""Okabe & Ito (2008) without yellow, and grey: told apart by colour-blind readers."""

PART = "observed part"
"""Marks the points of an area that was not observed enough."""

SEASON = np.timedelta64(120, "D")
"""Snow-covered share and snowline of dates further apart belong to two seasons."""

MARKERS = "osD^vP*X"
PANELS = {
    "area": ("area_uncertainty", "glacier area (km²)"),
    "aar": ("aar_uncertainty", "snow-covered share (AAR)"),
    "snowline": ("snowline_uncertainty", "snowline (m)"),
}


def plot_series(series: xr.Dataset, *, axes: Any = None, max_glaciers: int = 8) -> np.ndarray:
    """Return Axes with area, accumulation area ratio and snowline over time.

    Parameters
    ----------
    series : Dataset (glacier, time)
        As `summarize` gives it.
    axes : Axes or sequence of Axes, optional
        One per panel; by default a new figure.
    max_glaciers : int
        The largest ones are drawn.

    Returns
    -------
    array of Axes
        One panel per variable that has any value. Shading and bars are one uncertainty;
        open marks are the area seen on dates on which too little was observed.

    Raises
    ------
    SchemaError
        If the series has none of these variables, or there are too few Axes.
    """
    known = [name for name in (*PANELS, "area_observed", "reason") if name in series]
    known += [error for name, (error, _) in PANELS.items() if name in series and error in series]
    held = series[known].compute()
    names = [name for name in PANELS if name in held and held[name].notnull().any()]
    if not names and "area_observed" in held:
        names = ["area"]
    if not names:
        raise SchemaError(
            f"plot needs one of {list(PANELS)} with a value in the series, which has "
            f"{sorted(map(str, series.data_vars))}"
        )
    panels, figure = _panels(axes, len(names))
    shown, total = _largest(held, max_glaciers)
    for axis, name in zip(panels, names, strict=False):
        for place, glacier in enumerate(shown["glacier"].values):
            _line(axis, shown.sel(glacier=glacier), name, place, _label(shown, glacier))
        axis.set_ylabel(PANELS[name][1])
        axis.grid(True, alpha=0.3, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    if "aar" in names:
        panels[names.index("aar")].set_ylim(-0.03, 1.03)
    _finish(panels, figure, series, shown, total)
    return panels


def _panels(axes, count):
    if axes is None:
        figure, made = plt.subplots(
            count, 1, sharex=True, squeeze=False, layout="constrained", figsize=(8, 1 + 2.2 * count)
        )
        return made[:, 0], figure
    given = np.atleast_1d(np.asarray(axes, object)).ravel()
    if len(given) < count:
        raise SchemaError(f"plot needs {count} Axes for {count} panels, found {len(given)}")
    return given[:count], None


def _largest(series, count):
    """Return the largest glaciers, and how many there are."""
    total = series.sizes["glacier"]
    if total <= count:
        return series, total
    size = series["area_observed" if "area_observed" in series else "area"].max("time").fillna(0)
    places = np.sort(np.argsort(-size.values, kind="stable")[:count])
    return series.isel(glacier=places), total


def _label(series, glacier):
    name = str(series["glac_name"].sel(glacier=glacier).item()) if "glac_name" in series else ""
    return name or str(glacier)


def _line(axis, one, name, place, label):
    colour = COLOURS[place % len(COLOURS)]
    marker = MARKERS[place % len(MARKERS)]
    time, values = one["time"].values, one[name].values
    error_name = PANELS[name][0]
    error = one[error_name].values if error_name in one else np.full(len(values), np.nan)
    known = np.isfinite(values)
    style = {"color": colour, "label": label}
    width = 1.4 if name == "area" else 0.7
    points = (
        (time[known], values[known]) if name == "area" else _seasons(time[known], values[known])
    )
    axis.plot(*points, marker=marker, markersize=4, linewidth=width, **style)
    band = known & np.isfinite(error)
    if name == "area":
        axis.fill_between(
            time[band], (values - error)[band], (values + error)[band],
            color=colour, alpha=0.18, linewidth=0,
        )  # fmt: skip
        if "area_observed" in one:
            part = ~known & (one["area_observed"].values > 0)
            axis.plot(
                time[part], one["area_observed"].values[part], marker, markersize=4,
                markerfacecolor="none", color=colour, alpha=0.6, gid=PART,
            )  # fmt: skip
    else:
        axis.errorbar(
            time[band], values[band], error[band], fmt="none", ecolor=colour, alpha=0.6, capsize=2
        )


def _seasons(time, values):
    """Return points with a gap between seasons: what snow does in winter is not on the line.

    One date per year stays one line.
    """
    far = np.diff(time) > SEASON
    if far.all():
        return time, values
    late = np.flatnonzero(far) + 1
    middle = time[late - 1] + (time[late] - time[late - 1]) / 2
    return np.insert(time, late, middle), np.insert(values, late, np.nan)


def _finish(panels, figure, series, shown, total):
    title = []
    if shown.sizes["glacier"] < total:
        title.append(f"{shown.sizes['glacier']} largest of {total} glaciers")
    if series.attrs.get("simulated"):
        title.append("simulated data")
    handles, labels = panels[0].get_legend_handles_labels()
    parts = [one for one in panels[0].lines if one.get_gid() == PART and len(one.get_xdata())]
    if parts:
        handles.append(parts[0])
        labels.append("observed part only")
    if parts or shown.sizes["glacier"] > 1 or _label(shown, shown["glacier"].values[0]) != "all":
        panels[0].legend(handles, labels, frameon=False, fontsize=8, ncols=2, loc="best")
    if title:
        panels[0].set_title(", ".join(title), fontsize=10, loc="left")
    if figure is not None:
        panels[-1].set_xlabel("date (UTC)")
        figure.align_ylabels(list(panels))
