"""Estimates of scenes, bytes and core-hours, by hand."""

import pandas as pd
import pytest

from cluster.rounds import options
from glaciercube.cluster import estimates
from glaciercube.cluster.estimates import estimated
from glaciercube.cluster.orbits import MISSIONS, passes_per_day

TILE = pd.DataFrame({"latitude": [0.0], "width_km": [0.0], "blocks": [3]})


def test_the_formula_by_hand():
    job = options(season=("08-01", "08-31"), resolution=10, block=1000, cards=("facies",), halo=15)
    found = estimated(TILE, job).iloc[0]
    dates = 62 * passes_per_day(MISSIONS["sentinel-2-l2a"][0], 0.0)  # two satellites, 31 days
    assert found["scenes"] == 7
    # Four bands of 2 bytes at 10 m, six at 20 m, a scene classification of 1 byte: 20 m is the
    # middle of the bands.
    per_pixel = 4 * 2 + 6 * 2 / 4 + 1 / 400 * 100
    assert found["bytes_read"] == pytest.approx(3e6 * dates * per_pixel, rel=0.02)
    stored = 10 * estimates.BYTES_PER_BAND + estimates.BYTES_OF_MASKS + estimates.BYTES_OF_LAYERS
    assert found["bytes_written"] == pytest.approx(3e6 * dates * stored, rel=1e-6)
    seconds = 3 * dates * (estimates.INGEST_S + estimates.PREDICT_S)
    assert found["core_hours"] == pytest.approx(seconds / 3600, abs=1e-4)


def test_there_is_one_date_a_day_at_most():
    polar = TILE.assign(latitude=81.0)
    assert estimated(polar, options(season=("07-01", "07-10")))["scenes"].tolist() == [10]


def test_coarser_pixels_are_read_from_overviews():
    fine, coarse = (
        estimated(TILE, options(resolution=size, block=block))["bytes_read"].iloc[0]
        for size, block in ((10, 600), (60, 100))
    )
    assert coarse == pytest.approx(fine * 10 * 2 / 36 / (4 * 2 + 6 * 2 / 4), rel=0.03)


def test_a_period_before_the_satellites_has_no_scenes():
    found = estimated(TILE, options(period="1999"))
    assert found.iloc[0].tolist() == [0, 0, 0, 0]


def test_families_add_up_their_sensors():
    oli = estimated(TILE, options(sensor="landsat-oli-c2-l2", period="2020", season=None))
    both = estimated(TILE, options(sensor="landsat-c2-l2", period="2020", season=None))
    assert both["scenes"].iloc[0] == pytest.approx(2 * oli["scenes"].iloc[0], abs=1)
