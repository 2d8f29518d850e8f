"""One block of one time: every source read on the grid, made to values, laid over each other."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource
from rasterio.features import geometry_mask
from shapely.affinity import translate

from glaciercube import grid
from glaciercube.acquire import failures
from glaciercube.acquire.pixels import fill, measure, unread
from glaciercube.acquire.plans import Moment, Piece, Source
from glaciercube.acquire.reader import ItemDriver, ReadError
from glaciercube.acquire.wanted import Wanted
from glaciercube.errors import AcquireError

_SECRET = re.compile(
    r"KEY|SECRET|TOKEN|PASS|PWD|AUTH|BEARER|HEADER|COOKIE|SAS|CREDENTIAL|CONNECTION_STRING|USER",
    re.IGNORECASE,
)
"""Names of options that may hold a credential."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The grid that is read on, in blocks; plain, for a task to carry."""

    shape: tuple[int, int]
    affine: tuple[float, ...]
    crs: str
    bands: int
    chunk: int
    """Rows and columns of a whole block."""

    record: bool
    """Whether what cannot be read is recorded and left as a hole, or raises."""

    options: tuple[tuple[str, Any], ...] = ()
    """GDAL's, without secrets."""

    wanted: Wanted | None = None
    """Which blocks are read; all if None."""

    def block(self, row: int, column: int) -> GeoBox:
        """Return the grid of the block that starts at a row and column."""
        whole = GeoBox(self.shape, Affine(*self.affine), self.crs)
        bottom = min(row + self.chunk, self.shape[0])
        right = min(column + self.chunk, self.shape[1])
        return whole[row:bottom, column:right]


def target_of(
    geobox: GeoBox,
    bands: int,
    chunk: int,
    record: bool,
    options: dict[str, Any],
    wanted: Wanted | None = None,
) -> Target:
    """Return the target of a grid.

    Parameters
    ----------
    geobox : GeoBox
    bands, chunk : int
    record : bool
    options : dict
        GDAL's, as a driver captures them; those that may hold a secret are left out, and are
        taken from the process that reads.
    wanted : Wanted, optional
        Which blocks are read.
    """
    return Target(
        shape=(geobox.shape.y, geobox.shape.x),
        affine=tuple(geobox.affine)[:6],
        crs=str(geobox.crs),
        bands=bands,
        chunk=chunk,
        record=record,
        options=tuple(sorted(shareable(options).items())),
        wanted=wanted,
    )


def shareable(options: dict[str, Any]) -> dict[str, Any]:
    """Return those of GDAL's options that hold no credential, which may travel in a graph.

    Examples
    --------
    >>> shareable({"GDAL_HTTP_TIMEOUT": "30", "AWS_SECRET_ACCESS_KEY": "x", "_aws": {}})
    {'GDAL_HTTP_TIMEOUT': '30'}
    """
    return {
        name: value
        for name, value in options.items()
        if not name.startswith("_") and not _SECRET.search(name)
    }


def _options(driver: ItemDriver, target: Target) -> dict[str, Any]:
    """Return the options to read with: the graph's, and the secrets of this process."""
    here = driver.capture_env()
    return {**here, **dict(target.options)}


def read_block(
    moments: np.ndarray, rows: np.ndarray, columns: np.ndarray, target: Target
) -> np.ndarray:
    """Return one block of one time.

    Parameters
    ----------
    moments : array (1,) of Moment
    rows, columns : array (1,), int
        First row and column of the block.
    target : Target

    Returns
    -------
    array (1, band + 1, y, x), float32
        As `pixels.measure` returns it, of the pieces laid over each other; not measured, and
        nothing read, where the block is not wanted.

    Raises
    ------
    AcquireError
        If a source cannot be read and `target.record` is False, or holds another kind of
        numbers than the sensor table says.
    """
    moment: Moment = moments[0]
    row, column = int(rows[0]), int(columns[0])
    box = target.block(row, column)
    out: np.ndarray | None = None
    asked = target.wanted is None or target.wanted.has(row, column)
    for piece in moment.pieces if asked else ():
        inside = _inside(piece, row, column, box)
        if inside is None:
            continue
        if out is not None and not np.isnan(out[0]).any():
            break
        block = read_piece(piece, box, inside, target)
        out = block if out is None else fill(out, block)
    if out is None:
        out = unread(target.bands, np.zeros(tuple(box.shape), bool))
    return out[np.newaxis]


def _inside(piece: Piece, row: int, column: int, box: GeoBox) -> shapely.Geometry | None:
    """Return what a piece may cover of a block, in its pixels; None if nothing."""
    reach = shapely.from_wkb(piece.reach)
    block = shapely.box(column, row, column + box.shape.x, row + box.shape.y)
    if not reach.intersects(block):
        return None
    return translate(reach.intersection(block), -column, -row)


def read_piece(piece: Piece, box: GeoBox, inside: shapely.Geometry, target: Target) -> np.ndarray:
    """Return one item on the grid of a block.

    Parameters
    ----------
    piece : Piece
    box : GeoBox
    inside : Geometry
        What the item may cover of the block, in its pixels.
    target : Target

    Returns
    -------
    array (band + 1, y, x), float32
    """
    driver = ItemDriver()
    state = driver.new_load(box)
    layers = []
    with driver.restore_env(_options(driver, target), state) as context:
        for source in piece.sources:
            try:
                layers.append(_read(driver, source, piece, box, context))
            except ReadError as error:
                if not target.record:
                    raise
                failures.record(error.failure)
                return unread(target.bands, _covered(inside, box))
    driver.finalise_load(state)
    return measure(layers[: target.bands], layers[target.bands :], piece.conversion)


def _read(driver, source: Source, piece: Piece, box: GeoBox, context):
    """Return the numbers of one raster on the grid of a block, nodata where it has none."""
    raster = RasterSource(source.address, driver_data={"item": piece.item, "band": source.key})
    config = RasterLoadParams(
        fill_value=source.nodata,
        src_nodata_fallback=source.nodata,
        resampling=source.resampling,
    )
    where, numbers = driver.open(raster, context).read(config, box)
    if (numbers.dtype.kind == "f") != source.floats:
        wanted = "floats" if source.floats else "integers"
        raise AcquireError(
            f"asset {source.key!r} of {piece.item} needs {wanted}, as the sensor table says, the "
            f"file holds {numbers.dtype}; is it another product? (read on {grid.describe(box)})"
        )
    if numbers.shape == tuple(box.shape):
        return numbers
    out = np.full(tuple(box.shape), source.nodata, numbers.dtype)
    out[where] = numbers
    return out


def _covered(inside, box):
    """Return the pixels of a block that a polygon touches."""
    if inside.is_empty:
        return np.zeros(tuple(box.shape), bool)
    return geometry_mask(
        [inside], tuple(box.shape), Affine.identity(), all_touched=True, invert=True
    )
