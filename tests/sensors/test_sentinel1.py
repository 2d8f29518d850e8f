"""Radar against what its documents state."""

import json

from glaciercube.sensors import SENSORS


def test_radar_says_what_it_does_not_measure(real_data):
    path = next((real_data("stac-items") / "stactools-sentinel1").glob("S1B_*_ASC.json"))
    document = json.loads(path.read_text())
    row = SENSORS["sentinel-1-rtc"]
    (told,) = document["assets"]["gamma0_vv"]["raster:bands"]
    assert told["data_type"] == row.dtype
    assert told["nodata"] in row.nodata
