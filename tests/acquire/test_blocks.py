"""One block of one time: read, made to values, laid over each other."""

import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from glaciercube.acquire import blocks, failures
from glaciercube.acquire.blocks import Target, read_block, target_of
from glaciercube.acquire.pixels import Conversion, Meaning, flag
from glaciercube.acquire.plans import Moment, Piece, Source
from glaciercube.errors import AcquireError

GRID = GeoBox.from_bbox((0, 0, 80, 60), "EPSG:32632", resolution=10)
CLOUDS = Meaning(kind="bits", flags=(("cloud", (1,)),))


def write(path, numbers, step=10, west=0, north=60, nodata=0):
    """Write one band."""
    profile = {
        "driver": "GTiff", "count": 1, "dtype": numbers.dtype, "crs": "EPSG:32632",
        "height": numbers.shape[0], "width": numbers.shape[1], "nodata": nodata,
        "transform": from_origin(west, north, step, step),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers, 1)
    return str(path)


def source(address, **options):
    plain = {"resampling": "nearest", "nodata": 0, "floats": False}
    return Source(key="green", address=address, **{**plain, **options})


def piece(name, *sources, offset=0, layers=(), reach=(0, 0, 8, 6)):
    return Piece(
        item=name,
        sources=sources,
        conversion=Conversion(scales=(1e-4,), offsets=(offset,), nodata=(0,), layers=layers),
        reach=shapely.to_wkb(shapely.box(*reach)),
    )


def read(*pieces, record=True, chunk=64, row=0, column=0, box=GRID):
    cell = np.empty(1, object)
    cell[0] = Moment(pieces=pieces)
    target = target_of(box, 1, chunk, record, {})
    return read_block(cell, np.array([row]), np.array([column]), target)[0]


@pytest.fixture
def halves(tmp_path):
    """Return a shifted raster of the left columns and an unshifted one of all."""
    left = np.full((6, 8), 7000, np.uint16)
    left[:, 5:] = 0
    return write(tmp_path / "left.tif", left), write(
        tmp_path / "all.tif", np.full((6, 8), 5000, np.uint16)
    )


def test_each_item_is_converted_before_it_is_laid_over_another(halves):
    out = read(piece("a", source(halves[0]), offset=-1000), piece("b", source(halves[1])))
    np.testing.assert_allclose(out[0, :, :5], 0.6, rtol=1e-6)
    np.testing.assert_allclose(out[0, :, 5:], 0.5, rtol=1e-6)


def test_what_is_covered_is_not_read_again(halves):
    out = read(piece("b", source(halves[1])), piece("gone", source("gone.tif")), record=False)
    np.testing.assert_allclose(out[0], 0.5, rtol=1e-6)


def test_items_beyond_the_block_are_not_opened(halves):
    gone = piece("gone", source("gone.tif"), reach=(6, 0, 8, 6))
    out = read(gone, piece("b", source(halves[1])), record=False, chunk=4, row=4, column=0)
    assert out.shape == (2, 2, 4)
    np.testing.assert_allclose(out[0], 0.5, rtol=1e-6)
    empty = read(gone, record=False, chunk=4)
    assert np.isnan(empty[0]).all()
    assert not empty[1].any()


def test_a_block_is_the_same_part_of_the_whole(halves):
    pieces = piece("a", source(halves[0]), offset=-1000), piece("b", source(halves[1]))
    whole = read(*pieces)
    for row in (0, 4):
        for column in (0, 4):
            part = read(*pieces, chunk=4, row=row, column=column)
            np.testing.assert_array_equal(part, whole[:, row : row + 4, column : column + 4])


def test_quality_follows_its_item(halves, tmp_path):
    codes = write(tmp_path / "qa.tif", np.full((3, 4), 2, np.uint8), step=20)
    first = piece("a", source(halves[0]), source(codes), offset=-1000, layers=(CLOUDS,))
    out = read(first, piece("b", source(halves[1])))
    np.testing.assert_array_equal(flag(out, "cloud"), np.tile(np.arange(8) < 5, (6, 1)))


def test_a_failed_read_is_a_recorded_hole_where_no_other_item_measured(halves, tmp_path):
    gone = piece("gone", source(str(tmp_path / "gone.tif")), reach=(3, 0, 8, 6))
    with failures.collected() as found:
        out = read(piece("a", source(halves[0]), offset=-1000), gone)
    columns = np.arange(8)
    np.testing.assert_array_equal(flag(out, "read_failed")[0], columns >= 5)
    np.testing.assert_array_equal(np.isnan(out[0, 0]), columns >= 5)
    (failure,) = found
    assert failure.item == "gone"
    assert failure.band == "green"
    assert "gone.tif" in failure.address


def test_on_request_a_failed_read_raises(tmp_path):
    gone = piece("gone", source(str(tmp_path / "gone.tif")))
    with pytest.raises(AcquireError, match="gone.tif"):
        read(gone, record=False)


def test_one_failed_band_makes_a_hole_in_all(halves, tmp_path):
    both = Piece(
        item="half",
        sources=(source(halves[1]), source(str(tmp_path / "gone.tif"))),
        conversion=Conversion(scales=(1e-4,) * 2, offsets=(0, 0), nodata=(0,)),
        reach=shapely.to_wkb(shapely.box(0, 0, 8, 6)),
    )
    cell = np.empty(1, object)
    cell[0] = Moment(pieces=(both,))
    with failures.collected() as found:
        out = read_block(cell, np.array([0]), np.array([0]), target_of(GRID, 2, 64, True, {}))[0]
    assert np.isnan(out[:2]).all()
    assert flag(out, "read_failed").all()
    assert len(found) == 1


def test_a_raster_that_covers_a_part_leaves_the_rest_unmeasured(tmp_path):
    small = write(tmp_path / "small.tif", np.full((2, 2), 5000, np.uint16), west=20, north=40)
    out = read(piece("a", source(small)))
    expected = np.zeros((6, 8), bool)
    expected[2:4, 2:4] = True
    np.testing.assert_array_equal(np.isfinite(out[0]), expected)
    assert not flag(out, "read_failed").any()


def test_nodata_of_the_file_becomes_that_of_the_table(tmp_path):
    numbers = np.full((6, 8), 5000, np.uint16)
    numbers[0] = 9999
    out = read(piece("a", source(write(tmp_path / "own.tif", numbers, nodata=9999))))
    assert np.isnan(out[0, 0]).all()
    assert np.isfinite(out[0, 1:]).all()


def test_another_kind_of_numbers_is_refused(tmp_path):
    address = write(tmp_path / "floats.tif", np.full((6, 8), 0.5, np.float32))
    with pytest.raises(AcquireError, match="'green' of a needs integers.*the file holds float32"):
        read(piece("a", source(address)))


def test_the_target_gives_blocks_of_the_grid():
    target = target_of(GRID, 3, 4, True, {"B": "2", "A": 1})
    assert isinstance(target, Target)
    assert target.options == (("A", 1), ("B", "2"))
    assert target.block(4, 4) == GRID[4:6, 4:8]
    assert target.block(0, 0) == GRID[:4, :4]


def test_secrets_do_not_travel_and_are_those_of_the_reading_process(halves, monkeypatch):
    options = {
        "_aws": {"aws_access_key_id": "AKIA-SECRET"},
        "GDAL_HTTP_BEARER": "SECRET",
        "GDAL_HTTP_HEADERS": "Authorization: SECRET",
        "AWS_SESSION_TOKEN": "SECRET",
        "GDAL_HTTP_TIMEOUT": "7",
    }
    target = target_of(GRID, 1, 64, True, options)
    assert target.options == (("GDAL_HTTP_TIMEOUT", "7"),)
    assert "SECRET" not in repr(target)
    seen = []
    real = blocks.ItemDriver.restore_env
    monkeypatch.setattr(
        blocks.ItemDriver,
        "restore_env",
        lambda self, env, state: seen.append(env) or real(self, env, state),
    )
    monkeypatch.setattr(
        blocks.ItemDriver, "capture_env", lambda self: {"GDAL_HTTP_BEARER": "of the worker"}
    )
    cell = np.empty(1, object)
    cell[0] = Moment(pieces=(piece("b", source(halves[1])),))
    read_block(cell, np.array([0]), np.array([0]), target)
    assert seen == [{"GDAL_HTTP_BEARER": "of the worker", "GDAL_HTTP_TIMEOUT": "7"}]
