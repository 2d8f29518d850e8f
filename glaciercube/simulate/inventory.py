"""Outlines of simulated glaciers, as an inventory gives them."""

import math
from datetime import date

import geopandas as gpd
import numpy as np
from odc.geo.geobox import GeoBox
from rasterio import features
from scipy import ndimage
from shapely.geometry import shape

from glaciercube.grid import WGS84

REGION = "11"
"""RGI first-order region Central Europe."""

MIN_AREA_KM2 = 0.01


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
    order = [label for label in np.argsort(-sizes, kind="stable") + 1]
    kept = [label for label in order if sizes[label - 1] >= MIN_AREA_KM2]
    rows, polygons = [], []
    for number, label in enumerate(kept, start=1):
        glacier = labels == label
        polygons.append(_polygon(glacier, geobox))
        heights = elevation[glacier]
        rows.append(
            {
                "rgi_id": f"RGI2000-v7.0-G-{REGION}-SIM{number:02d}",
                "o1region": REGION,
                "o2region": f"{REGION}-01",
                "glims_id": "",
                "src_date": f"{day.isoformat()}T00:00:00",
                "glac_name": f"Simulated glacier {number}",
                "area_km2": float(sizes[label - 1]),
                "zmin_m": float(heights.min()),
                "zmax_m": float(heights.max()),
                "zmed_m": float(np.median(heights)),
                "zmean_m": float(heights.mean()),
                "slope_deg": float(slope[glacier].mean()),
                "dem_source": "simulated",
            }
        )
    return _with_places(gpd.GeoDataFrame(rows, geometry=polygons, crs=str(geobox.crs)))


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
    if frame.empty:
        return frame
    out = frame.to_crs(WGS84)
    inside = out.representative_point()
    zone = [math.floor((east + 180) / 6) + 1 for east in inside.x]
    return out.assign(cenlon=inside.x, cenlat=inside.y, utm_zone=zone)
