"""The lattice of blocks: windows, spans and grids are integers of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.cluster.tiling import core_of, geobox_of, joined, names_of, spans_of, windows_of

WHOLE = st.integers(-5_000, 5_000)


@given(top=WHOLE, left=WHOLE, rows=st.integers(1, 90), columns=st.integers(1, 90))
def test_a_span_holds_the_window_and_its_halo_in_whole_blocks(top, left, rows, columns):
    window = np.array([[top, top + rows, left, left + columns]])
    span = spans_of(window, 32, 5)
    geobox = geobox_of("EPSG:32632", span[0], 32, 10.0)
    core = core_of(window[0], span[0], 32)
    assert core.shape == (rows, columns)
    assert min(core.y0, core.x0) >= 5
    assert core.y1 + 5 <= geobox.shape.y
    assert core.x1 + 5 <= geobox.shape.x
    assert max(core.y0, core.x0) < 32 + 5
    assert grid.snapped(geobox, 32) == geobox
    # The core's first pixel is where the window says, counted from coordinate (0, 0).
    x, y = geobox.affine * (core.x0, core.y0)
    assert (x, y) == (left * 10, -top * 10)


@given(edges=st.tuples(*[st.floats(-1e6, 1e6)] * 2), size=st.tuples(*[st.floats(0, 1e5)] * 2))
def test_windows_are_those_of_grid_around(edges, size):
    west, south = edges
    east, north = west + size[0], south + size[1]
    window = windows_of(np.array([[west, south, east, north]]), 10.0, 500.0)[0]
    y0, y1, x0, x1 = window * 10
    assert x0 <= west - 500 < x0 + 10.001
    assert x1 - 10.001 < east + 500 <= x1
    assert -y0 - 10.001 < north + 500 <= -y0
    assert -y1 <= south - 500 < -y1 + 10.001


def test_neighbours_share_pixels():
    one = geobox_of("EPSG:32632", np.array([-4, -1, 2, 5]), 64, 10.0)
    other = geobox_of("EPSG:32632", np.array([-2, 1, 4, 7]), 64, 10.0)
    assert one[128:192, 128:192] == other[0:64, 0:64]
    assert isinstance(one, GeoBox)


def test_joined_is_the_smallest_around():
    windows = np.array([[0, 1, 5, 6], [3, 9, 5, 6], [-2, 0, 1, 2]])
    assert joined(windows, np.array([1, 1, 0]), 2).tolist() == [[-2, 0, 1, 2], [0, 9, 5, 6]]


@pytest.mark.parametrize(
    ("crs", "start"),
    [("EPSG:32601", "utm01n"), ("EPSG:32760", "utm60s"), ("EPSG:3413", "north"),
     ("EPSG:3031", "south")],
)  # fmt: skip
def test_names_say_plane_and_place(crs, start):
    assert names_of(crs, np.array([[3, 5, -7, -6]])) == [f"{start}-w0007-s0003"]
