"""What covers a landscape on one date: facies, and the share of each material."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from glaciercube.schema import codes
from glaciercube.simulate.fields import noise, ramp
from glaciercube.simulate.landscape import Landscape

ICE, SNOW, DEBRIS, FIRN, WATER, LAND = codes(("ice", "snow", "debris", "firn", "water", "land"))

PATCHY_M = 28.0
"""Half the height over which snow grows from patches to a closed cover (m)."""

OFF_GLACIER_M = 170.0
"""Snow lasts on ice down to an elevation lower by this than on rock, which warms up (m)."""

LAKE_ICE_M = 120.0
"""Lakes are frozen and covered from this much above the snowline on (m)."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The ground of one date, without light, air and cloud."""

    facies: np.ndarray
    """Codes of `schema.FACIES` (y, x), uint8: ice, snow, debris, firn, water or land."""

    extent: np.ndarray
    """Where the glacier is, debris-covered ice included (y, x), bool."""

    shares: dict[str, np.ndarray]
    """Share of each material in a pixel (y, x), 0 to 1; they sum to 1."""

    height_m: np.ndarray
    """Elevation above the snowline, shade and drift counted in (m)."""


def cover(
    landscape: Landscape, retreat: float, snowline_m: float, rng: np.random.Generator
) -> Surface:
    """Return what covers a landscape.

    Parameters
    ----------
    landscape : Landscape
    retreat : float
        0 to 1.
    snowline_m : float
        Elevation above which snow lies on level, unsheltered ice (m).
    rng : Generator

    Returns
    -------
    Surface
    """
    shape = landscape.elevation.shape
    glacier = landscape.glacier(retreat)
    drift = noise(shape, landscape.resolution, rng, scale_m=350, roughness=1.6)
    height = landscape.elevation - np.float32(snowline_m)
    on_ice = height + 0.4 * landscape.favour_m + 10 * drift
    on_rock = height + landscape.favour_m + 25 * drift - OFF_GLACIER_M
    lake = landscape.lake(retreat) & (height < LAKE_ICE_M)
    height_m = np.where(glacier, on_ice, on_rock).astype(np.float32)
    snow = ramp(height_m, -PATCHY_M, PATCHY_M)
    snow[lake] = 0
    debris = landscape.debris(retreat)
    firn = glacier & ~debris & _firn(landscape, drift)
    facies = np.full(shape, LAND, np.uint8)
    facies[glacier] = ICE
    facies[firn] = FIRN
    facies[debris] = DEBRIS
    facies[lake] = WATER
    facies[snow > 0.5] = SNOW
    shares = _shares(landscape, facies_masks(glacier, debris, firn, lake), snow, drift)
    sigma = 5.0 / landscape.resolution
    return Surface(
        facies=facies,
        extent=glacier,
        shares={name: ndimage.gaussian_filter(part, sigma) for name, part in shares.items()},
        height_m=height_m,
    )


def facies_masks(glacier, debris, firn, lake):
    """Return where each kind of ground is, snow aside."""
    return {
        "debris": debris,
        "firn": firn,
        "ice": glacier & ~debris & ~firn,
        "water": lake,
        "land": ~glacier & ~lake,
    }


def _firn(landscape, drift):
    """Return where old snow lies below this year's: above the equilibrium line of the past."""
    if not math.isfinite(landscape.ela_m):
        return np.zeros(landscape.elevation.shape, bool)
    height = landscape.elevation - landscape.ela_m + 0.3 * landscape.favour_m
    return height + 14 * drift > 20


def _shares(landscape, ground, snow, drift):
    bare = 1 - snow
    land = ground["land"] * bare
    plants = landscape.vegetation
    loose = landscape.scree
    ice = ground["ice"] * bare
    # Spectra of ice were measured on ice as it is, so that they carry most of its dirt already.
    dirt = np.clip(0.04 * drift, 0, 0.15).astype(np.float32)
    shares = {
        "snow": snow,
        "firn": ground["firn"] * bare,
        "ice": ice * (1 - dirt),
        "debris": ground["debris"] * bare + ice * dirt + land * (1 - plants) * loose,
        "rock": land * (1 - plants) * (1 - loose),
        "vegetation": land * plants,
        "water": ground["water"] * bare,
    }
    return {name: part.astype(np.float32) for name, part in shares.items()}


def snowline(elevation: np.ndarray, facies: np.ndarray, glacier: np.ndarray) -> float:
    """Return the elevation that best parts the snow of a glacier from the rest of it.

    Parameters
    ----------
    elevation : array (y, x)
        Metres.
    facies : array (y, x), uint8
    glacier : array (y, x), bool

    Returns
    -------
    float
        The elevation (m) with the fewest glacier pixels on the wrong side: snow below it,
        or ice, firn and debris above it; the middle of all elevations that do equally
        well. NaN if the glacier is all snow or has none.

    Examples
    --------
    >>> heights = np.array([[10.0, 20.0, 30.0, 40.0]])
    >>> snowline(heights, np.uint8([[0, 0, 1, 1]]), np.full((1, 4), True))
    25.0
    """
    order = np.argsort(elevation[glacier], kind="stable")
    heights = elevation[glacier][order].astype(np.float64)
    snow = (facies[glacier] == SNOW)[order]
    if not snow.any() or snow.all():
        return math.nan
    wrong = np.concatenate([[0], np.cumsum(snow)]) + np.concatenate(
        [np.cumsum(~snow[::-1])[::-1], [0]]
    )
    best = np.flatnonzero(wrong == wrong.min())
    low = heights[max(best[0] - 1, 0)]
    high = heights[min(best[-1], len(heights) - 1)]
    return float((low + high) / 2)


def accumulation_area_ratio(facies: np.ndarray, glacier: np.ndarray) -> float:
    """Return the share of a glacier that snow covers; NaN without a glacier.

    Parameters
    ----------
    facies : array (y, x), uint8
    glacier : array (y, x), bool
    """
    total = int(glacier.sum())
    return float((facies[glacier] == SNOW).sum() / total) if total else math.nan
