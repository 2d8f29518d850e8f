"""A region of interest on a grid: which windows it touches, and which of their pixels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from glaciercube.cover.polygons import in_pixels, inside_window, polygonal
from glaciercube.cover.shares import box_of
from glaciercube.windows import Window

HALO = 2
"""Pixels around a window that the polygons cut to it reach."""


@dataclass(frozen=True)
class Region:
    """Polygons in the pixels of a grid; small enough to travel with the tasks of a graph."""

    polygons: tuple[bytes, ...]
    """As WKB; x counts columns and y counts rows from the grid's first corner."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels: the tree is planted anew where it is needed."""
        return {"polygons": self.polygons}

    def __dask_tokenize__(self) -> Any:
        """Return what the region is."""
        return ("glaciercube.Region", self.polygons)

    @cached_property
    def token(self) -> str:
        """Names the polygons in their pixels."""
        return tokenize(self)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shapely.from_wkb(data) for data in self.polygons])

    def touches(self, window: Window) -> bool:
        """Say whether any pixel of a window may lie in the region.

        Parameters
        ----------
        window : Window

        Examples
        --------
        >>> region = Region((shapely.to_wkb(shapely.box(2, 2, 4, 4)),))
        >>> region.touches(Window(0, 3, 0, 3)), region.touches(Window(0, 3, 6, 9))
        (True, False)
        """
        cell = shapely.box(*box_of(window, 0))
        return bool(len(self._tree.query(cell, predicate="intersects")))

    def inside(self, window: Window) -> np.ndarray:
        """Return which pixels of a window any polygon touches.

        Parameters
        ----------
        window : Window

        Returns
        -------
        array (y, x), bool
        """
        cell = shapely.box(*box_of(window, HALO))
        near = sorted(self._tree.query(cell, predicate="intersects").tolist())
        pieces = [
            polygonal(shapely.intersection(self._tree.geometries[number], cell)) for number in near
        ]
        return inside_window(pieces, window, touched=True)


def region_of(frame: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox) -> Region:
    """Return polygons as a region of a grid.

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox

    Raises
    ------
    GridError
        If the geometries or the grid have no CRS, or all are empty.
    """
    polygons = [one for one in in_pixels(frame, geobox) if not one.is_empty]
    return Region(tuple(shapely.to_wkb(one) for one in polygons))
