"""How a provider delivers a scene: digital numbers, baselines, a quality layer with mistakes."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from scipy import ndimage

from glaciercube.sensors import SENTINEL_2_L2A, declared_offset
from glaciercube.simulate.fields import noise
from glaciercube.simulate.scene import SHADOW, Scene, block_mean
from glaciercube.simulate.surface import DEBRIS, LAND, WATER

NUMBERS_PER_ONE = round(1 / SENTINEL_2_L2A.scale)
"""Digital numbers per unit of reflectance."""

BASELINES = (
    (date(2015, 6, 1), "02.14"),
    (date(2021, 6, 30), "03.01"),
    (date(2022, 1, 25), "04.00"),
    (date(2022, 12, 6), "05.09"),
)
"""Processing baselines by their first day (ESA); from 04.00 on numbers carry +1000."""

BRIGHT_SNOW = 0.95
"""Snow brighter than this in the blue is what quality layers take for cloud first (1)."""

NO_DATA, DARK, CLOUD_SHADOW, VEGETATION, BARE, WATER_CLASS = 0, 2, 3, 4, 5, 6
CLOUD_MEDIUM, CLOUD_HIGH, SNOW_CLASS = 8, 9, 11


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a scene is delivered as."""

    numbers: dict[str, np.ndarray]
    """Digital numbers by band name (y, x), uint16, at each band's own resolution."""

    classes: np.ndarray
    """Scene classification at 20 m (y, x), uint8: Sen2Cor's codes."""

    measured: np.ndarray
    """False beyond the edge of the swath, at 10 m (y, x)."""

    baseline: str
    cloud_cover: float
    """Per cent of what was measured, by the classification."""


def baseline_of(day: date) -> str:
    """Return the processing baseline of a date.

    Examples
    --------
    >>> baseline_of(date(2021, 8, 5)), baseline_of(date(2022, 8, 5))
    ('03.01', '04.00')
    """
    return [name for first, name in BASELINES if first <= day][-1]


def offset_of(baseline: str) -> int:
    """Return the offset (DN) to add to the numbers of a baseline.

    Examples
    --------
    >>> offset_of("03.01"), offset_of("05.09")
    (0, -1000)
    """
    return declared_offset(SENTINEL_2_L2A, {"s2:processing_baseline": baseline}) or 0


def deliver(
    scene: Scene, day: date, resolution: float, *, edge: bool, rng: np.random.Generator
) -> Delivery:
    """Return a scene as a provider delivers it.

    Parameters
    ----------
    scene : Scene
    day : date
        Decides the processing baseline.
    resolution : float
        Pixel size of the scene (m).
    edge : bool
        Whether the swath ends within the scene.
    rng : Generator
    """
    baseline = baseline_of(day)
    shape = scene.facies.shape
    measured = _swath(shape) if edge else np.ones(shape, bool)
    step = int(20 // resolution)
    numbers = {}
    for band, layer in zip(SENTINEL_2_L2A.bands, scene.reflectance, strict=True):
        coarse = int(band.resolution // resolution)
        numbers[band.name] = to_numbers(
            layer[::coarse, ::coarse], measured[::coarse, ::coarse], offset_of(baseline)
        )
    classes = classify(scene, resolution, rng)[::step, ::step]
    classes = np.where(measured[::step, ::step], classes, np.uint8(NO_DATA))
    cloudy = np.isin(classes, (CLOUD_MEDIUM, CLOUD_HIGH)).sum()
    return Delivery(
        numbers=numbers,
        classes=classes,
        measured=measured,
        baseline=baseline,
        cloud_cover=float(100 * cloudy / max((classes != NO_DATA).sum(), 1)),
    )


def to_numbers(reflectance: np.ndarray, measured: np.ndarray, offset: int) -> np.ndarray:
    """Return digital numbers of reflectance, 0 where not measured.

    Parameters
    ----------
    reflectance : array (y, x)
    measured : array (y, x), bool
    offset : int
        What a user has to add (DN): 0 or -1000.

    Returns
    -------
    array (y, x), uint16
        1 to 65535 where measured: before baseline 04.00 negative reflectance is lost.

    Examples
    --------
    >>> to_numbers(np.float32([0.5, -0.01]), np.array([True, True]), -1000)
    array([6000,  900], dtype=uint16)
    """
    numbers = np.clip(np.rint(reflectance * NUMBERS_PER_ONE) - offset, 1, 65535)
    return np.where(measured, numbers, 0).astype(np.uint16)


def _swath(shape):
    """Return what lies within a swath that leaves the scene at its south-eastern side."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    # Tracks of a polar orbit lean: the edge runs south-south-west. Even rows and columns, so
    # that bands of 10 m and 20 m end together.
    rows, columns = rows // 2 * 2, columns // 2 * 2
    return columns < shape[1] * 0.97 - 0.27 * rows


def classify(scene: Scene, resolution: float, rng: np.random.Generator) -> np.ndarray:
    """Return a scene classification with a provider's typical mistakes.

    Parameters
    ----------
    scene : Scene
    resolution : float
        Pixel size (m).
    rng : Generator

    Returns
    -------
    array (y, x), uint8
        Sen2Cor's codes. Some bright snow is called cloud; the edges of clouds and of their
        shadows are missed; debris on ice is bare ground, some dark water is shadow.
    """
    shape = scene.facies.shape
    green, nir, swir = (
        _smooth(scene.reflectance[SENTINEL_2_L2A.names.index(name)])
        for name in ("green", "nir", "swir16")
    )
    blue, red = _smooth(scene.reflectance[0]), _smooth(scene.reflectance[2])
    ndsi = (green - swir) / np.maximum(green + swir, 1e-3)
    classes = np.full(shape, BARE, np.uint8)
    classes[(nir - red) > 0.35 * np.maximum(nir + red, 1e-3)] = VEGETATION
    classes[np.isin(scene.surface, (LAND, DEBRIS)) & (green < 0.05)] = DARK
    classes[(ndsi > 0.42) & (nir > 0.11)] = SNOW_CLASS
    classes[scene.surface == WATER] = WATER_CLASS
    classes[scene.facies == SHADOW] = DARK
    whim = noise(shape, resolution, rng, scale_m=400, roughness=1.6)
    classes[(scene.surface == WATER) & (whim > 1.3)] = DARK
    classes[(classes == SNOW_CLASS) & (blue > BRIGHT_SNOW) & (whim > 1.1)] = CLOUD_MEDIUM
    width = max(int(round(20 / resolution)), 1)
    classes[ndimage.binary_erosion(scene.cloud_shadow, iterations=width)] = CLOUD_SHADOW
    core = ndimage.binary_erosion(scene.cloud, iterations=width)
    classes[core] = CLOUD_MEDIUM
    classes[ndimage.binary_erosion(core, iterations=2 * width)] = CLOUD_HIGH
    return classes


def _smooth(layer):
    return np.repeat(np.repeat(block_mean(layer, 2), 2, axis=0), 2, axis=1)[
        : layer.shape[0], : layer.shape[1]
    ]
