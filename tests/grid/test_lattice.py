"""New grids: their CRS, their pixels and their chunks on one lattice."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.errors import GridError

AREA = (10.70, 46.77, 10.83, 46.83)


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


@pytest.mark.parametrize(
    ("area", "epsg"),
    [
        ((-68.3, -54.8, -68.2, -54.7), 32719),
        ((179.5, -17.2, -179.7, -16.4), 32760),
        ((179.6, -17.2, -179.2, -16.4), 32701),
        ((-181, 70, -178, 71.5), 32601),  # Wrangel Island
        ((-30, 83, -28, 83.9), 32626),
        ((-40, 83.2, -30, 84.2), 3413),
        ((-180, 84, 180, 90), 3413),
        ((-70, -81, -60, -79), 3031),
        ((-180, -90, 180, -60), 3031),
    ],
)
def test_the_crs_is_the_utm_zone_or_polar_stereographic(area, epsg):
    assert grid.crs_for(area) == f"EPSG:{epsg}"
    box = grid.grid_around(area, 1000)
    assert box.crs.to_epsg() == epsg
    assert max(box.shape) < 20_000


def test_a_grid_covers_the_bent_sides_of_a_wide_area():
    box = grid.grid_around((0, 60, 12, 62), 100)
    x = np.linspace(0, 12, 200)
    sides = shapely.points(np.r_[x, x], np.r_[np.full(200, 60.0), np.full(200, 62.0)])
    assert gpd.GeoSeries(sides, crs=4326).to_crs(32632).within(box.extent.geom).all()


def test_an_area_over_the_antimeridian_is_narrow_in_metres_and_refused_in_degrees():
    box = grid.grid_around((179.5, -17, -179.5, -16), 1000)
    assert box.shape.x * 1000 == pytest.approx(107_000, abs=2000)
    with pytest.raises(GridError, match=r"crosses the antimeridian \(longitude 179.5 to -179.5\)"):
        grid.grid_around((179.5, -17, -179.5, -16), 0.01, "EPSG:4326")


def test_an_area_without_a_place_in_the_crs_is_refused():
    with pytest.raises(GridError, match=r"no place in ETRS89.*LCC Europe: its bounds become"):
        grid.grid_around((0, -90, 20, -85), 1000, "EPSG:3034")


@settings(max_examples=60, deadline=None)
@given(
    x=st.integers(-300, 300),
    y=st.integers(-300, 300),
    rows=st.integers(1, 50),
    columns=st.integers(1, 50),
    chunk=st.integers(1, 64),
    resolution=st.sampled_from([10.0, 30.0, 0.25]),
    south_up=st.booleans(),
)
def test_snapping_enlarges_to_the_lattice_by_less_than_a_chunk(
    x, y, rows, columns, chunk, resolution, south_up
):
    corner = Affine(resolution, 0, x * resolution, 0, -resolution, y * resolution)
    plain = GeoBox((rows, columns), corner, "EPSG:32632")
    plain = plain.flipy() if south_up else plain
    snapped = grid.snapped(plain, chunk)
    for step, start in ((snapped.affine.a, snapped.affine.c), (snapped.affine.e, snapped.affine.f)):
        assert start % (chunk * abs(step)) == 0
    more_y, more_x = snapped.shape.y - rows, snapped.shape.x - columns
    assert 0 <= more_y < chunk
    assert 0 <= more_x < chunk
    assert snapped[more_y:, more_x:] == plain
    assert grid.snapped(snapped, chunk) == snapped


def test_overlapping_areas_share_chunks():
    one = grid.grid_around((10.70, 46.77, 10.76, 46.83), 10, chunk=128)
    two = grid.grid_around((10.75, 46.71, 10.83, 46.80), 10, chunk=128)
    for first, second in ((one.affine.c, two.affine.c), (one.affine.f, two.affine.f)):
        assert (second - first) % 1280 == 0
    assert one[-5:, -5:].extent.geom.equals(
        grid.grid_around(AREA[:2] + (10.76, 46.83), 10)[-5:, -5:].extent.geom
    )


def test_chunks_of_30_m_hold_whole_chunks_of_10_m():
    fine = grid.grid_around(AREA, 10, chunk=96)
    coarse = grid.grid_around(AREA, 30, chunk=96)
    lines = {coarse.affine.c + 30 * 96 * n for n in range(-3, 4)}
    assert lines <= {fine.affine.c + 10 * 96 * n for n in range(-30, 60)}
    # With 10 m in chunks of 288, chunks cover the very same ground.
    same = grid.grid_around(AREA, 10, chunk=288)
    assert (same.affine.c, same.affine.f) == (coarse.affine.c, coarse.affine.f)


@pytest.mark.parametrize(
    ("geobox", "chunk", "text"),
    [
        (GeoBox((5, 5), Affine(10, 0, 0, 0, -10, 0), "EPSG:32632"), 0, "found chunk=0"),
        (GeoBox((5, 5), Affine(10, 1, 0, 1, -10, 0), "EPSG:32632"), 4, "a rotated grid has no"),
        (
            GeoBox((5, 5), Affine(10, 0, 5, 0, -10, 0), "EPSG:32632"),
            4,
            r"10 x 10, 5 rows x 5 columns from \(5, 0\) starts 0.500 of a pixel off",
        ),
    ],
)
def test_what_cannot_be_snapped(geobox, chunk, text):
    with pytest.raises(GridError, match=text):
        grid.snapped(geobox, chunk)
