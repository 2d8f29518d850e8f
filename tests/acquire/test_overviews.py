"""Small reads of a band."""

import numpy as np
import pytest
import rasterio

from acquire.scenery import write_raster
from glaciercube.acquire.overviews import PIXELS, gdal_options, overview
from glaciercube.errors import AcquireError


def test_a_large_band_is_decimated(tmp_path):
    write_raster(tmp_path / "a.tif", np.full((1000, 700), 7, np.uint16), 10, nodata=None)
    seen = overview(str(tmp_path / "a.tif"), 1, 0)
    assert seen.size == PIXELS**2
    assert set(seen.tolist()) == {7}


def test_pixels_beside_nodata_are_left_out(tmp_path):
    numbers = np.full((20, 20), 1500, np.uint16)
    numbers[:, :10] = 0
    numbers[:, 10] = 700  # an average of nodata and 1400, as some overviews have it
    write_raster(tmp_path / "a.tif", numbers, 10, nodata=None)
    assert set(overview(str(tmp_path / "a.tif"), 1, 0).tolist()) == {1500}


def test_unless_there_are_no_others(tmp_path):
    numbers = np.zeros((20, 20), np.uint16)
    numbers[3, 4] = 1200
    write_raster(tmp_path / "a.tif", numbers, 10, nodata=None)
    assert overview(str(tmp_path / "a.tif"), 1, 0).tolist() == [1200]


def test_what_decimation_skips_is_found(tmp_path):
    numbers = np.zeros((1000, 1000), np.uint16)
    numbers[0, 0] = 1200
    write_raster(tmp_path / "a.tif", numbers, 10, nodata=None)
    with rasterio.open(tmp_path / "a.tif") as source:
        assert not source.read(1, out_shape=(PIXELS, PIXELS)).any()
    assert overview(str(tmp_path / "a.tif"), 1, 0).tolist() == [1200]


def test_the_files_own_nodata_counts_too(tmp_path):
    write_raster(tmp_path / "a.tif", np.full((20, 20), -9999, np.int16), 10, nodata=-9999)
    assert overview(str(tmp_path / "a.tif"), 1, 0).size == 0


def test_nan_is_never_measured(tmp_path):
    write_raster(tmp_path / "a.tif", np.full((20, 20), np.nan, np.float32), 10, nodata=None)
    assert overview(str(tmp_path / "a.tif"), 1, 0).size == 0


def test_what_cannot_be_read_is_named_without_its_signature(tmp_path):
    with pytest.raises(AcquireError, match="gone.tif .*missing: .*check=False") as raised:
        overview(f"{tmp_path}/gone.tif?sig=secret", 1, 0)
    assert "secret" not in str(raised.value)


def test_remote_reads_are_repeated():
    assert int(gdal_options()["GDAL_HTTP_MAX_RETRY"]) > 0
