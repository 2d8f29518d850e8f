"""Spectral indices and the plain thresholds every network has to beat; NumPy in, NumPy out."""

import numpy as np

NDSI_SNOW = 0.4
"""Snow and ice above this NDSI (Hall et al. 1995)."""

NIR_SNOW = 0.11
"""Snow and ice above this near-infrared reflectance; water is darker (Hall et al. 1995)."""


def normalized_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (first - second) / (first + second); NaN where the sum is not positive.

    Parameters
    ----------
    first, second : array, float32
        Reflectance (1), the same shape.

    Returns
    -------
    array, float32

    Examples
    --------
    >>> normalized_difference(np.float32([0.8, 0.0]), np.float32([0.2, 0.0]))
    array([0.6, nan], dtype=float32)
    """
    total = np.asarray(first + second, np.float32)
    known = total > 0
    ratio = np.full(total.shape, np.nan, np.float32)
    np.divide(first - second, total, out=ratio, where=known)
    return ratio


def snow_by_thresholds(green: np.ndarray, nir: np.ndarray, swir16: np.ndarray) -> np.ndarray:
    """Return where plain thresholds see snow or ice.

    Parameters
    ----------
    green, nir, swir16 : array, float32
        Reflectance (1), the same shape.

    Returns
    -------
    array, bool
        NDSI > 0.4 and near infrared > 0.11; False where either is NaN.

    Notes
    -----
    The global rule of Hall, Riggs & Salomonson (1995). It sees no debris, takes
    seasonal snow for glacier, and loses snow in shadow.
    """
    with np.errstate(invalid="ignore"):
        return (normalized_difference(green, swir16) > NDSI_SNOW) & (nir > NIR_SNOW)
