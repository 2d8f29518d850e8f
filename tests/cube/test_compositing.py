import tracemalloc
import warnings

import numpy as np
import pytest

from glaciercube.cube.compositing import (
    CLOUD_REACH_M,
    PIXELS,
    Stack,
    best,
    cloud_scores,
    compose,
    day_scores,
    median,
    medoid,
    nearest,
    observed,
    pick,
)
from glaciercube.schema import NO_DAY

DAYS = (18800, 18820, 18840, 18860, 18880, 18900)


@pytest.fixture
def stack():
    """Return six dates of three bands with holes; some pixels have one date or none."""
    generator = np.random.default_rng(3)
    values = generator.normal(0.5, 0.2, (6, 3, 11, 13)).astype(np.float32)
    clear = generator.random((6, 11, 13)) < 0.6
    clear[:, :2, :2] = False
    clear[1:, 3, 3] = False
    clear[0, 3, 3] = True
    values[:, :, 5:, 5:][~clear[:, np.newaxis, 5:, 5:].repeat(3, 1)] = np.nan
    values[2, 1, 4, 4] = np.nan
    cloud = ~clear
    failed = generator.random(clear.shape) < 0.1
    failed[3, 0, 1] = True
    flags = {"cloud": cloud, "hillshade": values[:, 0] * 2}
    return Stack(values=values, clear=clear, flags=flags, failed=failed)


def masked(stack):
    """Return the values with NaN where a date is no observation."""
    seen = stack.clear & np.isfinite(stack.values).all(axis=1)
    return np.where(seen[:, np.newaxis], stack.values, np.nan), seen


def test_an_observation_is_clear_and_whole(stack):
    seen = observed(stack.values, stack.clear)
    np.testing.assert_array_equal(seen, masked(stack)[1])
    assert not seen[2, 4, 4]


@pytest.mark.parametrize("dates", [1, 2, 3, 5, 6])
def test_the_median_is_that_of_numpy(stack, dates):
    values, seen = masked(stack)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pixels without a date
        expected = np.nanmedian(values[:dates], axis=0)
    found = median(stack.values[:dates], seen[:dates]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found[:, 0, 0]).all()


def test_the_medoid_has_the_least_sum_of_distances(stack):
    choice = medoid(stack.values, masked(stack)[1])
    values, seen = masked(stack)
    for y, x in np.ndindex(choice.shape):
        own = np.nonzero(seen[:, y, x])[0]
        if not own.size:
            assert choice[y, x] == -1
            continue
        sums = {
            one: sum(
                np.sqrt(((values[one, :, y, x].astype(float) - values[other, :, y, x]) ** 2).sum())
                for other in own
            )
            for one in own
        }
        assert choice[y, x] in sums
        assert sums[choice[y, x]] <= min(sums.values()) * (1 + 1e-6)


def test_the_medoid_sums_distances_not_their_squares():
    # Squares would choose 0.30, nearest to the mean of 0.37.
    values = np.float32([0.1, 0.2, 0.21, 0.30, 1.04]).reshape(5, 1, 1, 1)
    assert medoid(values, np.ones((5, 1, 1), bool)).item() == 2


def test_the_medoid_of_many_pixels_is_that_of_each():
    generator = np.random.default_rng(1)
    values = generator.random((4, 2, 1, PIXELS + 9)).astype(np.float32)
    seen = generator.random((4, 1, PIXELS + 9)) < 0.7
    whole = medoid(values, seen)
    np.testing.assert_array_equal(whole[:, -20:], medoid(values[..., -20:], seen[..., -20:]))


def test_the_earliest_of_equals_is_taken():
    values = np.float32([0.75, 0.25, 0.75, 0.25]).reshape(4, 1, 1, 1)
    seen = np.ones((4, 1, 1), bool)
    assert medoid(values, seen).item() == 0
    assert nearest(values, seen, np.full((1, 1, 1), 0.5)).item() == 0
    assert best(np.int32([5, 7, 7, 5]).reshape(4, 1, 1), seen).item() == 1
    late = seen.copy()
    late[0] = False
    assert medoid(values, late).item() == 1


def test_two_observations_are_equally_near_to_their_median():
    generator = np.random.default_rng(0)
    values = generator.random((2, 4, 30, 30)).astype(np.float32)
    seen = np.ones((2, 30, 30), bool)
    assert (nearest(values, seen, median(values, seen)) == 0).all()


def test_nearest_is_that_of_a_loop(stack):
    values, seen = masked(stack)
    target = median(stack.values, seen)
    found = nearest(stack.values, seen, target)
    with np.errstate(invalid="ignore"):
        distance = ((values.astype(float) - target) ** 2).sum(axis=1)
    expected = np.where(seen, distance, np.inf).argmin(axis=0)
    np.testing.assert_array_equal(found, np.where(seen.any(axis=0), expected, -1))


@pytest.mark.parametrize("how", ["medoid", "best-pixel"])
def test_everything_comes_from_the_chosen_date(stack, how):
    out = compose(stack, how, DAYS, (1, 2, 6, 5, 4, 3))
    for y, x in np.ndindex(out["valid"].shape):
        if not out["valid"][y, x]:
            assert out["acquired"][y, x] == NO_DAY
            assert np.isnan(out["values"][:, y, x]).all()
            assert not out["cloud"][y, x]
            continue
        date = DAYS.index(out["acquired"][y, x])
        np.testing.assert_array_equal(out["values"][:, y, x], stack.values[date, :, y, x])
        assert out["hillshade"][y, x] == stack.flags["hillshade"][date, y, x]
        assert out["cloud"][y, x] == stack.flags["cloud"][date, y, x]


@pytest.mark.parametrize("how", ["median", "medoid", "best-pixel"])
def test_counts_and_failures(stack, how):
    out = compose(stack, how, DAYS, range(6))
    seen = masked(stack)[1]
    np.testing.assert_array_equal(out["observations"], seen.sum(axis=0))
    np.testing.assert_array_equal(out["valid"], seen.any(axis=0))
    failed = stack.failed.any(axis=0) & ~seen.any(axis=0)
    np.testing.assert_array_equal(out["read_failed"], failed)
    assert failed.any()
    kinds = {name: one.dtype for name, one in out.items()}
    assert kinds["values"] == np.float32
    assert kinds["acquired"] == np.int32
    assert kinds["observations"] == np.uint16
    assert ("cloud" in out) == (how != "median")


def test_the_best_pixel_has_the_highest_score(stack):
    scores = (3, 9, 4, 9, 1, 2)
    out = compose(stack, "best-pixel", DAYS, scores)
    seen = masked(stack)[1]
    for y, x in np.ndindex(out["valid"].shape):
        if seen[:, y, x].any():
            order = sorted(np.nonzero(seen[:, y, x])[0], key=lambda date: (-scores[date], date))
            assert out["acquired"][y, x] == DAYS[order[0]]


def test_a_far_cloud_can_outweigh_a_near_day():
    values = np.float32([0.2, 0.7]).reshape(2, 1, 1, 1)
    near_cloud = np.uint16([100, 993]).reshape(2, 1, 1)
    stack = Stack(values=values, clear=np.ones((2, 1, 1), bool), cloud_score=near_cloud)
    assert (
        compose(stack, "best-pixel", DAYS[:2], (1_000_000, 600_000))["acquired"].item() == DAYS[1]
    )
    assert (
        compose(stack, "best-pixel", DAYS[:2], (1_000_000, 100_000))["acquired"].item() == DAYS[0]
    )


def test_cloud_scores_are_those_of_a_loop():
    generator = np.random.default_rng(2)
    blocked = generator.random((3, 14, 12)) < 0.04
    blocked[1] = False
    steps = (90.0, 120.0)
    found = cloud_scores(blocked, steps)
    for date, y, x in np.ndindex(blocked.shape):
        clouds = np.argwhere(blocked[date])
        away = [np.hypot((y - row) * steps[0], (x - column) * steps[1]) for row, column in clouds]
        metres = min([round(one) for one in away] + [CLOUD_REACH_M])
        expected = 1000 / (1 + np.exp(-(metres - 750) * 0.2 / 30))
        assert found[date, y, x] == round(expected)


def test_days_count_both_ways():
    assert day_scores([5]) == day_scores([-5])
    assert list(day_scores([0, 10, 20, 400])) == sorted(day_scores([0, 10, 20, 400]))[::-1]


def test_picking_leaves_its_input_alone(stack):
    before = stack.values.copy()
    for how in ("median", "medoid", "best-pixel"):
        compose(stack, how, DAYS, range(6))
    np.testing.assert_array_equal(stack.values, before)
    empty = pick(np.ones((2, 3, 4), np.uint8), np.full((3, 4), -1, np.int16))
    assert not empty.any()


@pytest.mark.parametrize("how", ["median", "medoid", "best-pixel"])
def test_a_kernel_needs_about_as_much_again(how):
    generator = np.random.default_rng(0)
    values = generator.random((12, 6, 128, 256)).astype(np.float32)
    stack = Stack(values=values, clear=generator.random((12, 128, 256)) < 0.7)
    tracemalloc.start()
    compose(stack, how, range(12), range(12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * values.nbytes
