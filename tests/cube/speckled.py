"""A radar cube with speckle of known looks, for the tests."""

import numpy as np
import pandas as pd
import xarray as xr

from glaciercube import grid

LOOKS = 4.4
"""Of Sentinel-1 IW ground range products (ESA)."""

STATES = ("ascending", "descending")
NUMBERS = {"ascending": 12, "descending": 85}


def make_radar_cube(geobox, dates=8, seed=0, level=0.1):
    """Return a cube of two orbits, their dates in turn; the descending is twice as bright, each
    date 3 % brighter than the one before, and a tenth of the pixels and a corner are holes.
    """
    generator = np.random.default_rng(seed)
    shape = (dates, 2, *geobox.shape)
    speckle = generator.gamma(LOOKS, 1 / LOOKS, shape)
    states = [STATES[number % 2] for number in range(dates)]
    brightness = [level * 1.03**at * (1 + (one == "descending")) for at, one in enumerate(states)]
    values = speckle * np.array(brightness)[:, None, None, None] * np.array([1, 0.3])[:, None, None]
    valid = generator.random((dates, *geobox.shape)) > 0.1
    valid[:, :12, :10] = False
    values = np.where(valid[:, None], values, np.nan).astype(np.float32)
    one = {"units": "1"}
    cube = xr.Dataset(
        {
            "backscatter": (("time", "band", "y", "x"), values, dict(one)),
            "valid": (("time", "y", "x"), valid, dict(one)),
        },
        coords={
            "time": pd.date_range("2021-01-03", periods=dates, freq="6D").as_unit("ns"),
            "band": ["vv", "vh"],
            "orbit_state": ("time", states),
            "relative_orbit": ("time", [NUMBERS[one] for one in states]),
        },
        attrs={"sensor": "sentinel-1-rtc", "level": "backscatter"},
    )
    return grid.georeferenced(cube, geobox)


def chunked(cube, **chunks):
    """Return a cube in chunks, its coordinates in memory as a store gives them."""
    return cube.chunk(chunks).assign_coords(
        {name: cube[name] for name in ("orbit_state", "relative_orbit")}
    )
