"""Random fields with a given scale: what makes simulated nature look like nature."""

import numpy as np
from scipy import fft, special


def noise(
    shape: tuple[int, int],
    resolution: float,
    rng: np.random.Generator,
    *,
    scale_m: float,
    roughness: float = 2.0,
) -> np.ndarray:
    """Return a Gaussian random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    resolution : float
        Pixel size (m).
    rng : Generator
    scale_m : float
        Wavelength (m) above which the field no longer gains amplitude.
    roughness : float
        Amplitude falls with wavenumber to this power: 1 is rough, 3 smooth.

    Returns
    -------
    array (y, x), float32

    Notes
    -----
    Spectral synthesis on a canvas a quarter larger than asked, so that opposite borders
    do not match. A scale larger than the canvas leaves a trend.
    """
    rows, columns = (fft.next_fast_len(size + size // 4 + 2, real=True) for size in shape)
    spectrum = fft.rfft2(rng.standard_normal((rows, columns), np.float32))
    ky = np.fft.fftfreq(rows, resolution).astype(np.float32)[:, np.newaxis]
    kx = np.fft.rfftfreq(columns, resolution).astype(np.float32)
    wavenumber = np.sqrt(ky * ky + kx * kx + np.float32(1 / scale_m) ** 2)
    spectrum *= (wavenumber * np.float32(scale_m)) ** np.float32(-roughness)
    spectrum[0, 0] = 0
    field = fft.irfft2(spectrum, s=(rows, columns))[: shape[0], : shape[1]]
    return ((field - field.mean()) / max(float(field.std()), 1e-12)).astype(np.float32)


def share(field: np.ndarray) -> np.ndarray:
    """Return a standard normal field as values spread evenly over 0 to 1.

    Examples
    --------
    >>> share(np.float32([-9.0, 0.0, 9.0])).round(3)
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return special.ndtr(field).astype(np.float32)


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below `low`, 1 above `high` and a smooth rise between them.

    Examples
    --------
    >>> ramp(np.float32([0, 1, 2, 3, 4]), 1, 3)
    array([0. , 0. , 0.5, 1. , 1. ], dtype=float32)
    """
    part = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return (part * part * (3 - 2 * part)).astype(np.float32)


def resample(field: np.ndarray, shape: tuple[int, int], window: np.ndarray) -> np.ndarray:
    """Return a window of a coarse field, interpolated to another shape.

    Parameters
    ----------
    field : array (y, x)
    shape : tuple of int
        Rows and columns wanted.
    window : array of 4
        First row, last row, first column, last column, in (fractional) pixels of `field`.

    Returns
    -------
    array (y, x), float32
        Catmull-Rom interpolation; the border values go on beyond the border.
    """
    y = np.linspace(window[0], window[1], shape[0])
    x = np.linspace(window[2], window[3], shape[1])
    # Separable: two small matrix products do what a spline of every pixel would.
    across = _cubic(x, field.shape[1])
    return (_cubic(y, field.shape[0]) @ field.astype(np.float32) @ across.T).astype(np.float32)


def _cubic(positions, size):
    """Return the matrix of Catmull-Rom interpolation at positions along one axis."""
    base = np.floor(positions).astype(int)
    part = positions - base
    taps = np.stack(
        [
            ((-part + 2) * part - 1) * part / 2,
            ((3 * part - 5) * part * part + 2) / 2,
            ((-3 * part + 4) * part + 1) * part / 2,
            (part - 1) * part * part / 2,
        ]
    )
    matrix = np.zeros((len(positions), size), np.float32)
    for tap in range(4):
        column = np.clip(base + tap - 1, 0, size - 1)
        np.add.at(matrix, (np.arange(len(positions)), column), taps[tap])
    return matrix
