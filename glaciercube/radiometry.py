"""Digital numbers to reflectance and back, and what the pixels say about their offset."""

from dataclasses import dataclass

import numpy as np

from glaciercube.sensors import SENTINEL_2_OFFSET

DARK_PERCENTILE = 1.0
"""Share (%) of the darkest measured pixels taken as a scene's floor."""

UNSHIFTED_BELOW = 700
"""A floor below this digital number cannot carry the +1000 shift: even the noise of a
shifted band stays near 1000."""

SHIFTED_FROM, SHIFTED_TO = 900, 1300
"""A floor between these digital numbers is a dark surface (shadow, water, snow in the
short-wave infrared) on top of the +1000 shift; without it nothing would be darker than 9 %."""


def to_reflectance(
    numbers: np.ndarray, scale: float, offset: float, nodata: int | None = 0
) -> np.ndarray:
    """Return reflectance of digital numbers, never clipped.

    Parameters
    ----------
    numbers : array, any integer or float
        Digital numbers as delivered.
    scale : float
        Reflectance per digital number (1).
    offset : float
        Digital numbers to add before scaling (DN), as in (DN + offset) * scale.
    nodata : int, optional
        The digital number of a pixel that was not measured.

    Returns
    -------
    array, float32
        Reflectance (1), NaN where not measured. Computed in float32, so that unsigned
        numbers below the offset become negative instead of wrapping.

    Examples
    --------
    >>> to_reflectance(np.uint16([0, 500, 1000, 11000]), 1e-4, -1000)
    array([  nan, -0.05,  0.  ,  1.  ], dtype=float32)
    """
    values = (numbers.astype(np.float32) + np.float32(offset)) * np.float32(scale)
    if nodata is not None:
        values[numbers == nodata] = np.nan
    return values


def pack(
    values: np.ndarray, dtype: str, scale_factor: float, add_offset: float, fill: int
) -> np.ndarray:
    """Return values as scaled integers: the nearest code, `fill` where NaN.

    Parameters
    ----------
    values : array, float
        What to store.
    dtype : str
        Unsigned integer type on disk.
    scale_factor, add_offset : float
        As in CF: value = code * scale_factor + add_offset.
    fill : int
        The code of NaN; no value is ever given this code.

    Returns
    -------
    array of `dtype`
        Values beyond the range of codes become the nearest end of it.

    Examples
    --------
    >>> pack(np.float32([0.0, 0.5, np.nan, 9.0]), "uint16", 1e-4, -0.1, 0)
    array([ 1000,  6000,     0, 65535], dtype=uint16)
    """
    return pack_counted(values, dtype, scale_factor, add_offset, fill)[0]


def pack_counted(
    values: np.ndarray, dtype: str, scale_factor: float, add_offset: float, fill: int
) -> tuple[np.ndarray, int]:
    """Return values as scaled integers, and how many lay beyond the range of codes.

    Parameters
    ----------
    values, dtype, scale_factor, add_offset, fill
        As for `pack`.

    Returns
    -------
    codes : array of `dtype`
    beyond : int

    Notes
    -----
    In float32, which holds every code of 16 bits and its neighbours exactly enough to round.

    Examples
    --------
    >>> pack_counted(np.float32([0.5, 9.0]), "uint16", 1e-4, -0.1, 0)
    (array([ 6000, 65535], dtype=uint16), 1)
    """
    info = np.iinfo(dtype)
    low = info.min + (fill == info.min)
    high = info.max - (fill == info.max)
    codes = np.multiply(values, np.float32(1 / scale_factor), dtype=np.float32)
    codes += np.float32(0.5 - add_offset / scale_factor)
    if codes.min(initial=high) >= low + 0.5 and codes.max(initial=low) <= high:
        # The usual case: what is cut off rounds. A NaN would make both comparisons false.
        return codes.astype(dtype), 0
    np.floor(codes, out=codes)
    beyond = int(np.count_nonzero(codes < low) + np.count_nonzero(codes > high))
    if beyond:
        np.clip(codes, low, high, out=codes)
    np.copyto(codes, np.float32(fill), where=np.isnan(codes))
    return codes.astype(dtype), beyond


def unpack(codes: np.ndarray, scale_factor: float, add_offset: float, fill: int) -> np.ndarray:
    """Return the values of scaled integers in float32, NaN where `fill`.

    Examples
    --------
    >>> unpack(np.uint16([0, 1000, 6000]), 1e-4, -0.1, 0)
    array([nan, 0. , 0.5], dtype=float32)
    """
    values = (codes * np.float64(scale_factor) + np.float64(add_offset)).astype(np.float32)
    values[codes == fill] = np.nan
    return values


@dataclass(frozen=True, kw_only=True)
class Floor:
    """How dark the darkest pixels of a scene are, and what this says about its offset."""

    number: float
    """Digital number at the floor of the darkest band; NaN if nothing was measured."""

    offset: int | None
    """Offset to add (DN): 0 or -1000; None if the pixels cannot tell."""


def observed_offset(bands: dict[str, np.ndarray], nodata: float = 0) -> Floor:
    """Return the Sentinel-2 offset that the pixels themselves show.

    Parameters
    ----------
    bands : dict of str to array
        Digital numbers by band name; an overview is enough.
    nodata : float
        Digital number of a pixel that was not measured.

    Returns
    -------
    Floor
        Offset -1000 if the darkest band's floor lies between 900 and 1300, 0 if it lies
        below 700, None otherwise (no dark surface in the scene).

    Notes
    -----
    Since processing baseline 04.00 Sentinel-2 numbers carry +1000. Snow and ice are dark
    in the short-wave infrared, and every scene is dark in the cirrus band, so the 1st
    percentile of the darkest band tells the two apart.

    Examples
    --------
    >>> observed_offset({"swir22": np.arange(1040, 1400)}).offset
    -1000
    >>> observed_offset({"swir22": np.arange(40, 400)}).offset
    0
    """
    floors = [
        float(np.percentile(measured, DARK_PERCENTILE))
        for measured in (numbers[numbers != nodata] for numbers in bands.values())
        if measured.size
    ]
    if not floors:
        return Floor(number=float("nan"), offset=None)
    number = min(floors)
    if number < UNSHIFTED_BELOW:
        return Floor(number=number, offset=0)
    if SHIFTED_FROM <= number <= SHIFTED_TO:
        return Floor(number=number, offset=SENTINEL_2_OFFSET)
    return Floor(number=number, offset=None)
