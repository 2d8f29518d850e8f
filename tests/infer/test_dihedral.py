"""Eight views: all different, all invertible, and as exact under tiling as the image itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glaciercube.infer.dihedral import VIEWS, reads, through
from glaciercube.windows import Window, expand, hull

ROTATED = [
    lambda array: array,
    lambda array: np.rot90(array, 1, (-2, -1)),
    lambda array: np.rot90(array, 2, (-2, -1)),
    lambda array: np.rot90(array, 3, (-2, -1)),
    lambda array: array[..., ::-1, :],
    lambda array: array[..., ::-1],
    lambda array: np.swapaxes(array, -1, -2),
    lambda array: np.swapaxes(np.rot90(array, 2, (-2, -1)), -1, -2),
]

each_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)


def image_of(rows, columns, channels=1):
    rng = np.random.default_rng(rows * 1000 + columns)
    return rng.normal(size=(channels, rows, columns)).astype(np.float32)


@st.composite
def places(draw):
    """Return an image's shape and a window inside it."""
    rows, columns = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    y0, x0 = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    y1, x1 = draw(st.integers(y0 + 1, rows)), draw(st.integers(x0 + 1, columns))
    return (rows, columns), Window(y0, y1, x0, x1)


@pytest.mark.parametrize("number", range(8))
def test_a_view_is_what_its_name_says(number):
    image = image_of(3, 5, channels=2)
    assert np.array_equal(VIEWS[number].apply(image), ROTATED[number](image))


def test_the_views_are_all_different():
    image = image_of(4, 4)
    assert len({VIEWS[number].apply(image).tobytes() for number in range(8)}) == 8
    assert len({view.name for view in VIEWS}) == 8


@each_view
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (6, 2)])
def test_a_view_and_back_is_the_image_without_a_copy(view, shape):
    image = image_of(*shape, channels=2)
    seen = view.apply(image)
    assert seen.shape[1:] == view.shape(shape)
    assert np.array_equal(view.invert(seen), image)
    assert np.shares_memory(view.invert(seen), image)


@each_view
@given(place=places())
def test_windows_are_found_again_in_a_view(view, place):
    shape, window = place
    image = np.arange(shape[0] * shape[1]).reshape(shape)
    seen = view.window(window, shape)
    assert np.array_equal(view.apply(image)[seen.slices], view.apply(image[window.slices]))
    assert view.back(seen, shape) == window


@each_view
@given(place=places(), halo=st.integers(0, 12), stride=st.integers(1, 8))
def test_what_is_read_lies_on_the_lattice_of_the_view(view, place, halo, stride):
    shape, window = place
    outer = view.expand(window, halo, shape, stride)
    seen = view.window(outer, shape)
    for start, stop, size in zip(
        (seen.y0, seen.x0), (seen.y1, seen.x1), view.shape(shape), strict=True
    ):
        assert start % stride == 0
        assert stop % stride == 0 or stop == size
    assert Window(0, shape[0], 0, shape[1]).holds(outer)
    assert outer.holds(expand(window, halo, shape))


@given(places(), st.integers(0, 12), st.integers(1, 8))
def test_all_views_together_read_less_than_a_stride_more(place, halo, stride):
    shape, window = place
    plain, together = expand(window, halo, shape, stride), reads(window, halo, shape, stride)
    assert together.holds(plain)
    for one, other in zip(
        (plain.y0, together.y1, plain.x0, together.x1),
        (together.y0, plain.y1, together.x0, plain.x1),
        strict=True,
    ):
        assert one - other < stride
    if shape[0] % stride == shape[1] % stride == 0:
        assert together == plain


def pooled(images, asked, stride=4):
    """Return scores of cells counted from the first row and column, and of their neighbours.

    What is missing of the last cells counts as 0, and so does what lies beyond the image.
    """
    rows, columns = images.shape[-2:]
    wide = np.pad(images, ((0, 0), (0, 0), (0, -rows % stride), (0, -columns % stride)))
    down, across = wide.shape[-2] // stride, wide.shape[-1] // stride
    cells = wide.reshape(*wide.shape[:2], down, stride, across, stride).max(axis=(3, 5))
    ring = np.pad(cells, ((0, 0), (0, 0), (1, 1), (1, 1)))
    near = ring[..., :-2, 1:-1] - 2 * ring[..., 2:, 1:-1] + 3 * ring[..., 1:-1, :-2] + cells
    scores = np.repeat(np.repeat(near, stride, axis=2), stride, axis=3)[..., :rows, :columns]
    return (scores + images)[..., asked[0], asked[1]]


@settings(deadline=None)
@given(place=places())
def test_blocks_give_in_every_view_what_the_whole_image_gives(place):
    shape, block = place
    image, stride, halo = image_of(*shape, channels=2), 4, 8
    outer = reads(block, halo, shape, stride)
    values = image[(slice(None), *outer.slices)]
    for view in VIEWS:
        turned = np.ascontiguousarray(view.apply(image))[np.newaxis]
        whole = view.invert(pooled(turned, (slice(None), slice(None)))[0])
        seen = view.expand(block, halo, shape, stride)
        found = through(view, values, pooled, outer=outer, seen=seen, inner=block)
        assert np.array_equal(found, whole[(slice(None), *block.slices)])


def test_the_window_of_another_view_would_show():
    shape, block, halo = (30, 30), Window(8, 16, 8, 16), 8
    image = image_of(*shape, channels=2)
    view = next(view for view in VIEWS if view.name == "upside down")
    whole = view.invert(pooled(view.apply(image)[np.newaxis], (slice(None), slice(None)))[0])
    wrong = expand(block, halo, shape, 4)
    assert wrong != view.expand(block, halo, shape, 4)
    outer = hull([wrong, reads(block, halo, shape, 4)])
    values = image[(slice(None), *outer.slices)]
    found = through(view, values, pooled, outer=outer, seen=wrong, inner=block)
    assert not np.allclose(found, whole[(slice(None), *block.slices)])


@each_view
def test_a_network_gets_one_contiguous_image_and_the_part_to_report(view):
    def scores(images, asked):
        assert images.flags.c_contiguous
        assert images.shape == (1, 2, *view.shape((12, 20)))
        return images[..., asked[0], asked[1]]

    image, block = image_of(12, 20, channels=2), Window(2, 5, 4, 14)
    whole = Window(0, 12, 0, 20)
    found = through(view, image, scores, outer=whole, seen=whole, inner=block)
    assert np.array_equal(found, image[(slice(None), *block.slices)])
