"""Polygons in pixels, and which pixels they hold."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid
from glaciercube.errors import GridError

DISC = shapely.Point(600_403, 5_000_497).buffer(300, quad_segs=64)


def centres(geobox):
    rows, columns = np.mgrid[0 : geobox.shape.y, 0 : geobox.shape.x] + 0.5
    affine = geobox.affine
    return affine.a * columns + affine.c, affine.e * rows + affine.f


def test_inside_is_by_pixel_centres(frame, geobox):
    x, y = centres(geobox)
    expected = shapely.contains_xy(
        shapely.union_all(shapely.make_valid(frame.geometry.values)), x, y
    )
    found = cover.inside(frame, geobox)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)


def test_touched_takes_every_pixel_with_any_cover(frame, geobox):
    disc = frame.iloc[[0]]
    window, share = cover.fraction(disc, geobox)
    touched = cover.inside(disc, geobox, touched=True)
    assert touched[window.slices][share > 0].all()
    assert touched.sum() == touched[window.slices].sum()
    assert touched.sum() > cover.inside(disc, geobox).sum()


def test_outlines_in_another_crs(frame, geobox):
    disc = frame.iloc[[0]]
    np.testing.assert_array_equal(
        cover.inside(disc.to_crs(4326), geobox), cover.inside(disc, geobox)
    )


def test_polygonal_drops_lines_and_points():
    mixed = shapely.GeometryCollection(
        [shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (5, 5)])]
    )
    assert cover.polygonal(mixed).equals(shapely.box(0, 0, 1, 1))
    assert cover.polygonal(None).is_empty
    assert cover.polygonal(shapely.LineString([(0, 0), (1, 1)])).is_empty


def test_outlines_without_crs(geobox):
    with pytest.raises(GridError, match="no coordinate reference system"):
        cover.inside(gpd.GeoDataFrame(geometry=[DISC]), geobox)


def test_grid_without_crs(frame):
    with pytest.raises(
        GridError, match="the grid has no coordinate reference system: no CRS, 10 x 10"
    ):
        cover.inside(frame, GeoBox((10, 10), Affine.scale(10), None))


def test_a_long_side_of_a_box_in_degrees_bends():
    """Its middle lies where the parallel runs, not on the chord between the corners."""
    geobox = grid.grid_around((6, 60, 12, 61), 100, "EPSG:32632")
    (box,) = cover.in_pixels(gpd.GeoSeries([shapely.box(6, 60, 12, 61)], crs=4326), geobox)
    middle = gpd.GeoSeries([shapely.Point(9, 60)], crs=4326).to_crs(32632)[0]
    row = (middle.y - geobox.affine.f) / geobox.affine.e
    column = (middle.x - geobox.affine.c) / geobox.affine.a
    assert shapely.Point(column, row).distance(box.boundary) < 0.01
    corner = shapely.get_coordinates(box)[:, 1][0]
    assert row - corner > 30  # the chord between the corners runs 3 km and more further north


@pytest.mark.parametrize(
    "geobox",
    [
        GeoBox.from_bbox((0, 0, 40_000, 40_000), "EPSG:3413", resolution=100),
        GeoBox.from_bbox((-30_000, -20_000, 40_000, 40_000), "EPSG:3413", resolution=100),
    ],
    ids=["at the pole", "around the pole"],
)
def test_a_cap_in_degrees_covers_a_polar_grid(geobox):
    cap = gpd.GeoSeries([shapely.box(-180, 88, 180, 90)], crs=4326)
    inside = cover.inside(cap, geobox)
    assert inside.mean() > 0.999  # but for a thread where the cap's two ends meet


def test_outlines_on_both_sides_of_the_antimeridian():
    geobox = grid.grid_around((179.9, -17, -179.9, -16.9), 100)
    frame = grid.area_frame((179.95, -16.97, -179.95, -16.93))
    window, share = cover.fraction(frame, geobox)
    area = share.sum(dtype=float) * 0.01
    # At the zone's edge an area in UTM is 0.2 % larger than on the ground.
    assert area == pytest.approx(float(grid.ground_area(frame)[0]), rel=2e-3)
    assert window.shape[1] == pytest.approx(107, abs=3)  # 10.65 km wide, in one piece
    assert (share[5:-5, 5:-5] == 1).all()


def test_outlines_must_lie_on_the_grid(frame, geobox):
    cover.require_overlap(frame, geobox)
    cover.require_overlap(frame.to_crs(4326), geobox)
    far = gpd.GeoSeries([shapely.box(86.8, 27.9, 86.9, 28.0)], crs=4326)
    with pytest.raises(GridError) as raised:
        cover.require_overlap(far, geobox, "the RGI outlines")
    assert str(raised.value).startswith(
        "the RGI outlines lie at longitude 86.80 to 86.90, latitude 27.90 to 28.00, but the grid "
        "is at longitude 10.27 to 10.28, latitude 45.15 to 45.16 (EPSG:32632, 10 x 10, 96 rows"
    )
    # To touch along a side is not to cover.
    beside = gpd.GeoSeries([shapely.box(599_000, 5_000_000, 600_000, 5_001_000)], crs=32632)
    with pytest.raises(GridError, match="so none covers it; take outlines of this place, or check"):
        cover.require_overlap(beside, geobox)
