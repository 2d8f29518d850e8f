"""Blended windows: the same bits whatever the blocks, the corner and the region of interest."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glaciercube.errors import GridError, WeightsError
from glaciercube.infer.blending import Blend, blended, profile
from glaciercube.windows import Window, windows_on

CATEGORIES = 3


def network(images):
    """Return probabilities that depend on the whole of each image, and on no other image."""
    return np.stack([_one(image) for image in images])


def _one(image):
    centred = (image - image.mean()) / (image.std() + np.float32(1e-3))
    mixed = np.stack([centred[0], centred[1] * 2, centred[0] * centred[1]])
    raised = np.exp(mixed - mixed.max(axis=0))
    return raised / raised.sum(axis=0)


def image_of(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(2, rows, columns)).astype(np.float32)


def blend_block(image, blend, block, reported=None, predict=network):
    """Return the probabilities of one block, which reads no more than it needs."""
    reported = np.ones(block.shape, bool) if reported is None else reported
    outer = blend.reads(block, reported)
    values = image[(slice(None), *outer.slices)]
    return blended(
        values, reported, outer=outer, block=block, blend=blend, predict=predict,
        categories=CATEGORIES,
    )  # fmt: skip


def whole_of(image, blend, **more):
    rows, columns = image.shape[1:]
    return blend_block(image, blend, Window(0, rows, 0, columns), **more)


def by_loops(image, blend):
    """Return the weighted mean of all windows, with counted weights, in float64."""
    rows, columns = image.shape[1:]
    wide = np.pad(image, ((0, 0), (blend.size, blend.size), (blend.size, blend.size)))
    for channel, fill in enumerate(np.broadcast_to(blend.fill, len(image))):
        inside = wide[channel, blend.size : -blend.size, blend.size : -blend.size].copy()
        wide[channel] = fill
        wide[channel, blend.size : -blend.size, blend.size : -blend.size] = inside
    total = np.zeros((CATEGORIES, *wide.shape[1:]))
    count = np.zeros(wide.shape[1:])
    place = (np.arange(blend.size) + 0.5) / blend.size
    along = {
        "hann": 0.001 + 0.999 * np.sin(np.pi * place) ** 2,
        "gaussian": np.exp(-0.5 * ((place - 0.5) * 8) ** 2),
    }[blend.weights]
    weight = np.outer(along, along)
    for window in windows_on(Window(0, rows, 0, columns), blend.size, blend.step, blend.offset):
        y, x = window.y0 + blend.size, window.x0 + blend.size
        where = (slice(y, y + blend.size), slice(x, x + blend.size))
        total[(slice(None), *where)] += weight * _one(wide[(slice(None), *where)])
        count[where] += weight
    mean = total / np.where(count, count, 1)
    return mean[:, blend.size : -blend.size, blend.size : -blend.size]


@st.composite
def blends(draw):
    size = draw(st.integers(2, 12))
    return Blend(
        size=size,
        step=draw(st.integers(1, size)),
        shape=(draw(st.integers(1, 30)), draw(st.integers(1, 30))),
        offset=(draw(st.integers(-900_000, 900_000)), draw(st.integers(-900_000, 900_000))),
        weights=draw(st.sampled_from(["hann", "gaussian"])),
        batch=draw(st.integers(1, 5)),
        fill=draw(st.sampled_from([0.0, -1.5, (0.5, -2.0)])),
    )


def cuts_of(data, length):
    inner = data.draw(st.lists(st.integers(1, length), max_size=3, unique=True))
    marks = sorted({0, length, *inner})
    return list(zip(marks, marks[1:], strict=False))


@settings(deadline=None)
@given(blends())
def test_the_result_is_the_weighted_mean_of_all_windows(blend):
    image = image_of(*blend.shape)
    np.testing.assert_allclose(whole_of(image, blend), by_loops(image, blend), rtol=0, atol=1e-6)


@settings(deadline=None)
@given(blends(), st.data())
def test_blocks_give_the_bits_of_the_whole(blend, data):
    image = image_of(*blend.shape)
    whole = whole_of(image, blend)
    tiled = np.zeros_like(whole)
    again = replace(blend, batch=data.draw(st.integers(1, 7)))
    for y0, y1 in cuts_of(data, blend.shape[0]):
        for x0, x1 in cuts_of(data, blend.shape[1]):
            block = Window(y0, y1, x0, x1)
            tiled[(slice(None), *block.slices)] = blend_block(image, again, block)
    assert np.array_equal(tiled, whole)


@settings(deadline=None, max_examples=30)
@given(blends(), st.integers(0, 12), st.integers(0, 12))
def test_cubes_that_overlap_give_the_same_bits_away_from_their_edges(blend, rows, columns):
    far = 36
    image = image_of(far, far)
    first = replace(blend, shape=(far, far))
    second = replace(
        first,
        shape=(far - rows, far - columns),
        offset=(blend.offset[0] + rows, blend.offset[1] + columns),
    )
    edge = blend.size - 1
    here = whole_of(image, first)[:, rows + edge :, columns + edge :]
    there = whole_of(image[:, rows:, columns:], second)[:, edge:, edge:]
    assert here.size
    assert np.array_equal(here, there)


@settings(deadline=None)
@given(blends(), st.integers(0, 100), st.floats(0, 1))
def test_a_region_of_interest_changes_no_bit_within_it(blend, seed, share):
    image = image_of(*blend.shape)
    reported = np.random.default_rng(seed).random(blend.shape) < share
    seen = []

    def counting(images):
        seen.append(len(images))
        return network(images)

    some = whole_of(image, blend, reported=reported, predict=counting)
    assert np.isnan(some[:, ~reported]).all()
    assert np.array_equal(some[:, reported], whole_of(image, blend)[:, reported])
    touched = [
        window
        for window in blend.windows(Window(0, blend.shape[0], 0, blend.shape[1]))
        if reported[window.cut(Window(0, blend.shape[0], 0, blend.shape[1])).slices].any()
    ]
    assert sum(seen) == len(touched)
    assert max(seen, default=0) <= blend.batch


@given(st.integers(1, 64), st.data(), st.sampled_from(["hann", "gaussian"]))
def test_weights_never_vanish_and_sum_to_one(size, data, weights):
    step = data.draw(st.integers(1, size))
    found = profile(size, step, weights)
    assert (found > 0).all()
    if size % step == 0:
        np.testing.assert_allclose(found, found[::-1], rtol=1e-12)
    total = np.zeros(3 * size)
    for start in range(0, 3 * size, step):
        part = total[start : start + size]
        part += found[: len(part)]
    np.testing.assert_allclose(total[size : 2 * size], 1, rtol=1e-12)


@pytest.mark.parametrize("weights", ["hann", "gaussian"])
def test_weights_fall_smoothly_from_the_middle(weights):
    found = profile(128, 64, weights)
    assert (np.diff(found[:64]) >= 0).all()
    assert np.abs(np.diff(found)).max() < 0.07
    assert found[0] < 0.02 * found[63]


def test_the_outer_ring_is_covered_and_probabilities_sum_to_one():
    image = image_of(37, 29)
    found = whole_of(image, Blend(size=8, step=4, shape=(37, 29), offset=(3, 1)))
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=0, atol=1e-6)
    assert found.dtype == np.float32
    assert found.min() >= 0


def test_windows_side_by_side_are_not_blended():
    image = image_of(16, 16)
    found = whole_of(image, Blend(size=8, step=8, shape=(16, 16)))
    assert np.array_equal(found[:, :8, 8:], _one(image[:, :8, 8:]))


def test_beyond_the_image_the_network_sees_the_fill_of_each_channel():
    seen = []

    def recording(images):
        seen.extend(images.copy())
        return network(images)

    blend = Blend(size=4, step=4, shape=(3, 4), fill=(7.0, -7.0))
    image = image_of(3, 4)
    whole_of(image, blend, predict=recording)
    assert len(seen) == 1
    assert np.array_equal(seen[0][:, :3], image)
    assert (seen[0][0, 3] == 7).all()
    assert (seen[0][1, 3] == -7).all()


def test_images_are_contiguous_float32_and_results_may_be_of_half_precision():
    blend = Blend(size=8, step=4, shape=(16, 16), batch=3)
    image = image_of(16, 16)

    def half(images):
        assert images.flags.c_contiguous
        assert images.dtype == np.float32
        return network(images).astype(np.float16)

    found = whole_of(image, blend, predict=half)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole_of(image, blend), rtol=0, atol=1e-3)


def test_where_nothing_is_reported_the_network_is_not_called_and_nothing_is_read():
    def refuse(images):
        raise AssertionError("the network was called")

    blend = Blend(size=8, step=4, shape=(32, 32))
    block, reported = Window(8, 16, 8, 16), np.zeros((8, 8), bool)
    assert 0 in blend.reads(block, reported).shape
    found = blend_block(image_of(32, 32), blend, block, reported, predict=refuse)
    assert found.shape == (CATEGORIES, 8, 8)
    assert np.isnan(found).all()


def test_a_block_reads_less_where_less_is_reported():
    blend = Blend(size=8, step=4, shape=(64, 64))
    block, reported = Window(16, 48, 16, 48), np.zeros((32, 32), bool)
    assert blend.reads(block) == Window(12, 52, 12, 52)
    reported[0, 0] = True
    assert blend.reads(block, reported) == Window(12, 24, 12, 24)


def test_more_may_have_been_read_than_is_needed():
    blend = Blend(size=8, step=4, shape=(64, 64))
    image, block = image_of(64, 64), Window(16, 48, 16, 40)
    found = blended(
        image, np.ones(block.shape, bool), outer=Window(0, 64, 0, 64), block=block, blend=blend,
        predict=network, categories=CATEGORIES,
    )  # fmt: skip
    assert np.array_equal(found, blend_block(image, blend, block))


def test_less_than_the_windows_need_is_refused():
    blend = Blend(size=8, step=4, shape=(64, 64))
    block = Window(16, 48, 16, 48)
    outer = Window(13, 52, 12, 52)
    with pytest.raises(GridError, match=r"need Window\(y0=12.*read was Window\(y0=13"):
        blended(
            np.zeros((2, *outer.shape), np.float32), np.ones(block.shape, bool), outer=outer,
            block=block, blend=blend, predict=network, categories=CATEGORIES,
        )  # fmt: skip


def test_values_and_masks_of_other_windows_are_refused():
    blend = Blend(size=8, step=4, shape=(16, 16))
    block = Window(0, 16, 0, 16)
    more = {"outer": block, "block": block, "blend": blend, "predict": network}
    with pytest.raises(GridError, match=r"\(16, 16\) are needed, found \(16, 15\)"):
        blended(np.zeros((2, 16, 15), np.float32), np.ones((16, 16), bool), categories=3, **more)
    with pytest.raises(GridError, match=r"block \(16, 16\) is needed, found \(4, 16\)"):
        blended(np.zeros((2, 16, 16), np.float32), np.ones((4, 16), bool), categories=3, **more)


def test_a_network_with_output_of_another_size_is_refused():
    def smaller(images):
        return network(images)[..., :4]

    with pytest.raises(WeightsError, match=r"\(1, 3, 8, 8\), found \(1, 3, 8, 4\)"):
        whole_of(image_of(8, 8), Blend(size=8, step=4, shape=(8, 8)), predict=smaller)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 9}, "step 9 and size 8"),
        ({"step": 0}, "step 0 and size 8"),
        ({"weights": "linear"}, "found 'linear'"),
        ({"batch": 0}, "found batch=0"),
    ],
)
def test_senseless_blends_are_refused(change, message):
    with pytest.raises(GridError, match=message):
        Blend(**{"size": 8, "step": 4, "shape": (8, 8)} | change)
