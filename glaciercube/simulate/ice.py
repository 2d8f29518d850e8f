"""A glacier that fits its valley: shallow ice that flows downhill and melts."""

import numpy as np

MAX_BALANCE, MIN_BALANCE = 0.3, -1.6
"""Most accumulation and most melt in a step of slow time (m of ice, see `thickness`)."""

BALANCE_GRADIENT = 0.002
"""Rise of the balance with elevation (m of ice per m of elevation, in slow time)."""

FLUIDITY = 0.005
"""Flux per slope and cubed thickness (1/m, in slow time): glaciers some 100 m thick."""

STEP_PER_M = 0.0035
"""Time step per cell size, in slow time."""

MAX_FEEDBACK_M = 40
"""Ice thickness that still raises the surface the climate sees (m)."""

STEEP_DEGREE = 38
"""Slopes above this keep no snow, so no ice grows on them."""


def thickness(
    bed: np.ndarray, cell_m: float, ela_m: float, *, favour_m: np.ndarray, steps: int = 400
) -> np.ndarray:
    """Return the ice thickness of glaciers near balance with a climate.

    Parameters
    ----------
    bed : array (y, x)
        Elevation without ice (m).
    cell_m : float
        Cell size (m).
    ela_m : float
        Equilibrium line altitude (m).
    favour_m : array (y, x)
        What shade and shelter are worth, as metres of elevation.
    steps : int
        Iterations at full resolution; twice as many run first on half the resolution.

    Returns
    -------
    array (y, x), float32
        Metres of ice; 0 where there is none.

    Notes
    -----
    Vertically integrated viscous flow, q = -c H^3 grad(bed + H), with an annual balance
    linear in the elevation of the surface. The diffusivity is capped so that a fixed time
    step is stable: shapes are those of valley glaciers, velocities are not meant. Balance
    and fluidity are both a quarter of what Alpine glaciers have, which leaves the steady
    shape as it is and the diffusivity below its cap; time runs four times slower.
    """
    half = _halve(bed)
    coarse = _flow(half, cell_m * 2, ela_m, _halve(favour_m), 2 * steps)
    start = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)
    full = np.zeros(bed.shape, np.float32)
    full[: start.shape[0], : start.shape[1]] = start[: bed.shape[0], : bed.shape[1]]
    return _flow(bed, cell_m, ela_m, favour_m, steps, full)


def _halve(field):
    rows, columns = (size // 2 * 2 for size in field.shape)
    even = field[:rows, :columns]
    return even.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3)).astype(np.float32)


def _flow(bed, cell_m, ela_m, favour_m, steps, start=None):
    bed = bed.astype(np.float32)
    ice = np.zeros(bed.shape, np.float32) if start is None else start
    down, across = np.gradient(bed, cell_m)
    keeps = np.hypot(down, across) < np.tan(np.radians(STEEP_DEGREE))
    step = np.float32(STEP_PER_M * cell_m)
    cap = np.float32(0.22 * cell_m**2 / step)
    scale = step / np.float32(cell_m**2)
    line = (ela_m - favour_m).astype(np.float32)
    # Thick ice must not feed itself: a cap keeps valley glaciers from growing into ice sheets.
    tops = bed + np.float32(MAX_FEEDBACK_M)
    for _ in range(steps):
        surface = bed + ice
        balance = np.clip(
            (np.minimum(surface, tops) - line) * BALANCE_GRADIENT, MIN_BALANCE, MAX_BALANCE
        )
        change = step * np.where(keeps, balance, np.minimum(balance, 0))
        for axis in (0, 1):
            drop = np.diff(surface, axis=axis)
            ahead, behind = _sides(ice, axis)
            mean = (ahead + behind) * np.float32(0.5)
            # Flow leaves the cell that lies higher only as far as it has ice.
            source = np.where(drop < 0, behind, ahead)
            flux = np.minimum(FLUIDITY * mean * mean * mean, cap) * drop * scale
            flux = np.clip(flux, -source / 4, source / 4)
            low, high = _sides(change, axis, views=True)
            low += flux
            high -= flux
        ice = np.maximum(ice + change, 0)
        # Ice may leave the grid; none comes in.
        for border in (ice[0], ice[-1], ice[:, 0], ice[:, -1]):
            border *= np.float32(0.95)
    return ice


def _sides(field, axis, views=False):
    """Return the cells before and after each face; ahead first unless views to add to."""
    if axis == 0:
        return (field[:-1], field[1:]) if views else (field[1:], field[:-1])
    return (field[:, :-1], field[:, 1:]) if views else (field[:, 1:], field[:, :-1])
