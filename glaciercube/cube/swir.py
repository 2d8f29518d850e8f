"""Tell cloud from snow by the short-wave infrared; NumPy in, NumPy out."""

import numpy as np

from glaciercube.indices import normalized_difference

NDSI_CLOUD = 0.8
"""A cloud over snow or ice has a lower NDSI."""

SWIR_CLOUD = 0.1
"""A cloud over snow or ice has a higher reflectance at 1.6 um."""


def cloud_by_swir(green: np.ndarray, swir16: np.ndarray) -> np.ndarray:
    """Return where a pixel of snow or ice has the colours of cloud.

    Parameters
    ----------
    green, swir16 : array, float32
        Reflectance (1), the same shape.

    Returns
    -------
    array, bool
        NDSI < 0.8 and swir16 > 0.1; False where either is NaN.

    Notes
    -----
    The cloud test of Moussavi et al. (2020, doi:10.3390/rs12010134), with the thresholds that
    Aberle et al. (2025) use for glaciers; not checked against the paper. It is meant for snow
    and ice alone: bare ground and debris pass it too. Snow of very fine grains, fresh and
    cold, reflects up to 0.2 at 1.6 um and may be called cloud; clouds of ice may be missed.

    Examples
    --------
    >>> cloud_by_swir(np.float32([0.9, 0.9, 0.95]), np.float32([0.05, 0.4, 0.15]))
    array([False,  True,  True])
    """
    with np.errstate(invalid="ignore"):
        return (normalized_difference(green, swir16) < NDSI_CLOUD) & (swir16 > SWIR_CLOUD)
