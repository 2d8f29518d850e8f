"""Of what a lazy array is made: what holds for a whole store, and what each block read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
import xxhash

from glaciercube.windows import Window

LINEAGE = "glaciercube_lineage"
"""Key of a variable's encoding that holds its Lineage."""


class Inputs(Protocol):
    """What the blocks of an array are made of."""

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of all that a block reads: equal if the block would be equal.

        Parameters
        ----------
        time : datetime64[ns] or None
            Label of the date; None for an array without time.
        window : Window
            Pixels of the block in the array's grid.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Of what one array is made."""

    name: str
    """Of the Dask array that this is true of; an array made from it has another name."""

    parameters: Mapping[str, Any]
    """What must be the same for all blocks of a store, as JSON: weights by their hash, runtime,
    precision, halo, resampling, versions of algorithms. Not: paths, dates, sources."""

    inputs: Inputs
    """What may differ between blocks: sources."""

    recipe: Mapping[str, Any] = field(default_factory=dict)
    """How to make the dataset again, as JSON: {"verb": "predict", ...}; empty if there is no way.
    Holds no secret."""


def with_lineage(array: xr.DataArray, lineage: Lineage) -> xr.DataArray:
    """Return an array that carries its lineage, as its encoding."""
    out = array.copy(deep=False)
    out.encoding = {**array.encoding, LINEAGE: lineage}
    return out


def lineage_of(array: xr.DataArray) -> Lineage | None:
    """Return the lineage of an array; None if it has none, or was computed with since.

    Parameters
    ----------
    array : DataArray

    Notes
    -----
    The encoding survives arithmetic and slicing, so it proves nothing by itself: the name of
    the Dask array must be the one that the lineage states.
    """
    lineage = array.encoding.get(LINEAGE)
    if not isinstance(lineage, Lineage) or not isinstance(array.data, da.Array):
        return None
    return lineage if array.data.name == lineage.name else None


def fingerprint(*parts: str | bytes) -> str:
    """Return one fingerprint of several texts, their order included.

    Examples
    --------
    >>> fingerprint("ab", "c") == fingerprint("a", "bc")
    False
    """
    return fingerprint_of(map(framed, parts))


def framed(part: str | bytes) -> bytes:
    """Return a text with its length before it: what is framed once can be used in many.

    Examples
    --------
    >>> fingerprint_of([framed("ab"), framed("c")]) == fingerprint("ab", "c")
    True
    """
    content = part.encode() if isinstance(part, str) else part
    return len(content).to_bytes(8, "little") + content


def fingerprint_of(parts: Iterable[bytes]) -> str:
    """Return one fingerprint of several texts that are framed, their order included."""
    return xxhash.xxh3_128_hexdigest(b"".join(parts))
