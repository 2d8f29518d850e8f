"""One simulated satellite scene of a landscape, with the truth that belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from glaciercube.errors import SchemaError
from glaciercube.schema import codes
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate.fields import noise, ramp, share
from glaciercube.simulate.landscape import Landscape
from glaciercube.simulate.materials import checked
from glaciercube.simulate.sky import (
    Clouds,
    Light,
    diffuse_share,
    illuminate,
    make_clouds,
    path_reflectance,
    transmittance,
)
from glaciercube.simulate.surface import Surface, accumulation_area_ratio, cover, snowline

SHADOW, CLOUD = codes(("shadow", "cloud"))

UNREADABLE = 0.02
"""Shaded ground that reflects less than this (1) in all visible bands cannot be read: it is what
air and noise alone vary by. Shaded snow stays far above it, shaded rock mostly above."""

CLOUD_OPACITY = 0.35
"""Cloud at least this opaque hides the ground, and shades it from the sun (1)."""

ANCHORS = 5
"""Samples of each material that one scene mixes."""

TEXTURE = {
    "snow": 0.012, "firn": 0.03, "ice": 0.07, "debris": 0.10, "rock": 0.12,
    "vegetation": 0.10, "water": 0.03,
}  # fmt: skip
"""Fine-grained variation of brightness by material (standard deviation, 1)."""

NOISE_FLOOR, NOISE_SHARE = 0.0012, 0.004
"""Sensor noise: a floor and a share of the signal (standard deviation of reflectance, 1)."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is different from date to date."""

    retreat: float = 0.0
    """0 at the first year to 1."""

    snowline_m: float = 2900.0
    """Elevation above which snow lies on level, unsheltered ice (m)."""

    sun_azimuth: float = 150.0
    sun_elevation: float = 50.0
    """Degrees."""

    haze: float = 0.1
    """0 for clear mountain air to 1."""

    cloud_fraction: float = 0.0
    correction: float = 0.4
    """How much of the effect of slopes the provider has taken out of surface reflectance."""

    level: Literal["surface", "top-of-atmosphere"] = "surface"


def draw_conditions(landscape: Landscape, rng: np.random.Generator) -> Conditions:
    """Return conditions drawn at random: early to late summer, clear to cloudy.

    Parameters
    ----------
    landscape : Landscape
        The snowline is drawn about the elevations of its glaciers, mostly.
    rng : Generator
    """
    low, high = np.percentile(landscape.elevation, (5, 98))
    ice = landscape.elevation[landscape.lasts > 0]
    if ice.size and rng.random() < 0.8:
        low, high = np.percentile(ice, (2, 98))
    return Conditions(
        retreat=float(rng.uniform(0, 1)),
        snowline_m=float(low + rng.uniform(0.05, 1.15) * (high - low)),
        sun_azimuth=float(rng.uniform(0, 360)),
        sun_elevation=float(rng.uniform(25, 65)),
        haze=float(rng.beta(1, 5)),
        cloud_fraction=float(rng.choice([0.0, rng.beta(1, 4)])),
        correction=float(rng.uniform(0, 0.7)),
    )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A scene and its truth; every array ends in (y, x)."""

    reflectance: np.ndarray
    """(band, y, x), float32, in the order of `sensors.SENTINEL_2_L2A.names`; never clipped."""

    facies: np.ndarray
    """What can be seen: codes of `schema.FACIES`, uint8, cloud and unreadable shadow included."""

    surface: np.ndarray
    """What is there: the same codes without cloud and shadow."""

    extent: np.ndarray
    """The glacier, debris-covered ice included, seen or not (bool)."""

    cloud: np.ndarray
    cloud_shadow: np.ndarray
    snowline_m: float
    """By `surface.snowline` over the whole glacier, seen or not; NaN if it has none."""

    aar: float
    """Snow-covered share of the whole glacier, seen or not."""

    conditions: Conditions


def render(
    landscape: Landscape,
    materials: Mapping[str, np.ndarray],
    *,
    rng: np.random.Generator,
    **conditions: float | str,
) -> Scene:
    """Return a scene of a landscape.

    Parameters
    ----------
    landscape : Landscape
    materials : mapping of str to array (sample, band)
        Spectra, `materials.TYPICAL` or real ones.
    rng : Generator
        Draws noise, and those of the conditions that are not given.
    **conditions
        Fields of `Conditions`.

    Returns
    -------
    Scene

    Raises
    ------
    SchemaError
        If a condition has no such name or level, or materials do not fit.
    """
    given = _conditions(landscape, rng, conditions)
    table = checked(materials)
    surface = cover(landscape, given.retreat, given.snowline_m, rng)
    sun = (given.sun_azimuth, given.sun_elevation)
    correction = given.correction if given.level == "surface" else 0.0
    light = illuminate(
        landscape.elevation,
        landscape.slope,
        landscape.aspect,
        landscape.resolution,
        sun,
        correction,
    )
    shape = landscape.elevation.shape
    clouds = make_clouds(shape, landscape.resolution, given.cloud_fraction, sun, rng)
    ground = _spectra(surface, table, landscape.resolution, rng)
    ground *= _brightness(light, clouds, diffuse_share(given.haze))
    hidden = _unreadable(ground, light, clouds)
    values = _through_air(ground, given, rng)
    values = _under_cloud(values, clouds, table["cloud"], landscape.resolution, rng)
    facies = np.where(hidden, np.uint8(SHADOW), surface.facies)
    cloud = clouds.opacity > CLOUD_OPACITY
    facies[cloud] = CLOUD
    return Scene(
        reflectance=_sensed(values, landscape.resolution, rng),
        facies=facies,
        surface=surface.facies,
        extent=surface.extent,
        cloud=cloud,
        cloud_shadow=(clouds.shade > CLOUD_OPACITY) & ~cloud,
        snowline_m=snowline(landscape.elevation, surface.facies, surface.extent),
        aar=accumulation_area_ratio(surface.facies, surface.extent),
        conditions=given,
    )


def _conditions(landscape, rng, given):
    names = [field.name for field in fields(Conditions)]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise SchemaError(f"a scene has no condition {unknown}; it has {names}")
    chosen = replace(draw_conditions(landscape, rng), **given)
    if chosen.level not in ("surface", "top-of-atmosphere"):
        raise SchemaError(
            f"a scene's level is 'surface' or 'top-of-atmosphere', found {chosen.level!r}"
        )
    return chosen


def _spectra(surface: Surface, table, resolution, rng):
    """Return reflectance on level ground (band, y, x): samples of each material, mixed smoothly."""
    shape = surface.facies.shape
    values = np.zeros((*shape, len(SENTINEL_2_L2A.bands)), np.float32)
    wide = noise(shape, resolution, rng, scale_m=1500, roughness=1.5)
    other = noise(shape, resolution, rng, scale_m=500, roughness=1.2)
    fine = noise(shape, resolution, rng, scale_m=80, roughness=0.8)
    age = 0.35 - 0.7 * ramp(surface.height_m, 0, 350)
    for number, (name, part) in enumerate(surface.shares.items()):
        where = part > 1e-3
        if not where.any():
            continue
        turn = np.float32(rng.uniform(0, 2 * np.pi))
        field = np.cos(turn) * wide[where] + np.sin(turn) * other[where]
        if name == "snow":
            field = 0.7 * field - 2 * age[where]
        mixed = _mixture(table[name], share(field), rng)
        mixed *= 1 + TEXTURE[name] * (fine if number % 2 else -fine)[where][:, np.newaxis]
        values[where] += mixed * part[where][:, np.newaxis]
    return np.ascontiguousarray(np.moveaxis(values, -1, 0))


def _mixture(samples, position, rng):
    """Return spectra between a few samples, those next to each other in brightness mixed."""
    count = min(ANCHORS, len(samples))
    anchors = samples[np.sort(rng.choice(len(samples), count, replace=False))]
    if count == 1:
        return np.repeat(anchors, len(position), axis=0)
    place = position * np.float32(count - 1)
    low = np.minimum(place.astype(np.intp), count - 2)
    part = (place - low)[:, np.newaxis]
    return anchors[low] + (anchors[low + 1] - anchors[low]) * part


def _brightness(light: Light, clouds: Clouds, diffuse):
    """Return light by band relative to level ground under a clear sky (band, y, x)."""
    sun = light.direct * (1 - clouds.shade)
    # A cloud scatters part of what it takes away back to its surroundings.
    sky = light.sky * (1 + 0.5 * clouds.shade) + np.float32(0.15) * (1 - light.sky)
    share_of_sky = diffuse[:, np.newaxis, np.newaxis]
    return sun * (1 - share_of_sky) + (sky + 0.10 * clouds.shade) * share_of_sky


def _unreadable(ground, light, clouds):
    shaded = ~light.lit | (clouds.shade > CLOUD_OPACITY)
    return shaded & (ground[:3].max(axis=0) < UNREADABLE)


def _through_air(ground, given, rng):
    if given.level == "surface":
        # The provider's correction leaves some air behind, or takes too much.
        rest = path_reflectance(given.haze, given.sun_elevation) * rng.normal(0, 0.08)
        return ground + rest.astype(np.float32)[:, np.newaxis, np.newaxis]
    passes = transmittance(given.haze, given.sun_elevation)[:, np.newaxis, np.newaxis]
    path = path_reflectance(given.haze, given.sun_elevation)[:, np.newaxis, np.newaxis]
    return ground * passes + path


def _under_cloud(values, clouds, samples, resolution, rng):
    if not clouds.opacity.any():
        return values
    field = noise(clouds.opacity.shape, resolution, rng, scale_m=1200, roughness=1.6)
    where = clouds.opacity > 1e-3
    mixed = _mixture(samples, share(field[where]), rng) * clouds.relief[where][:, np.newaxis]
    part = clouds.opacity[where]
    values[:, where] = values[:, where] * (1 - part) + mixed.T * part
    return values


def _sensed(values, resolution, rng):
    """Return what the sensor delivers: coarser bands coarser, and noise."""
    for number, band in enumerate(SENTINEL_2_L2A.bands):
        step = int(band.resolution // resolution)
        layer = ndimage.gaussian_filter(values[number], 0.35 * max(step, 1))
        coarse = block_mean(layer, step) if step > 1 else layer
        sigma = NOISE_FLOOR + NOISE_SHARE * np.abs(coarse)
        coarse = coarse + sigma * rng.standard_normal(coarse.shape, np.float32)
        values[number] = _spread(coarse, step, values.shape[1:]) if step > 1 else coarse
    return values


def block_mean(layer: np.ndarray, step: int) -> np.ndarray:
    """Return the mean of blocks of pixels, those cut by the border included.

    Parameters
    ----------
    layer : array (y, x)
    step : int
        Pixels of a block's side.

    Examples
    --------
    >>> block_mean(np.float32([[1, 3, 8]]), 2)
    array([[2., 8.]], dtype=float32)
    """
    rows, columns = (-size % step for size in layer.shape)
    wide = np.pad(layer, ((0, rows), (0, columns)), mode="edge")
    blocks = wide.reshape(wide.shape[0] // step, step, wide.shape[1] // step, step)
    return blocks.mean(axis=(1, 3))


def _spread(coarse, step, shape):
    return np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[: shape[0], : shape[1]]
