"""Small, decimated reads of a band: enough to see how dark it is and whether it holds anything."""

from typing import Any

import numpy as np
import rasterio
from rasterio.session import AWSSession
from scipy import ndimage

from glaciercube.acquire.reader import ItemDriver, Place, ReadError, patiently
from glaciercube.errors import AcquireError

PIXELS = 256
"""Rows and columns at most."""


def gdal_options() -> dict[str, Any]:
    """Return how remote files are read: as set with `odc.stac.configure_rio`, with retries."""
    return ItemDriver().capture_env()


def overview(
    address: str, index: int, nodata: float, options: dict[str, Any] | None = None
) -> np.ndarray:
    """Return the measured numbers of a band, from a decimated read.

    Parameters
    ----------
    address : str
        Path or URL of a raster.
    index : int
        Of the band, from 1.
    nodata : float
        Of a pixel that was not measured, beside the file's own.
    options : dict, optional
        GDAL's, as `gdal_options` returns them.

    Returns
    -------
    array (n,), of the file's dtype
        Without the pixels beside unmeasured ones, which averaging may have darkened, unless
        there are no others. Empty only if the whole band was not measured.

    Raises
    ------
    AcquireError
        If it cannot be read.
    """
    settings = dict(options or {})
    aws = settings.pop("_aws", None)

    def look(opened: str) -> np.ndarray:
        with rasterio.open(opened) as source:
            return _measured(source, index, nodata)

    try:
        with rasterio.Env(AWSSession(**aws) if aws else None, **settings):
            return patiently(address, look, Place())
    except ReadError as error:
        raise AcquireError(
            f"{error}; or pass check=False to look at no pixel before the cube is computed"
        ) from error


def _measured(source, index, nodata):
    shape = tuple(min(PIXELS, size) for size in source.shape)
    numbers = source.read(index, out_shape=shape)
    own = source.nodatavals[index - 1]
    missing = _missing(numbers, nodata, own)
    inner = ~ndimage.binary_dilation(missing, np.ones((3, 3), bool))
    if inner.any():
        return numbers[inner]
    if not missing.all():
        return numbers[~missing]
    # Decimation may have skipped all there is: look at every pixel before giving up.
    for _, window in source.block_windows(index):
        numbers = source.read(index, window=window)
        missing = _missing(numbers, nodata, own)
        if not missing.all():
            return numbers[~missing]
    return numbers[:0].ravel()


def _missing(numbers, nodata, own):
    missing = ~np.isfinite(numbers) | (numbers == nodata)
    return missing if own is None or np.isnan(own) else missing | (numbers == own)
