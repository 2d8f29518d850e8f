"""Multi-temporal averaging of radar speckle; NumPy in, NumPy out.

All sums are in float64 and in the order of the dates, each pixel's apart from every other's, so
that the results are the same to the last bit however the arrays are cut.
"""

import numpy as np
from scipy import ndimage


def local_mean(image: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of what was measured around each pixel.

    Parameters
    ----------
    image : array (y, x)
        NaN where not measured.
    window : int
        Rows and columns of the square; odd. At the image's border it is cut.

    Returns
    -------
    array (y, x), float64
        NaN where nothing was measured within the window.

    Examples
    --------
    >>> local_mean(np.array([[1.0, 2.0, 6.0, np.nan]]), 3)
    array([[1.5, 3. , 4. , 6. ]])
    """
    seen = np.isfinite(image)
    total = _sum(np.where(seen, image, 0.0), window)
    count = _sum(seen.astype(np.float64), window)
    return np.divide(total, count, out=np.full(image.shape, np.nan), where=count > 0)


def _sum(image, window):
    # not uniform_filter: its running sums depend on where the array begins
    ones = np.ones(window)
    for axis in (0, 1):
        image = ndimage.correlate1d(image, ones, axis=axis, mode="constant", output=np.float64)
    return image


def add_ratios(
    totals: np.ndarray | None, values: np.ndarray, window: int, own: tuple[slice, slice]
) -> np.ndarray:
    """Return the sum over dates of backscatter over its local mean, and the count.

    Parameters
    ----------
    totals : array (2, band, y, x), float64, or None
        Sum and count over earlier dates; not changed.
    values : array (time, band, y, x)
        Backscatter (1) of further dates, with a halo; NaN where not measured.
    window : int
        As for `local_mean`.
    own : pair of slice
        Rows and columns of `values` that are not halo.

    Returns
    -------
    array (2, band, y, x), float64
    """
    totals = _totals(totals, values, own)
    for date in values:
        for number, image in enumerate(date):
            mean = local_mean(image, window)[own]
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = image[own] / mean
            known = np.isfinite(ratio)
            totals[0, number][known] += ratio[known]
            totals[1, number] += known
    return totals


def add_values(
    totals: np.ndarray | None, values: np.ndarray, own: tuple[slice, slice]
) -> np.ndarray:
    """Return the sum of backscatter over dates, and the count.

    Parameters
    ----------
    totals, values, own
        As for `add_ratios`.

    Returns
    -------
    array (2, band, y, x), float64
    """
    totals = _totals(totals, values, own)
    for date in values[..., *own]:
        known = np.isfinite(date)
        totals[0][known] += date[known]
        totals[1] += known
    return totals


def _totals(totals, values, own):
    if totals is not None:
        return totals.copy()
    return np.zeros((2, values.shape[1], *values[0, 0][own].shape))


def mean_of(totals: np.ndarray) -> np.ndarray:
    """Return sum over count, NaN where nothing was counted.

    Parameters
    ----------
    totals : array (2, ...), float64

    Returns
    -------
    array (...), float64

    Examples
    --------
    >>> mean_of(np.array([[6.0, 0.0], [2.0, 0.0]]))
    array([ 3., nan])
    """
    return np.divide(
        totals[0], totals[1], out=np.full(totals.shape[1:], np.nan), where=totals[1] > 0
    )


def averaged(
    values: np.ndarray, ratio: np.ndarray, window: int, own: tuple[slice, slice]
) -> np.ndarray:
    """Return dates with their speckle averaged over all dates.

    Parameters
    ----------
    values : array (time, band, y, x)
        As for `add_ratios`.
    ratio : array (band, y, x)
        Mean over all dates, of what `add_ratios` gave.
    window, own
        As for `add_ratios`.

    Returns
    -------
    array (time, band, y, x), float32
        The local mean of each date times the mean ratio of all dates; NaN where that date was
        not measured.

    Notes
    -----
    J_k = E_k / N * sum_i I_i / E_i (Quegan and Yu 2001, doi:10.1109/36.917876, for
    uncorrelated dates; not checked against the paper), where I_i is the backscatter of date i,
    E_i its mean over a window of W pixels and N the number of dates that measured the pixel.
    Speckle of L looks, independent from pixel to pixel and from date to date, is reduced to
    L N W / (N + W - 1) looks (own first-order derivation; the tests compare it with simulated
    speckle). Neighbouring pixels of a real product are correlated, which lowers the gain.
    """
    out = np.empty((*values.shape[:2], *ratio.shape[1:]), np.float32)
    for date, kept in zip(values, out, strict=True):
        for number, image in enumerate(date):
            smooth = local_mean(image, window)[own] * ratio[number]
            kept[number] = np.where(np.isfinite(image[own]), smooth, np.nan)
    return out
