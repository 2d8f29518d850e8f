"""Shares 0-1 as codes of 8 bits, the very ones that a store writes. NumPy only."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glaciercube import radiometry
from glaciercube.schema import NODATA, PROBABILITY_ENCODING

_ENCODING: Mapping[str, Any] = PROBABILITY_ENCODING
_DTYPE, _SCALE, _OFFSET, _FILL = (
    _ENCODING[key] for key in ("dtype", "scale_factor", "add_offset", "_FillValue")
)

_TABLE = radiometry.unpack(np.arange(256, dtype=np.int64), _SCALE, _OFFSET, _FILL)
"""The value of every code."""

_STRIP = 1 << 16
"""Values coded at a time, so that what is between stays in the processor's cache."""


def encode(values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return shares as codes.

    Parameters
    ----------
    values : array, float32
        Probability, confidence, entropy as a share of its largest, valid fraction: 0-1; NaN
        where nodata.
    out : array, uint8, optional
        Of the same shape, to write to.

    Returns
    -------
    array, uint8
        As `schema.PROBABILITY_ENCODING`: the nearest step of 0.004 (half a step goes up), 255
        where NaN. Values beyond 0 to 1.016 become the nearest end. A store that encodes the
        same values writes the same codes.

    Examples
    --------
    >>> encode(np.float32([0.0, 0.3, 1.0, np.nan]))
    array([  0,  75, 250, 255], dtype=uint8)
    """
    if out is None:
        out = np.empty(values.shape, _DTYPE)
    if values.ndim > 2:
        for part, codes in zip(values, out, strict=True):
            encode(part, codes)
        return out
    rows = max(1, _STRIP // max(1, values[:1].size))
    for start in range(0, len(values), rows):
        strip = slice(start, start + rows)
        out[strip] = radiometry.pack(values[strip], _DTYPE, _SCALE, _OFFSET, _FILL)
    return out


def decode(codes: np.ndarray) -> np.ndarray:
    """Return the shares that codes stand for.

    Parameters
    ----------
    codes : array, uint8

    Returns
    -------
    array, float32
        0-1, NaN where 255; encoded again they give the same codes.

    Examples
    --------
    >>> decode(np.uint8([0, 75, 250, 255]))
    array([0. , 0.3, 1. , nan], dtype=float32)
    """
    return _TABLE.take(codes)


def blank(classes: Sequence[bool], shape: tuple[int, int], quantized: bool) -> np.ndarray:
    """Return the planes of a block without any value.

    Parameters
    ----------
    classes : sequence of bool
        Of each plane, whether it holds codes of a class layer; if not, shares.
    shape : tuple of int
        Rows and columns.
    quantized : bool
        Whether shares are held as codes, and so all planes in uint8.

    Returns
    -------
    array (plane, y, x), uint8 or float32
        255 in class layers and for quantized shares, NaN for other shares.

    Examples
    --------
    >>> blank((True, False), (1, 2), quantized=True).tolist()
    [[[255, 255]], [[255, 255]]]
    >>> blank((True, False), (1, 2), quantized=False).tolist()
    [[[255.0, 255.0]], [[nan, nan]]]
    """
    planes = np.full((len(classes), *shape), NODATA, np.uint8 if quantized else np.float32)
    if not quantized:
        planes[~np.asarray(classes, bool)] = np.nan
    return planes


def put(plane: np.ndarray, values: np.ndarray) -> None:
    """Write a layer into a plane of a block.

    Parameters
    ----------
    plane : array (y, x) or (category, y, x), uint8 or float32
        Of what `blank` gave.
    values : array of the same shape, uint8 or float32
        Codes of a class layer, or shares. Shares are encoded if the plane holds codes; codes
        in float32 are exact.

    Examples
    --------
    >>> planes = blank((True, False), (1, 2), quantized=True)
    >>> put(planes[0], np.uint8([[3, 255]]))
    >>> put(planes[1], np.float32([[0.5, np.nan]]))
    >>> planes.tolist()
    [[[3, 255]], [[125, 255]]]
    """
    if plane.dtype == np.uint8 and values.dtype != np.uint8:
        encode(values, plane)
    else:
        plane[...] = values
