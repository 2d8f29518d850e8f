"""The altitude of the snowline from snow cover by elevation."""

import numpy as np

BIN_HEIGHT_M = 20.0
"""Height of the elevation bins (Rastner et al. 2019)."""

RUN = 5
"""Consecutive bins that must be snow covered (Rastner et al. 2019)."""

SNOW_COVER = 0.5
"""A bin is snow covered above this share (Rastner et al. 2019)."""

RISE = (0.25, 0.75)
"""Snow cover between which the rise is measured, for the uncertainty. Own choice."""


def snowline(
    snow: np.ndarray, known: np.ndarray, first: int, bin_height_m: float = BIN_HEIGHT_M
) -> tuple[float, float, str]:
    """Return the altitude of a snowline, its uncertainty, and why there is none.

    Parameters
    ----------
    snow : array (bin,)
        Snow-covered area by elevation.
    known : array (bin,)
        Observed glacier area by elevation, in the same unit.
    first : int
        The lowest bin reaches from `first * bin_height_m` to one bin higher.
    bin_height_m : float

    Returns
    -------
    altitude, uncertainty : float
        m, or NaN.
    reason : str
        Empty, or why the altitude is NaN.

    Notes
    -----
    Bins without observed glacier are left out. The lowest of 5 consecutive bins that are
    each more than half snow covered holds the snowline; where no 5 follow each other, of 4,
    3, 2, 1 (ASMAG: Rastner et al. 2019, doi:10.3390/rs11121465). Own refinement: within it,
    the altitude is where snow cover, linear between bin centres, crosses one half. The
    uncertainty is half the height over which snow cover rises from 25 to 75 %, at least
    half a bin: own choice, it describes how sharp the line is, not a systematic error.

    Only snow counts, not firn: this is a snowline, not a firn line.

    Examples
    --------
    >>> snowline(np.array([0, 0, 5, 9, 9, 9]), np.array([9, 9, 10, 9, 9, 9]), 100)[0]
    2050.0
    """
    (some,) = np.nonzero(known > 0)
    if not len(some):
        return np.nan, np.nan, "no observed glacier of known elevation"
    cover = snow[some] / known[some]
    centre = (first + some + 0.5) * bin_height_m
    start = _run_start(cover > SNOW_COVER)
    if start is None:
        return np.nan, np.nan, f"no {bin_height_m:g} m bin is more than half snow covered"
    if start == 0:
        return np.nan, np.nan, "snow covered down to the lowest bin"
    altitude = _crossing(cover, centre, start, SNOW_COVER)
    low = _below(cover, centre, start, RISE[0])
    high = _above(cover, centre, start, RISE[1])
    return altitude, max((high - low) / 2, bin_height_m / 2), ""


def _run_start(covered):
    """Return the start of the lowest run of 5 True, of 4 where there is none, to 1."""
    for length in range(min(RUN, len(covered)), 0, -1):
        runs = np.lib.stride_tricks.sliding_window_view(covered, length).all(axis=-1)
        if runs.any():
            return int(runs.argmax())
    return None


def _crossing(cover, centre, above, level):
    """Return where the cover rises through a level between a bin and the one below."""
    low, high = cover[above - 1], cover[above]
    if high <= low:
        return float(centre[above])
    step = np.clip((level - low) / (high - low), 0, 1)
    return float(centre[above - 1] + step * (centre[above] - centre[above - 1]))


def _below(cover, centre, start, level):
    """Return where the cover falls to a level, going down; the lowest centre if it does not."""
    for place in range(start - 1, -1, -1):
        if cover[place] <= level:
            return _crossing(cover, centre, place + 1, level)
    return float(centre[0])


def _above(cover, centre, start, level):
    """Return where the cover rises to a level, going up; the highest centre if it does not."""
    for place in range(start, len(cover)):
        if cover[place] >= level:
            return _crossing(cover, centre, place, level)
    return float(centre[-1])
