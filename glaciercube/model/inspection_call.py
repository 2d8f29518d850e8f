"""One operation of torch while a network is traced, and what may be said against tiling it."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from glaciercube.model.inspection_field import Dim, Field, UntracedError

ATTENDS = "attends to the whole tile"
STATISTICS = "normalises by the statistics of the tile"
CORNERS = "aligns corners, so that the result depends on the size of the tile"
RESIZES = "resizes to a size that does not follow the tile's"
CELLS = "pools the tile into a fixed number of cells"
PLACES = "adds values that belong to places of the tile, such as a positional embedding"
MIXES = "sums over places of the whole tile"
RANDOM = "takes random numbers"


@dataclass
class Call:
    """One operation while it is traced."""

    name: str
    """As torch's schema says: "aten::convolution"."""

    given: Mapping[str, Any]
    """Arguments by name, defaults included."""

    out: Any
    pointwise: bool
    reduces: bool
    field_of: Callable[[Any], Field | None]
    constant: Callable[[Any], bool]
    """Whether a tensor has one value at all places."""

    reason: Callable[[str], str]
    """The line with the layer's name before it."""

    same: Callable[[Any], bool]
    """Whether a number, in order of calls, is the same for a tile of another size."""

    @property
    def source(self) -> Field:
        """The field of the first argument."""
        found = self.field_of(next(iter(self.given.values())))
        if found is None:
            raise UntracedError("its input is not of the image")
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first tensor that comes out."""
        return tuple((self.out if isinstance(self.out, torch.Tensor) else self.out[0]).shape)


def has_places(call: Call, tensor: torch.Tensor, spatial: set[int]) -> bool:
    """Return whether a tensor differs along y or x without being of the image."""
    found = call.field_of(tensor)
    if call.constant(tensor) if found is None else found.reasons:
        return False
    here = [place for place in spatial if place >= -tensor.ndim and tensor.shape[place] > 1]
    return any(found is None or not found.axes(place) for place in here)


def dims_of(dim: Any, count: int) -> list[int]:
    """Return dimensions counted from the first, all if none is given."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return [*range(count)]
    if not count:
        return []
    listed = dim if isinstance(dim, list | tuple) else [dim]
    return [operator.index(each) % count for each in listed]


def size_of(dim: Dim) -> int:
    """Return the number of cells of a dimension."""
    total = 1
    for _, size in dim:
        total *= size
    return total
