"""What stands between a surface and the sensor: light, shadow, air and cloud."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate.fields import noise, ramp
from glaciercube.terrain import cast_shadow, hillshade

WAVELENGTHS = np.array([band.wavelength for band in SENTINEL_2_L2A.bands], np.float32)
"""Centre wavelengths of the bands (um)."""

MAX_GAIN = 1.8
"""Sun-facing slopes are at most this much brighter than level ground in delivered products."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """How a terrain is lit."""

    direct: np.ndarray
    """Direct light relative to level ground (y, x); 0 in shadow."""

    sky: np.ndarray
    """Share of the sky that a pixel sees (y, x)."""

    lit: np.ndarray
    """False in cast shadow and on slopes turned away from the sun (y, x)."""


def diffuse_share(haze: float) -> np.ndarray:
    """Return the share of the light on level ground that comes from the sky, by band.

    Parameters
    ----------
    haze : float
        0 for clear mountain air to 1 for very hazy.

    Notes
    -----
    Molecules scatter as wavelength^-4, aerosol as about wavelength^-1.3; the amounts are
    those of clear air at some 3000 m: a fifth of the blue light, a hundredth in the
    short-wave infrared.

    Examples
    --------
    >>> diffuse_share(0.0)[[0, 2, 6, 9]].round(2)
    array([0.18, 0.08, 0.05, 0.01], dtype=float32)
    """
    molecules = 0.11 * (WAVELENGTHS / 0.5) ** -4
    aerosol = (0.06 + 0.30 * haze) * (WAVELENGTHS / 0.5) ** -1.3
    return (molecules + aerosol).astype(np.float32)


def illuminate(
    elevation: np.ndarray,
    slope: np.ndarray,
    aspect: np.ndarray,
    resolution: float,
    sun: tuple[float, float],
    correction: float,
) -> Light:
    """Return how terrain is lit.

    Parameters
    ----------
    elevation, slope, aspect : array (y, x)
        Metres, degrees, degrees.
    resolution : float
        Pixel size (m).
    sun : (float, float)
        Azimuth and elevation (degrees).
    correction : float
        How much of the effect of slopes the provider has taken out: 0 nothing, 1 all.
    """
    cosine = hillshade(slope, aspect, *sun)
    level = np.float32(np.sin(np.radians(sun[1])))
    shadow = cast_shadow(elevation, resolution, *sun)
    shadow |= cosine <= 0
    soft = ndimage.gaussian_filter((~shadow).astype(np.float32), max(6 / resolution, 0.3))
    gain = np.minimum(cosine / level, MAX_GAIN)
    gain = np.where(shadow, gain, np.float32(1 - correction) * gain + np.float32(correction))
    return Light(
        direct=(gain * soft).astype(np.float32),
        sky=(0.5 + 0.5 * np.cos(np.radians(slope))).astype(np.float32),
        lit=~shadow,
    )


@dataclass(frozen=True, kw_only=True)
class Clouds:
    """Cloud as the sensor sees it, and its shadow on the ground."""

    opacity: np.ndarray
    shade: np.ndarray
    """Share of the direct light that cloud takes away (y, x)."""

    relief: np.ndarray
    """Brightness of the cloud's top relative to its mean (y, x)."""


def make_clouds(
    shape: tuple[int, int],
    resolution: float,
    fraction: float,
    sun: tuple[float, float],
    rng: np.random.Generator,
) -> Clouds:
    """Return clouds that cover about a fraction of a scene.

    Parameters
    ----------
    shape : tuple of int
    resolution : float
        Pixel size (m).
    fraction : float
        0 to 1.
    sun : (float, float)
        Azimuth and elevation (degrees); the shadow falls away from it.
    rng : Generator

    Notes
    -----
    Opaque cumulus with ragged edges; in some scenes a veil of thin cloud around it.
    """
    height_m = rng.uniform(400, 1800)
    reach = height_m / np.tan(np.radians(max(sun[1], 10))) / resolution
    turn = np.radians(sun[0])
    drift = (int(round(-np.cos(turn) * reach)), int(round(np.sin(turn) * reach)))
    if fraction <= 0:
        nothing = np.zeros(shape, np.float32)
        return Clouds(opacity=nothing, shade=nothing, relief=nothing)
    # A canvas that holds the scene and, towards the sun, the clouds that shade it.
    pad = tuple(min(abs(step), 2 * size) for step, size in zip(drift, shape, strict=True))
    canvas = (shape[0] + pad[0], shape[1] + pad[1])
    scale = float(rng.uniform(600, 2500))
    field = noise(canvas, resolution, rng, scale_m=scale, roughness=rng.uniform(1.4, 1.8))
    here, there = _place(shape, pad, drift)
    level = float(np.quantile(field[here], 1 - min(fraction, 0.98)))
    opacity = ramp(field, level - 0.12, level + rng.uniform(0.15, 0.5))
    if rng.random() < 0.35:
        veil = noise(canvas, resolution, rng, scale_m=4000, roughness=2)
        opacity = np.maximum(opacity, rng.uniform(0.1, 0.45) * ramp(veil, 0.2, 1.6))
    bumps = ndimage.gaussian_filter(field, 1.0)
    tilt = np.gradient(bumps)[0] * np.cos(turn) - np.gradient(bumps)[1] * np.sin(turn)
    lit = np.clip(-tilt / max(float(np.abs(tilt).std()), 1e-6), -2, 2)
    return Clouds(
        opacity=opacity[here],
        shade=ndimage.gaussian_filter(opacity[there], 1.5) * np.float32(0.95),
        relief=(1 + 0.05 * lit[here] + 0.05 * np.clip(field[here] - level, -1, 2)).astype(
            np.float32
        ),
    )


def _place(shape, pad, drift):
    """Return the scene's slices in the canvas, and those of the clouds that shade it."""
    here, there = [], []
    for size, room, step in zip(shape, pad, drift, strict=True):
        first, other = (room, 0) if step < 0 else (0, room)
        here.append(slice(first, first + size))
        there.append(slice(other, other + size))
    return tuple(here), tuple(there)


def path_reflectance(haze: float, sun_elevation: float) -> np.ndarray:
    """Return what the air itself sends to a sensor above it, by band.

    Parameters
    ----------
    haze : float
        0 to 1.
    sun_elevation : float
        Degrees.

    Notes
    -----
    Single scattering: optical depth times phase function over 4 cos(sun zenith), with air
    of some 3000 m and above; blue 0.06 to 0.12, short-wave infrared 0.001 or so.

    Examples
    --------
    >>> path_reflectance(0.2, 50).round(3)[[0, 2, 9]]
    array([0.076, 0.025, 0.001], dtype=float32)
    """
    slant = np.float32(1 / (4 * np.sin(np.radians(max(sun_elevation, 8)))))
    molecules = 0.15 * 1.25 * (WAVELENGTHS / 0.492) ** -4.1
    aerosol = (0.02 + 0.12 * haze) * (WAVELENGTHS / 0.492) ** -2.2
    return ((molecules + aerosol) * slant).astype(np.float32)


def transmittance(haze: float, sun_elevation: float) -> np.ndarray:
    """Return the share of light that passes the air down and up, by band.

    Examples
    --------
    >>> transmittance(0.2, 50).round(2)[[0, 2, 9]]
    array([0.83, 0.93, 0.97], dtype=float32)
    """
    airmass = 1 + 1 / np.sin(np.radians(max(sun_elevation, 8)))
    molecules = 0.5 * 0.11 * (WAVELENGTHS / 0.492) ** -4.1
    aerosol = (0.01 + 0.05 * haze) * (WAVELENGTHS / 0.492) ** -1.3
    gases = np.where(WAVELENGTHS > 1, 0.012, 0.004)
    return np.exp(-(molecules + aerosol + gases) * airmass).astype(np.float32)
