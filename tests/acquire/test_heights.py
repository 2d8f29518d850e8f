"""Heights of one block."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from acquire.hills import box_at, in_degrees, mountains, sampled, write_dem
from glaciercube.acquire.elevation import part_of, source_of
from glaciercube.acquire.heights import Source, read_heights
from glaciercube.errors import AcquireError

CORNER = (600_000.0, 5_200_000.0)
DEGREES = (10.2, 47.1)
"""Upper left corner of a file in degrees around what lies at CORNER."""


@pytest.fixture(scope="module")
def dem(tmp_path_factory):
    """Return a file in degrees, of pixels of about 30 m."""
    heights = sampled(in_degrees(mountains, 32632), DEGREES, 1 / 3600, (700, 900))
    path = tmp_path_factory.mktemp("dem") / "degrees.tif"
    return write_dem(path, heights, DEGREES, 1 / 3600, "EPSG:4326")


@pytest.mark.parametrize("step", [10, 30, 95])
def test_a_block_gets_what_the_whole_gets_there_to_the_bit(dem, step):
    whole = box_at(*CORNER, 250, 230, step)
    source = source_of(whole, dem)
    heights = read_heights(source, whole)
    assert np.isfinite(heights).any()
    for rows, columns in [((0, 60), (0, 230)), ((61, 250), (17, 90)), ((120, 121), (100, 101))]:
        block = read_heights(source, part_of(whole, rows, columns))
        np.testing.assert_array_equal(block, heights[slice(*rows), slice(*columns)])


def test_part_of_a_wider_grid_is_the_same_too(dem):
    whole = box_at(*CORNER, 90, 80, 10)
    source = source_of(whole, dem)
    wide = read_heights(source, part_of(whole, (-300, 200), (-250, 240)))
    np.testing.assert_array_equal(wide[300:390, 250:330], read_heights(source, whole))


@pytest.mark.parametrize("void", [-9999, -32768, np.nan, -np.inf, np.inf, -3.4e38, 12_000, -600])
@pytest.mark.parametrize("nodata", [None, -9999, np.nan])
def test_what_is_no_height_is_a_void_and_never_mixed_in(tmp_path, void, nodata):
    heights = np.full((40, 40), 2500, np.float32)
    heights[18:22, 18:22] = void
    write_dem(tmp_path / "dem.tif", heights, CORNER, 30, nodata=nodata)
    box = box_at(*CORNER, 120, 120, 10)
    found = read_heights(source_of(box, tmp_path / "dem.tif"), box)
    measured = np.isfinite(found)
    assert set(np.unique(found[measured])) == {2500.0}
    assert not measured[56:64, 56:64].any()
    assert measured[:50].all()
    assert measured[:, 70:].all()


@pytest.mark.parametrize("value", [-430, 8849])
def test_the_lowest_and_highest_land_are_heights(tmp_path, value):
    write_dem(tmp_path / "dem.tif", np.full((9, 9), value, np.int16), CORNER, 30, nodata=None)
    box = box_at(*CORNER, 9, 9, 30)
    assert (read_heights(source_of(box, tmp_path / "dem.tif"), box) == value).all()


def test_a_coarse_grid_averages_and_reads_overviews(tmp_path):
    rng = np.random.default_rng(0)
    heights = (2000 + rng.normal(0, 50, (512, 512))).astype(np.float32)
    path = write_dem(tmp_path / "dem.tif", heights, CORNER, 10)
    box = box_at(*CORNER, 64, 64, 80)
    source = source_of(box, path)
    plain = read_heights(source, box)
    # A triangular window of 8 pixels each way leaves sqrt((2/3/8)^2) of independent noise.
    assert 50 / 14 < plain[2:-2, 2:-2].std() < 50 / 10
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.average)
        file.write(np.full((512, 512), 3000, np.float32), 1)
        expected = file.read(1)
    assert (expected == 3000).all()
    # The overviews still hold the old heights, so it is these that are read.
    assert abs(read_heights(source, box)[2:-2, 2:-2].mean() - 2000) < 5


def together(first, second):
    return Source(
        name="both",
        datum="unknown",
        files=first.files + second.files,
        boxes=first.boxes + second.boxes,
        identity=(),
        options={},
    )


def test_the_first_of_two_files_counts(tmp_path):
    for name, value in (("a", 1000), ("b", 2000)):
        heights = np.full((20, 20), value, np.float32)
        if name == "a":
            heights[:, 10:] = -9999
        write_dem(tmp_path / f"{name}.tif", heights, CORNER, 30)
    box = box_at(*CORNER, 20, 20, 30)
    first, second = (source_of(box, tmp_path / f"{name}.tif") for name in "ab")
    both = together(first, second)
    found = read_heights(both, box)
    assert (found[:, :10] == 1000).all()
    assert (found[:, 10:] == 2000).all()


def test_of_many_files_those_elsewhere_are_not_opened(tmp_path):
    box = box_at(*CORNER, 9, 9, 30)
    away = box.translate_pix(10_000, 0)
    for name, place in (("here", box), ("there", away)):
        corner = (place.affine.c, place.affine.f)
        write_dem(tmp_path / f"{name}.tif", np.ones((9, 9), np.float32), corner, 30)
    both = together(source_of(box, tmp_path / "here.tif"), source_of(away, tmp_path / "there.tif"))
    assert both.near(box) == [str(tmp_path / "here.tif")]
    assert both.near(away) == [str(tmp_path / "there.tif")]
    (tmp_path / "here.tif").unlink()
    assert (read_heights(both, away) == 1).all()
    assert np.isnan(read_heights(both, box.translate_pix(-10_000, 0))).all()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = write_dem(tmp_path / "dem.tif", np.ones((9, 9), np.float32), CORNER, 30)
    box = box_at(*CORNER, 9, 9, 30)
    source = source_of(box, path)
    path.unlink()
    with pytest.raises(
        AcquireError, match=r"cannot read the elevation .*dem.tif on EPSG:32632.*another dem="
    ):
        read_heights(source, box)


def test_a_world_file_beside_a_raster_places_it(tmp_path):
    write_dem(tmp_path / "dem.tif", np.full((9, 9), 7, np.float32), CORNER, 30)
    with rasterio.open(tmp_path / "dem.tif") as file:
        profile = {**file.profile, "driver": "PNG", "dtype": "uint8", "nodata": None}
        with rasterio.open(tmp_path / "dem.png", "w", WORLDFILE="YES", **profile) as other:
            other.write(file.read(1).astype(np.uint8), 1)
    box = box_at(*CORNER, 9, 9, 30)
    assert (read_heights(source_of(box, tmp_path / "dem.png"), box) == 7).all()


def test_names_with_signs_of_markup_are_read(tmp_path):
    path = write_dem(tmp_path / "a & b <c>.tif", np.full((9, 9), 7, np.float32), CORNER, 30)
    box = box_at(*CORNER, 9, 9, 30)
    assert (read_heights(source_of(box, path), box) == 7).all()


@pytest.mark.parametrize("step", [40, 90])
def test_extremes_bound_what_finer_grids_have(dem, step):
    whole = box_at(*CORNER, 180, 180, 10)
    source = source_of(whole, dem)
    heights = read_heights(source, whole)
    coarse = box_at(*CORNER, 1800 // step, 1800 // step, step)
    highest, lowest = (read_heights(source, coarse, how) for how in ("max", "min"))
    assert np.nanmax(highest) >= np.nanmax(heights)
    assert np.nanmin(lowest) <= np.nanmin(heights)
    assert np.nanmax(highest) - np.nanmax(heights) < 60
    assert (highest > read_heights(source, coarse)).mean() > 0.95
