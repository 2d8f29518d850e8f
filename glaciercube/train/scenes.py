"""Simulated scenes to learn from: landscapes, seasons and air drawn at random, truth per task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import xarray as xr
from tqdm import tqdm

from glaciercube import schema
from glaciercube.sensors import SENTINEL_2_L2A
from glaciercube.simulate.fields import noise
from glaciercube.simulate.landscape import NEVER, Landscape, make_landscape
from glaciercube.simulate.scene import Scene, render

SIZE = 256
"""Rows and columns (pixels) of a scene."""

RESOLUTIONS = (10.0, 10.0, 20.0, 30.0)
"""Pixel sizes (m) drawn from: those of Sentinel-2 and Landsat."""

SHADOW, CLOUD = schema.codes(("shadow", "cloud"))

OBSCURED = 2
"""Number of the extent category for what hides the ground."""

CLOUDY = 0.35
"""Share of scenes with clouds."""

GLACIER_SHARE = (0.03, 0.75)
"""Share of a scene that glaciers cover where both glacier and other ground are to be learned."""

ROCKY = 0.6
"""Share of scenes whose glaciers have rock in them: steps, ribs, nunataks, ragged margins."""

ROCK_SHARE = (0.02, 0.3)
"""Share of such a glacier that rock takes."""

DEBRIS = (0.4, 1.0)
"""How much of the lower glacier debris covers in half of the scenes that teach facies; debris
would be too rare to learn otherwise."""

FRESH = 1 / 3
"""Share of scenes on which new snow has fallen."""

FINE = np.float32(0.2)
"""Most that fine snow reflects at 1.6 and 2.2 um (1); after the modelled albedo of grains of
50 um (Wiscombe & Warren 1980), read off roughly and not checked against the paper."""

DUSTING = 0.4
"""Most of firn and ice that a snowfall covers in part."""

TRIES = 6
"""Landscapes drawn until one fits `GLACIER_SHARE`; the last is taken as it is."""


def simulated(
    task: Literal["facies", "extent"],
    categories: tuple[str, ...],
    materials: Mapping[str, np.ndarray],
    *,
    count: int,
    seed: int,
    progress: bool = False,
) -> list[xr.Dataset]:
    """Return scenes, each of another landscape.

    Parameters
    ----------
    task : str
        "facies" or "extent": what the target is.
    categories : tuple of str
        In the order of the target's numbers; a facies not among them is unknown (255).
    materials : mapping of str to array (n, band)
        Spectra; see `glaciercube.train.spectra.materials`.
    count : int
    seed : int
        Scene number n is the same for any count above n.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of Dataset
        `reflectance` (band, y, x), float32, and `target` (y, x), uint8. Every other one
        is at the top of the atmosphere.
    """
    numbers = tqdm(range(count), desc="simulate", unit="scene", disable=not progress)
    return [scene(task, categories, materials, seed=(seed, number)) for number in numbers]


def scene(
    task: str,
    categories: tuple[str, ...],
    materials: Mapping[str, np.ndarray],
    *,
    seed: tuple[int, int],
) -> xr.Dataset:
    """Return one scene with its target; see `simulated`."""
    generator = np.random.default_rng(seed)
    resolution = float(generator.choice(RESOLUTIONS))
    retreat = float(generator.uniform(0, 1))
    landscape = _landscape(task, resolution, retreat, generator)
    level = "surface" if seed[1] % 2 else "top-of-atmosphere"
    cloudy = generator.random() < CLOUDY
    conditions: dict[str, float | str] = {
        "level": level,
        "retreat": retreat,
        "cloud_fraction": float(generator.beta(1, 3)) if cloudy else 0.0,
    }
    if task == "extent":
        conditions["snowline_m"] = late_snowline(landscape, generator)
    if task == "extent" and generator.random() < FRESH:
        materials = with_fresh_snow(materials, generator)
    seen = render(landscape, materials, rng=generator, **conditions)
    return xr.Dataset(
        {
            "reflectance": (("band", "y", "x"), seen.reflectance, {"units": "1"}),
            "target": (("y", "x"), target_of(task, categories, seen)),
        },
        coords={"band": list(SENTINEL_2_L2A.names)},
        attrs={"level": level, "resolution": resolution},
    )


def _landscape(task, resolution, retreat, generator):
    """Return a landscape with a glacier's margin in it, in one of eight draws any landscape."""
    knobs = {}
    if task == "facies" and generator.random() < 0.5:
        knobs["debris"] = float(generator.uniform(*DEBRIS))
    for _ in range(1 if generator.random() < 1 / 8 else TRIES):
        landscape = make_landscape((SIZE, SIZE), resolution, generator, **knobs)
        share = landscape.glacier(retreat).mean()
        if GLACIER_SHARE[0] <= share <= GLACIER_SHARE[1]:
            break
    return with_rock(landscape, generator) if generator.random() < ROCKY else landscape


def with_rock(landscape: Landscape, generator: np.random.Generator) -> Landscape:
    """Return a landscape with rock windows in its glaciers.

    Parameters
    ----------
    landscape : Landscape
    generator : numpy Generator

    Notes
    -----
    Simulated ice is thicker than any step of its bed, while small steep glaciers are parted
    by rock bands along their contours and pierced by ribs some tens of metres wide. Without
    these a network learns to close every gap in the ice.
    """
    shape = landscape.elevation.shape
    scale_m, roughness = generator.uniform(60, 500), generator.uniform(1.8, 2.6)
    field = noise(shape, landscape.resolution, generator, scale_m=scale_m, roughness=roughness)
    if generator.random() < 0.5:
        period_m = generator.uniform(60, 300)
        turns = landscape.elevation / period_m + 0.3 * field
        field = field + 2 * np.cos(2 * np.pi * turns).astype(np.float32)
    ever = landscape.lasts > 0
    if not ever.any():
        return landscape
    rock = field > np.quantile(field[ever], 1 - generator.uniform(*ROCK_SHARE))
    return replace(landscape, lasts=np.where(rock, np.float32(NEVER), landscape.lasts))


def with_fresh_snow(
    materials: Mapping[str, np.ndarray], generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return materials after a snowfall: fine grains, and a dusting on firn and ice.

    Parameters
    ----------
    materials : mapping of str to array (n, band)
        Reflectance (1).
    generator : numpy Generator

    Notes
    -----
    The measured spectra are of summer snow, whose coarse grains are black in the short-wave
    infrared. Fresh fine grains reflect several times as much there (Wiscombe & Warren 1980);
    by how much is drawn at random up to `FINE`. For extent alone: what is dusted stays
    glacier, but is no longer plain ice or firn.
    """
    factor = generator.uniform(1.5, 8)
    snow = materials["snow"].copy()
    for band in ("swir16", "swir22"):
        at = SENTINEL_2_L2A.names.index(band)
        snow[:, at] = np.maximum(snow[:, at], np.minimum(factor * snow[:, at], FINE))
    out = {**materials, "snow": snow}
    for name in ("firn", "ice"):
        share = np.float32(generator.uniform(0, DUSTING))
        dust = snow[generator.integers(len(snow), size=len(materials[name]))]
        out[name] = share * dust + (1 - share) * materials[name]
    return out


def late_snowline(landscape: Landscape, generator: np.random.Generator) -> float:
    """Return a snowline (m) of the end of the melt season, drawn at random.

    Notes
    -----
    It lies about the equilibrium line, in warm years far above it and in some years below;
    where no glacier is, near the highest ground, so that snow is patches.
    """
    low, high = np.percentile(landscape.elevation, (5, 98))
    span = high - low
    if np.isnan(landscape.ela_m):
        return float(low + generator.uniform(0.75, 1.15) * span)
    return float(landscape.ela_m + generator.normal(0.08, 0.14) * span)


def target_of(task: str, categories: tuple[str, ...], seen: Scene) -> np.ndarray:
    """Return the number of each pixel's category (y, x), uint8, 255 where it has none.

    Parameters
    ----------
    task : str
        "facies", or "extent": glacier where there is one and it can be seen, obscured
        under cloud and in unreadable shadow.
    categories : tuple of str
        Names in the order of the numbers.
    seen : Scene
    """
    if task == "extent":
        hidden = (seen.facies == CLOUD) | (seen.facies == SHADOW)
        return np.where(hidden, OBSCURED, seen.extent).astype(np.uint8)
    table = np.full(256, schema.NODATA, np.uint8)
    for number, code in enumerate(schema.codes(categories)):
        table[code] = number
    return table[seen.facies]
