"""Radar backscatter: decibels, and what is no measurement; NumPy in, NumPy out."""

from typing import Literal

import numpy as np
from scipy import ndimage

Unit = Literal["1", "dB"]

FAINTEST_DB = -50.0
"""Less cannot be measured: Sentinel-1's own noise is -22 dB at worst and about -30 dB at best
(ESA, noise equivalent sigma nought), so this is the product's rounding or resampling."""

BRIGHTEST_DB = 40.0
"""More is no natural surface: a corner reflector of metres fills a pixel with 20 to 30 dB."""

BORDER_FLOOR_DB = -30.0
"""At a swath's border anything below is border noise (Earth Engine's guide to Sentinel-1)."""

OUTSIDE = 9
"""Only a hole that a square of so many pixels fits into (or half of it at the array's edge) has a
swath border; smaller ones are radar shadow and single dropped pixels."""


def decibels_of(linear: np.ndarray) -> np.ndarray:
    """Return 10 log10 of power; NaN where it is not positive.

    Parameters
    ----------
    linear : array
        Backscatter (1).

    Returns
    -------
    array, float32
        Decibel.

    Examples
    --------
    >>> decibels_of(np.float32([1.0, 0.1, 0.0, np.nan]))
    array([  0., -10.,  nan,  nan], dtype=float32)
    """
    linear = np.asarray(linear, np.float32)
    out = np.full(linear.shape, np.nan, np.float32)
    with np.errstate(invalid="ignore"):
        np.log10(linear, out=out, where=linear > 0)
    return out * np.float32(10)


def linear_of(decibels: np.ndarray) -> np.ndarray:
    """Return power from decibels.

    Parameters
    ----------
    decibels : array
        Decibel; minus infinity becomes 0.

    Returns
    -------
    array, float32
        Backscatter (1).

    Examples
    --------
    >>> linear_of(np.float32([0.0, -10.0, -np.inf]))
    array([1. , 0.1, 0. ], dtype=float32)
    """
    return np.power(np.float32(10), np.asarray(decibels, np.float32) / np.float32(10))


def border_halo(border: int) -> int:
    """Return how many pixels around a block `clean_backscatter` looks at.

    Examples
    --------
    >>> border_halo(0), border_halo(30)
    (0, 38)
    """
    return border + 2 * (OUTSIDE // 2) if border else 0


def clean_backscatter(
    values: np.ndarray,
    *,
    units: Unit = "1",
    border: int = 0,
    floor_db: float = BORDER_FLOOR_DB,
) -> np.ndarray:
    """Return backscatter with NaN in place of everything that is no measurement.

    Parameters
    ----------
    values : array (..., y, x)
        Backscatter, linear (units "1") or in decibels ("dB").
    units : "1" or "dB"
        Of the values, and of what is returned.
    border : int
        Pixels from the swath's border inwards in which values below `floor_db` are noise; 0
        leaves the border alone.
    floor_db : float
        Decibel.

    Returns
    -------
    array (..., y, x), float32
        NaN where the value was NaN, infinite, zero, negative (linear), below -50 dB or above
        40 dB, and in border noise.

    Notes
    -----
    Border noise: older Sentinel-1 products have stripes of tiny values between the swath and
    its nodata. Here the outside is what is not measured and wide enough for a square of 9
    pixels; a pixel fewer than `border` pixels (in rows and columns) away from it goes if it
    is below the floor. Wet snow in VH may be as dark, so a margin of it goes too; the rest of
    the scene is not touched. A block with `border_halo(border)` more pixels on each side gets
    what the whole scene gets.

    Examples
    --------
    >>> clean_backscatter(np.float32([[0.02, 0.0, np.inf, -1.0, 1e-7]]))
    array([[0.02,  nan,  nan,  nan,  nan]], dtype=float32)
    >>> clean_backscatter(np.float32([[-17.0, -np.inf, 80.0, 0.0]]), units="dB")
    array([[-17.,  nan,  nan,   0.]], dtype=float32)
    """
    values = np.asarray(values, np.float32)
    low, high, floor = FAINTEST_DB, BRIGHTEST_DB, floor_db
    if units == "1":
        low, high, floor = (10 ** (number / 10) for number in (low, high, floor))
    with np.errstate(invalid="ignore"):
        measured = (values >= low) & (values <= high)
        dark = measured & (values < floor)
    if border and dark.any():
        planes = zip(
            *(one.reshape(-1, *values.shape[-2:]) for one in (measured, dark)), strict=True
        )
        noise = [faint & _near_outside(~seen, border) for seen, faint in planes]
        measured = measured & ~np.reshape(noise, values.shape)
    return np.where(measured, values, np.float32(np.nan))


def _near_outside(hole, border):
    """Return what is near a wide hole; beyond the array counts as hole where it continues one."""
    square = np.ones((OUTSIDE, OUTSIDE), bool)
    wide = ndimage.binary_erosion(hole, square, border_value=1)
    outside = ndimage.binary_dilation(wide, square)
    return ndimage.binary_dilation(outside, np.ones((3, 3), bool), iterations=border)
