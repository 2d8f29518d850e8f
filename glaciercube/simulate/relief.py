"""Mountain relief: valleys that join, ridges between them, rough walls."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from glaciercube.simulate.fields import noise, ramp
from glaciercube.simulate.knobs import Knobs


@dataclass(frozen=True, kw_only=True)
class Relief:
    """A mountain side on a coarse square grid, rows running south."""

    bed: np.ndarray
    """Elevation without ice (m)."""

    wall: np.ndarray
    """0 on a valley floor, 1 on a crest."""

    along: np.ndarray
    """Where along the main valley, 0 at its head to 1 at its end."""

    offset_m: np.ndarray
    """Signed distance from the axis of the main valley (m)."""

    cell_m: float


def mountains(knobs: Knobs, rng: np.random.Generator) -> Relief:
    """Return relief with a main valley and its tributaries.

    Parameters
    ----------
    knobs : Knobs
        Of which elevations, valleys, azimuth, head, tilt, start, extent and cells matter.
    rng : Generator

    Returns
    -------
    Relief
    """
    size, extent_m = knobs.cells, knobs.extent_m
    cell_m = extent_m / size
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / np.float32(size - 1) - 0.5
    lines = _valley_lines(rng, knobs)
    width = np.float32(rng.uniform(0.15, 0.24) / np.sqrt(0.6 + 0.25 * knobs.valleys))
    shape = (size, size)
    turn = np.radians(knobs.azimuth)
    descent = (0.5 - rows * np.cos(turn) + columns * np.sin(turn)).astype(np.float32)
    crest = 1.0 - np.float32(knobs.tilt) * np.clip(descent, -0.2, 1.2)
    crest += 0.08 * noise(shape, cell_m, rng, scale_m=extent_m / 3, roughness=2.5)
    height = np.full(shape, np.inf, np.float32)
    lowest = np.full(shape, 1.0, np.float32)
    for number, (points, floors) in enumerate(lines):
        distance, along, offset = _nearest(points, rows, columns)
        floor = np.interp(along, np.linspace(0, 1, len(floors)), floors).astype(np.float32)
        reach = distance / width
        wall = 1 - np.exp(-(reach**2.1))
        # Where the walls of two valleys meet stands a sharp ridge.
        valley = floor + np.maximum(crest - floor, 0.12) * _wall(reach)
        lowest = np.where(valley < height, wall, lowest)
        height = np.minimum(height, valley)
        if number == 0:
            main_along, main_offset = along, offset
    rough = noise(shape, cell_m, rng, scale_m=extent_m / 5, roughness=1.9)
    ridged = 0.5 - np.abs(noise(shape, cell_m, rng, scale_m=extent_m / 5, roughness=1.7))
    height += (0.05 * rough + 0.10 * ridged) * (0.12 + ramp(lowest, 0.05, 0.7))
    height = ndimage.gaussian_filter(height, 0.8)
    low, high = np.percentile(height, (0.2, 99.8))
    bed = knobs.bottom_m + (knobs.top_m - knobs.bottom_m) * (height - low) / (high - low)
    return Relief(
        bed=bed.astype(np.float32),
        wall=ramp(lowest, 0.02, 0.8),
        along=main_along,
        offset_m=main_offset * np.float32(extent_m),
        cell_m=cell_m,
    )


def _valley_lines(rng, knobs):
    """Return the points (row, column) of each valley, head first, and its floor heights."""
    turn = np.radians(knobs.azimuth)
    fall = np.array([-np.cos(turn), np.sin(turn)])
    aside = np.array([-fall[1], fall[0]])
    steps = np.linspace(0, 1, 24)
    bends = rng.uniform(0.02, 0.09) * np.sin(steps * rng.uniform(3, 7) + rng.uniform(0, 6))
    reach = np.linspace(-knobs.start, 0.75, 24)
    main = reach[:, np.newaxis] * fall + (bends + rng.uniform(-0.12, 0.12))[:, np.newaxis] * aside
    profile = knobs.head * (1 - steps) ** rng.uniform(0.8, 1.5)
    profile += 0.02 * np.sin(steps * rng.uniform(10, 22) + rng.uniform(0, 6))
    lines = [(main, profile)]
    for number in range(1, knobs.valleys):
        joint = int(rng.integers(5, 16))
        side = 1 if number % 2 else -1
        start = main[joint] + aside * side * rng.uniform(0.25, 0.5) - fall * rng.uniform(0.1, 0.35)
        part = np.linspace(0, 1, 12)[:, np.newaxis]
        curve = start + (main[joint] - start) * part
        curve += aside * 0.05 * np.sin(part * np.pi) * rng.uniform(-1, 1)
        hang = profile[joint] + rng.uniform(0.01, 0.1)
        floors = hang + (rng.uniform(0.55, 0.75) - hang) * (1 - part[:, 0]) ** rng.uniform(0.8, 1.4)
        lines.append((curve, floors))
    return lines


def _wall(reach):
    """Return a valley's side: round at the bottom, then straight, then a gentler shoulder."""
    return 0.85 * reach**2 / (reach + 0.6) / (1 + 0.12 * reach**2)


def _nearest(points, rows, columns):
    """Return distance, position along and signed offset of the nearest point of a line."""
    best = np.full(rows.shape, np.inf, np.float32)
    along = np.zeros(rows.shape, np.float32)
    offset = np.zeros(rows.shape, np.float32)
    count = len(points) - 1
    for number in range(count):
        start, step = points[number], points[number + 1] - points[number]
        length = np.float32(np.hypot(*step))
        across_y, across_x = rows - np.float32(start[0]), columns - np.float32(start[1])
        part = (across_y * np.float32(step[0]) + across_x * np.float32(step[1])) / length**2
        side = (across_y * np.float32(step[1]) - across_x * np.float32(step[0])) / length
        part = np.clip(part, 0, 1)
        distance = np.hypot(
            across_y - part * np.float32(step[0]), across_x - part * np.float32(step[1])
        )
        closer = distance < best
        best = np.where(closer, distance, best)
        along = np.where(closer, (number + part) / count, along)
        offset = np.where(closer, side, offset)
    return best, along.astype(np.float32), offset
