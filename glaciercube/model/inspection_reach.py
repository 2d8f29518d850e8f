"""Which pixels of the image a cell of a layer depends on, along one axis, as integers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Reach:
    """First and last pixel of the image that each cell of a layer depends on, along one axis.

    What holds for cell `i` holds for cell `i + len(low)`, `shift` pixels further on.

    Examples
    --------
    Each cell of a pooling by 2, after a convolution of 3 pixels:

    >>> Reach.of_image().gather(3, padding=1).gather(2, stride=2)
    Reach(shift=2, low=(-1,), high=(2,))
    """

    shift: int
    """Pixels of the image that `len(low)` cells span."""

    low: tuple[float, ...]
    """Pixel of each cell; infinity where a cell depends on none."""

    high: tuple[float, ...]

    @classmethod
    def of_image(cls) -> "Reach":
        """Return the reach of the image itself: each pixel depends on itself."""
        return cls(1, (0,), (0,))

    @property
    def cells(self) -> int:
        """Number of cells after which all repeats."""
        return len(self.low)

    def gather(
        self, kernel: int, *, stride: int = 1, dilation: int = 1, padding: int = 0
    ) -> "Reach":
        """Return the reach after a convolution or a pooling.

        Parameters
        ----------
        kernel, stride, dilation, padding : int
            Cells; padding is of the side where counting starts, below 0 for cells cut off.
        """
        cells = self.cells // math.gcd(self.cells, stride)
        shift = stride * cells // self.cells * self.shift
        return self._built(
            cells,
            shift,
            lambda cell: (stride * cell - padding + dilation * step for step in range(kernel)),
        )

    def scatter(self, kernel: int, *, stride: int, dilation: int, padding: int) -> "Reach":
        """Return the reach after a transposed convolution, or fewer cells' repetition.

        Parameters
        ----------
        kernel, stride, dilation, padding : int
            As torch's transposed convolutions take them.
        """
        return self._built(
            self.cells * stride,
            self.shift,
            lambda cell: (
                (cell + padding - dilation * step) // stride
                for step in range(kernel)
                if (cell + padding - dilation * step) % stride == 0
            ),
        )

    def resize(self, ratio: Fraction, sources: Callable[[int, Fraction], Iterable[int]]) -> "Reach":
        """Return the reach after an interpolation.

        Parameters
        ----------
        ratio : Fraction
            Cells before to cells after: 1/2 where their number doubles.
        sources : callable
            Cells before that a cell after depends on, from its number and the ratio.
        """
        cells = ratio.denominator * self.cells // math.gcd(ratio.numerator, self.cells)
        shift = int(cells * ratio / self.cells * self.shift)
        return self._built(cells, shift, lambda cell: sources(cell, ratio))

    def union(self, other: "Reach") -> "Reach":
        """Return the reach of a layer made of cells of two layers at the same places.

        Raises
        ------
        ValueError
            If their cells are not of one size.
        """
        if self.shift * other.cells != other.shift * self.cells:
            raise ValueError(
                f"cells of {self.shift}/{self.cells} and {other.shift}/{other.cells} pixels"
            )
        cells = math.lcm(self.cells, other.cells)
        both = [[each._at(cell) for each in (self, other)] for cell in range(cells)]
        return Reach(
            self.shift * cells // self.cells,
            tuple(min(low for low, _ in pair) for pair in both),
            tuple(max(high for _, high in pair) for pair in both),
        )

    def farthest(self) -> int:
        """Return the largest distance of a cell to a pixel that it depends on (pixels).

        The cells must have the size of a pixel.
        """
        sides = [
            max(cell - low, high - cell)
            for cell, (low, high) in enumerate(zip(self.low, self.high, strict=True))
            if high >= low
        ]
        return int(max([0, *sides]))

    def halo(self, step: int) -> int:
        """Return what a tile that starts and ends on multiples of `step` needs around it.

        Parameters
        ----------
        step : int
            Pixels, a multiple of `cells`; those must have the size of a pixel.

        Returns
        -------
        int
            Pixels, a multiple of the step.
        """
        ends = [self._at(cell) for cell in range(step)]
        before = max([0, *(-low for low, high in ends if high >= low)])
        after = max([0, *(high - step + 1 for low, high in ends if high >= low)])
        return -(-int(max(before, after)) // step) * step

    def _at(self, cell):
        turns, place = divmod(cell, self.cells)
        return self.low[place] + turns * self.shift, self.high[place] + turns * self.shift

    def _built(self, cells, shift, sources):
        ends = [[self._at(source) for source in sources(cell)] for cell in range(cells)]
        return Reach(
            shift,
            tuple(min((low for low, _ in each), default=math.inf) for each in ends),
            tuple(max((high for _, high in each), default=-math.inf) for each in ends),
        )


def nearest(cell: int, ratio: Fraction) -> Iterable[int]:
    """Return the cell whose value is repeated.

    >>> [*nearest(3, Fraction(1, 2))]
    [1]
    """
    return (math.floor(cell * ratio),)


def nearest_exact(cell: int, ratio: Fraction) -> Iterable[int]:
    """Return the cell whose centre is nearest."""
    return (math.floor((cell + Fraction(1, 2)) * ratio),)


def area(cell: int, ratio: Fraction) -> Iterable[int]:
    """Return the cells that share an area with a new one.

    >>> [*area(1, Fraction(3, 2))]
    [1, 2]
    """
    return range(math.floor(cell * ratio), math.ceil((cell + 1) * ratio))


def around(cells: int) -> Callable[[int, Fraction], Iterable[int]]:
    """Return the sources of an interpolation between so many cells: 2 linear, 4 cubic.

    >>> [*around(2)(0, Fraction(1, 2))]
    [-1, 0]
    """
    half = cells // 2

    def sources(cell, ratio):
        if ratio == 1:
            return (cell,)
        first = math.floor((cell + Fraction(1, 2)) * ratio - Fraction(1, 2)) - half + 1
        return range(first, first + cells)

    return sources


def smoothed(cells: int) -> Callable[[int, Fraction], Iterable[int]]:
    """Return the sources of an interpolation that is widened where it makes cells larger."""

    def sources(cell, ratio):
        centre = (cell + Fraction(1, 2)) * ratio
        reach = Fraction(cells, 2) * max(ratio, Fraction(1))
        return range(math.floor(centre - reach), math.ceil(centre + reach))

    return sources
