import json
from datetime import datetime

import pytest

from glaciercube.simulate.sun import sun_position

# Azimuth and elevation of the sun as Sentinel-2 items of Earth Search state them.
ITEMS = (
    "S2B_24MVV_20250731_0_L2A.json",
    "S2B_24MWV_20250731_0_L2A.json",
    "S2B_20EPT_20250731_0_L2A.json",
)


@pytest.mark.parametrize("name", ITEMS)
def test_the_sun_stands_where_real_items_say(real_data, name):
    folder = real_data("stac-items") / "pystac-client-cassettes/earth-search/sentinel-2-l2a"
    item = json.loads((folder / name).read_text())
    west, south, east, north = item["bbox"]
    time = datetime.fromisoformat(item["properties"]["datetime"][:19])
    azimuth, elevation = sun_position((west + east) / 2, (south + north) / 2, time)
    # items give the mean over a tile of 110 km
    assert azimuth == pytest.approx(item["properties"]["view:sun_azimuth"], abs=1.0)
    assert elevation == pytest.approx(item["properties"]["view:sun_elevation"], abs=0.3)


def test_the_sun_culminates_in_the_south_at_midsummer():
    azimuth, elevation = sun_position(0.0, 50.0, datetime(2021, 6, 21, 12, 2))
    assert azimuth == pytest.approx(180, abs=1)
    assert elevation == pytest.approx(90 - 50 + 23.44, abs=0.1)


def test_the_sun_is_in_the_north_from_the_southern_hemisphere():
    azimuth, _ = sun_position(0.0, -45.0, datetime(2021, 12, 21, 12, 0))
    assert min(azimuth, 360 - azimuth) < 3


def test_the_sun_is_down_at_night():
    assert sun_position(8.0, 46.5, datetime(2021, 9, 6, 23, 30))[1] < -20
