"""The effective halo: the smallest one whose classes differ hardly from those of the exact one."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from scipy import special

from glaciercube.errors import GlacierCubeWarning, SchemaError
from glaciercube.infer import checks, runtimes
from glaciercube.infer.cubes import readers
from glaciercube.infer.halos import EffectiveHalo
from glaciercube.infer.reads import Read
from glaciercube.infer.samples import Sample, samples_of, wanted_of
from glaciercube.infer.work import Work
from glaciercube.optional import load
from glaciercube.windows import Window

TRIED = 16
"""Halos that are tried at most."""

CONFIDENCE = 0.95
"""Of the upper bounds, one-sided."""


def settled(
    work: Work,
    halo: Any,
    cube: xr.Dataset,
    arrays: tuple[da.Array, da.Array],
    disagreement: float,
) -> tuple[Work, dict[str, Any]]:
    """Return the work with the halo that was asked for, and what layers tell of it.

    Parameters
    ----------
    work : Work
        With the exact halo where that is to be measured.
    halo : None, int, "effective" or EffectiveHalo
        As given to `predict`, checked.
    cube : Dataset
    arrays : (Dask array, Dask array)
        `reflectance` (time, band, y, x) and `valid` (time, y, x) of it.
    disagreement : float
        Share of classes that may differ.

    Raises
    ------
    SchemaError
        If `disagreement` is no share, or the halo was measured for other networks.
    """
    if isinstance(halo, str):
        valid, both = readers(cube, arrays, work.positions)
        bound = checks.share_of(disagreement)
        halo = effective_halo(_in_float32(work), valid, both, bound)
    if not isinstance(halo, EffectiveHalo):
        return work, {}
    exact, _ = checks.halo_of(None, [ref.card for ref in work.refs])
    if halo.exact != exact:
        raise SchemaError(
            f"the halo was measured for networks whose exact halo is {halo.exact} pixels, these "
            f"need {exact}: measure it for them with halo='effective'"
        )
    return replace(work, halo=halo.halo), halo.attrs()


def effective_halo(
    work: Work,
    valid: Callable[[int, Window], np.ndarray],
    both: Callable[[int, Window], tuple[np.ndarray, np.ndarray]],
    bound: float,
) -> EffectiveHalo:
    """Return the smallest halo whose classes differ less from the exact ones than a bound.

    Parameters
    ----------
    work : Work
        Of exact networks, with their exact halo.
    valid : callable
        Gives (y, x), bool, of a date and a window.
    both : callable
        Gives reflectance (band, y, x), float32, bands as `work.bands`, and `valid` of the same.
    bound : float
        Largest share of pixels whose class may differ, in the layer of each task.

    Returns
    -------
    EffectiveHalo
        The same for the same cube and networks.

    Warns
    -----
    GlacierCubeWarning
        If the cube has too few measured pixels to say; the exact halo is taken then.

    Notes
    -----
    Tiles of the size of the cube's blocks are computed once with the exact halo and then, along
    their edges only (see `infer.strips`), with smaller ones: multiples of the total stride, as a
    tile that starts elsewhere differs whatever its halo; `TRIED` at most. All sides of a tile
    count as edges to other tiles, so that blocks at the image's border differ less than is said.
    Taken is the smallest halo such that it and all larger ones pass: an upper confidence bound of
    the share of differing pixels is not above `bound`.

    That is the larger of two, each one-sided at 95 %: that of Clopper and Pearson (1934,
    https://doi.org/10.1093/biomet/26.4.404), as if the pixels were independent, and that of
    Student's t over the tiles, for a ratio (Cochran 1977, Sampling Techniques, 6.4). Neighbouring
    pixels are not independent: the first alone is too narrow. The second takes that into account,
    but rests on a handful of tiles, which are those of this cube that were measured best, no
    random choice: cloudy tiles, with more edges of what was measured, may differ more.
    """
    if work.halo == 0:
        return _exactly(work, bound, 0, 0)
    least = math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-bound))
    samples = samples_of(work, valid, work.halo, least)
    pixels = sum(one.pixels for one in samples)
    if pixels >= least:
        counts = _counted(work, both, samples, bound)
        pixels = int(counts.pixels.sum())  # fewer where bands are NaN
        if pixels >= least:
            return _smallest(work, counts, bound)
    warnings.warn(
        f"halo='effective' needs at least {least} measured pixels, {work.halo} or more from the "
        f"image's border, to show that less than {bound:g} of the classes differ, found {pixels}; "
        f"the exact halo of {work.halo} pixels of {[ref.card.name for ref in work.refs]} is taken",
        GlacierCubeWarning,
        stacklevel=5,
    )
    return _exactly(work, bound, pixels, len(samples))


@dataclass(frozen=True)
class Counts:
    """What was found in the tiles of a sample."""

    pixels: np.ndarray
    """(tile,): that were compared."""

    differing: Mapping[int, np.ndarray]
    """(tile, task) by halo: of these, those with other classes. Halos that failed are left out."""


def _counted(work, both, samples: Sequence[Sample], bound: float) -> Counts:
    """Compare the halos to try in all tiles, the largest first, but those sure to fail."""
    strips = load("glaciercube.infer.strips")
    most = bound * sum(one.pixels for one in samples)
    found: dict[int, list[np.ndarray]] = {halo: [] for halo in halos_to_try(work)}
    pixels = []
    for one in samples:
        outer = work.reads(one.window)
        dates = (one.date, *work.others_of(one.date))
        given = {date: both(date, outer) for date in dates}
        reads = {date: Read.of(each[0], each[1], outer, date) for date, each in given.items()}
        read = replace(reads.pop(one.date), others=reads)
        reported = read.measured[one.window.inside(outer)] & wanted_of(work, one.window)
        if not reported.any():
            continue
        pixels.append(int(reported.sum()))
        exact = strips.classes_of(read, reported, work, one.window)
        for halo in list(found):
            found[halo].append(strips.differing(read, reported, exact, work, one.window, halo))
            if np.sum(found[halo], axis=0).max() > most:  # so does no smaller one have to be tried
                found = {other: counts for other, counts in found.items() if other > halo}
                break
    return Counts(np.array(pixels), {halo: np.array(counts) for halo, counts in found.items()})


def halos_to_try(work: Work) -> list[int]:
    """Return the halos below the exact one that are tried, the largest first.

    Examples
    --------
    >>> from glaciercube.infer.work import Work
    >>> some = {"refs": (), "bands": (), "planes": (), "times": (), "positions": ()}
    >>> halos_to_try(Work(halo=96, stride=16, chunks=((), (), ()), **some))
    [80, 64, 48, 32, 16, 0]
    """
    count = work.halo // work.stride
    step = -(-count // TRIED) * work.stride
    return list(range(work.halo - step, -1, -step))


def _smallest(work, counts, bound):
    best = _exactly(work, bound, int(counts.pixels.sum()), len(counts.pixels))
    for halo in sorted(counts.differing, reverse=True):
        each = counts.differing[halo].T
        upper = max(upper_bound(one, counts.pixels) for one in each)
        if upper > bound:
            break
        share = float(each.sum(axis=1).max() / counts.pixels.sum())
        best = replace(best, halo=halo, disagreement=share, upper=upper)
    return best


def upper_bound(differing: np.ndarray, pixels: np.ndarray) -> float:
    """Return an upper confidence bound of the share of pixels that differ.

    Parameters
    ----------
    differing, pixels : array (tile,), int
        Pixels of each tile that differ, and all that were compared.

    Returns
    -------
    float
        The larger of Clopper and Pearson's over pixels and Student's over tiles; see
        `effective_halo`.

    Examples
    --------
    >>> round(upper_bound(np.array([0, 0]), np.array([15000, 15000])), 7)  # about 3 / pixels
    9.99e-05
    """
    count, total = int(differing.sum()), int(pixels.sum())
    if count == total:
        return 1.0
    share = count / total
    by_pixels = float(special.betaincinv(count + 1, total - count, CONFIDENCE))
    tiles = len(pixels)
    if tiles < 2:
        return by_pixels
    rest = differing - share * pixels
    spread = math.sqrt(tiles / (tiles - 1) * float((rest**2).sum())) / total
    by_tiles = share + float(special.stdtrit(tiles - 1, CONFIDENCE)) * spread
    return min(1.0, max(by_pixels, by_tiles))


def _exactly(work, bound, pixels, tiles):
    return EffectiveHalo(
        halo=work.halo,
        exact=work.halo,
        disagreement=0.0,
        upper=0.0,
        bound=bound,
        pixels=pixels,
        tiles=tiles,
    )


def _in_float32(work):
    """Return the work in float32: the disagreement is that of the halo alone."""
    cards = [ref.card for ref in work.refs]
    refs = tuple(runtimes.ref_for(card, runtimes.reference_of(card)) for card in cards)
    return replace(work, refs=refs)
