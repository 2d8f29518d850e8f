"""Averaging of speckle: against theory, an obvious version, and itself cut in pieces."""

import numpy as np
import pytest

from glaciercube.cube.speckle import add_ratios, add_values, averaged, local_mean, mean_of

WHOLE = (slice(None), slice(None))
INNER = (slice(8, -8), slice(8, -8))


def filtered(values, window, own=WHOLE):
    ratio = mean_of(add_ratios(None, values, window, own))
    return averaged(values, ratio, window, own)


def test_local_mean_against_a_loop():
    generator = np.random.default_rng(0)
    image = generator.random((12, 9))
    image[generator.random(image.shape) < 0.3] = np.nan
    image[:6, :5] = np.nan
    out = local_mean(image, 5)
    for y, x in np.ndindex(image.shape):
        around = image[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        expected = np.nanmean(around) if np.isfinite(around).any() else np.nan
        np.testing.assert_allclose(out[y, x], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("looks", "dates", "window"), [(4.4, 20, 7), (1.0, 12, 5), (4.4, 40, 3), (4.4, 1, 7)]
)
def test_looks_rise_as_theory_says_and_the_mean_of_each_date_stays(looks, dates, window):
    """Equivalent number of looks: mean squared over variance, of a scene without texture."""
    generator = np.random.default_rng(1)
    speckle = generator.gamma(looks, 1 / looks, (dates, 1, 150, 150))
    values = speckle * np.linspace(0.02, 0.2, dates)[:, None, None, None]
    out = filtered(values, window, INNER).astype(float)
    mean = out.mean(axis=(1, 2, 3))
    found = (mean**2 / out.var(axis=(1, 2, 3))).mean()
    pixels = window**2
    # 5 %: the variance itself is estimated, from 134 x 134 / pixels independent places a date
    assert found == pytest.approx(looks * dates * pixels / (dates + pixels - 1), rel=0.05)
    np.testing.assert_allclose(mean, values[:, :, *INNER].mean(axis=(1, 2, 3)), rtol=0.01)


def test_edges_and_points_keep_their_place():
    """A step and a bright point that are there on every date are as sharp as before."""
    generator = np.random.default_rng(2)
    truth = np.where(np.arange(60) < 30, 0.05, 0.5) * np.ones((60, 1))
    truth[20, 10] = 5.0
    values = truth * generator.gamma(4.4, 1 / 4.4, (60, 1, 60, 60))
    out = filtered(values, 5)
    mean = out[:, 0].mean(axis=0)
    assert mean[:, 29].mean() == pytest.approx(0.05, rel=0.15)
    assert mean[:, 30].mean() == pytest.approx(0.5, rel=0.05)
    assert mean[20, 10] == pytest.approx(5.0, rel=0.2)
    assert mean[20, 13] < 0.1


def test_holes_stay_and_do_not_darken_their_neighbours():
    generator = np.random.default_rng(3)
    values = generator.gamma(4.4, 1 / 4.4, (10, 2, 40, 40))
    values[4, :, 10:20, 10:20] = np.nan
    values[:, :, 30, 30] = np.nan
    values[:9, :, 5, 5] = np.nan
    out = filtered(values, 7)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(values))
    beside = out[4, :, 10:20, 20]
    assert beside.mean() == pytest.approx(1.0, abs=0.15)


def test_one_date_comes_back_as_it_was():
    values = np.random.default_rng(4).gamma(4.4, 1 / 4.4, (1, 1, 20, 20))
    np.testing.assert_allclose(filtered(values, 5), values, rtol=1e-6)


def test_dates_may_come_in_portions_and_pixels_in_pieces():
    values = np.random.default_rng(5).gamma(2, 0.1, (7, 2, 30, 30)).astype(np.float32)
    whole = add_ratios(None, values, 5, WHOLE)
    portion = add_ratios(None, values[:3], 5, WHOLE)
    before = portion.copy()
    np.testing.assert_array_equal(add_ratios(portion, values[3:], 5, WHOLE), whole)
    np.testing.assert_array_equal(portion, before)
    part = add_ratios(None, values[..., 8:22, 3:17], 5, (slice(2, -2), slice(2, -2)))
    np.testing.assert_array_equal(part, whole[..., 10:20, 5:15])


def test_plain_sums_count_what_was_measured():
    values = np.array([[[[1.0, np.nan]]], [[[3.0, np.nan]]]])
    totals = add_values(add_values(None, values[:1], WHOLE), values[1:], WHOLE)
    np.testing.assert_array_equal(totals[:, 0, 0], [[4, 0], [2, 0]])
    np.testing.assert_array_equal(mean_of(totals)[0, 0], [2, np.nan])
