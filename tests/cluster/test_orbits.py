"""How often satellites pass."""

import numpy as np
import pytest

from glaciercube import sensors
from glaciercube.cluster.orbits import MISSIONS, days_of, missions_of, passes_per_day
from glaciercube.errors import SensorError

S2A, S2B = MISSIONS["sentinel-2-l2a"]


def test_every_sensor_with_dates_has_satellites():
    dated = {name for name, row in sensors.SENSORS.items() if row.level != "elevation"}
    assert dated == set(MISSIONS)
    with pytest.raises(SensorError, match=r"\['cop-dem-glo-30'\] have none"):
        missions_of(sensors.rows_of("cop-dem-glo-30"))


def test_the_nominal_revisit_at_the_equator():
    # Of repeat cycle: an orbit sees each place once, and some twice as swaths overlap.
    for mission in (S2A, *MISSIONS["landsat-oli-c2-l2"]):
        passes = passes_per_day(mission, np.array([0.0]))[0] * mission.repeat_days
        assert 1.0 < passes < 1.12


def test_nearer_to_the_pole_passes_are_more_and_never_without_end():
    passes = passes_per_day(S2A, np.array([0, 30, 46, -46, 60, 75, 81, 83, 89]))
    assert passes[2] == passes[3]
    order = np.delete(passes, 3)
    assert (np.diff(order) >= 0).all()
    assert passes.max() < S2A.orbits / S2A.repeat_days
    assert (passes_per_day(S2A, np.array([46.0]), 100) > passes[2]).all()


@pytest.mark.parametrize(
    ("period", "season", "days"),
    [("2021", None, 365), ("2019/2020", ("12-15", "01-15"), 64), ("2016", None, 0),
     ("2020", ("02-28", "03-01"), 3), ("2017-03-01/2017-03-31", None, 17)],
)  # fmt: skip
def test_days_of_a_satellite_in_period_and_season(period, season, days):
    assert days_of(S2B, period, season) == days


def test_a_satellite_that_ended_has_no_days_after():
    assert days_of(MISSIONS["landsat-tm-c2-l2"][0], "2000", None) == 0
