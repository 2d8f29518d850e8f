"""Tiles and halos as integers: nothing lost, nothing doubled, always on the stride."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st

from glaciercube.errors import GridError
from glaciercube.windows import Window, edges, expand, hull, lattice_offset, windows_on

chunks = st.lists(st.integers(1, 40), min_size=1, max_size=6).map(tuple)


# corners in pixels from coordinate (0, 0), as far as UTM and polar grids reach at 1 m
corners = st.integers(-10_000_000, 10_000_000)


@st.composite
def lattices(draw):
    """Return the size and step of windows, and the offset of a cube's corner."""
    size = draw(st.integers(1, 24))
    return size, draw(st.integers(1, size)), (draw(corners), draw(corners))


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


def moved(window, rows, columns):
    return Window(window.y0 + rows, window.y1 + rows, window.x0 + columns, window.x1 + columns)


def touch(one, other):
    return 0 not in one.cut(other).shape


def by_search(block, size, step, offset):
    """Return the lattice windows that touch a block, by trying every place around it."""
    return tuple(
        window
        for y in range(block.y0 - size, block.y1 + size)
        for x in range(block.x0 - size, block.x1 + size)
        if (y + offset[0]) % step == 0
        and (x + offset[1]) % step == 0
        and touch(window := Window(y, y + size, x, x + size), block)
    )


@given(inner_windows(), inner_windows())
def test_the_cut_of_two_windows_holds_the_pixels_of_both(one, other):
    (_, one), (_, other) = one, other
    first, second = np.zeros((200, 200), bool), np.zeros((200, 200), bool)
    first[one.slices], second[other.slices] = True, True
    both = np.zeros((200, 200), bool)
    both[one.cut(other).slices] = True
    assert np.array_equal(both, first & second)
    assert one.holds(other) == (not (second & ~first).any())
    assert hull([one, other]).holds(one)
    assert hull([one, other]).holds(other)
    assert hull([one]) == one


@given(
    st.integers(0, 30), st.integers(1, 20), st.integers(0, 30), st.integers(1, 20),
    st.integers(1, 9), st.data(),
)  # fmt: skip
def test_the_windows_on_a_block_are_those_that_a_search_finds(y, rows, x, columns, size, data):
    step = data.draw(st.integers(1, size))
    offset = (data.draw(st.integers(-50, 50)), data.draw(st.integers(-50, 50)))
    block = Window(y, y + rows, x, x + columns)
    assert windows_on(block, size, step, offset) == by_search(block, size, step, offset)


@given(inner_windows(), inner_windows(), lattices())
def test_two_blocks_agree_on_their_shared_windows_and_the_order(one, other, lattice):
    (_, one), (_, other) = one, other
    first, second = windows_on(one, *lattice), windows_on(other, *lattice)
    shared = [window for window in first if touch(window, other)]
    assert shared == [window for window in second if touch(window, one)]


@given(inner_windows(), lattices(), st.integers(-300, 300), st.integers(-300, 300))
def test_two_cubes_agree_on_the_windows_of_the_same_ground(case, lattice, rows, columns):
    _, block = case
    size, step, (row, column) = lattice
    here = windows_on(block, size, step, (row, column))
    there = windows_on(moved(block, -rows, -columns), size, step, (row + rows, column + columns))
    assert here == tuple(moved(window, rows, columns) for window in there)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.data())
def test_every_pixel_lies_in_the_expected_number_of_windows(rows, columns, size, data):
    step = data.draw(st.integers(1, size))
    offset = (data.draw(corners), data.draw(corners))
    count = np.zeros((rows, columns), int)
    block = Window(0, rows, 0, columns)
    for window in windows_on(block, size, step, offset):
        count[window.cut(block).slices] += 1
    down = [expected_at(row + offset[0], size, step) for row in range(rows)]
    across = [expected_at(column + offset[1], size, step) for column in range(columns)]
    assert np.array_equal(count, np.outer(down, across))
    assert size // step <= min(down)
    assert max(down) <= -(-size // step)


def expected_at(place, size, step):
    """Return how many windows of one axis hold a pixel: as many steps as fit before it."""
    into = place % step
    return (size - 1 - into) // step + 1


@given(inner_windows(), lattices())
def test_windows_reach_less_than_their_size_beyond_a_block(case, lattice):
    _, block = case
    size, _, _ = lattice
    reach = hull(windows_on(block, *lattice))
    assert reach.holds(block)
    grown = Window(
        block.y0 - size + 1, block.y1 + size - 1, block.x0 - size + 1, block.x1 + size - 1
    )
    assert grown.holds(reach)


def test_a_block_without_pixels_touches_no_window():
    assert windows_on(Window(3, 3, 0, 9), 4, 2) == ()


@pytest.mark.parametrize(("size", "step"), [(4, 5), (4, 0), (0, 0), (4, -1)])
def test_windows_with_gaps_are_refused(size, step):
    with pytest.raises(GridError, match=f"found step {step} and size {size}"):
        windows_on(Window(0, 4, 0, 4), size, step)


def clear_of_the_tie(part):
    """Say whether float noise cannot move a part of a pixel over the tie, which is at 0.499."""
    return abs(part - 0.499) > 1e-6


RESOLUTIONS = (0.5, 10.0, 20.0, 30.0, 1 / 3600, 0.1, 8.333333333333333e-05)


@given(
    corners, corners, st.integers(-5000, 5000), st.integers(-5000, 5000),
    st.sampled_from(RESOLUTIONS), st.floats(0, 1).filter(clear_of_the_tie), st.booleans(),
)  # fmt: skip
@example(1, 1, 7, 7, 30.0, 0.5, True)
@example(-49_999, 10_000, 3333, 4999, 30.0, 0.5, True)
def test_two_cubes_of_one_grid_lie_apart_by_their_pixels(
    row, column, rows, columns, resolution, part, down
):
    step_y = -resolution if down else resolution
    first = Affine(resolution, 0, (column + part) * resolution, 0, step_y, (row + part) * step_y)
    second = first * Affine.translation(columns, rows)
    here, there = lattice_offset(first), lattice_offset(tuple(second)[:6])
    assert (there[0] - here[0], there[1] - here[1]) == (rows, columns)
    assert abs(here[0] - row - part) <= 0.5 + 2e-3


@pytest.mark.parametrize(
    ("corner", "resolution", "expected"),
    [
        ((500_000, 9_329_000), 10, (-932_900, 50_000)),  # UTM 32N, 84 degrees north
        ((-3_333_250, 3_333_250), 0.5, (-6_666_500, -6_666_500)),  # Antarctic polar
        ((300_015, -1_499_985), 30, (50_000, 10_001)),  # Landsat: half a pixel off
        ((300_045, -1_500_015), 30, (50_001, 10_002)),  # its neighbour, one pixel on
    ],
)
def test_corners_count_rows_downwards_from_coordinate_zero(corner, resolution, expected):
    assert lattice_offset((resolution, 0, corner[0], 0, -resolution, corner[1])) == expected


def test_a_rotated_grid_has_no_lattice():
    with pytest.raises(GridError, match=r"not rotated, found .*0.1"):
        lattice_offset((10, 0.1, 0, 0, -10, 0))


@pytest.mark.parametrize("affine", [(0, 0, 0, 0, -10, 0), (10, 0, float("nan"), 0, -10, 0)])
def test_pixels_without_size_have_no_lattice(affine):
    with pytest.raises(GridError, match=r"finite size, found \((0|10), 0, (0|nan), 0, -10, 0\)"):
        lattice_offset(affine)
