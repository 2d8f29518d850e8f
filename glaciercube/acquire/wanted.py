"""Which blocks of a grid are wanted; the others are not read."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from glaciercube import cover
from glaciercube.acquire.assembly import chunks_of
from glaciercube.windows import Window, edges


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A bit for each block of a grid; small, so that it travels with every task."""

    chunk: int
    """Rows and columns of a whole block."""

    across: int
    """Blocks along x."""

    bits: bytes
    """Packed, row by row."""

    def has(self, row: int, column: int) -> bool:
        """Say whether the block is wanted that holds the pixel of a row and column."""
        number = row // self.chunk * self.across + column // self.chunk
        return bool(self.bits[number // 8] >> (7 - number % 8) & 1)

    def of(self, window: Window) -> list[bool]:
        """Return which of the blocks are wanted that a window touches."""
        return [
            self.has(row, column)
            for row in _steps(window.y0, window.y1, self.chunk)
            for column in _steps(window.x0, window.x1, self.chunk)
        ]


def _steps(start, stop, step):
    return range(start // step * step, stop, step)


def wanted_of(outlines: gpd.GeoDataFrame | gpd.GeoSeries, geobox: GeoBox, chunk: int) -> Wanted:
    """Return which blocks of a grid outlines touch.

    Parameters
    ----------
    outlines : GeoDataFrame or GeoSeries
        Polygons with a CRS, in any CRS.
    geobox : GeoBox
    chunk : int
        Rows and columns of a block (pixels).

    Raises
    ------
    GridError
        If no outline lies on the grid, or they have no CRS.

    Examples
    --------
    >>> box = GeoBox.from_bbox((0, 0, 400, 200), "EPSG:32632", resolution=10)
    >>> glacier = gpd.GeoSeries([shapely.box(210, 110, 250, 150)], crs=32632)
    >>> wanted_of(glacier, box, 10).of(Window(0, 20, 10, 40))
    [False, True, False, False, False, False]
    """
    cover.require_overlap(outlines, geobox, "the outlines of within=")
    tall, wide = (edges(chunks_of(size, chunk)) for size in geobox.shape)
    boxes = np.array([shapely.box(x0, y0, x1, y1) for y0, y1 in tall for x0, x1 in wide])
    tree = shapely.STRtree(cover.in_pixels(outlines, geobox))
    touched = np.zeros(len(boxes), bool)
    touched[tree.query(boxes, predicate="intersects")[0]] = True
    return Wanted(chunk=chunk, across=len(wide), bits=np.packbits(touched).tobytes())
