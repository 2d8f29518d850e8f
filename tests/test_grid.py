"""Grids: from data and areas, their description and the area of their pixels."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Geod

from glaciercube import grid
from glaciercube.errors import GridError

AREA = (10.70, 46.77, 10.83, 46.83)


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


@pytest.mark.parametrize("resolution", [10, 20, 30, 100])
def test_grids_lie_on_multiples_of_the_resolution(resolution):
    box = grid.grid_around(AREA, resolution)
    assert box.crs.to_epsg() == 32632
    assert box.affine.c % resolution == 0
    assert box.affine.f % resolution == 0
    assert abs(box.resolution.x) == resolution
    extent = box.extent.to_crs("EPSG:4326").geom.buffer(1e-9)
    assert extent.contains(shapely.box(*AREA))


def test_grids_of_neighbours_share_pixels():
    west = grid.grid_around((10.70, 46.77, 10.76, 46.83), 10)
    east = grid.grid_around((10.75, 46.77, 10.83, 46.83), 10)
    shift = (east.affine.c - west.affine.c) / 10, (east.affine.f - west.affine.f) / 10
    assert all(float(step).is_integer() for step in shift)


def test_another_crs_in_degrees():
    box = grid.grid_around(AREA, 0.001, "EPSG:4326")
    assert box.crs.geographic
    assert box.shape == (60, 130)


def test_south_of_the_equator_is_the_southern_zone():
    assert grid.grid_around((-68.3, -54.8, -68.2, -54.7), 10).crs.to_epsg() == 32719


@pytest.mark.parametrize(
    "area",
    [
        AREA,
        list(AREA),
        np.array(AREA),
        shapely.box(*AREA),
        gpd.GeoSeries([shapely.box(*AREA)], crs=4326),
        gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(*AREA)], crs=4326),
        gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(*AREA)], crs=4326).to_crs(3035),
        GeoBox.from_bbox(AREA, "EPSG:4326", resolution=0.01),
    ],
    ids=lambda area: type(area).__name__,
)
def test_areas_in_any_form_are_the_same_place(area):
    frame = grid.area_frame(area).to_crs(4326)
    np.testing.assert_allclose(frame.total_bounds, AREA, atol=1e-3)


@pytest.mark.parametrize(
    ("area", "text"),
    [
        ("Aletsch", "an area is outlines .*; found str"),
        ((1, 2, 3), "found tuple"),
        (None, "found NoneType"),
        (
            gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)]),
            "have no coordinate reference system; use",
        ),
        (gpd.GeoDataFrame(geometry=[], crs=4326), "the area is empty"),
        (gpd.GeoDataFrame(geometry=[shapely.Polygon()], crs=4326), "the area is empty"),
        (shapely.Point(), "the area is empty"),
        (GeoBox((10, 10), Affine(0.1, 0, 0, 0, -0.1, 1), None), "grid has no coordinate reference"),
    ],
)
def test_what_is_no_area(area, text):
    with pytest.raises(GridError, match=text):
        grid.area_frame(area)


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
