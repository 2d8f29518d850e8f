"""The table of published lines."""

import numpy as np
import pytest

from glaciercube.cube.coefficients import (
    CHASTAIN,
    FENG,
    HLS,
    ROY_OLS,
    ROY_RMA,
    STUDIES,
    lines_between,
)
from glaciercube.sensors import SENSORS

BANDS = {"msi": "sentinel-2-l2a", "oli": "landsat-oli-c2-l2", "etm": "landsat-etm-c2-l2"}


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_a_row_says_its_source_and_what_was_checked(study):
    assert "20" in study.source
    assert "not checked against the paper" in study.checked
    for fit in study.fits:
        known = SENSORS[BANDS[fit.origin]].every_name
        assert {line.band for line in fit.lines} <= set(known)
        assert all(0.8 < line.slope < 1.3 for line in fit.lines)
        assert all(abs(line.intercept) < 0.08 for line in fit.lines)


def test_roys_major_axis_follows_from_both_regressions():
    """The slope is the root of the slope from ETM+ to OLI over the slope back (Roy, table 2)."""
    back = {"blue": 0.8850, "green": 0.9317, "red": 0.9372, "nir08": 0.8339, "swir16": 0.8639,
            "swir22": 0.9165}  # fmt: skip
    there = {line.band: line.slope for line in ROY_OLS.fits[0].lines}
    for line in ROY_RMA.fits[0].lines:
        assert line.slope == pytest.approx(np.sqrt(there[line.band] / back[line.band]), abs=1e-4)


def test_chastains_three_tables_agree():
    """ETM+ to MSI is about ETM+ to OLI and on to MSI, at a reflectance of 0.3."""
    onward = lines_between(CHASTAIN, "oli", "msi", None)
    for name, direct in lines_between(CHASTAIN, "etm", "msi", None).items():
        first = lines_between(CHASTAIN, "etm", "oli", None)[name]
        oli = first.intercept + first.slope * 0.3
        assert direct.intercept + direct.slope * 0.3 == pytest.approx(
            onward[name].intercept + onward[name].slope * oli, abs=0.015
        )


def test_a_turned_line_leads_back_and_names_the_others_band():
    there = lines_between(FENG, "msi", "oli", "sentinel-2c")
    back = lines_between(FENG, "oli", "msi", None)
    assert {"nir", "nir08"} == {*there, *back} - {"blue", "green", "red", "swir16", "swir22"}
    value = there["nir"].intercept + there["nir"].slope * 0.6
    assert back["nir08"].intercept + back["nir08"].slope * value == pytest.approx(0.6)


def test_least_squares_are_not_turned_round_and_satellites_are_told_apart():
    assert lines_between(ROY_OLS, "oli", "etm", None) is None
    assert lines_between(HLS, "oli", "msi", None) is None
    assert lines_between(HLS, "msi", "oli", "sentinel-2b")["swir22"].slope == 0.9867
    assert lines_between(HLS, "msi", "oli", "sentinel-2a")["swir22"].slope == 1.0030
    assert lines_between(HLS, "msi", "oli", "sentinel-2c") is None
    assert lines_between(HLS, "msi", "oli", None) is None
