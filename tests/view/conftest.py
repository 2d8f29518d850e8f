import geopandas as gpd
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from glaciercube import grid, schema


@pytest.fixture(autouse=True)
def _no_window():
    """Draw into memory and close every figure after a test."""
    mpl.use("Agg")
    yield
    plt.close("all")


@pytest.fixture
def layers(geobox):
    """Return layers of three dates: ice 1 to 3, snow, land, a corner not observed."""
    rows, columns = geobox.shape
    facies = np.full((3, rows, columns), 8, np.uint8)
    facies[:, 20:60, 20:60] = 1
    facies[:, 60:80, 20:60] = 0
    facies[1, :20, :20] = schema.NODATA
    extent = np.where(facies == schema.NODATA, schema.NODATA, facies < 2).astype(np.uint8)
    heights = np.add.outer(np.linspace(3000, 2500, rows), np.linspace(0, 300, columns))
    dataset = xr.Dataset(
        {
            "facies": (schema.TIME_DIMS, facies, schema.flag_attrs("facies")),
            "extent": (schema.TIME_DIMS, extent, schema.flag_attrs("extent")),
            "elevation": (("y", "x"), heights.astype(np.float32), {"units": "m"}),
        },
        coords={"time": pd.to_datetime(["2021-08-01", "2022-08-05", "2023-08-03"]).as_unit("ns")},
        attrs={"sensor": "sentinel-2-l2a"},
    )
    return grid.georeferenced(dataset, geobox)


@pytest.fixture
def outlines():
    first = shapely.box(600_200, 5_000_160, 600_600, 5_000_760)
    frame = gpd.GeoDataFrame(
        {"src_date": pd.to_datetime(["2021-08-01", "2023-08-03"])},
        geometry=[first, first.buffer(-50)],
        crs="EPSG:32632",
    )
    return frame.to_crs("EPSG:4326")


@pytest.fixture
def series():
    """Return the series of two glaciers; the second date of the first was too cloudy."""
    dims = ("glacier", "time")
    area = np.array([[2.0, np.nan, 1.8], [0.5, 0.45, 0.4]])
    return xr.Dataset(
        {
            "area": (dims, area, {"units": "km2"}),
            "area_uncertainty": (dims, 0.1 * area, {"units": "km2"}),
            "area_observed": (dims, np.array([[2.0, 1.1, 1.8], [0.5, 0.45, 0.4]])),
            "aar": (dims, np.array([[0.5, np.nan, 0.4], [0.6, 0.5, 0.3]])),
            "aar_uncertainty": (dims, np.full((2, 3), 0.05)),
            "snowline": (dims, np.array([[2800, np.nan, 2850], [2750, 2790, 2900]])),
            "snowline_uncertainty": (dims, np.full((2, 3), 15.0)),
        },
        coords={
            "glacier": ["RGI-1", "RGI-2"],
            "glac_name": ("glacier", ["Aletsch", ""]),
            "time": pd.to_datetime(["2021-08-01", "2022-08-05", "2023-08-03"]).as_unit("ns"),
        },
    )
