import pandas as pd
import pytest
from odc.geo.geobox import GeoBox

from glaciercube.cube.years import glacier_years, year_bounds, year_start_of
from glaciercube.errors import SchemaError


def test_the_hemisphere_decides_when_a_year_starts():
    north = GeoBox.from_bbox((600_000, 5_000_000, 600_800, 5_000_960), "EPSG:32632", resolution=10)
    south = GeoBox.from_bbox((600_000, 5_000_000, 600_800, 5_000_960), "EPSG:32719", resolution=10)
    assert (year_start_of(north), year_start_of(south)) == ("10-01", "04-01")


@pytest.mark.parametrize("start", ["10-01", "04-01", "01-01", "03-01"])
def test_bounds_hold_exactly_the_days_of_a_year(start):
    days = pd.date_range("2019-01-01", "2023-12-31", freq="D")
    first, last = year_bounds(2021, start)
    inside = (days >= first) & (days <= last)
    assert (inside == (glacier_years(days, start) == 2021)).all()


def test_start_that_is_no_day():
    with pytest.raises(SchemaError, match="a day as 'MM-DD', found '31-12'"):
        year_bounds(2021, "31-12")
