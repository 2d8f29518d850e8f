"""Members summed as they come: as float64 over all of them, in any order, in fixed memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glaciercube.errors import SchemaError
from glaciercube.infer.uncertainty import MEMBERS, Members, entropy_of, share_of_largest

FIELDS = ("probability", "entropy", "expected_entropy", "mutual_information")


def members_of(count, categories, shape, seed=0, sharp=3.0):
    """Return probabilities (member, category, y, x): some certain, some not."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, categories, *shape)) * sharp
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def spread_of(members):
    summed = Members(members.shape[1], members.shape[2:])
    for member in members:
        summed.add(member)
    return summed.spread()


def entropy_by_float64(probability, axis):
    wide = probability.astype(np.float64)
    logs = np.log(wide, where=wide > 0, out=np.zeros_like(wide))
    return -(wide * logs).sum(axis=axis)


@settings(deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(0, 1000), st.sampled_from([0.1, 3.0, 60.0])
)
def test_sums_are_those_of_float64(count, categories, seed, sharp):
    members = members_of(count, categories, (3, 5), seed, sharp)
    spread = spread_of(members)
    mean = members.astype(np.float64).mean(axis=0)
    expected = entropy_by_float64(members, axis=1).mean(axis=0)
    total = entropy_by_float64(mean, axis=0)
    for name, value in zip(FIELDS, (mean, total, expected, total - expected), strict=True):
        found = getattr(spread, name)
        assert found.dtype == np.float32
        # a step of 2^-24 moves an entropy by as much times the logarithm of the probability
        atol = 3e-7 if name == "probability" else 3e-6
        np.testing.assert_allclose(found, value, rtol=0, atol=atol, err_msg=name)


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_members_changes_no_bit(count, seed, random):
    members = members_of(count, 4, (3, 5), seed)
    order = list(range(count))
    random.shuffle(order)
    one, other = spread_of(members), spread_of(members[order])
    for name in FIELDS:
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_part_of_the_image_has_the_bits_of_the_whole():
    members = members_of(5, 9, (70, 700))
    whole = spread_of(members)
    for rows, columns in ((slice(3, 4), slice(5, 6)), (slice(11, 60), slice(0, 333))):
        part = spread_of(members[:, :, rows, columns])
        for name in FIELDS:
            assert np.array_equal(getattr(part, name), getattr(whole, name)[..., rows, columns])
    assert np.array_equal(entropy_of(members[0])[3:9, 1:8], entropy_of(members[0][:, 3:9, 1:8]))


def test_members_need_not_be_contiguous():
    members = members_of(3, 4, (20, 20))
    turned = members.swapaxes(-1, -2)[..., ::-1, :]
    one, other = spread_of(turned), spread_of(np.ascontiguousarray(turned))
    for name in FIELDS:
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_members_that_agree_carry_no_information():
    member = members_of(1, 5, (30, 30))
    spread = spread_of(np.repeat(member, 8, axis=0))
    np.testing.assert_allclose(spread.probability, member[0], rtol=0, atol=1e-7)
    assert spread.mutual_information.min() >= 0
    assert spread.mutual_information.max() < 1e-6


def test_certain_members_that_disagree_carry_all_of_it():
    certain = np.eye(4, dtype=np.float32)[:, :, np.newaxis, np.newaxis]
    spread = spread_of(certain)
    assert spread.expected_entropy == 0
    np.testing.assert_allclose(spread.mutual_information, np.log(4), atol=1e-6)
    assert np.array_equal(spread.entropy, spread.mutual_information)


def test_a_mean_of_many_sums_to_one():
    spread = spread_of(members_of(MEMBERS, 9, (4, 4)))
    np.testing.assert_allclose(spread.probability.sum(axis=0), 1, rtol=0, atol=1e-6)


def test_the_largest_sum_does_not_overflow():
    certain = np.zeros((2, 1, 1), np.float32)
    certain[0] = np.nextafter(np.float32(1), np.float32(2))
    summed = Members(2, (1, 1))
    for _ in range(MEMBERS):
        summed.add(certain)
    np.testing.assert_allclose(summed.spread().probability[:, 0, 0], [1, 0], atol=2e-7)


def test_a_pixel_that_one_member_lacks_is_nan_and_no_other():
    members = members_of(4, 3, (6, 7))
    expected = spread_of(members)
    members[2, :, 1, 2] = np.nan
    members[3, 0, 5, 5] = np.nan
    spread = spread_of(members)
    missing = np.zeros((6, 7), bool)
    missing[1, 2] = missing[5, 5] = True
    for name in FIELDS:
        found = getattr(spread, name)
        assert np.isnan(found[..., missing]).all()
        assert np.array_equal(found[..., ~missing], getattr(expected, name)[..., ~missing])


def test_memory_does_not_grow_with_the_members():
    member = members_of(1, 9, (256, 256))[0]

    def peak(count):
        tracemalloc.start()
        summed = Members(9, (256, 256))
        for _ in range(count):
            summed.add(member)
        summed.spread()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert abs(peak(24) - peak(2)) < 0.05 * member.nbytes
    assert peak(24) < 3 * member.nbytes


@given(st.integers(2, 255))
def test_the_share_of_the_largest_entropy_ends_at_one(categories):
    even = np.full((categories, 1, 1), 1 / categories, np.float32)
    share = share_of_largest(entropy_of(even), categories)
    assert share.dtype == np.float32
    assert 1 - 1e-5 < share[0, 0] <= 1


def test_one_category_leaves_nothing_open():
    assert share_of_largest(entropy_of(np.ones((1, 1, 1), np.float32)), 1).tolist() == [[0.0]]


def test_entropy_of_certainty_is_zero_and_of_nan_is_nan():
    found = entropy_of(np.float32([[[1, 0, np.nan]], [[0, 1, 0.5]]]))
    assert found[0, :2].tolist() == [0, 0]
    assert not np.signbit(found[0, :2]).any()
    assert np.isnan(found[0, 2])


def test_a_member_of_another_shape_is_refused():
    with pytest.raises(SchemaError, match=r"\(3, 4, 4\) is needed, found \(2, 4, 4\)"):
        Members(3, (4, 4)).add(np.zeros((2, 4, 4), np.float32))


def test_nothing_to_sum_is_refused():
    with pytest.raises(SchemaError, match="found 0"):
        Members(3, (4, 4)).spread()


def test_more_members_than_the_sums_hold_are_refused():
    summed = Members(1, (1, 1))
    for _ in range(MEMBERS):
        summed.add(np.ones((1, 1, 1), np.float32))
    with pytest.raises(SchemaError, match=f"at most {MEMBERS} members"):
        summed.add(np.ones((1, 1, 1), np.float32))
