"""Hand-made layers whose area, snowline and accumulation area ratio are known."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from glaciercube import grid, schema

DATES = ("2021-08-01", "2022-08-05", "2023-08-03")
SNOWLINE_M = 2800.0
PIXEL_KM2 = 1e-4


@pytest.fixture
def make_layers(geobox):
    """Return a function that makes layers of three dates.

    Elevation falls by 10 m a row from 3195 m. The glacier fills columns 10 to 70 and rows
    8 to 80, 72, 64: one block of 0.432, 0.384 and 0.336 km2. Snow lies above 2800 m (rows
    below 40), ice under it. On the second date cloud hides the first `cloudy` columns.
    """

    def make(on=geobox, cloudy=0):
        rows, columns = on.shape
        elevation = np.repeat(3195 - 10 * np.arange(rows, dtype=np.float32)[:, None], columns, 1)
        extent = np.zeros((3, rows, columns), np.uint8)
        for place, last in enumerate((80, 72, 64)):
            extent[place, 8:last, 10:70] = 1
        facies = np.where(elevation > SNOWLINE_M, 1, 0).astype(np.uint8)
        facies = np.where(extent == 1, facies, 8).astype(np.uint8)
        extent[1, :, :cloudy] = schema.NODATA
        facies[1, :, :cloudy] = 7
        seen = extent != schema.NODATA
        chance = np.where(extent == 1, 0.9, 0.1)
        shares = {"glacier_probability": chance, "confidence": np.full(chance.shape, 0.9)}
        data = {
            name: (schema.TIME_DIMS, np.where(seen, one, np.nan).astype(np.float32), {"units": "1"})
            for name, one in shares.items()
        }
        dataset = xr.Dataset(
            {
                "extent": (schema.TIME_DIMS, extent, schema.flag_attrs("extent")),
                "facies": (schema.TIME_DIMS, facies, schema.flag_attrs("facies")),
                **data,
                "valid": (schema.TIME_DIMS, np.ones(extent.shape, bool), {"units": "1"}),
                "elevation": (("y", "x"), elevation, {"units": "m"}),
            },
            coords={"time": pd.to_datetime(list(DATES)).as_unit("ns")},
            attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
        )
        return grid.georeferenced(dataset, on)

    return make


@pytest.fixture
def layers(make_layers):
    return make_layers()


@pytest.fixture
def glaciers():
    """Return two outlines: all of the glacier with a rim of 50 m, and a disc inside it."""
    whole = shapely.box(600_050, 5_000_110, 600_750, 5_000_930)
    disc = shapely.Point(600_403, 5_000_607).buffer(200, quad_segs=64)
    names = {"rgi_id": ["RGI-1", "RGI-2"], "glac_name": ["Whole", "Disc"], "o1region": ["11"] * 2}
    return gpd.GeoDataFrame(names, geometry=[whole, disc], crs="EPSG:32632").to_crs("EPSG:4326")
