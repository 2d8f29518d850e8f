"""Tiles and halos as integers: nothing lost, nothing doubled, always on the stride."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glaciercube.windows import Window, edges, expand

chunks = st.lists(st.integers(1, 40), min_size=1, max_size=6).map(tuple)


@st.composite
def inner_windows(draw):
    """Return an image's shape and a window inside it."""
    rows, columns = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    y0, x0 = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    y1, x1 = draw(st.integers(y0 + 1, rows)), draw(st.integers(x0 + 1, columns))
    return (rows, columns), Window(y0, y1, x0, x1)


@given(chunks)
def test_edges_follow_each_other_from_zero_to_the_end(sizes):
    found = edges(sizes)
    assert [stop - start for start, stop in found] == list(sizes)
    assert found[0][0] == 0
    assert found[-1][1] == sum(sizes)
    assert all(before[1] == after[0] for before, after in zip(found, found[1:], strict=False))


def test_no_chunks_have_no_edges():
    assert edges(()) == ()


@given(inner_windows())
def test_slices_cut_what_the_shape_says(case):
    shape, window = case
    assert np.zeros(shape)[window.slices].shape == window.shape


@given(inner_windows(), st.integers(0, 30), st.integers(1, 16))
def test_a_window_is_found_again_inside_what_was_read(case, halo, stride):
    shape, window = case
    image = np.arange(shape[0] * shape[1]).reshape(shape)
    outer = expand(window, halo, shape, stride)
    read = image[outer.slices]
    assert np.array_equal(read[window.inside(outer)], image[window.slices])


@given(inner_windows(), st.integers(0, 30), st.integers(1, 16))
def test_a_halo_is_whole_unless_the_image_ends(case, halo, stride):
    (rows, columns), window = case
    outer = expand(window, halo, (rows, columns), stride)
    for start, stop, first, last, size in (
        (window.y0, window.y1, outer.y0, outer.y1, rows),
        (window.x0, window.x1, outer.x0, outer.x1, columns),
    ):
        assert 0 <= first <= max(0, start - halo)
        assert min(size, stop + halo) <= last <= size
        assert first % stride == 0
        assert last % stride == 0 or last == size
        # never more than the halo and what the stride asks for
        assert first > start - halo - stride
        assert last < stop + halo + stride


@given(inner_windows(), st.integers(1, 16))
def test_without_halo_and_stride_a_window_stays(case, stride):
    shape, window = case
    assert expand(window, 0, shape) == window
    whole = Window(0, shape[0], 0, shape[1])
    assert expand(whole, 50, shape, stride) == whole


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_neighbours_read_the_same_pixels_where_they_overlap(stride):
    shape, halo = (64, 64), 5
    left = expand(Window(0, 32, 0, 32), halo, shape, stride)
    right = expand(Window(0, 32, 32, 64), halo, shape, stride)
    assert right.x0 <= 32 - halo
    assert left.x1 >= 32 + halo
    assert right.x0 % stride == left.x0 % stride == 0


def test_a_window_is_a_value():
    assert Window(0, 1, 2, 3) == Window(0, 1, 2, 3)
    assert len({Window(0, 1, 2, 3), Window(0, 1, 2, 3)}) == 1
    with pytest.raises(AttributeError, match="cannot assign to field"):
        Window(0, 1, 2, 3).y0 = 5
