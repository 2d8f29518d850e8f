"""The grid of data: reading it, comparing it, and the area of its pixels."""

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Geod

from glaciercube.errors import GridError


def grid_of(data: xr.Dataset | xr.DataArray, name: str = "the data") -> GeoBox:
    """Return the grid of georeferenced data.

    Parameters
    ----------
    data : Dataset or DataArray
        With dims y and x, their coordinates and a CRS.
    name : str
        What the caller calls the data, for the message.

    Raises
    ------
    GridError
        If there is no CRS or no regular grid.
    """
    geobox = data.odc.geobox
    if geobox is None or not isinstance(geobox, GeoBox):
        raise GridError(
            f"{name} needs regular coordinates y and x, but has dims {tuple(data.dims)}"
        )
    if geobox.crs is None:
        raise GridError(
            f"{name} has no coordinate reference system; set it with .rio.write_crs(...)"
        )
    for dim, step, start in (
        ("y", geobox.affine.e, geobox.affine.f),
        ("x", geobox.affine.a, geobox.affine.c),
    ):
        centres = start + step * (np.arange(data.sizes[dim]) + 0.5)
        if not np.allclose(data[dim].values, centres, rtol=0, atol=abs(step) / 100):
            raise GridError(
                f"{name} needs regular coordinates y and x, but {dim} has gaps or steps of "
                "different length; select slices, not single rows and columns"
            )
    return geobox


def georeferenced(dataset: xr.Dataset, geobox: GeoBox) -> xr.Dataset:
    """Return a dataset with the coordinates and CRS of a grid on every variable.

    Parameters
    ----------
    dataset : Dataset
        Variables with dims (..., y, x) of the grid's shape.
    geobox : GeoBox
    """
    coords = xr_coords(geobox, dims=("y", "x"))
    out = dataset.assign_coords(coords)
    for variable in out.data_vars.values():
        if {"y", "x"} <= set(variable.dims):
            variable.encoding["grid_mapping"] = "spatial_ref"
            variable.attrs.pop("grid_mapping", None)
    return out


def require_same(first: GeoBox, second: GeoBox, names: tuple[str, str]) -> None:
    """Raise an error that shows both grids if they differ.

    Raises
    ------
    GridError
    """
    if first != second:
        raise GridError(
            f"{names[0]} and {names[1]} need the same grid: {describe(first)} against "
            f"{describe(second)}; reproject one with odc.geo.xr.xr_reproject"
        )


def describe(geobox: GeoBox) -> str:
    """Return a grid in one line.

    Examples
    --------
    >>> describe(GeoBox.from_bbox((0, 0, 100, 50), "EPSG:32632", resolution=10))
    'EPSG:32632, 10 x 10, 5 rows x 10 columns from (0, 50)'
    """
    step = geobox.resolution
    affine = geobox.affine
    return (
        f"{crs_name(geobox)}, {abs(step.x):g} x {abs(step.y):g}, "
        f"{geobox.shape.y} rows x {geobox.shape.x} columns from ({affine.c:g}, {affine.f:g})"
    )


def crs_name(geobox: GeoBox) -> str:
    """Return the short name of a grid's CRS: its EPSG code, else its own name.

    Examples
    --------
    >>> crs_name(GeoBox.from_bbox((0, 0, 100, 50), "EPSG:32632", resolution=10))
    'EPSG:32632'
    """
    if geobox.crs is None:
        return "no CRS"
    return f"EPSG:{geobox.crs.epsg}" if geobox.crs.epsg else str(geobox.crs.proj.name)


def pixel_area(geobox: GeoBox) -> np.ndarray:
    """Return the area of the pixels of each row.

    Parameters
    ----------
    geobox : GeoBox

    Returns
    -------
    array (y,), float64
        Square metres: the product of the steps for a projected CRS, geodesic on the
        WGS84 ellipsoid for a geographic one.

    Examples
    --------
    >>> pixel_area(GeoBox.from_bbox((0, 0, 100, 20), "EPSG:32632", resolution=10))
    array([100., 100.])
    """
    rows = geobox.shape.y
    if geobox.crs is None or not geobox.crs.geographic:
        return np.full(rows, abs(geobox.affine.determinant), np.float64)
    geod = Geod(ellps="WGS84")
    step_x = geobox.resolution.x
    ring_x = [0.0, step_x, step_x, 0.0]
    lines = geobox.affine.f + geobox.affine.e * np.arange(rows + 1)
    areas = np.empty(rows, np.float64)
    for row, (north, south) in enumerate(zip(lines[:-1], lines[1:], strict=True)):
        areas[row] = abs(geod.polygon_area_perimeter(ring_x, [north, north, south, south])[0])
    return areas
