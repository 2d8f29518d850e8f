from dataclasses import replace

import numpy as np
import pytest

from glaciercube.simulate.knobs import Knobs
from glaciercube.simulate.relief import mountains

KNOBS = Knobs(bottom_m=1500, top_m=3500, extent_m=5000, valleys=2, azimuth=180)


def test_elevations_span_what_was_asked():
    relief = mountains(KNOBS, np.random.default_rng(0))
    low, high = np.percentile(relief.bed, (0.2, 99.8))
    np.testing.assert_allclose([low, high], [1500, 3500], atol=1)
    assert relief.bed.shape == (KNOBS.cells, KNOBS.cells)
    assert relief.cell_m == pytest.approx(5000 / KNOBS.cells)


@pytest.mark.parametrize("azimuth", [0, 90, 180, 270])
def test_the_main_valley_falls_where_it_should(azimuth):
    relief = mountains(replace(KNOBS, azimuth=azimuth, valleys=1), np.random.default_rng(1))
    floor = np.abs(relief.offset_m) < 150
    rows, columns = np.nonzero(floor)
    towards = {0: -rows, 90: columns, 180: rows, 270: -columns}[azimuth]
    assert np.corrcoef(towards, relief.bed[floor])[0, 1] < -0.8


def test_floors_lie_lower_than_walls():
    relief = mountains(KNOBS, np.random.default_rng(2))
    assert np.median(relief.bed[relief.wall < 0.1]) < np.median(relief.bed[relief.wall > 0.9]) - 300


def test_relief_follows_the_seed():
    first, again, other = (mountains(KNOBS, np.random.default_rng(s)).bed for s in (3, 3, 4))
    assert (first == again).all()
    assert not np.allclose(first, other)
