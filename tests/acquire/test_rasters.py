"""One raster on a grid: as it is where pixels coincide, else the same in every cut."""

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioDriver, RioReader
from rasterio.transform import from_origin

from glaciercube.acquire.rasters import native_window, overview_of, read_raster, scale_of

WEST, NORTH, SIZE = 600_000, 5_000_640, 64
HERE = GeoBox.from_bbox(
    (WEST, NORTH - 10 * SIZE, WEST + 10 * SIZE, NORTH), "EPSG:32632", resolution=10
)
OTHERS = {
    "beside": ("EPSG:32631", 10),
    "polar": ("EPSG:3413", 13),
    "degrees": ("EPSG:4326", 1e-4),
    "coarse": ("EPSG:32631", 45),
}
"""Grids in other CRSs, with their resolution."""


@pytest.fixture
def noise(tmp_path):
    """Return the path of white noise, the hardest thing to resample alike."""
    numbers = np.random.default_rng(0).integers(1, 9000, (SIZE, SIZE)).astype(np.uint16)
    return write(tmp_path / "noise.tif", numbers)


def write(path, numbers, **options):
    profile = {
        "driver": "GTiff", "count": 1, "dtype": numbers.dtype, "crs": "EPSG:32632",
        "height": numbers.shape[0], "width": numbers.shape[1], "nodata": 0,
        "transform": from_origin(WEST, NORTH, 10, 10), **options,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers, 1)
    return str(path)


def read(address, geobox, resampling="bilinear", fill=0):
    """Return a raster on the whole of a grid."""
    config = RasterLoadParams(fill_value=fill, src_nodata_fallback=0, resampling=resampling)
    roi, pixels = read_raster(RasterSource(address), None, config, geobox)
    out = np.full(tuple(geobox.shape), fill, pixels.dtype)
    out[roi] = pixels
    return out


def around(crs, resolution):
    """Return a grid that covers the noise with some margin."""
    box = HERE.extent.to_crs(crs, resolution=100).boundingbox.buffered(3 * resolution)
    return GeoBox.from_bbox(box, crs, resolution=resolution)


def test_where_pixels_coincide_they_are_read_as_they_are(noise):
    with rasterio.open(noise) as file:
        numbers = file.read(1)
    np.testing.assert_array_equal(read(noise, HERE), numbers)
    np.testing.assert_array_equal(read(noise, HERE[10:20, 5:9]), numbers[10:20, 5:9])
    wider = read(noise, HERE.pad(3))
    np.testing.assert_array_equal(wider[3:-3, 3:-3], numbers)
    assert not wider[:3].any()
    beyond = GeoBox.from_bbox((0, 0, 100, 100), "EPSG:32632", resolution=10)
    assert not read(noise, beyond).any()


def test_another_nodata_becomes_the_callers(tmp_path):
    numbers = np.full((SIZE, SIZE), 5, np.int16)
    numbers[0] = -9999
    address = write(tmp_path / "own.tif", numbers, nodata=-9999)
    assert (read(address, HERE, fill=-1)[0] == -1).all()
    floats = numbers.astype(np.float32)
    floats[0] = np.nan
    address = write(tmp_path / "nan.tif", floats, nodata=np.nan)
    assert (read(address, HERE, fill=-32768)[0] == -32768).all()


@pytest.mark.parametrize("resampling", ["bilinear", "average", "nearest"])
@pytest.mark.parametrize("other", OTHERS)
def test_the_cut_does_not_change_a_pixel_in_another_crs(noise, other, resampling):
    geobox = around(*OTHERS[other])
    whole = read(noise, geobox, resampling)
    assert (whole > 0).mean() > 0.3
    for rows, columns in ((7, 11), (32, 16)):
        for top in range(0, geobox.shape.y, rows):
            for left in range(0, geobox.shape.x, columns):
                bottom, right = (
                    min(top + rows, geobox.shape.y),
                    min(left + columns, geobox.shape.x),
                )
                part = np.s_[top:bottom, left:right]
                np.testing.assert_array_equal(read(noise, geobox[part], resampling), whole[part])


def test_another_crs_gives_what_odc_gives_within_its_error(tmp_path):
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    smooth = write(tmp_path / "smooth.tif", (1000 + 20 * x + 30 * y).astype(np.uint16))
    geobox = around("EPSG:32631", 10)
    config = RasterLoadParams(fill_value=0, src_nodata_fallback=0, resampling="bilinear")
    roi, pixels = RioReader(RasterSource(smooth), None).read(config, geobox)
    theirs = np.zeros(tuple(geobox.shape), np.uint16)
    theirs[roi] = pixels
    ours = read(smooth, geobox)
    both = (theirs > 0) & (ours > 0)
    assert both.mean() > 0.5
    # GDAL places pixels to 1/8; the plane rises by 50 a pixel, and both are rounded.
    assert np.abs(theirs[both].astype(int) - ours[both]).max() <= 50 / 8 + 1


def test_the_same_crs_off_the_lattice_is_left_to_odc(noise):
    shifted = GeoBox.from_bbox(
        (WEST + 3, NORTH - 400, WEST + 303, NORTH - 100), "EPSG:32632", resolution=10
    )
    config = RasterLoadParams(fill_value=0, src_nodata_fallback=0, resampling="bilinear")
    driver = RioDriver()
    with driver.restore_env({}, driver.new_load(shifted)) as context:
        roi, pixels = RioReader(RasterSource(noise), context).read(config, shifted)
    np.testing.assert_array_equal(read(noise, shifted)[roi], pixels)


@pytest.mark.parametrize(
    ("geobox", "start"),
    [
        (HERE, (0, 0)),
        (HERE.pad(2), (-2, -2)),
        (HERE[3:, 5:], (3, 5)),
        (HERE.zoom_out(2), None),
        (HERE.translate_pix(0.5, 0), None),
        (HERE.flipy(), None),
    ],
)
def test_pixels_coincide_or_not(noise, geobox, start):
    with rasterio.open(noise) as file:
        assert native_window(file, geobox) == start


def test_coarse_grids_take_an_overview_of_all_the_raster(tmp_path):
    numbers = np.ones((1024, 1024), np.uint16)
    address = write(tmp_path / "big.tif", numbers, tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(address, "r+") as file:
        file.build_overviews([2, 4])
    with rasterio.open(address) as file:
        fine, coarse, coarser = (around("EPSG:32631", step) for step in (10, 25, 85))
        assert overview_of(file, fine) is None
        assert overview_of(file, coarse) == 0
        assert overview_of(file, coarser) == 1
        assert overview_of(file, coarser, finer=4) == 0
        assert scale_of(file, fine) == pytest.approx((1, 1), abs=0.01)
        assert scale_of(file, coarse) == pytest.approx((0.4, 0.4), abs=0.01)
