"""How much there is to read and to keep."""

import numpy as np
import pystac
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely.geometry import mapping

from glaciercube import grid, sensors
from glaciercube.acquire.assembly import chunks_of
from glaciercube.acquire.estimates import compressed_bytes, cube_bytes, shares_of, touched

BOX = GeoBox.from_bbox((500_000, 5_100_000, 501_200, 5_101_000), "EPSG:32632", resolution=10)
DEGREES = grid.geographic(BOX).iloc[0]
S2, S1 = sensors.SENTINEL_2_L2A, sensors.sensor_of("sentinel-1-rtc")


def share(**fields):
    made = pystac.Item("a", mapping(DEGREES), list(DEGREES.bounds), None, {
        "start_datetime": "2022-08-05T10:30:00Z", "end_datetime": "2022-08-05T10:30:00Z",
    })  # fmt: skip
    made.add_asset("B03", pystac.Asset("a.tif", extra_fields=fields))
    made.add_asset("SCL", pystac.Asset("b.tif", extra_fields=fields))
    return shares_of([made], [S2], BOX)[0]


def test_bytes_to_be_read_follow_the_pixels_of_the_files():
    area = 1200 * 1000
    assert share().bytes_read(["green"]) == pytest.approx(area * (2 / 10**2 + 1 / 20**2), rel=1e-3)
    stated = share(**{"proj:shape": [1, 1], "proj:transform": [60, 0, 0, 0, -60, 0]})
    assert stated.bytes_read(["green"]) == pytest.approx(area * 3 / 60**2, rel=1e-3)
    assert stated.states_raster("green")
    assert not share().states_raster("green")
    # A transform in degrees tells no metres.
    degrees = share(**{"proj:transform": [1e-4, 0, 0, 0, -1e-4, 0]})
    assert degrees.bytes_read(["green"]) == share().bytes_read(["green"])


def test_sizes_of_files_count_by_the_share_under_the_grid():
    whole = share(**{"file:size": 1000})
    assert whole.bytes_compressed(["green"]) == pytest.approx(2000, rel=1e-2)
    assert share().bytes_compressed(["green"]) is None
    assert compressed_bytes([whole, whole], ["green"]) == pytest.approx(4000, rel=1e-2)
    assert compressed_bytes([whole, share()], ["green"]) is None


def test_radar_is_kept_as_floats():
    assert cube_bytes(S1, BOX, 2, 2, 2) == (2 * 12_000 * 10,) * 2
    assert cube_bytes(S2, BOX, 2, 2, 2) == (2 * 12_000 * 10, 2 * 12_000 * 6)


class Part:
    """A footprint alone."""

    def __init__(self, *edges):
        self.part = shapely.box(*edges)


edge = st.floats(0, 50).map(lambda value: round(value, 1))


@given(st.lists(st.lists(st.tuples(edge, edge, edge, edge), min_size=1, max_size=3), max_size=3))
def test_chunks_are_counted_as_by_hand(times):
    blocks = [chunks_of(30, 8), chunks_of(40, 16)]
    parts = [
        [Part(min(a, c), min(b, d), max(a, c) + 0.1, max(b, d) + 0.1) for a, b, c, d in own]
        for own in times
    ]
    expected = 0
    for own in parts:
        for row, height in zip(np.cumsum([0, *blocks[0]]), blocks[0], strict=False):
            for column, width in zip(np.cumsum([0, *blocks[1]]), blocks[1], strict=False):
                cell = shapely.box(column, row, column + width, row + height)
                expected += any(one.part.intersection(cell).area > 1e-5 for one in own)
    assert touched(parts, blocks) == expected
