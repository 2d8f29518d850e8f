"""Grids of data: their coordinates, description and the area of their pixels."""

import numpy as np
import pytest
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Geod

from glaciercube import grid
from glaciercube.errors import GridError


def test_the_grid_of_data_is_the_one_they_were_put_on(cube, geobox):
    assert grid.grid_of(cube) == geobox
    assert grid.grid_of(cube["valid"]) == geobox
    assert grid.grid_of(cube.isel(y=slice(3, 9), x=slice(2, 5))) == geobox[3:9, 2:5]


def test_data_without_coordinates_or_crs_are_refused(cube):
    with pytest.raises(
        GridError, match=r"the cube needs regular coordinates y and x, but has dims \('t'"
    ):
        grid.grid_of(xr.DataArray(np.zeros(3), dims="t"), "the cube")
    bare = cube["valid"].drop_vars("spatial_ref")
    bare.encoding.clear()
    for name in ("y", "x"):
        bare[name].attrs.clear()
    with pytest.raises(GridError, match="the mask has no coordinate reference system; set it with"):
        grid.grid_of(bare, "the mask")


def test_irregular_coordinates_are_refused(cube):
    x = cube["x"].values.copy()
    x[5:] += 7
    with pytest.raises(GridError, match="but x has gaps or steps of different length"):
        grid.grid_of(cube["valid"].assign_coords(x=x))


def test_every_variable_carries_the_crs(cube, geobox, tmp_path):
    bare = xr.Dataset({"a": (("y", "x"), np.zeros(geobox.shape)), "b": ("t", [1, 2])})
    bare["a"].attrs["grid_mapping"] = "elsewhere"
    out = grid.georeferenced(bare, geobox)
    assert out["a"].encoding["grid_mapping"] == "spatial_ref"
    assert "grid_mapping" not in out["a"].attrs
    assert "grid_mapping" not in out["b"].encoding
    assert grid.grid_of(out) == geobox
    out.to_zarr(tmp_path / "a.zarr")
    again = xr.open_zarr(tmp_path / "a.zarr", decode_coords="all")
    assert grid.grid_of(again["a"]) == geobox


def test_two_grids_are_shown_if_they_differ(geobox):
    grid.require_same(geobox, geobox, ("one", "other"))
    with pytest.raises(GridError) as raised:
        grid.require_same(geobox, geobox.pad(1), ("outlines", "the cube"))
    text = str(raised.value)
    assert "outlines and the cube need the same grid" in text
    assert "96 rows x 80 columns from (600000, 5.00096e+06)" in text
    assert "98 rows x 82 columns" in text
    assert "xr_reproject" in text


def test_pixels_of_a_projected_grid_are_their_steps(geobox):
    np.testing.assert_array_equal(grid.pixel_area(geobox), np.full(96, 100.0))


@pytest.mark.parametrize("latitude", [0, 28, 46.8, -54.8, 80])
def test_pixels_in_degrees_are_geodesic(latitude):
    """The sum over a grid is the area of its outline, measured on the ellipsoid."""
    bounds = (10.0, latitude, 10.2, latitude + 0.1)
    box = GeoBox.from_bbox(bounds, "EPSG:4326", resolution=0.005)
    rows = grid.pixel_area(box)
    assert rows.shape == (20,)
    # East-west edges of a pixel are short geodesics; densify the outline as finely.
    outline = shapely.box(*bounds).segmentize(0.005)
    whole = abs(Geod(ellps="WGS84").geometry_area_perimeter(outline)[0])
    assert rows.sum() * box.shape.x == pytest.approx(whole, rel=1e-6)


def test_pixels_in_degrees_shrink_towards_the_pole():
    rows = grid.pixel_area(GeoBox.from_bbox((0, 60, 1, 62), "EPSG:4326", resolution=0.5))
    assert (np.diff(rows) > 0).all()  # the first row is the northernmost
    np.testing.assert_allclose(
        rows[-1] / rows[0], np.cos(np.radians(60.25)) / np.cos(np.radians(61.75)), rtol=2e-3
    )
