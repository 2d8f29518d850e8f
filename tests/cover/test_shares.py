"""How much of each pixel polygons cover."""

import exactextract
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid
from glaciercube.cover.shares import union_share
from glaciercube.windows import Window

DISC = shapely.Point(600_403, 5_000_497).buffer(300, quad_segs=64)


def centres(geobox):
    rows, columns = np.mgrid[0 : geobox.shape.y, 0 : geobox.shape.x] + 0.5
    affine = geobox.affine
    return affine.a * columns + affine.c, affine.e * rows + affine.f


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


def test_polygons_with_heights(geobox):
    high = shapely.force_3d(DISC, 3000.0)
    _, share = cover.fraction(high, geobox)
    assert share.sum(dtype=float) * 100 == pytest.approx(DISC.area, rel=1e-6)


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


@pytest.mark.parametrize("south_up", [False, True])
@pytest.mark.parametrize("resolution", [10, 20, 30, 60])
def test_cover_at_any_native_resolution_adds_up_to_the_area(resolution, south_up):
    whole = GeoBox.from_bbox((600_000, 4_999_980, 600_960, 5_000_940), "EPSG:32632", resolution=10)
    geobox = grid.grid_around(whole, resolution)
    geobox = geobox.flipy() if south_up else geobox
    window, share = cover.fraction(DISC, geobox)
    assert share.sum(dtype=float) * resolution**2 == pytest.approx(DISC.area, rel=1e-5)
    x, y = centres(geobox)
    middle = (
        np.average(y[window.slices], weights=share),
        np.average(x[window.slices], weights=share),
    )
    assert middle == pytest.approx((5_000_497, 600_403), abs=0.5)


def test_30_m_is_the_mean_of_10_m():
    fine = GeoBox.from_bbox((600_000, 4_999_980, 600_960, 5_000_940), "EPSG:32632", resolution=10)
    coarse = GeoBox.from_bbox((600_000, 4_999_980, 600_960, 5_000_940), "EPSG:32632", resolution=30)
    whole = [np.zeros(one.shape, np.float32) for one in (fine, coarse)]
    for one, out in zip((fine, coarse), whole, strict=True):
        window, share = cover.fraction(DISC, one)
        out[window.slices] = share
    mean = whole[0].reshape(32, 3, 32, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(mean, whole[1], atol=1e-6)


@pytest.mark.parametrize("south_up", [False, True])
def test_degrees_with_pixels_that_are_not_square(south_up):
    """By the area of each row, the sum is the area on the ellipsoid."""
    geobox = GeoBox((400, 300), Affine(2.7e-4, 0, 86.8, 0, -1.95e-4, 28.0), "EPSG:4326")
    geobox = geobox.flipy() if south_up else geobox
    disc = gpd.GeoSeries([shapely.Point(86.84, 27.96).buffer(0.03, quad_segs=64)], crs=4326)
    window, share = cover.fraction(disc, geobox)
    rows = grid.pixel_area(geobox)[window.y0 : window.y1]
    area = (share.sum(axis=1, dtype=float) * rows).sum() / 1e6
    assert area == pytest.approx(float(grid.ground_area(disc)[0]), rel=1e-5)


def test_cover_is_exactextract_on_a_raster_file(tmp_path):
    """The same from exactextract's own reading of a GeoTIFF and a GeoPackage."""
    geobox = GeoBox.from_bbox((600_000, 4_999_980, 600_960, 5_000_940), "EPSG:32632", resolution=30)
    raster = tmp_path / "a.tif"
    with rasterio.open(
        raster, "w", driver="GTiff", width=32, height=32, count=1, dtype="float32",
        crs="EPSG:32632", transform=geobox.affine,
    ) as out:  # fmt: skip
        out.write(np.zeros((1, 32, 32), np.float32))
    disc = gpd.GeoDataFrame(geometry=[DISC], crs=32632)
    with rasterio.open(raster) as source:
        (found,) = exactextract.exact_extract(source, disc, ["cell_id", "coverage"])
    expected = np.zeros(32 * 32, np.float32)
    expected[found["properties"]["cell_id"]] = found["properties"]["coverage"]
    window, share = cover.fraction(disc, geobox)
    np.testing.assert_allclose(share, expected.reshape(32, 32)[window.slices], atol=1e-6)


@pytest.mark.parametrize("resolution", [10, 30])
def test_real_outlines_keep_their_area_at_native_resolution(real_data, resolution):
    """Of 20 glaciers of the Oetztal (RGI 5), summed in UTM and on the ellipsoid."""
    outlines = gpd.read_file(real_data("oggm-glaciers") / "rgi/rgi_oetztal.shp")
    geobox = grid.grid_around(outlines, resolution)
    metres = outlines.make_valid().to_crs(str(geobox.crs))
    for row in range(len(outlines)):
        _, share = cover.fraction(outlines.iloc[[row]], geobox)
        area = share.sum(dtype=float) * resolution**2
        assert area == pytest.approx(metres.area[row], rel=1e-5)
        # UTM's scale is 0.9996 at its middle and 1.0002 here: within 0.1 % of the ground.
        assert area / 1e6 == pytest.approx(
            float(grid.ground_area(outlines.iloc[[row]])[0]), rel=1e-3
        )


def test_relative_and_union():
    squares = [shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3), shapely.Polygon()]
    share = union_share(squares, Window(1, 4, 1, 4))
    np.testing.assert_array_equal(share, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert union_share([], Window(0, 2, 0, 3)).shape == (2, 3)
