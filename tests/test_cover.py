import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid
from glaciercube.errors import GridError
from glaciercube.windows import Window

DISC = shapely.Point(600_403, 5_000_497).buffer(300, quad_segs=64)


@pytest.fixture
def frame():
    """Return a disc, a triangle that leaves the grid, and a bow tie."""
    triangle = shapely.Polygon([(600_701, 5_000_103), (601_203, 5_000_201), (600_704, 5_000_457)])
    bow = shapely.Polygon(
        [(600_001, 5_000_807), (600_097, 5_000_901), (600_099, 5_000_803), (600_003, 5_000_912)]
    )
    return gpd.GeoDataFrame(geometry=[DISC, triangle, bow], crs="EPSG:32632")


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


@pytest.mark.parametrize(
    "chunks", [{"y": 32, "x": 40}, {"y": 17, "x": 80}, {"y": (90, 6), "x": (1, 79)}]
)
@pytest.mark.parametrize("touched", [False, True])
def test_blocks_do_not_change_the_mask(frame, geobox, chunks, touched, no_compute):
    with no_compute:
        lazy = cover.lazy_inside(frame, geobox, chunks, touched=touched)
    assert lazy.dims == ("y", "x")
    assert lazy.dtype == bool
    assert grid.grid_of(lazy) == geobox
    np.testing.assert_array_equal(lazy.values, cover.inside(frame, geobox, touched=touched))


def test_names_follow_polygons_grid_and_option(frame, geobox):
    chunks = {"y": 32, "x": 40}
    name = cover.lazy_inside(frame, geobox, chunks).data.name
    assert name == cover.lazy_inside(frame.copy(), geobox, chunks).data.name
    others = [
        cover.lazy_inside(frame.iloc[:2], geobox, chunks),
        cover.lazy_inside(frame, geobox, chunks, touched=True),
        cover.lazy_inside(frame, geobox.pad(1), chunks),
    ]
    assert len({name, *(one.data.name for one in others)}) == 4


def test_a_block_carries_only_the_polygons_near_it(frame, geobox):
    pieces, _ = cover.lazy_pieces(frame, geobox, ((32, 32, 32), (40, 40)))
    cells = pieces.compute()
    window, parts = cells[2, 1]
    assert window == Window(64, 96, 40, 80)
    assert [number for number, _ in parts] == [0, 1]
    for _, wkb in parts:
        west, north, east, south = shapely.from_wkb(wkb).bounds
        assert west >= 38
        assert north >= 62
        assert east <= 82
        assert south <= 98


def test_fraction_against_shapely(geobox):
    window, share = cover.fraction(DISC, geobox)
    assert share.dtype == np.float32
    x, y = centres(geobox)
    x, y = x[window.slices], y[window.slices]
    boxes = shapely.box(x - 5, y - 5, x + 5, y + 5)
    expected = shapely.area(shapely.intersection(boxes, DISC)) / 100
    np.testing.assert_allclose(share, expected, atol=1e-5)
    assert share.sum(dtype=float) * 100 == pytest.approx(DISC.area, rel=1e-6)


def test_fraction_of_rows_counts_overlaps_once(geobox):
    twice = gpd.GeoDataFrame(geometry=[DISC, DISC.buffer(-20)], crs="EPSG:32632")
    window, share = cover.fraction(twice, geobox)
    assert share.max() == 1
    assert share.sum(dtype=float) * 100 == pytest.approx(DISC.area, rel=1e-6)
    assert window.shape == share.shape


def test_a_hole_is_not_covered(geobox):
    ring = DISC - DISC.buffer(-100)
    _, share = cover.fraction(ring, geobox)
    assert share.sum(dtype=float) * 100 == pytest.approx(ring.area, rel=1e-5)


def test_south_up_grids_and_degrees_work_the_same():
    flipped = GeoBox.from_bbox(
        (600_000, 5_000_000, 600_800, 5_000_960), "EPSG:32632", resolution=10
    ).flipy()
    _, share = cover.fraction(DISC, flipped)
    assert share.sum(dtype=float) * 100 == pytest.approx(DISC.area, rel=1e-6)


def test_fraction_off_the_grid(geobox):
    window, share = cover.fraction(shapely.box(0, 0, 10, 10), geobox)
    assert window.shape == share.shape == (0, 0)


def test_windows_add_up_to_the_whole(geobox):
    (polygon,) = cover.in_pixels(gpd.GeoSeries([DISC], crs="EPSG:32632"), geobox)
    total = 0.0
    for y0 in (0, 40, 80):
        for x0 in (0, 33, 66):
            window = Window(y0, min(96, y0 + 40), x0, min(80, x0 + 33))
            for _, small, share in cover.window_fractions([(5, polygon)], window):
                assert window.y0 <= small.y0 < small.y1 <= window.y1
                total += share.sum(dtype=float)
    assert total * 100 == pytest.approx(DISC.area, rel=1e-6)


def test_zones_reach_one_pixel_beyond_the_block():
    block = Window(4, 8, 4, 8)
    square = shapely.box(0, 0, 20, 6)
    ((number, window, share),) = cover.zones_of(block, [(3, shapely.to_wkb(square))])
    assert number == 3
    assert window == Window(0, 3, 0, 6)  # rows 3 to 6 of the grid, columns 3 to 9
    assert (share == 1).all()
    ((number, window, share),) = cover.zones_of(block, None)
    assert (number, window) == (0, Window(0, 6, 0, 6))
    assert (share == 1).all()


def test_polygonal_drops_lines_and_points():
    mixed = shapely.GeometryCollection(
        [shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (5, 5)])]
    )
    assert cover.polygonal(mixed).equals(shapely.box(0, 0, 1, 1))
    assert cover.polygonal(None).is_empty
    assert cover.polygonal(shapely.LineString([(0, 0), (1, 1)])).is_empty


def test_polygons_with_heights(geobox):
    high = shapely.force_3d(DISC, 3000.0)
    _, share = cover.fraction(high, geobox)
    assert share.sum(dtype=float) * 100 == pytest.approx(DISC.area, rel=1e-6)


def test_outlines_without_crs(geobox):
    with pytest.raises(GridError, match="no coordinate reference system"):
        cover.inside(gpd.GeoDataFrame(geometry=[DISC]), geobox)


def test_grid_without_crs(frame):
    with pytest.raises(
        GridError, match="the grid has no coordinate reference system: no CRS, 10 x 10"
    ):
        cover.inside(frame, GeoBox((10, 10), Affine.scale(10), None))


def test_real_outlines_keep_their_area(real_data):
    folder = real_data("french-alps-outlines")
    files = sorted(folder.rglob("*2003*.shp")) + sorted(folder.rglob("*2003*.gpkg"))
    outlines = gpd.read_file(files[0])
    whole = grid.grid_around(outlines, 30, outlines.crs)
    for row in range(0, len(outlines), 97):
        one = outlines.iloc[[row]]
        _, share = cover.fraction(one, whole)
        assert share.sum(dtype=float) * 900 == pytest.approx(
            one.geometry.buffer(0).area.sum(), rel=1e-3
        )
