"""What differs between two images of the same ground: light, air, noise, sharpness, gaps."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from glaciercube.schema import NODATA

PATH_REFLECTANCE = {
    "blue": 0.085,
    "green": 0.05,
    "red": 0.03,
    "nir": 0.014,
    "swir16": 0.002,
    "swir22": 0.001,
}
"""Reflectance (1) that clear air adds at the top of the atmosphere: Rayleigh scattering at sea
level with the sun 45 degrees high (optical depth after Bodhaine et al. 1999, single scattering)
and a little aerosol, rounded."""

COARSE_BANDS = ("swir16", "swir22")
"""Bands of Sentinel-2 that are measured at 20 m."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strongly images vary; each strength is drawn anew for each patch."""

    brightness: float = 0.25
    """Standard deviation of the logarithm of a factor common to all bands."""

    gain: float = 0.03
    """Standard deviation of a factor per band."""

    air: float = 0.5
    """Largest share of `PATH_REFLECTANCE` added (or left over by a correction)."""

    offset: float = 0.003
    """Standard deviation (1) of an error of the offset per band."""

    noise: float = 0.006
    """Largest standard deviation (1) of noise per pixel and band."""

    blur: float = 1.0
    """Largest width (standard deviation, pixels) of the blur by optics and resampling."""

    neighbours: float = 0.08
    """Largest share of the blue light that air scatters in from the surroundings."""

    reflected: float = 0.4
    """Largest share of the light from surrounding slopes that a pixel receives as well."""

    gaps: float = 0.3
    """Share of patches that lose an edge or a rectangle."""


def augment(
    image: np.ndarray,
    target: np.ndarray,
    bands: tuple[str, ...],
    how: Augmentation,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its target as another overpass might have seen them.

    Parameters
    ----------
    image : array (band, y, x), float32
        Reflectance (1), 0 where not measured; square.
    target : array (y, x), uint8
        Category numbers, 255 where unknown.
    bands : tuple of str
        Names in order.
    how : Augmentation
    generator : numpy Generator

    Returns
    -------
    image : array (band, y, x), float32
    target : array (y, x), uint8
    """
    turns, flip = int(generator.integers(4)), bool(generator.integers(2))
    image, target = np.rot90(image, turns, (1, 2)), np.rot90(target, turns)
    if flip:
        image, target = image[:, :, ::-1], target[:, ::-1]
    measured = (image != 0).any(axis=0)
    image = _surroundings(image, bands, how, generator)
    image = _radiance(_sharpness(image, bands, how, generator), bands, how, generator)
    measured &= ~_gap(measured.shape, how.gaps, generator)
    image = np.where(measured, image, np.float32(0)).astype(np.float32)
    return image, np.where(measured, target, np.uint8(NODATA)).astype(np.uint8)


def _radiance(image, bands, how, generator):
    count = len(bands)
    factor = np.exp(generator.normal(0, how.brightness))
    factors = factor * (1 + generator.normal(0, how.gain, count))
    path = np.array([PATH_REFLECTANCE[name] for name in bands])
    added = path * generator.uniform(-how.air / 5, how.air)
    added = added + generator.normal(0, how.offset, count)
    deviation = generator.uniform(0.0005, how.noise)
    noise = generator.normal(0, deviation, image.shape)
    return image * factors[:, np.newaxis, np.newaxis] + added[:, np.newaxis, np.newaxis] + noise


def _sharpness(image, bands, how, generator):
    """Blur all bands in two of three draws, and the coarse bands once more in half of these."""
    if how.blur <= 0 or generator.random() < 1 / 3:
        return image
    width = generator.uniform(0.2, how.blur)
    more = generator.uniform(0.3, 1.2) if generator.random() < 0.5 else 0.0
    widths = [np.hypot(width, more * (name in COARSE_BANDS)) for name in bands]
    return np.stack(
        [gaussian_filter(layer, each) for layer, each in zip(image, widths, strict=True)]
    )


def _surroundings(image, bands, how, generator):
    """Return an image lit by its surroundings: through scattering air, and from bright slopes.

    Next to snow, rock receives visible light and hardly any short-wave infrared, and air
    scatters the snow's blue light over it (adjacency effect, Tanre et al. 1981): its
    normalised difference rises.
    """
    width = generator.uniform(4, 20)
    around = np.stack([gaussian_filter(layer, width, truncate=2) for layer in image])
    path = np.array([PATH_REFLECTANCE[name] for name in bands]) / PATH_REFLECTANCE["blue"]
    air = (generator.uniform(0, how.neighbours) * path)[:, np.newaxis, np.newaxis]
    slopes = generator.uniform(0, how.reflected)
    return image * (1 + slopes * around) + air * (around - image)


def _gap(shape, share, generator):
    """Return where a strip along an edge, or a rectangle, was not measured."""
    gap = np.zeros(shape, bool)
    if generator.random() >= share:
        return gap
    rows, columns = shape
    depth = int(generator.integers(1, max(2, rows // 3)))
    if generator.random() < 0.7:
        gap[:depth] = True
        return np.rot90(gap, int(generator.integers(4))) if rows == columns else gap
    top, left = int(generator.integers(rows)), int(generator.integers(columns))
    gap[top : top + depth, left : left + depth] = True
    return gap
