"""What makes one simulated landscape different from another."""

from dataclasses import dataclass

import numpy as np

COARSE_CELLS = 64
"""Cells along each side of the coarse grid on which ice flows."""


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """What makes one landscape different from another."""

    bottom_m: float = 2000.0
    top_m: float = 3800.0
    """Lowest and highest elevation of the mountains around (m)."""

    extent_m: float = 5120.0
    """Side of the square of mountains that the landscape is cut from (m)."""

    valleys: int = 3
    azimuth: float = 20.0
    """Direction in which the main valley falls (degrees clockwise from north)."""

    head: float = 0.65
    """Floor of the main valley at its head: 0 at the lowest, 1 at the highest ground."""

    start: float = 0.35
    """How far up-valley of the centre the main valley begins (1, of the extent)."""

    tilt: float = 0.5
    """How much lower crests are down-valley (1)."""

    ice_share: float = 0.33
    """Share of the terrain above the equilibrium line; 0 for a landscape without glaciers."""

    focus_m: float = 0.0
    """How much higher the equilibrium line lies far from the main valley (m)."""

    flow_steps: int = 400
    """Steps that ice flows: many for glaciers that have settled, few for advancing ones."""

    debris: float = 0.35
    """How much of the lower glacier is covered: 0 none, 1 nearly all of its tongue."""

    lake_m: float = 260.0
    """Radius of the basin at the glacier's end (m); 0 for no lake."""

    tarns: int = 3
    """Number of small lakes elsewhere."""

    treeline_m: float = 2350.0
    """Elevation at which plants cover half of the ground (m)."""

    thinning_m: float = 110.0
    """Ice that the lowest end of a glacier loses at retreat 1 (m)."""

    least_km2: float = 0.01
    """Glaciers smaller than this at the first year are left out, as inventories do (km2)."""

    cells: int = COARSE_CELLS
    """Cells along each side of the grid on which ice flows."""

    centre_y: float = 0.5
    centre_x: float = 0.5
    """Where in the square the landscape is cut out, 0 to 1."""


def draw_knobs(rng: np.random.Generator, span_m: float) -> Knobs:
    """Return knobs drawn at random, so that landscapes differ as mountains do.

    Parameters
    ----------
    rng : Generator
    span_m : float
        Longer side of the landscape (m).

    Returns
    -------
    Knobs
        One in eight has no glacier, many have several or small ones.
    """
    bottom = float(rng.uniform(400, 3200))
    top = bottom + float(rng.uniform(900, 2000))
    return Knobs(
        bottom_m=bottom,
        top_m=top,
        extent_m=max(span_m * float(rng.uniform(1.0, 1.6)), float(rng.uniform(3500, 8000))),
        valleys=int(rng.integers(1, 6)),
        azimuth=float(rng.uniform(0, 360)),
        head=float(rng.uniform(0.5, 0.9)),
        start=float(rng.uniform(0.15, 0.42)),
        tilt=float(rng.uniform(0.3, 0.75)),
        ice_share=0.0 if rng.random() < 0.125 else float(rng.uniform(0.06, 0.5)),
        focus_m=float(rng.choice([0.0, rng.uniform(0, 400)])),
        debris=float(rng.choice([0.0, rng.uniform(0, 0.4), rng.uniform(0.3, 1.0)])),
        lake_m=float(rng.choice([0.0, rng.uniform(80, 500)])),
        tarns=int(rng.integers(0, 7)),
        treeline_m=bottom + float(rng.uniform(-0.2, 0.45)) * (top - bottom),
        thinning_m=float(rng.uniform(60, 160)),
        centre_y=float(rng.uniform(0, 1)),
        centre_x=float(rng.uniform(0, 1)),
    )
