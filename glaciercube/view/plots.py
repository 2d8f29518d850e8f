"""One call to draw whatever a step of the work gave."""

from typing import Any

import geopandas as gpd
import xarray as xr

from glaciercube.errors import SchemaError
from glaciercube.view import lines, maps


def plot(data: xr.Dataset | xr.DataArray | gpd.GeoDataFrame, *, axes: Any = None, **options: Any):
    """Return Axes with a picture of data, chosen by what the data are.

    Parameters
    ----------
    data : Dataset, DataArray or GeoDataFrame
        A series (glacier, time): area, accumulation area ratio and snowline over time.
        Layers with `extent` or `facies`: one map per date. A cube with `reflectance`: one
        colour picture per date. Outlines: coloured by year.
    axes : matplotlib Axes or sequence of them, optional
        To draw into; by default a new figure.
    **options
        Layers and cube: `outlines` (GeoDataFrame to draw on top), `max_maps` (12), and
        `layer` ("facies" or "extent") or `bands` (three names). Series: `max_glaciers` (8).

    Returns
    -------
    Axes or array of Axes

    Raises
    ------
    SchemaError
        If there is nothing in the data that it can draw.
    """
    if isinstance(data, gpd.GeoDataFrame):
        return maps.plot_outlines(data, axes=axes, **options)
    if isinstance(data, xr.DataArray) and data.name is not None:
        data = data.to_dataset()
    if isinstance(data, xr.Dataset):
        if "glacier" in data.dims:
            return lines.plot_series(data, axes=axes, **options)
        if "facies" in data or "extent" in data:
            return maps.plot_layers(data, axes=axes, **options)
        if "reflectance" in data:
            return maps.plot_cube(data, axes=axes, **options)
    raise SchemaError(
        "plot draws a series (glacier, time), layers with 'extent' or 'facies', a cube with "
        f"'reflectance', or outlines; found {_described(data)}"
    )


def _described(data):
    if isinstance(data, xr.Dataset):
        return f"a Dataset with {sorted(map(str, data.data_vars))}"
    if isinstance(data, xr.DataArray):
        return f"a DataArray named {data.name!r} with dims {tuple(data.dims)}"
    return f"{type(data).__name__}"
