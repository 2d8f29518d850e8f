"""Round glaciers anywhere on the globe, and options of a small job."""

import geopandas as gpd
import pandas as pd
import shapely

from glaciercube import grid
from glaciercube.cluster.options import options_of


def glaciers(*places):
    """Return round glaciers of (longitude, latitude, radius in m), named G0, G1, ..."""
    shapes = []
    for longitude, latitude, radius in places:
        plane = f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +datum=WGS84"
        disc = gpd.GeoSeries([shapely.Point(0, 0).buffer(radius, quad_segs=16)], crs=plane)
        shapes.append(grid.geographic(gpd.GeoDataFrame(geometry=disc)).iloc[0])
    ids = [f"G{number}" for number in range(len(places))]
    table = pd.DataFrame({"rgi_id": ids, "glac_name": ids})
    return gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326")


def options(**changed):
    """Return the options of a small job, as JSON has them."""
    usual = {
        "catalog": "https://example.org/v1",
        "period": "2021",
        "season": ("07-01", "09-30"),
        "sensor": "sentinel-2-l2a",
        "resolution": 100,
        "dem": None,
        "cards": (),
        "buffer_m": 500,
        "block": 64,
        "halo": 8,
        "target_pixels": 8 * 64 * 64,
    }
    return options_of(**{**usual, **changed}).as_json()
