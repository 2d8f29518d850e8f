"""Heights of one block from files of elevation: voids never mixed in, the same in every cut."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.session import AWSSession
from rasterio.vrt import WarpedVRT

from glaciercube import grid
from glaciercube.acquire.rasters import overview_of, scale_of
from glaciercube.acquire.reader import Place, ReadError, patiently
from glaciercube.errors import AcquireError

ALGORITHM_VERSION = 2
"""Part of every array's name: raised when the same files give other heights."""

LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""Land lies between (the Dead Sea's shore at -430 m, Everest at 8849 m); all else is a void,
whether its file says so or not: -9999, -32768, infinities."""

VOID = -32768.0
"""What a void becomes before heights are interpolated."""

TOLERANCE = 1e-6
"""Error of a position allowed in warping (pixels). Blocks of different cuts then agree to the
bit; GDAL's own 0.125 lets them differ by metres, 0.001 by a centimetre."""


FINER = 3
"""Pixels of an overview, along each axis, that must go into one of a grid of extremes."""

Box = tuple[float, float, float, float]
"""West, south, east, north (degree)."""

MARGIN = 0.01
"""Catalogues round what a file covers; it is taken this much wider (degree)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where elevation comes from."""

    name: str
    """File or collection as the user gave it, for messages."""

    datum: str
    """What the heights refer to: "EGM2008"; "unknown" if nothing states it."""

    files: tuple[str, ...]
    """Addresses; where two have a height, the first counts."""

    boxes: tuple[tuple[Box, ...], ...]
    """What each file covers."""

    identity: tuple[Any, ...]
    """What tells each file from others."""

    options: Mapping[str, Any]
    """GDAL's, for reading what is not local."""

    def near(self, geobox: GeoBox) -> list[str]:
        """Return the addresses of the files that may have heights on a grid."""
        wanted = grid.geographic_boxes(geobox)
        return [
            address
            for address, boxes in zip(self.files, self.boxes, strict=True)
            if any(_meet(one, other) for one in boxes for other in wanted)
        ]


def read_heights(
    source: Source, geobox: GeoBox, how: Literal["bilinear", "max", "min"] = "bilinear"
) -> np.ndarray:
    """Return elevation on a grid, bilinear between the pixels of its source.

    Parameters
    ----------
    source : Source
    geobox : GeoBox
        A block, or any other part of the plane: what a pixel gets depends on nothing but
        its place and the step and CRS of the grid.
    how : "bilinear", "max" or "min"
        Highest or lowest instead, of all pixels that one of the grid touches; overviews are
        used if three or more of their pixels still go into one of the grid.

    Returns
    -------
    array (y, x), float32
        Metres, NaN where no file has a height.

    Raises
    ------
    AcquireError
        If a file cannot be read.

    Notes
    -----
    On a grid coarser than the file heights are averaged with a triangular window, and read
    from the file's overviews where it has them.
    """
    heights = np.full(tuple(geobox.shape), np.nan, np.float32)
    files = source.files if len(source.files) == 1 else source.near(geobox)
    for address in files:
        own = _warped(address, geobox, how, source.options)
        heights = np.where(np.isnan(heights), own, heights)
        if not np.isnan(heights).any():
            break
    return heights


def _meet(one, other):
    return (
        one[0] - MARGIN <= other[2]
        and other[0] - MARGIN <= one[2]
        and one[1] - MARGIN <= other[3]
        and other[1] - MARGIN <= one[3]
    )


def _warped(address, geobox, how, options):
    place = Place(item="elevation", window=grid.describe(geobox))
    # Beside a local file its overviews and its place may lie, so GDAL may look there.
    settings = dict(options) if "://" in address else {}
    aws = settings.pop("_aws", None)
    try:
        with rasterio.Env(AWSSession(**aws) if aws else None, **settings):
            return patiently(address, lambda opened: _resampled(opened, geobox, how), place)
    except ReadError as error:
        failure = error.failure
        raise AcquireError(
            f"cannot read the elevation {failure.address} on {failure.window} ({failure.tries} "
            f"tries): {failure.kind}: {failure.cause}; try again later, or give another dem="
        ) from error


def _resampled(address, geobox, how):
    with rasterio.open(address) as source:
        level = overview_of(source, geobox, finer=1 if how == "bilinear" else FINER)
    with _opened(address, level) as source:
        document = _screened(source, address, level)
        across, down = scale_of(source, geobox)
    with rasterio.open(document) as screened:
        with WarpedVRT(
            screened,
            crs=str(geobox.crs),
            transform=geobox.affine,
            height=geobox.shape.y,
            width=geobox.shape.x,
            resampling=Resampling[how],
            src_nodata=VOID,
            nodata=np.nan,
            dtype="float32",
            tolerance=TOLERANCE,
            # GDAL would guess these anew for each window, and so would smooth each differently.
            XSCALE=across,
            YSCALE=down,
        ) as warped:
            return warped.read(1)


def _opened(address, level):
    return rasterio.open(address, **({} if level is None else {"overview_level": level}))


def _screened(source, address, level):
    """Return a document by which GDAL reads a file with all that is no height made void."""
    own = "" if source.nodata is None else f"<NODATA>{source.nodata!r}</NODATA>"
    option = (
        ""
        if level is None
        else f'<OpenOptions><OOI key="OVERVIEW_LEVEL">{level}</OOI></OpenOptions>'
    )
    heights = f"{LOWEST_M}:{LOWEST_M},{HIGHEST_M}:{HIGHEST_M}"
    table = f"{LOWEST_M - 1}:{VOID},{heights},{HIGHEST_M + 1}:{VOID}"
    return (
        f'<VRTDataset rasterXSize="{source.width}" rasterYSize="{source.height}">'
        f"<SRS>{escape(source.crs.to_wkt())}</SRS>"
        f"<GeoTransform>{','.join(map(repr, source.transform.to_gdal()))}</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1"><NoDataValue>{VOID}</NoDataValue>'
        f"<ComplexSource><SourceFilename>{escape(address)}</SourceFilename>{option}"
        f"<SourceBand>1</SourceBand>{own}<LUT>{table}</LUT></ComplexSource>"
        "</VRTRasterBand></VRTDataset>"
    )
