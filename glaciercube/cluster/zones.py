"""The plane of each glacier: its UTM zone, or polar stereographic; for many glaciers at once."""

import geopandas as gpd
import numpy as np
import shapely

from glaciercube import grid
from glaciercube.errors import GridError
from glaciercube.grid.lattice import POLAR_NORTH, POLAR_SOUTH, UTM_NORTH, UTM_SOUTH

STEP = 0.01
"""Degrees: edges longer than this are cut before they are drawn on a plane. An edge of 1 km is
bent by 2 cm times the tangent of the latitude."""

MANY = 5
"""Names shown in a message at most."""


def zones_of(places: gpd.GeoSeries) -> np.ndarray:
    """Return the CRS in which the pixels of each place are nearly square metres.

    Parameters
    ----------
    places : GeoSeries (place,), EPSG:4326
        Cut at the antimeridian, as `grid.geographic` gives it.

    Returns
    -------
    array (place,), object
        "EPSG:32632" and the like: for each place what `grid.crs_for` says of it.

    Examples
    --------
    >>> zones_of(gpd.GeoSeries.from_wkt(["POINT (10.8 46.8)", "POINT (10 85)"], crs=4326)).tolist()
    ['EPSG:32632', 'EPSG:3413']
    """
    shapes = places.to_numpy()
    west, south, east, north = shapely.bounds(shapes).T
    middle = (south + north) / 2
    centre = ((west + east) / 2 + 180) % 360
    code = np.where(middle >= 0, 32600, 32700) + (centre // 6).astype(int) + 1
    out = np.char.add("EPSG:", code.astype(str)).astype(object)
    beyond = (north > UTM_NORTH) | (south < UTM_SOUTH)
    out[beyond] = np.where(middle[beyond] > 0, POLAR_NORTH, POLAR_SOUTH)
    for row in np.flatnonzero(~beyond & (east - west >= 180)):
        out[row] = grid.crs_for(shapes[row])
    return out


def drawn(places: gpd.GeoSeries, crs: str) -> np.ndarray:
    """Return places on a plane, their edges where they are on the globe.

    Parameters
    ----------
    places : GeoSeries (place,), EPSG:4326
        Polygons cut at the antimeridian; the index names them.
    crs : str
        Projected.

    Returns
    -------
    array (place,) of Geometry
        Metres. The two parts of a polygon that was cut touch each other.

    Raises
    ------
    GridError
        That names those which have no place there.
    """
    fine = gpd.GeoSeries(shapely.segmentize(places.to_numpy(), STEP), crs=grid.WGS84)
    out = fine.to_crs(crs).to_numpy()
    lost = ~np.isfinite(shapely.bounds(out)).all(axis=1)
    if lost.any():
        names = [str(one) for one in places.index[lost]]
        raise GridError(
            f"{len(names)} outlines have no place in {crs}: {names[:MANY]}; they reach too far "
            "from its middle, cut them in parts"
        )
    if crs in (POLAR_NORTH, POLAR_SOUTH):
        return shapely.make_valid(out)
    return out
