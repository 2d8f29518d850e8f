"""Outlines of simulated glaciers, as an inventory gives them."""

import math
from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox
from rasterio import features
from scipy import ndimage
from shapely.geometry import shape

from glaciercube.grid import WGS84

REGION = "11"
"""RGI first-order region Central Europe."""

MIN_AREA_KM2 = 0.01
"""As in RGI 7."""

COLUMNS = (
    "rgi_id", "o1region", "o2region", "src_date", "glac_name", "area_km2",
    "zmin_m", "zmax_m", "zmed_m", "zmean_m", "slope_deg", "dem_source",
)  # fmt: skip
"""Columns of RGI 7 that are known; `cenlon`, `cenlat` and `utm_zone` follow from the outlines."""


def inventory(
    extent: np.ndarray,
    elevation: np.ndarray,
    slope: np.ndarray,
    geobox: GeoBox,
    day: date,
) -> gpd.GeoDataFrame:
    """Return one outline per glacier with the columns of RGI 7 that are known.

    Parameters
    ----------
    extent : array (y, x), bool
    elevation, slope : array (y, x)
        Metres, degrees.
    geobox : GeoBox
    day : date
        Of the extent.

    Returns
    -------
    GeoDataFrame
        Longitude and latitude, the largest glacier first; those below 0.01 km2 left out.
    """
    labels, count = ndimage.label(extent, structure=np.ones((3, 3)))
    pixel_km2 = abs(geobox.affine.determinant) / 1e6
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * pixel_km2
    kept = [
        label for label in np.argsort(-sizes, kind="stable") + 1 if sizes[label - 1] >= MIN_AREA_KM2
    ]
    rows = [
        _row(number, float(sizes[label - 1]), elevation[labels == label], slope[labels == label])
        for number, label in enumerate(kept, start=1)
    ]
    polygons = [_polygon(labels == label, geobox) for label in kept]
    columns = pd.DataFrame(rows, columns=COLUMNS).assign(src_date=f"{day.isoformat()}T00:00:00")
    return _with_places(gpd.GeoDataFrame(columns, geometry=polygons, crs=str(geobox.crs)))


def _row(number, area_km2, heights, slopes):
    return {
        "rgi_id": f"RGI2000-v7.0-G-{REGION}-SIM{number:02d}",
        "o1region": REGION,
        "o2region": f"{REGION}-01",
        "glac_name": f"Simulated glacier {number}",
        "area_km2": area_km2,
        "zmin_m": float(heights.min()),
        "zmax_m": float(heights.max()),
        "zmed_m": float(np.median(heights)),
        "zmean_m": float(heights.mean()),
        "slope_deg": float(slopes.mean()),
        "dem_source": "simulated",
    }


def _polygon(glacier, geobox):
    parts = features.shapes(
        glacier.astype(np.uint8), mask=glacier, connectivity=8, transform=geobox.affine
    )
    outlines = [shape(geometry).buffer(0) for geometry, _ in parts]
    whole = outlines[0]
    for outline in outlines[1:]:
        whole = whole.union(outline)
    return whole


def _with_places(frame):
    out = frame.to_crs(WGS84)
    inside = out.representative_point()
    zone = [math.floor((east + 180) / 6) + 1 for east in inside.x]
    return out.assign(cenlon=inside.x, cenlat=inside.y, utm_zone=zone)
