"""Fixtures for all tests: a small cube, a scheduler that forbids computing, the real data."""

from pathlib import Path

import dask
import hypothesis
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema, sensors

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")  # machines are shared: no test is about time

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def no_compute():
    """Fail the test if anything computes a Dask graph inside it."""

    def refuse(dsk, keys, **kwargs):
        raise AssertionError("this call must stay lazy, but it computed a Dask graph")

    return dask.config.set(scheduler=refuse)


@pytest.fixture
def real_data():
    """Return a function that gives a folder of the real data, or skips where it is absent."""

    def folder(name):
        path = SHARED / "data" / name
        if not path.exists():
            pytest.skip(f"real data {name!r} is not at {path}")
        return path

    return folder


@pytest.fixture
def geobox():
    """Return a grid of 96 rows and 80 columns of 10 m in UTM zone 32 north."""
    return GeoBox.from_bbox((600_000, 5_000_000, 600_800, 5_000_960), "EPSG:32632", resolution=10)


@pytest.fixture
def cube(geobox):
    """Return a cube of three dates in memory: smooth random reflectance with a hole."""
    return make_cube(geobox, dates=("2021-08-01", "2022-08-05", "2023-08-03"))


@pytest.fixture
def lazy_cube(cube):
    """Return the same numbers in chunks of 32 x 40 pixels and one date."""
    return cube.chunk(time=1, band=-1, y=32, x=40)


def make_cube(geobox, dates, bands=None, seed=0):
    """Return a cube that fits the schema: reflectance -0.02 to 1.1, a corner not measured."""
    bands = list(bands or sensors.SENTINEL_2_L2A.names)
    generator = np.random.default_rng(seed)
    rows, columns = geobox.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    waves = generator.uniform(0.03, 0.2, (len(dates), len(bands), 2, 1, 1)).astype(np.float32)
    values = 0.5 + 0.5 * np.sin(waves[:, :, 0] * y) * np.cos(waves[:, :, 1] * x)
    values += generator.normal(0, 0.02, values.shape).astype(np.float32)
    valid = np.ones((len(dates), rows, columns), bool)
    valid[:, : rows // 8, : columns // 8] = False
    reflectance = np.where(valid[:, np.newaxis], values, np.float32(np.nan)).astype(np.float32)
    top = np.linspace(3200, 2400, rows, dtype=np.float32)[:, np.newaxis]
    cloud = np.zeros_like(valid)
    cloud[0, -rows // 6 :, -columns // 6 :] = True
    one = {"units": "1"}
    dataset = xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), reflectance, dict(one)),
            "valid": (("time", "y", "x"), valid, dict(one)),
            "cloud": (("time", "y", "x"), cloud, dict(one)),
            "elevation": (("y", "x"), top + 0 * x, {"units": "m", "vertical_datum": "EGM2008"}),
        },
        coords={"time": pd.to_datetime(list(dates)).as_unit("ns"), "band": bands},
        attrs={"sensor": "sentinel-2-l2a", "level": "surface"},
    )
    out = grid.georeferenced(dataset, geobox)
    schema.check(out, schema.CUBE, "the test cube")
    return out
