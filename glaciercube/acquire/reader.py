"""How assets of items are read: signed when opened, tried again, failing with a name."""

import random
import re
import time
import warnings
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import rasterio
from odc.geo.geobox import GeoBox
from odc.loader import RasterLoadParams, RasterSource, RioDriver, RioReader
from rasterio.errors import NotGeoreferencedWarning

from glaciercube import grid, optional
from glaciercube.errors import AcquireError

# Warping arrays in threads, rasterio now and then says that its own scratch file has no
# georeference, which is true and means nothing.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning, module="rasterio.warp")

TRIES = 4
"""Reads of one block at most, before it is given up."""

PAUSE_S = 1.0
"""Before the second try (s); twice as long before each more, and up to half of it at random."""

PLANETARY_COMPUTER = ".blob.core.windows.net"
"""Host of assets that need a token, which lasts less than an hour: hence signing on opening."""

_TRANSIENT = re.compile(
    r"HTTP (response|error) code ?:? ?(408|429|5\d\d)|timed? ?out|connection|curl error|"
    r"could not resolve|recv failure|empty reply",
    re.IGNORECASE,
)


class ItemReader:
    """One asset, as odc-loader reads it."""

    def __init__(self, source: RasterSource, context: Any) -> None:
        self._source = source
        self._context = context

    def read(self, cfg: RasterLoadParams, dst_geobox: GeoBox, **options: Any) -> Any:
        """Return the pixels on a grid; see `odc.loader.RioReader.read`.

        Raises
        ------
        AcquireError
            If the asset cannot be read, after some tries where the fault may pass.
        """
        for attempt in range(1, TRIES + 1):
            source = replace(self._source, uri=signed(self._source.uri))
            try:
                return RioReader(source, self._context).read(cfg, dst_geobox, **options)
            except rasterio.errors.RasterioError as error:
                if attempt == TRIES or not _TRANSIENT.search(str(error)):
                    raise AcquireError(
                        f"cannot read {plain(self._source.uri)} on {grid.describe(dst_geobox)} "
                        f"({attempt} tries): {plain(str(error))}; try again later, or leave the "
                        "item out"
                    ) from error
                time.sleep(PAUSE_S * 2 ** (attempt - 1) * random.uniform(1.0, 1.5))
        return None


class ItemDriver(RioDriver):
    """odc-loader's reader of rasters with our own opening."""

    def open(self, src: RasterSource, ctx: Any) -> ItemReader:  # type: ignore[override]
        """Return the reader of an asset."""
        return ItemReader(src, ctx)


def signed(address: str) -> str:
    """Return an address with a token where its host needs one.

    Parameters
    ----------
    address : str
        One with a query is signed already.

    Examples
    --------
    >>> signed("https://example.org/B04.tif")
    'https://example.org/B04.tif'
    """
    parts = urlsplit(address)
    if not (parts.hostname or "").endswith(PLANETARY_COMPUTER) or parts.query:
        return address
    return str(optional.load("planetary_computer").sign_url(address))


def plain(text: str) -> str:
    """Return an address or message without queries, which may hold a signature.

    Examples
    --------
    >>> plain("'/vsicurl/https://example.org/B04.tif?sig=secret' is no raster")
    "'/vsicurl/https://example.org/B04.tif' is no raster"
    """
    return re.sub(r"\?[^\s'\"]+", "", text)
