"""A network's reach as measured: what follows when pixels change, and whether tiles agree."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import nn

from glaciercube.errors import WeightsError

LARGEST_STRIDE = 64
"""Pixels: no larger total stride is looked for where the operations do not say one."""

UNITS = (64, 96, 160, 224)
"""Pixels: sides that are tried until the network takes one; later sizes are multiples of it."""

LENGTHS = (2, 4, 8, 10)
"""Units: lengths of the strips tried, where the operations say nothing, until one is longer than
the reach."""

_LONGEST = 672
"""Pixels: no longer strips are tried then, as a network may keep the square of their pixels."""

THICKNESS = 32
"""Pixels: width of a strip, if the network takes it; else a unit."""

CLEAN = 32
"""Pixels: fewer unchanged rows may be gaps of a transposed convolution."""

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Of the largest score: differences below it are rounding."""

_BATCH = 65536
"""Pixels per forward pass."""

_OTHERS = (-3.0, 3.0)
"""Values that pixels take in turn, besides NaN, where a network stops NaN."""


@dataclass
class Probe:
    """A copy of a network that runs on strips of pixels along one axis."""

    network: nn.Module
    channels: int
    dtype: torch.dtype
    unit: int
    thickness: int
    """Pixels across a strip; 0 for squares."""

    axis: int = 0
    """Along which strips are long: 0 for y, 1 for x."""

    values: tuple[float, ...] = (torch.nan, *_OTHERS)
    """That pixels are changed to."""

    refused: str = ""
    """Why the network takes no image but squares of a unit; empty if it does."""

    def image(self, length: int) -> torch.Tensor:
        """Return random pixels between 0.1 and 1.1, (1, channel, length, across)."""
        generator = torch.Generator().manual_seed(length)
        shape = (1, self.channels, length, self.thickness or length)
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(self.dtype) + 0.1

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores (n, category, length, across) of strips.

        Raises
        ------
        WeightsError
            If they have not the size of the strips.
        """
        rows, across = images.shape[-2:]
        given = images.transpose(-1, -2).contiguous() if self.axis else images
        step = max(1, _BATCH // (rows * across))
        plain: contextlib.AbstractContextManager = contextlib.nullcontext()
        if self.dtype == torch.float32:  # oneDNN's float32 convolutions may smear NaN
            plain = torch.backends.mkldnn.flags(enabled=False)
        with torch.inference_mode(), plain:
            found = [_checked(self.network(part), part) for part in given.split(step)]
        scores = torch.cat(found)
        return scores.transpose(-1, -2) if self.axis else scores


def probe_of(network: nn.Module, channels: int, window: int = 0) -> Probe:
    """Return a probe of a network with sizes that it takes.

    Parameters
    ----------
    network : Module
        Left unchanged.
    channels : int
    window : int
        Pixels: a side that is tried before others; 0 for none.

    Returns
    -------
    Probe
        With `refused` set if the network takes images of one size alone.

    Raises
    ------
    WeightsError
        If it takes no size that is tried, or its result has another size.
    """
    units = (window, *UNITS) if window else UNITS
    causes, single = [], None
    for dtype in (torch.float64, torch.float32):
        copy = copied(network).to("cpu", dtype)
        for unit, thickness in itertools.product(units, (THICKNESS, None, 0)):
            across = min(unit, THICKNESS) if thickness else unit if thickness is None else 0
            probe = Probe(copy, channels, dtype, unit, across)
            try:
                scores = probe.scores(probe.image(unit))
                _require_numbers(scores)
                probe.scores(probe.image(2 * unit))
            except WeightsError:
                raise
            except Exception as error:  # a network may fail in any way
                causes.append(f"{type(error).__name__}: {str(error)[:300]}")
                if single is None and not across and _runs(probe):
                    single = replace(probe, refused=causes[-1])
                continue
            return probe
    if single is not None:
        return single
    raise WeightsError(
        f"the network must take images (1, {channels}, y, x) of any size, or of any multiple of "
        f"one of {list(units)} pixels; on {units[0]} x {THICKNESS} and larger ones it fails: "
        f"{causes[0]}"
    )


def copied(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode.

    Raises
    ------
    WeightsError
        If it cannot be copied.
    """
    try:
        return deepcopy(network).eval()
    except Exception as error:
        raise WeightsError(
            f"the network must be copied to be inspected, but {type(network).__name__} cannot "
            f"be: {type(error).__name__}: {error}; give a network of plain layers and parameters"
        ) from error


def _runs(probe):
    try:
        probe.scores(probe.image(probe.unit))
    except Exception:
        return False
    return True


def repeats(probe: Probe) -> bool:
    """Return whether the same image gives the same scores twice."""
    image = probe.image(probe.unit)
    return torch.equal(probe.scores(image), probe.scores(image))


def margin(probe: Probe, known: int | None, step: int) -> tuple[int | None, int]:
    """Return how far a change of all that lies beyond a row is felt.

    Parameters
    ----------
    probe : Probe
        Its values are reduced to NaN where that is felt as far as all of them.
    known : int or None
        Pixels, if something is known of it: the strip is long enough for it.
    step : int
        Pixels: the rows where changes begin and end are multiples of it.

    Returns
    -------
    margin : int or None
        Pixels; None if it is felt on the whole of the longest strip.
    length : int
        Pixels of the strip.
    """
    unit = probe.unit
    lengths = [unit * each for each in LENGTHS if unit * each <= _LONGEST] or [2 * unit]
    if known is not None:
        needed = 2 * (known + unit + step) + CLEAN
        lengths = [unit * -(-needed // unit) * more for more in (1, 2)]
    for length in lengths:
        edges = [(step * -(-unit // 2 // step), (length - unit // 2) // step * step)]
        try:
            found = _felt(probe, length, edges)
        except (MemoryError, RuntimeError):  # no room for what grows with the square
            break
        if found is not None:
            alone = replace(probe, values=probe.values[:1])
            if len(probe.values) > 1 and _felt(alone, length, edges) == found:
                probe.values = alone.values
            return found[0], length
    return None, length


def farthest(probe: Probe, reach: int, step: int) -> int | None:
    """Return the largest distance at which a pixel is felt, from any place within a stride.

    Parameters
    ----------
    probe : Probe
    reach : int
        Pixels: about as much.
    step : int
        The stride (pixels).
    """
    needed = 2 * (reach + 2 * step) + CLEAN + 2
    length = probe.unit * -(-needed // probe.unit)
    edges = [(step + place, length - 2 * step + place) for place in range(step)]
    found = _felt(probe, length, edges)
    return None if found is None else max(found)


def shifts(probe: Probe, length: int, reach: int, steps: Sequence[int]) -> Iterator[int]:
    """Yield the steps by which a tile may be shifted without a change of its scores.

    Parameters
    ----------
    probe : Probe
    length, reach : int
        Pixels of a tile, and those at its ends that are not compared.
    steps : sequence of int
        Pixels, tried in this order.
    """
    whole = probe.image(length + probe.unit)
    expected = probe.scores(_cut(probe, whole, 0, length))
    for step in steps:
        scores = probe.scores(_cut(probe, whole, step, step + length))
        one = scores[..., reach : length - reach - step, :]
        if _agree(one, expected[..., reach + step : length - reach, :], probe) is None:
            yield step


def disagreement(probe: Probe, halo: int, step: int, less: int = 0) -> str | None:
    """Return how tiles differ from the whole strip, None if they do not.

    Parameters
    ----------
    probe : Probe
    halo : int
        Pixels at the ends of a tile that are not compared, unless it ends where the strip ends.
    step : int
        Tiles start at multiples of it (pixels).
    less : int
        Pixels that the strip is shorter than a multiple of the unit.
    """
    unit = probe.unit
    length = unit * -(-(2 * halo + 2 * step + CLEAN) // unit)
    shift = step * max(1, unit // step)
    size = length + 2 * shift - less
    image = probe.image(length + 2 * shift)[..., :size, :]
    if not probe.thickness and less:
        image = image[..., :size]
    whole = probe.scores(image)
    for start, stop in ((0, length), (shift, shift + length), (2 * shift, size)):
        tile = probe.scores(image[..., start:stop, :])
        first = start + halo if start else 0
        last = stop - halo if stop < size else size
        found = _agree(tile[..., first - start : last - start, :], whole[..., first:last, :], probe)
        if found is not None:
            return found
    return None


def _cut(probe, image, start, stop):
    """Return rows of a strip, or a square that starts with them."""
    rows = image[..., start:stop, :]
    return rows if probe.thickness else rows[..., : stop - start]


def _felt(probe, length, edges):
    """Return how far beyond pairs of rows a change of all outside them is felt."""
    image = probe.image(length)
    changed = torch.zeros(len(edges), length, dtype=torch.bool)
    before = probe.scores(image)
    for value in probe.values:
        images = image.repeat(len(edges), 1, 1, 1)
        for one, (first, last) in zip(images, edges, strict=True):
            one[:, :first] = value
            one[:, last:] = value
        scores = probe.scores(images)
        changed |= ((scores != before) | scores.isnan()).any(dim=1).any(dim=-1)
    found = []
    for row, (first, last) in zip(changed, edges, strict=True):
        middle = length // 2
        low = [-1, *row[:middle].nonzero().flatten().tolist()][-1] + 1
        high = middle + [*row[middle:].nonzero().flatten().tolist(), length - middle][0]
        if high - low < CLEAN:
            return None
        found.append(max(0, low - first, last - high))
    return found


def _agree(one, other, probe):
    """Return how two results differ, None if by no more than rounding."""
    if one.shape != other.shape or not one.numel():
        return f"have the sizes {tuple(one.shape)} and {tuple(other.shape)}"
    scale = float(other.abs().max())
    difference = float((one - other).abs().max())
    if difference <= _TOLERANCE[probe.dtype] * scale:
        return None
    return f"differ by {difference:.2g} where scores reach {scale:.2g}"


def _checked(scores, images):
    if not isinstance(scores, torch.Tensor):
        raise WeightsError(
            f"the network must return one tensor (n, categories, y, x), found a "
            f"{type(scores).__name__}; wrap it in a module that returns its scores"
        )
    number, _, *size = images.shape
    if scores.ndim != 4 or scores.shape[0] != number or [*scores.shape[2:]] != size:
        raise WeightsError(
            f"the network must give scores of the size of its input, ({number}, categories, "
            f"{size[0]}, {size[1]}), found {tuple(scores.shape)}; pad its convolutions, or "
            "enlarge its result in a module around it"
        )
    return scores


def _require_numbers(scores):
    if not bool(torch.isfinite(scores).all()):
        raise WeightsError(
            "the network must give finite scores, found NaN or infinity on random pixels between "
            "0.1 and 1.1; look for NaN in its weights"
        )
