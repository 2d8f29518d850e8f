"""Digital numbers of a block to values, and quality layers to flags."""

import numpy as np
import pytest

from glaciercube.acquire.pixels import (
    BITS,
    Conversion,
    Meaning,
    conversion_of,
    fill,
    flag,
    has,
    meaning_of,
    unread,
)
from glaciercube.acquire.pixels import measure as measure_block
from glaciercube.radiometry import to_reflectance
from glaciercube.sensors import FLAGS, SENSORS, SENTINEL_2_L1C, SENTINEL_2_L2A, Linear, linear_of

SCL = meaning_of(SENTINEL_2_L2A.quality[0])


def conversion(bands=1, scale=1e-4, offset=-1000, nodata=(0,), layers=()):
    return Conversion(
        scales=(scale,) * bands, offsets=(offset,) * bands, nodata=nodata, layers=tuple(layers)
    )


@pytest.mark.parametrize("name", [n for n, s in SENSORS.items() if s.variable == "reflectance"])
def test_each_band_of_each_sensor_is_what_radiometry_gives(name):
    sensor = SENSORS[name]
    properties = {"s2:processing_baseline": "05.11", "view:sun_elevation": 40.0}
    asset = {"raster:bands": [{"scale": 2e-5, "offset": -0.1}]}
    linear = [linear_of(sensor, properties, band, asset) for band in sensor.bands]
    numbers = np.random.default_rng(0).integers(1, 20_000, (len(linear), 4, 5))
    numbers = numbers.astype(sensor.dtype)
    numbers[0, 0, 0] = sensor.nodata[0]
    out = measure_block(numbers, [], conversion_of(sensor, linear, len(linear)))
    assert out.dtype == np.float32
    assert out.shape == (len(linear) + 1, 4, 5)
    assert np.isnan(out[:-1, 0, 0]).all()
    for band, one in enumerate(linear):
        expected = to_reflectance(numbers[band], one.scale, one.offset, nodata=None)
        expected[0, 0] = np.nan
        np.testing.assert_array_equal(out[band], expected)
    np.testing.assert_array_equal(out[-1], 0)


def test_unsigned_numbers_below_the_offset_do_not_wrap():
    out = measure_block(np.uint16([[[1, 999, 1001]]]), [], conversion())
    np.testing.assert_allclose(out[0, 0], [-0.0999, -0.0001, 0.0001], rtol=1e-3)


def test_a_pixel_that_lacks_one_band_is_not_measured_in_any():
    numbers = np.full((2, 1, 3), 5000, np.uint16)
    numbers[1, 0, 2] = 0
    out = measure_block(numbers, [np.uint8([[4, 9, 9]])], conversion(2, layers=[SCL]))
    np.testing.assert_array_equal(np.isnan(out[:2, 0]), [[False, False, True]] * 2)
    np.testing.assert_array_equal(out[2, 0], [0, BITS["cloud"], 0])


@pytest.mark.parametrize(
    ("code", "measured"), [(0, False), (1, False), (2, True), (9, True), (11, True)]
)
def test_only_defects_are_not_measured_and_never_cloud(code, measured):
    numbers = np.full((1, 1, 1), 5000, np.uint16)
    out = measure_block(numbers, [np.uint8([[code]])], conversion(layers=[SCL]))
    assert np.isfinite(out[0, 0, 0]) == measured


def test_reflectance_is_never_clipped():
    out = measure_block(np.uint16([[[20_000, 500]]]), [], conversion())
    np.testing.assert_allclose(out[0, 0], [1.9, -0.05], rtol=1e-6)


def test_infinite_and_nan_mean_not_measured():
    plain = conversion(scale=1.0, offset=0, nodata=())
    out = measure_block(np.float32([[[np.inf, -np.inf, np.nan, 0.5]]]), [], plain)
    np.testing.assert_array_equal(np.isfinite(out[0, 0]), [False, False, False, True])


def test_numbers_without_nodata_keep_their_zeros():
    plain = conversion(scale=1.0, offset=0, nodata=())
    assert measure_block(np.float32([[[0.0]]]), [], plain)[0, 0, 0] == 0


def test_radar_is_not_measured_where_it_is_zero_or_infinite():
    row = SENSORS["sentinel-1-rtc"]
    linear = Linear(scale=1.0, offset=0.0, told_by="row")
    numbers = np.float32([[[0.0, -32768.0, -np.inf, 0.02]]])
    out = measure_block(numbers, [], conversion_of(row, linear, 1))
    np.testing.assert_array_equal(out[0, 0], np.float32([np.nan, np.nan, np.nan, 0.02]))


def landsat(pixel, radsat=0, name="landsat-oli-c2-l2"):
    """Return the flags of one Landsat pixel, None if it was not measured."""
    row = SENSORS[name]
    linear = Linear(scale=row.scale, offset=row.offset, told_by="row")
    codes = [np.uint16([[pixel]]), np.uint16([[radsat]])]
    out = measure_block(
        np.full((6, 1, 1), 20_000, np.uint16), codes, conversion_of(row, linear, 6, row.quality)
    )
    if np.isnan(out[0, 0, 0]):
        return None
    return {name for name in FLAGS if flag(out, name)[0, 0]}


def test_landsat_bits_are_told_apart():
    # USGS: 21824 clear land, 21952 clear water, 22280 high confidence cloud, 23888 shadow,
    # 30048 clear snow, 54596 cirrus; with dilated cloud 21826; fill 1.
    assert landsat(21824) == set()
    assert landsat(21952) == {"water"}
    assert landsat(22280) == {"cloud"}
    assert landsat(21826) == {"cloud"}
    assert landsat(54596) == {"cloud"}
    assert landsat(23888) == {"cloud_shadow"}
    assert landsat(30048) == {"snow"}
    assert landsat(1) is None


def test_saturation_is_a_flag_and_a_dropped_or_hidden_pixel_is_not_measured():
    assert landsat(30048, radsat=0b10) == {"snow", "saturated"}
    assert landsat(30048, radsat=0b1) == {"snow"}, "bit 0 of OLI is the coastal band"
    assert landsat(30048, radsat=0b1, name="landsat-tm-c2-l2") == {"snow", "saturated"}
    assert landsat(30048, radsat=1 << 11) is None
    assert landsat(30048, radsat=1 << 9, name="landsat-etm-c2-l2") is None


def test_the_mask_of_hls_tells_nothing_where_it_is_255():
    row = SENSORS["hls-s30"]
    linear = Linear(scale=row.scale, offset=0, told_by="row")
    codes = [np.uint8([[255, 0b10010, 0b1000, 0b100000]])]
    out = measure_block(
        np.full((1, 1, 4), 5000, np.int16), codes, conversion_of(row, linear, 1, row.quality)
    )
    names = [{n for n in FLAGS if flag(out, n)[0, place]} for place in range(4)]
    assert names == [set(), {"cloud", "snow"}, {"cloud_shadow"}, {"water"}]


def test_every_flag_has_a_bit_of_its_own_that_float32_holds():
    assert list(BITS) == [*FLAGS, "read_failed"]
    assert len(set(BITS.values())) == len(BITS)
    assert np.float32(sum(BITS.values())) == sum(BITS.values())


def test_classes_and_bits():
    np.testing.assert_array_equal(
        has(np.uint16([1024, 2048, 3072, 4096]), "bits", (10, 11)), [True, True, True, False]
    )
    np.testing.assert_array_equal(has(np.uint8([3, 8, 9]), "classes", (8, 9)), [False, True, True])


def test_meanings_are_plain_and_of_the_row():
    assert SCL == Meaning(
        kind="classes",
        flags=(("cloud", (8, 9, 10)), ("cloud_shadow", (3,)), ("snow", (11,)), ("water", (6,))),
        defect=(0, 1),
        nodata=0,
    )
    assert meaning_of(SENTINEL_2_L1C.quality[0]).flags == (("cloud", (10, 11)),)


def test_holes_are_filled_and_nothing_else():
    first = np.float32([[[1, np.nan], [np.nan, 4]], [[2, 0], [32, 1]]])
    second = np.float32([[[9, 8], [np.nan, 7]], [[4, 4], [0, 2]]])
    expected = np.float32([[[1, 8], [np.nan, 4]], [[2, 4], [32, 1]]])
    np.testing.assert_array_equal(fill(first, second), expected)


def test_a_failed_read_is_forgotten_where_another_source_measured():
    failed = unread(1, np.array([[True, True, False]]))
    other = np.float32([[[0.5, np.nan, 0.7]], [[1, 0, 0]]])
    for first, second in ((failed.copy(), other.copy()), (other.copy(), failed.copy())):
        out = fill(first, second)
        np.testing.assert_array_equal(out[0, 0], np.float32([0.5, np.nan, 0.7]))
        np.testing.assert_array_equal(flag(out, "read_failed")[0], [False, True, False])
        np.testing.assert_array_equal(flag(out, "cloud")[0], [True, False, False])
