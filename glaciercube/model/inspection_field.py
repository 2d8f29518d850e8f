"""What a tensor inside a network knows of the image: its axes, their reach, what looks farther."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from glaciercube.model.inspection_reach import Reach, nearest

Factor = tuple[str, int]
"""Part of a dimension: "y" or "x", or "" for what is no place (batch, channels), and its size."""

Dim = tuple[Factor, ...]
"""A dimension as product of factors, the slowest first: one factor, or several when merged."""

SPATIAL = ("y", "x")


class UntracedError(Exception):
    """An operation whose reach is not known: the network cannot be followed through it."""


@dataclass(frozen=True)
class Field:
    """What a tensor depends on: the places of its cells along y and x, and what has none."""

    dims: tuple[Dim, ...]
    reach: dict[str, Reach] = field(default_factory=dict)
    """Of "y" and "x", as far as they are among the dimensions."""

    reasons: frozenset[str] = frozenset()
    """What makes it depend on the whole tile, a line each."""

    @classmethod
    def of_image(cls, shape: Sequence[int]) -> "Field":
        """Return the field of an image (n, channel, y, x)."""
        number, channels, rows, columns = shape
        dims = (*plain((number, channels)), (("y", rows),), (("x", columns),))
        return cls(dims, {axis: Reach.of_image() for axis in SPATIAL})

    def axes(self, *dims: int) -> list[str]:
        """Return which of y and x are among some dimensions, all if none is given."""
        chosen = [self.dims[dim] for dim in dims] if dims else self.dims
        return [kind for dim in chosen for kind, _ in dim if kind]

    def because(self, *lines: str) -> "Field":
        """Return it with more reasons."""
        return replace(self, reasons=self.reasons | set(lines))

    def moved(self, dims: Sequence[Dim]) -> "Field":
        """Return it with its dimensions in another order or some of them gone."""
        kinds = {kind for dim in dims for kind, _ in dim}
        reach = {axis: each for axis, each in self.reach.items() if axis in kinds}
        return replace(self, dims=tuple(dims), reach=reach)

    def shaped(self, shape: Sequence[int]) -> "Field":
        """Return it with the same dimensions, of the sizes given.

        Raises
        ------
        UntracedError
            If a merged dimension changes its size.
        """
        return replace(
            self, dims=tuple(_sized(dim, size) for dim, size in zip(self.dims, shape, strict=True))
        )

    def along(self, dim: int, size: int, reach: Reach) -> "Field":
        """Return it with another size and reach of a dimension that is y or x alone."""
        axis = self.alone(dim)
        dims = [*self.dims]
        dims[dim] = ((axis, size),)
        return replace(self, dims=tuple(dims), reach=self.reach | {axis: reach})

    def alone(self, dim: int) -> str:
        """Return which of y and x a dimension is.

        Raises
        ------
        UntracedError
            If it is merged with another, or neither.
        """
        if len(self.dims[dim]) != 1 or not self.dims[dim][0][0]:
            raise UntracedError("its dimensions are merged")
        return self.dims[dim][0][0]

    def viewed(self, shape: Sequence[int]) -> tuple["Field", list[int]]:
        """Return it with its numbers in the same order, counted along other dimensions.

        Parameters
        ----------
        shape : sequence of int

        Returns
        -------
        Field
        list of int
            Cells into which y or x were split, one per split.

        Raises
        ------
        UntracedError
            If factors do not fit the sizes.
        """
        factors = [factor for dim in self.dims for factor in dim]
        reach, dims, splits = dict(self.reach), [], []
        for size in shape:
            taken: list[Factor] = []
            while size > 1:
                if not factors:
                    raise UntracedError("its dimensions do not fit")
                kind, have = factors.pop(0)
                part = math.gcd(have, size) if have != size else have
                if part < min(have, size):
                    raise UntracedError("its dimensions do not fit")
                if part < have:
                    factors.insert(0, ("", have // part))
                    if kind:
                        splits.append(have // part)
                        reach[kind] = reach[kind].gather(have // part, stride=have // part)
                taken.append((kind, part))
                size //= part
            dims.append(_absorbed(taken, reach))
        return replace(self, dims=tuple(dims), reach=reach), splits


def plain(shape: Sequence[int]) -> tuple[Dim, ...]:
    """Return dimensions of sizes that are no places."""
    return tuple((("", size),) if size != 1 else () for size in shape)


def union(fields: Sequence[Field]) -> tuple[dict[str, Reach], frozenset[str]]:
    """Return the reach and the reasons of what is made of several tensors.

    Raises
    ------
    UntracedError
        If their cells have not one size.
    """
    reach: dict[str, Reach] = {}
    for each in fields:
        for axis, found in each.reach.items():
            try:
                reach[axis] = reach[axis].union(found) if axis in reach else found
            except ValueError as error:
                raise UntracedError(f"it joins {error}") from error
    return reach, frozenset[str]().union(*(each.reasons for each in fields))


def _sized(dim, size):
    if math.prod(each for _, each in dim) == size:
        return dim
    if len(dim) == 1:
        return ((dim[0][0], size),)
    if not dim:
        return (("", size),)
    raise UntracedError("its dimensions are merged")


def _absorbed(taken, reach):
    """Return a dimension in which cells that follow y or x directly are finer places of it."""
    dim: list[Factor] = []
    for kind, size in taken:
        before = dim[-1][0] if dim else ""
        if kind or not before:
            dim.append((kind, size))
        else:
            reach[before] = reach[before].resize(Fraction(1, size), nearest)
            dim[-1] = (before, dim[-1][1] * size)
    return tuple(dim)
