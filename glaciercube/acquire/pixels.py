"""Digital numbers of one block to values, and quality layers to flags; NumPy in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from glaciercube.sensors import FLAGS, Linear, Quality, Sensor

BITS: Mapping[str, int] = MappingProxyType(
    {name: 1 << place for place, name in enumerate((*FLAGS, "read_failed"))}
)
"""Bit of each flag in the last layer of a measured block."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the values of one quality layer mean; plain, so that a task can carry it."""

    kind: Literal["classes", "bits"]
    flags: tuple[tuple[str, tuple[int, ...]], ...]
    """Class codes or bit numbers of each flag."""

    defect: tuple[int, ...] = ()
    """Class codes or bit numbers that mean: not measured properly."""

    nodata: int | None = None
    """The layer's number where it tells nothing."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How the numbers of one source become values; plain, for a task to carry."""

    scales: tuple[float, ...]
    """Value per digital number, by band."""

    offsets: tuple[float, ...]
    """To be added before scaling (DN), by band."""

    nodata: tuple[float, ...]
    """Numbers of a pixel that was not measured; NaN and infinite always mean this."""

    layers: tuple[Meaning, ...] = ()
    """What the quality layers mean, in the order in which their codes come."""


def meaning_of(quality: Quality) -> Meaning:
    """Return what a quality layer of the sensor table means.

    Examples
    --------
    >>> from glaciercube.sensors import SENTINEL_2_L2A
    >>> meaning_of(SENTINEL_2_L2A.quality[0]).flags[2]
    ('snow', (11,))
    """
    known = ((name, quality.flags[name]) for name in FLAGS if name in quality.flags)
    return Meaning(
        kind=quality.kind,
        flags=tuple((name, tuple(values)) for name, values in known),
        defect=tuple(quality.flags.get("defect", ())),
        nodata=quality.nodata,
    )


def conversion_of(
    sensor: Sensor, linear: Linear | Sequence[Linear], bands: int, layers: Sequence[Quality] = ()
) -> Conversion:
    """Return how the numbers of a sensor become values.

    Parameters
    ----------
    sensor : Sensor
    linear : Linear or sequence of Linear
        Of all bands, or of each.
    bands : int
        Number of bands.
    layers : sequence of Quality
        The quality layers that the source has.
    """
    each = [linear] * bands if isinstance(linear, Linear) else list(linear)
    return Conversion(
        scales=tuple(one.scale for one in each),
        offsets=tuple(one.offset for one in each),
        nodata=sensor.nodata,
        layers=tuple(meaning_of(layer) for layer in layers),
    )


def has(codes: np.ndarray, kind: str, values: tuple[int, ...]) -> np.ndarray:
    """Return where a quality layer has one of some classes or bits.

    Parameters
    ----------
    codes : array, integer
        Class codes or bit flags.
    kind : "classes" or "bits"
    values : tuple of int
        Class codes, or numbers of bits.

    Returns
    -------
    array, bool

    Examples
    --------
    >>> has(np.uint8([11, 4]), "classes", (11,))
    array([ True, False])
    >>> has(np.uint16([0, 1024, 2048, 1]), "bits", (10, 11))
    array([False,  True,  True, False])
    """
    if kind == "classes":
        return np.isin(codes, values)
    bits = sum(1 << bit for bit in values)
    return (codes.astype(np.int64) & bits) != 0


def measure(
    numbers: Sequence[np.ndarray], codes: Sequence[np.ndarray], conversion: Conversion
) -> np.ndarray:
    """Return values and flags of one block, as one array.

    Parameters
    ----------
    numbers : sequence of array (y, x), integer or float
        Digital numbers as delivered, by band.
    codes : sequence of array (y, x), integer
        The provider's quality layers.
    conversion : Conversion

    Returns
    -------
    array (band + 1, y, x), float32
        Values by band, never clipped; NaN in all of them where any band was not measured or
        a quality layer says defect. Last the flags, a sum of `BITS`; 0 where not measured.

    Notes
    -----
    Computed in float32, so that unsigned numbers below the offset become negative instead of
    wrapping.

    Examples
    --------
    >>> conversion = Conversion(scales=(1e-4,) * 2, offsets=(-1000,) * 2, nodata=(0,))
    >>> measure(np.uint16([[[0, 6000]], [[900, 900]]]), [], conversion)[:, 0]
    array([[  nan,  0.5 ],
           [  nan, -0.01],
           [ 0.  ,  0.  ]], dtype=float32)
    """
    bands, (rows, columns) = len(numbers), numbers[0].shape
    out = np.empty((bands + 1, rows, columns), np.float32)
    unmeasured = np.zeros((rows, columns), bool)
    for place in range(bands):
        unmeasured |= _missing(numbers[place], conversion.nodata)
        _convert(numbers[place], conversion.offsets[place], conversion.scales[place], out[place])
    flags = np.zeros((rows, columns), np.uint8)
    for layer, meaning in zip(codes, conversion.layers, strict=True):
        if meaning.defect:
            unmeasured |= has(layer, meaning.kind, meaning.defect)
        for name, values in meaning.flags:
            told = has(layer, meaning.kind, values)
            if meaning.nodata is not None:
                told &= layer != meaning.nodata
            flags |= told.view(np.uint8) * np.uint8(BITS[name])
    if unmeasured.any():
        flags[unmeasured] = 0
        for place in range(bands):
            out[place][unmeasured] = np.nan
    out[bands] = flags
    return out


def _convert(numbers, offset, scale, out):
    """Fill `out` with (numbers + offset) * scale in float32; one pass less without an offset."""
    if offset == 0:
        np.multiply(numbers, np.float32(scale), out=out, dtype=np.float32, casting="unsafe")
        return
    np.add(numbers, np.float32(offset), out=out, dtype=np.float32, casting="unsafe")
    out *= np.float32(scale)


def _missing(numbers, nodata):
    if numbers.dtype.kind == "f":
        missing = ~np.isfinite(numbers)
    else:
        missing = np.zeros(numbers.shape, bool)
    for value in nodata:
        missing |= numbers == value
    return missing


def unread(bands: int, failed: np.ndarray) -> np.ndarray:
    """Return a measured block of a source that could not be read.

    Parameters
    ----------
    bands : int
    failed : array (y, x), bool
        Where the source would have had pixels.

    Returns
    -------
    array (band + 1, y, x), float32
        NaN, and the flag `read_failed` where `failed`.

    Examples
    --------
    >>> unread(1, np.array([[True, False]]))[:, 0]
    array([[nan, nan],
           [32.,  0.]], dtype=float32)
    """
    out = np.full((bands + 1, *failed.shape), np.nan, np.float32)
    out[bands] = failed * np.float32(BITS["read_failed"])
    return out


def fill(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a measured block whose holes are filled from another of the same time.

    Parameters
    ----------
    first, second : array (band + 1, y, x), float32
        As `measure` or `unread` returns them; `first` is changed.

    Returns
    -------
    array (band + 1, y, x), float32
        A pixel that neither measured carries the failed reads of both.

    Examples
    --------
    >>> first = np.float32([[[0.1, np.nan]], [[1, 32]]])
    >>> second = np.float32([[[0.9, 0.8]], [[0, 4]]])
    >>> fill(first, second)[:, 0]
    array([[0.1, 0.8],
           [1. , 4. ]], dtype=float32)
    """
    hole = np.isnan(first[0])
    if not hole.any():
        return first
    still = hole & np.isnan(second[0])
    flags = np.maximum(first[-1], second[-1])
    for place in range(len(first)):
        np.copyto(first[place], second[place], where=hole)
    np.copyto(first[-1], flags, where=still)
    return first


def flag(measured: np.ndarray, name: str) -> np.ndarray:
    """Return where a flag is set in measured blocks.

    Parameters
    ----------
    measured : array (..., band + 1, y, x), float32
        As `measure` returns it.
    name : str
        One of `BITS`.

    Returns
    -------
    array (..., y, x), bool

    Examples
    --------
    >>> flag(np.float32([[[0.5, 0.6]], [[1, 4]]]), "snow")
    array([[False,  True]])
    """
    return (measured[..., -1, :, :].astype(np.uint8) & np.uint8(BITS[name])) != 0
