"""Outlines as layers of a cube: where glaciers are, how much of a pixel, and how far."""

import geopandas as gpd
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube.acquire.assembly import chunks_of
from glaciercube.acquire.lineage import Steady, with_inputs
from glaciercube.acquire.proximity import ALGORITHM_VERSION as DISTANCE_VERSION
from glaciercube.acquire.proximity import glacier_distance_on
from glaciercube.acquire.records import glaciers_on
from glaciercube.cover import ALGORITHM_VERSION as COVER_VERSION
from glaciercube.cover import lazy_glaciers


def glacier_layers_on(geobox: GeoBox, outlines: gpd.GeoDataFrame, *, chunk: int) -> xr.Dataset:
    """Return outlines as layers of a cube.

    Parameters
    ----------
    geobox : GeoBox
    outlines : GeoDataFrame
        Polygons with a CRS, in any CRS.
    chunk : int
        Rows and columns of a block (pixels).

    Returns
    -------
    Dataset (y, x), lazy
        `glacier`, bool: the pixel's centre lies inside; `glacier_fraction`, float32: the share of
        the pixel; `glacier_distance`, float32, m: 0 inside, at most 5 km. They carry of what they
        are made: another cube has other outlines.

    Raises
    ------
    GridError
        If no outline lies on the grid, or they have no CRS.
    """
    chunks = {"y": chunks_of(geobox.shape.y, chunk), "x": chunks_of(geobox.shape.x, chunk)}
    layers = lazy_glaciers(outlines, geobox, chunks, fraction=True)
    distance = glacier_distance_on(geobox, outlines, chunk=chunk)
    parameters = {
        "made_by": "outlines",
        "algorithm": [COVER_VERSION, DISTANCE_VERSION],
        "outlines": glaciers_on(outlines, geobox)[1],
    }
    layers = layers.assign(glacier_distance=distance)
    return with_inputs(layers, layers.data_vars, parameters, Steady())
