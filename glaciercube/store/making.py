"""How a store computes and writes an array best, known to who made the array; changes no value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import xarray as xr

from glaciercube.windows import Window

MAKING = "glaciercube_making"
"""Key of a variable's encoding that holds its Making."""


@dataclass(frozen=True)
class Planes:
    """Where a variable lies in an array that holds several, of which one task gives each block.

    A store writes all variables of such an array in the task that gives it.
    """

    stack: da.Array
    """(time, plane, y, x): the codes that a store keeps, whole numbers exact in its type."""

    numbers: tuple[int, ...]
    """Planes of the variable, in the order of its bands or categories."""


@dataclass(frozen=True)
class Stored:
    """What a store says of a variable that it holds."""

    parameters: Mapping[str, Any] | None
    """As its lineage stated them; None if that was not known."""

    attrs: Mapping[str, Any]
    """Attributes of the whole store; empty as long as readers see none."""


@dataclass(frozen=True, kw_only=True)
class Making:
    """How an array is best computed and written."""

    name: str
    """Of the Dask array that this is true of; an array made from it has another name."""

    planes: Planes | None = None
    """Where the array's codes are computed together with others; None if they are not."""

    touches: Callable[[Window], bool] | None = None
    """Whether a block may hold a value, known without computing it; None if any may."""

    choose: Callable[[Stored | None], xr.Dataset] | None = None
    """Makes the dataset in which all is chosen that is chosen once for a store, such as the
    fastest runtime: as a store has it, or anew for None. Choosing anew may compute parts of the
    dataset. None if nothing is left to choose."""


def with_making(array: xr.DataArray, making: Making) -> xr.DataArray:
    """Return an array that carries how it is made, as its encoding."""
    out = array.copy(deep=False)
    out.encoding = {**array.encoding, MAKING: making}
    return out


def making_of(array: xr.DataArray) -> Making | None:
    """Return how an array is made; None if that is not known, or it was computed with since."""
    making = array.encoding.get(MAKING)
    if not isinstance(making, Making) or not isinstance(array.data, da.Array):
        return None
    return making if array.data.name == making.name else None
