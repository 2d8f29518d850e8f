"""What a network does to neighbours: its halo and stride, and whether tiles give the whole.

Both are taken from its operations (kernels, strides, dilations) and measured on it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import inspection_probe as probes
from glaciercube.model.inspection_layers import layer_lines, mode_lines, named
from glaciercube.model.inspection_trace import Traced, trace

LARGEST_STRIDE = probes.LARGEST_STRIDE
"""Pixels: windows of no larger stride are aligned."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """How far a network looks, and whether tiles give what the whole image gives."""

    exact: bool
    """Whether tiles with the halo, on multiples of the stride, give the whole image's scores."""

    reasons: tuple[str, ...]
    """Why not, a line each, with the layer's name; empty if exact."""

    halo: int | None
    """Pixels on each side, a multiple of the stride, that a tile which starts and ends on
    multiples of the stride needs; None if not exact."""

    stride: int
    """Pixels: a shift of the image by it shifts the result. 1 if it is not known."""

    receptive_field: int | None
    """Pixels: the largest distance from a result to an input that it depends on. Above the
    halo where a stride lies between; None if not exact."""

    multiple: int
    """Pixels: the sides of the image must be multiples of it for the network to take it and be
    exact; 1 for any size."""

    analytic_halo: int | None
    """As its operations say; None if one of them could not be followed, see `notes`."""

    measured_halo: int | None
    """As changed pixels say; None if it was not measured, see `notes`."""

    analytic_stride: int | None
    measured_stride: int | None
    notes: tuple[str, ...]
    """Where the two do not agree, or one is missing: a line each."""

    torch: str
    """Version of torch that it was found with."""

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON values, for `ModelCard.inspection`."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Inspection":
        """Return the inspection of a card's record.

        Parameters
        ----------
        record : mapping
            As `record` gives it.

        Raises
        ------
        WeightsError
            If it lacks a value.
        """
        lists = ("reasons", "notes")
        missing = [key for key in cls.__dataclass_fields__ if key not in record]
        if missing:
            raise WeightsError(
                f"the record of an inspection needs {missing}, found {sorted(record)}; inspect "
                "the network again"
            )
        values = {key: record[key] for key in cls.__dataclass_fields__}
        return cls(**values | {key: tuple(record[key]) for key in lists})


def inspect(network: nn.Module, channels: int, window: int = 0) -> Inspection:
    """Return how far a network looks, its stride, and whether and why not tiles are exact.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to (n, categories, y, x), of any architecture, in the mode in which
        it is to run; left unchanged.
    channels : int
        Of its input.
    window : int
        Pixels: side of the images that it was made for, if it may take no others; 0 if not.

    Returns
    -------
    Inspection

    Raises
    ------
    WeightsError
        If it takes no image of the sizes tried, or its result has not the image's size, is not
        one tensor, or not finite.

    Notes
    -----
    Analytic: the operations that torch executes are followed on two images without numbers,
    each passing on the first and last pixel that its result depends on.

    Measured: all pixels beyond a row become NaN, which no weight can cancel, and other numbers
    for a network that stops NaN; the rows whose scores follow are in reach. Strips along y and
    along x, in float64, which no fast convolution algorithm (one that smears NaN) takes.
    Strips are cut into tiles, which must give the scores of the whole strip, at both ends too.

    The larger of the two is taken. A halo of more than about 250 pixels is found by measuring
    only where the operations say so too.
    """
    modes = [
        named(name, layer, line)
        for name, layer in network.named_modules()
        for line in mode_lines(layer)
    ]
    found = _inspected(network, channels, window)
    if not modes:
        return found
    reasons = tuple(dict.fromkeys([*modes, *found.reasons]))
    values = asdict(found) | {"exact": False, "reasons": reasons, "notes": found.notes}
    return Inspection(**values | {"halo": None, "receptive_field": None})


def receptive_field(network: nn.Module, channels: int) -> int:
    """Return how far away an input pixel still changes a result.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to (n, categories, y, x), of any architecture; left unchanged.
    channels : int
        Of its input.

    Returns
    -------
    int
        Pixels on each side, in evaluation mode.

    Raises
    ------
    WeightsError
        If a result depends on the whole tile; the message says why.
    """
    return _exact(network, channels).receptive_field or 0


def stride(network: nn.Module, channels: int) -> int:
    """Return the total stride of a network: a shift of the input by it shifts the result.

    Parameters
    ----------
    network : Module
    channels : int

    Returns
    -------
    int
        Pixels: 1 for a network without pooling, 16 for a U-Net with four poolings.

    Raises
    ------
    WeightsError
        If a result depends on the whole tile; the message says why.
    """
    return _exact(network, channels).stride


def findings(network: nn.Module) -> tuple[str, ...]:
    """Return which layers make a network's result depend on the tile, a line each.

    Parameters
    ----------
    network : Module

    Returns
    -------
    tuple of str
        Layers by name. Functions that a `forward` calls without a layer are not seen here;
        `inspect` sees them.
    """
    return tuple(
        named(name, layer, line)
        for name, layer in network.named_modules()
        for line in layer_lines(layer)
    )


def _exact(network, channels):
    found = _inspected(network, channels)
    if not found.exact:
        raise WeightsError(
            f"the network cannot be tiled exactly: {list(found.reasons)}; give windows of a "
            "fixed size instead"
        )
    return found


def _inspected(network, channels, window=0):
    """Return the inspection of a network in evaluation mode."""
    probe = probes.probe_of(network, channels, window)
    ready = probes.copied(network)
    if probe.refused:
        line = f"takes images of {probe.unit} x {probe.unit} pixels, not of twice that side"
        reasons = [*findings(ready), f"{line}: {probe.refused}"]
        return _finding(Traced(), _Measured(), reasons, ["not measured, as it takes one size"])
    traced = trace(ready, channels, probe.unit)
    reasons, notes = [*traced.reasons], []
    if traced.lost:
        notes.append(f"its operations do not say: {traced.lost}")
        reasons += findings(ready)
    if not reasons and not probes.repeats(probe):
        reasons.append("gives other scores each time for the same image; it takes random numbers")
    if reasons:
        notes.append("not measured, as the reasons say enough")
        return _finding(traced, _Measured(), reasons, notes)
    measured = _measure(probe, traced)
    if measured.halo is None:
        reasons.append(
            f"a result depends on pixels more than {measured.tried} away, or on the whole tile"
        )
    return _finding(traced, measured, [*reasons, *measured.reasons], notes)


@dataclass
class _Measured:
    """What was measured along both axes."""

    halo: int | None = None
    stride: int | None = None
    receptive_field: int | None = None
    multiple: int = 1
    reasons: tuple[str, ...] = ()
    tried: int = 0
    """Pixels: the largest halo that would have been found, where none was."""


def _measure(probe, traced: Traced) -> _Measured:
    along = [_measure_along(probe, traced, axis) for axis in (0, 1)]
    reasons = tuple(dict.fromkeys(line for each in along for line in each.reasons))
    tried = max(each.tried for each in along)
    if any(each.halo is None for each in along):
        return _Measured(reasons=reasons, tried=tried)
    step = math.lcm(*(each.stride or 1 for each in along))
    halo = max(each.halo or 0 for each in along)
    return _Measured(
        halo=-(-halo // step) * step,
        stride=step,
        receptive_field=max(each.receptive_field or 0 for each in along),
        multiple=math.lcm(*(each.multiple for each in along)),
        reasons=reasons,
        tried=tried,
    )


def _measure_along(probe, traced, axis):
    probe.axis = axis
    step = traced.stride or 1
    reach, length = probes.margin(probe, traced.receptive_field, step)
    if reach is None:
        return _Measured(tried=(length - probe.unit) // 2)
    divisors = [each for each in range(1, step + 1) if step % each == 0]
    steps = divisors if traced.stride else range(1, LARGEST_STRIDE + 1)
    margin = reach + max(steps)
    tile = max(length, probe.unit * -(-(2 * margin + max(steps) + probes.CLEAN) // probe.unit))
    shift = next(probes.shifts(probe, tile, margin, steps), None)
    if shift is None:
        line = (
            f"a shift of the tile changes its scores, whatever the shift (1 to {max(steps)} pixels)"
        )
        return _Measured(reach, reasons=(line,))
    both = math.lcm(shift, step)
    if not traced.stride:
        found, _ = probes.margin(probe, reach + both, both)
        reach = reach + both if found is None else found
    far = probes.farthest(probe, reach, both)
    halo = -(-reach // both) * both
    needed = max(halo, traced.halo or 0)
    differ = probes.disagreement(probe, needed, both)
    reasons = () if differ is None else (f"tiles and the whole image {differ}; no layer says why",)
    return _Measured(
        halo=halo,
        stride=shift,
        receptive_field=max(reach, far or 0),
        multiple=_multiple(probe, needed, both) if not reasons else 1,
        reasons=reasons,
    )


def _multiple(probe, halo, step):
    """Return what the sides of an image must be multiples of, so that tiles are exact."""
    if all(_takes(probe, halo, step, less) for less in {1, step // 2 + 1}):
        return 1
    return step if _takes(probe, halo, step, step) else probe.unit


def _takes(probe, halo, step, less):
    try:
        return probes.disagreement(probe, halo, step, less) is None
    except Exception:  # a network may fail in any way on a size it does not take
        return False


def _finding(traced, measured, reasons, notes):
    exact = not reasons
    pairs = (
        ("halo", traced.halo, measured.halo),
        ("stride", traced.stride, measured.stride),
        ("receptive field", traced.receptive_field, measured.receptive_field),
    )
    for name, said, seen in pairs:
        if said is not None and seen is not None and said != seen:
            taken = math.lcm(said, seen) if name == "stride" else max(said, seen)
            notes.append(
                f"the {name} is {said} by its operations, {seen} measured; {taken} is taken"
            )
    step = math.lcm(traced.stride or 1, measured.stride or 1)
    if not exact and step > LARGEST_STRIDE:
        step = 1
    halo = max(traced.halo or 0, measured.halo or 0)
    return Inspection(
        exact=exact,
        reasons=tuple(reasons),
        halo=-(-halo // step) * step if exact else None,
        stride=step,
        receptive_field=max(traced.receptive_field or 0, measured.receptive_field or 0)
        if exact
        else None,
        multiple=measured.multiple,
        analytic_halo=None if traced.reasons else traced.halo,
        measured_halo=measured.halo,
        analytic_stride=traced.stride,
        measured_stride=measured.stride,
        notes=tuple(notes),
        torch=torch.__version__,
    )
