"""Digital numbers of one block to reflectance, and a quality layer to flags; NumPy in and out."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from glaciercube.radiometry import to_reflectance
from glaciercube.sensors import Quality, Sensor

FLAGS = ("cloud", "cloud_shadow", "snow", "water")
"""What a provider's quality layer may tell, beside defects; the order of a cube's variables."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """Which values of a quality layer mean one thing; plain, so that a task can carry it."""

    kind: Literal["classes", "bits"]
    values: tuple[int, ...]
    """Class codes or bit numbers."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How the digital numbers of one source become reflectance; plain, for a task to carry."""

    scale: float
    """Reflectance per digital number (1)."""

    offset: int
    """To be added before scaling (DN)."""

    nodata: tuple[float, ...]
    """Digital numbers of a pixel that was not measured; NaN and infinite always mean this."""

    defect: Meaning | None = None
    """Values of the quality layer that mean: not measured properly."""


def meaning_of(quality: Quality | None, name: str) -> Meaning | None:
    """Return which values of a quality layer mean a flag, None if it does not tell.

    Examples
    --------
    >>> from glaciercube.sensors import SENTINEL_2_L2A
    >>> meaning_of(SENTINEL_2_L2A.quality, "snow")
    Meaning(kind='classes', values=(11,))
    """
    if quality is None or name not in quality.flags:
        return None
    return Meaning(kind=quality.kind, values=tuple(quality.flags[name]))


def conversion_of(sensor: Sensor, offset: int, quality: bool) -> Conversion:
    """Return how a sensor's digital numbers become reflectance.

    Parameters
    ----------
    sensor : Sensor
    offset : int
        To be added before scaling (DN).
    quality : bool
        Whether the source has the sensor's quality layer.
    """
    defect = meaning_of(sensor.quality, "defect") if quality else None
    return Conversion(scale=sensor.scale, offset=offset, nodata=(sensor.nodata,), defect=defect)


def flag(codes: np.ndarray, meaning: Meaning) -> np.ndarray:
    """Return where a quality layer means one thing.

    Parameters
    ----------
    codes : array, integer or float
        Class codes or bit flags; NaN where there is none.
    meaning : Meaning

    Returns
    -------
    array, bool
        False where NaN.

    Examples
    --------
    >>> flag(np.float32([11, 4, np.nan]), Meaning(kind="classes", values=(11,)))
    array([ True, False, False])
    >>> flag(np.uint16([0, 1024, 2048, 1]), Meaning(kind="bits", values=(10, 11)))
    array([False,  True,  True, False])
    """
    if meaning.kind == "classes":
        return np.isin(codes, meaning.values)
    bits = sum(1 << bit for bit in meaning.values)
    return (np.nan_to_num(codes).astype(np.int64) & bits) != 0


def measure(numbers: np.ndarray, codes: np.ndarray | None, conversion: Conversion) -> np.ndarray:
    """Return reflectance and quality of one block, as one array.

    Parameters
    ----------
    numbers : array (band, y, x), integer or float
        Digital numbers as delivered.
    codes : array (y, x), optional
        The provider's quality layer.
    conversion : Conversion

    Returns
    -------
    array (band + 1, y, x), float32
        Reflectance (1) by band, never clipped, and last the quality codes. NaN in all of
        them where any band was not measured or the quality layer says defect.

    Examples
    --------
    >>> conversion = Conversion(scale=1e-4, offset=-1000, nodata=(0,))
    >>> measure(np.uint16([[[0, 6000]], [[900, 900]]]), None, conversion)[:, 0]
    array([[  nan,  0.5 ],
           [  nan, -0.01],
           [  nan,  0.  ]], dtype=float32)
    """
    bands, rows, columns = numbers.shape
    out = np.zeros((bands + 1, rows, columns), np.float32)
    out[:bands] = to_reflectance(numbers, conversion.scale, conversion.offset, nodata=None)
    for nodata in conversion.nodata:
        out[:bands][numbers == nodata] = np.nan
    valid = np.isfinite(out[:bands]).all(axis=0)
    if codes is not None:
        out[bands] = codes
        if conversion.defect is not None:
            valid &= ~flag(codes, conversion.defect)
    out[:, ~valid] = np.nan
    return out


def fill(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a measured block whose holes are filled from another of the same day.

    Parameters
    ----------
    first, second : array (..., band + 1, y, x), float32
        As `measure` returns them.

    Examples
    --------
    >>> fill(np.float32([[[0.1, np.nan]]]), np.float32([[[0.9, 0.8]]]))
    array([[[0.1, 0.8]]], dtype=float32)
    """
    return np.where(np.isnan(first), second, first)
