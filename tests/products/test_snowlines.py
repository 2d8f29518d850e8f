import numpy as np
import pytest

from glaciercube.products.snowlines import snowline


def bins(*shares, weight=100.0):
    return np.array(shares) * weight, np.full(len(shares), weight)


def test_a_sharp_line_between_bins():
    altitude, error, reason = snowline(*bins(0, 0, 0, 1, 1, 1, 1, 1), 100)
    # From the centre of the last bare bin to that of the first white one.
    assert (altitude, error, reason) == (2060.0, 10.0, "")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_a_line_within_a_bin_is_found_to_a_few_metres(share):
    altitude, _, _ = snowline(*bins(0, 0, share, 1, 1, 1, 1), 100)
    assert altitude == pytest.approx(2060 - 20 * share, abs=4)


def test_a_slow_rise_is_uncertain():
    altitude, error, _ = snowline(*bins(*np.linspace(0, 1, 11)), 100)
    assert altitude == pytest.approx(2110)
    assert error == pytest.approx(50)


def test_five_bins_are_preferred_to_a_patch_below():
    shares = [0, 0.9, 0.9, 0, 0, 0, 1, 1, 1, 1, 1]
    assert snowline(*bins(*shares), 0)[0] == pytest.approx(120)


def test_fewer_bins_are_taken_where_no_five_follow():
    shares = [0, 0, 1, 0, 0, 1, 1, 1, 0]
    assert snowline(*bins(*shares), 0)[0] == pytest.approx(100)


def test_a_bin_hidden_by_cloud_is_left_out():
    snow, known = bins(0, 0, 0, 0.5, 1, 1, 1, 1, 1)
    known[3], snow[3] = 0, 0
    altitude, error, _ = snowline(snow, known, 0)
    assert altitude == pytest.approx(70)
    assert error == pytest.approx(10)


def test_snow_that_never_reaches_three_quarters_is_uncertain_to_the_top():
    altitude, error, _ = snowline(*bins(0, 0, 0.6, 0.6, 0.6, 0.6, 0.6), 0)
    assert altitude == pytest.approx(30 + 20 * 5 / 6)
    low = 30 + 20 * 0.25 / 0.6
    assert error == pytest.approx((130 - low) / 2)


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ((0, 0.2, 0.4), "no 20 m bin is more than half snow covered"),
        ((1, 1, 1), "snow covered down to the lowest bin"),
    ],
)
def test_no_line_is_said(shares, reason):
    altitude, error, found = snowline(*bins(*shares), 0)
    assert np.isnan(altitude)
    assert np.isnan(error)
    assert found == reason


def test_nothing_observed():
    assert snowline(np.zeros(3), np.zeros(3), 0)[2] == "no observed glacier of known elevation"


def test_below_sea_level():
    assert snowline(*bins(0, 0, 1, 1), -3)[0] == pytest.approx(-20)
