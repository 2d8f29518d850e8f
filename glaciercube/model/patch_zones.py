"""All patches of an image through a patch network at once, with the zeros around each.

A patch ends in zeros, so that what a layer gives near its edge is not what it gives in the middle
of the image. How far an edge is felt grows by one cell with each layer of 3 x 3. Along each axis
a cell of a patch is thus in one of the zones 0, 1, ... (so many cells from the first edge), -1,
-2, ... (from the last edge), or in the middle. A cell in the middle along both axes is shared by
all patches that hold it, one near an edge along y alone by all patches that start in its row.
So each pair of zones has a map: the value of that cell for the patch that starts at each pixel,
or, in the middle, of the cell that starts at each pixel. A layer makes each map as a sum of
products of the maps before it, shifted, and each is computed once for all patches that share it.

The arithmetic: of the 3 x 33 x 33 + 3 x 11 x 11 kernels that are applied for each patch, 193 are
left, counted by their products, as those with zeros are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

MIDDLE = None
"""Zone of a cell that no edge is felt in."""

PIXELS = 2**16
"""Of the part of an image whose middle is computed at a time: bounds the memory."""

EDGES = 2**13
"""Pixels whose edges are computed at a time: these have more maps."""

CHUNK = 1024
"""Pixels of a product on a CPU: its sum stays in the cache."""

SLACK = 64
"""Pixels before and after a map that shifted reads may touch, a patch at most; nothing depends on
them."""

Zone = int | None
Key = tuple[Zone, Zone]
"""Zones along y and x."""

Kernel = tuple[torch.Tensor, torch.Tensor]
"""Weights (3, 3, before, after) and bias (after,) of a layer, its normalisation within."""


@dataclass(frozen=True)
class Map:
    """Values of one pair of zones for each pixel of some rows."""

    values: torch.Tensor
    """(pixel, channel): row after row, with `SLACK` pixels more before and after."""

    first: int
    """Row of the first pixel."""


Maps = dict[Key, Map]


@dataclass(frozen=True)
class Grid:
    """Cells along a side of a patch, and how far its edges are felt."""

    cells: int
    step: int
    """Pixels from one cell to the next."""

    depth: int
    """Cells from an edge in which it is felt."""

    @property
    def zones(self) -> list[Zone]:
        """All zones, of the first edge first."""
        return [*range(self.depth), MIDDLE, *range(-self.depth, 0)]

    def place(self, cell: int) -> tuple[Zone, int]:
        """Return the zone of a cell, and where its map has it (pixels from a patch's start)."""
        if cell < self.depth:
            return cell, 0
        if cell >= self.cells - self.depth:
            return cell - self.cells, 0
        return MIDDLE, self.step * cell

    def around(self, zone: Zone) -> Iterator[tuple[int, Zone, int]]:
        """Yield what a kernel of three cells sees of the layer before it, whose grid this is.

        Parameters
        ----------
        zone : int or None
            Of a cell of the layer after it.

        Yields
        ------
        number : int
            In the kernel; places outside the patch are left out, as they are 0.
        zone : int or None
            Of the cell seen.
        shift : int
            Pixels from where the cell of the layer after has its value.
        """
        for number in range(3):
            if zone is MIDDLE:
                yield number, MIDDLE, self.step * (number - 1)
            elif 0 <= (cell := zone % self.cells + number - 1) < self.cells:
                yield number, *self.place(cell)

    def pooled(self, zone: Zone, pool: int) -> Iterator[tuple[int, Zone, int]]:
        """Yield what is pooled to a cell of a zone, as `around` does."""
        for number in range(pool):
            if zone is MIDDLE:
                yield number, MIDDLE, number
            else:
                yield number, *self.place(zone * pool % self.cells + number)


@dataclass(frozen=True)
class Sheet:
    """Where maps of some rows of an image are computed from those of the layer before."""

    pitch: int
    """Pixels from one row to the next."""

    rows: range
    grid: Grid
    """Of the layer before."""

    before: Maps

    def taps(self, key: Key, seen: Callable) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Yield numbers in the kernel along y and x, and the values there of all pixels."""
        for y, zone_y, down in seen(key[0]):
            for x, zone_x, right in seen(key[1]):
                yield y, x, self.shifted(self.before[zone_y, zone_x], down, right)

    def shifted(self, one: Map, down: int, right: int) -> torch.Tensor:
        """Return the values of a map some pixels below and to the right of each pixel."""
        start = SLACK + (self.rows.start + down - one.first) * self.pitch + right
        return one.values[start : start + len(self.rows) * self.pitch]

    def blank(self, channels: int, like: torch.Tensor) -> torch.Tensor:
        """Return values of a map that are not computed yet; those of its slack are 0."""
        values = like.new_empty(len(self.rows) * self.pitch + 2 * SLACK, channels)
        values[:SLACK] = 0
        values[-SLACK:] = 0
        return values

    def layer(self, key: Key, kernel: Kernel) -> Map:
        """Return the map of a pair of zones after a layer."""
        weights, bias = kernel
        taps = [(one, weights[y, x]) for y, x, one in self.taps(key, self.grid.around)]
        values = self.blank(len(bias), bias)
        inner = values[SLACK:-SLACK]
        chunk = CHUNK if values.is_cpu else len(inner)
        for start in range(0, len(inner), chunk):
            stop = min(start + chunk, len(inner))
            total = inner[start:stop]
            first, weight = taps[0]
            torch.addmm(bias, first[start:stop], weight, out=total)
            for one, weight in taps[1:]:
                total.addmm_(one[start:stop], weight)
            functional.elu(total, inplace=True)
        return Map(values, self.rows.start)

    def pool(self, key: Key, pool: int) -> Map:
        """Return the map of a pair of zones after pooling."""
        found = [one for _, _, one in self.taps(key, lambda zone: self.grid.pooled(zone, pool))]
        values = self.blank(found[0].shape[1], found[0])
        inner = values[SLACK:-SLACK]
        torch.maximum(found[0], found[1], out=inner)
        for one in found[2:]:
            torch.maximum(inner, one, out=inner)
        return Map(values, self.rows.start)


@dataclass(frozen=True)
class Step:
    """One layer, or the pooling, and the cells before it."""

    grid: Grid
    kernel: Kernel | None
    """None for the pooling."""

    def after(self, pool: int) -> Grid:
        """Return the cells after it."""
        if self.kernel is not None:
            return replace(self.grid, depth=self.grid.depth + 1)
        return Grid(self.grid.cells // pool, pool, self.grid.depth // pool)

    def rows(self, before: range, pool: int) -> range:
        """Return the rows that have a cell in the middle after it."""
        if self.kernel is None:
            return range(before.start, before.stop - pool + 1)
        return range(before.start + self.grid.step, before.stop - self.grid.step)


class AllPatches:
    """What a patch network keeps of every patch of an image.

    Parameters
    ----------
    near, far : sequence of kernels
        Before the pooling and after it. As many layers before it as it pools.
    side : int
        Of a patch (pixels), a multiple of `pool`.
    pool : int
        Pixels that are pooled to a cell.

    Raises
    ------
    ValueError
        If the side is no multiple of it, or too large.
    """

    def __init__(self, near: Sequence[Kernel], far: Sequence[Kernel], side: int, pool: int):
        if side % pool or side > SLACK:
            raise ValueError(f"a patch has a multiple of {pool} pixels up to {SLACK}, found {side}")
        self.side, self.pool, self.near = side, pool, len(near)
        self.steps: list[Step] = []
        grid = Grid(side, 1, 0)
        for kernel in (*near, None, *far):
            self.steps.append(Step(grid, kernel))
            grid = self.steps[-1].after(pool)
        self.last = grid

    @torch.no_grad()
    def of(self, image: torch.Tensor) -> torch.Tensor:
        """Return what is kept of every patch of an image, without gradients.

        Parameters
        ----------
        image : tensor (band, y, x), float32

        Returns
        -------
        tensor (3 channels, y - side + 1, x - side + 1)
            Of the patch that starts at each pixel: its centre before the pooling, its centre
            after the last layer, and the largest value of all its cells there.
        """
        beyond = self.side - 1
        height, pitch = image.shape[1] - beyond, image.shape[2]
        rows = max(1, EDGES // pitch, PIXELS // pitch - beyond)
        parts = [
            self._of_rows(image[:, top : min(top + rows, height) + beyond])
            for top in range(0, height, rows)
        ]
        return torch.cat(parts).permute(2, 0, 1)[..., : pitch - beyond]

    def _of_rows(self, image):
        """Return what is kept (y, x, 3 channels) of patches, without sense in the last columns."""
        bands, height, pitch = image.shape
        flat = functional.pad(image.permute(1, 2, 0).reshape(-1, bands), (0, 0, SLACK, SLACK))
        middle: list[Maps] = [{(MIDDLE, MIDDLE): Map(flat, 0)}]
        rows = range(height)
        for step in self.steps:
            rows = step.rows(rows, self.pool)
            sheet = Sheet(pitch, rows, step.grid, middle[-1])
            keys: list[Key] = [(MIDDLE, zone) for zone in step.after(self.pool).zones]
            middle.append({key: self._map(sheet, key, step) for key in keys})
        height, band = height - self.side + 1, max(1, EDGES // pitch)
        some = [range(top, min(top + band, height)) for top in range(0, height, band)]
        kept = [self._kept(middle, each, pitch) for each in some]
        return torch.cat(kept).unflatten(0, (-1, pitch))

    def _map(self, sheet, key, step):
        return sheet.pool(key, self.pool) if step.kernel is None else sheet.layer(key, step.kernel)

    def _kept(self, middle, rows, pitch):
        """Return what is kept (pixel, 3 channels) of the patches that start in some rows."""
        edges: Maps = {}
        for before, step in zip(middle, self.steps[:-1], strict=False):
            sheet = Sheet(pitch, rows, step.grid, before | edges)
            edges = {key: self._map(sheet, key, step) for key in _edges(step.after(self.pool))}
        step = self.steps[-1]
        sheet = Sheet(pitch, rows, step.grid, middle[-2] | edges)
        final = Sheet(pitch, rows, self.last, middle[-1])
        centre, cell = self.side // 2, self.pool * (self.last.cells // 2)
        near = final.shifted(middle[self.near][MIDDLE, MIDDLE], centre, centre)
        far = final.shifted(middle[-1][MIDDLE, MIDDLE], cell, cell)
        largest = far.clone()
        for key, shifts in _cells(self.last).items():
            one = middle[-1].get(key) or self._map(sheet, key, step)
            for down, right in shifts:
                torch.maximum(largest, final.shifted(one, down, right), out=largest)
        return torch.cat([near, far, largest], dim=1)


def _edges(grid):
    """Return the pairs of zones that are near an edge along y."""
    return [(y, x) for y in grid.zones if y is not MIDDLE for x in grid.zones]


def _cells(grid):
    """Return where each pair of zones has its cells (pixels from a patch's start)."""
    found: dict[Key, list[tuple[int, int]]] = {}
    for row in range(grid.cells):
        for column in range(grid.cells):
            (y, down), (x, right) = grid.place(row), grid.place(column)
            found.setdefault((y, x), []).append((down, right))
    return found
