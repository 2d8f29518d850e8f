"""Some pixels through the networks: NumPy in, NumPy out. No Dask, no xarray, no torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from glaciercube import schema
from glaciercube.errors import WeightsError
from glaciercube.infer import quantized, runtimes, uncertainty
from glaciercube.infer.blending import blended
from glaciercube.infer.dihedral import VIEWS, View
from glaciercube.infer.reads import Read
from glaciercube.infer.work import PROBABILITY, Work, measured_share, parts_of
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef
from glaciercube.schema import NODATA
from glaciercube.windows import Window, strips


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the networks of one task say of some pixels."""

    card: ModelCard
    measured: np.ndarray
    """(y, x), bool."""

    probability: np.ndarray
    """(category, y, x), float32: of every pixel that is measured."""

    spread: uncertainty.Spread | None
    """Of several members; None of one."""

    @cached_property
    def _reported(self):
        return _highest(self.probability)

    @cached_property
    def codes(self) -> np.ndarray:
        """(y, x), uint8: of the class layer, 255 where not measured or obscured."""
        codes = np.array(self.card.codes, np.uint8)[self._reported[0]]
        return np.where(self.measured, codes, np.uint8(NODATA))

    @property
    def best(self) -> np.ndarray:
        """(y, x), float32: probability of the reported category, NaN where the code is 255."""
        return self._where_reported(self._reported[1])

    @property
    def entropy(self) -> np.ndarray:
        """(y, x), float32: predictive entropy as a share of its largest, NaN as in `best`."""
        spread = self.spread
        nats = uncertainty.entropy_of(self.probability) if spread is None else spread.entropy
        return self._where_reported(self._share(nats))

    @property
    def mutual_information(self) -> np.ndarray:
        """(y, x), float32: as a share of its largest, 0 of a single member, NaN as in `best`."""
        if self.spread is None:
            return self._where_reported(np.zeros(self.measured.shape, np.float32))
        return self._where_reported(self._share(self.spread.mutual_information))

    def of(self, category: str, where: np.ndarray) -> np.ndarray:
        """Return the probability (y, x) of a category, NaN elsewhere."""
        share = self.probability[self.card.categories.index(category)]
        return np.where(where, share, np.float32(np.nan))

    def _share(self, nats):
        return uncertainty.share_of_largest(nats, len(self.card.categories))

    def _where_reported(self, share):
        return np.where(self.codes == NODATA, np.float32(np.nan), share)


def predict_block(read: Read, wanted: np.ndarray, *, work: Work, target: Window) -> np.ndarray:
    """Return the layers of some pixels.

    Parameters
    ----------
    read : Read
        Whose window holds `work.reads(target)`.
    wanted : array (y, x), bool
        Pixels of the target that are of interest.
    work : Work
        The networks, the planes wanted, the halo.
    target : Window
        What to report.

    Returns
    -------
    array (plane, y, x), float32 or uint8
        Codes are whole numbers, 255 where nothing was measured or wanted; shares are NaN there,
        or 255 if `work.quantized`. Without any such pixel no network is called.
    """
    reported = read.measured[target.inside(read.window)] & wanted
    planes = work.blank(target.shape)
    if not reported.any():
        return planes
    for part in parts_of(reported, target, work.reach):
        inside = part.inside(target)
        if not reported[inside].any():
            continue
        said = [_said(read, reported[inside], work, refs, part) for refs in _ensembles(work.refs)]
        for plane, name in zip(planes, work.planes, strict=True):
            if name == "valid_fraction":
                share = measured_share(read.measured, part.inside(read.window), work.halo)
                quantized.put(plane[inside], np.where(reported[inside], share, np.float32(np.nan)))
            else:
                quantized.put(plane[inside], _plane(name, said))
    return planes


def _ensembles(refs: Iterable[ModelRef]) -> list[list[ModelRef]]:
    """Return the networks of each task."""
    found: dict[str, list[ModelRef]] = {}
    for ref in refs:
        found.setdefault(ref.card.task, []).append(ref)
    return list(found.values())


def _plane(name, said):
    if name == "confidence":
        return np.fmin.reduce([each.best for each in said])
    if name in ("entropy", "mutual_information"):
        return np.fmax.reduce([getattr(each, name) for each in said])
    if name.startswith(PROBABILITY):
        facies = next(each for each in said if each.card.task == "facies")
        return facies.of(name.removeprefix(PROBABILITY), facies.measured)
    if name == "glacier_probability":
        extent = next(each for each in said if each.card.task == "extent")
        return extent.of("glacier", extent.codes != NODATA)
    known = {each.card.task: each.codes for each in said}
    return known[name] if name in known else schema.extent_of_facies(known["facies"])


def codes_of(
    read: Read, reported: np.ndarray, work: Work, part: Window, reads: Callable[[View], Window]
) -> list[np.ndarray]:
    """Return the class layer of each task, from windows other than the work's own.

    Parameters
    ----------
    read : Read
        Holds all windows.
    reported : array (y, x), bool
        Pixels of the part that are of interest and measured.
    work : Work
        Whose networks are all exact.
    part : Window
        What to report.
    reads : callable
        Gives the window of the image that the networks see in a view.

    Returns
    -------
    list of array (y, x), uint8
        Codes, 255 where not reported or obscured.
    """
    ensembles = _ensembles(work.refs)
    return [_said(read, reported, work, refs, part, reads).codes for refs in ensembles]


def _said(read, reported, work, refs, part, reads=None):
    """Return what the networks of one task, in all views, say of a part."""
    members = [(ref, view) for ref in refs for view in VIEWS[: work.views]]
    card = refs[0].card
    if len(members) == 1:
        probability = _probability(read, reported, work, *members[0], part, reads)
        return Said(card=card, measured=reported, probability=probability, spread=None)
    summed = uncertainty.Members(len(card.categories), part.shape)
    for ref, view in members:
        summed.add(_probability(read, reported, work, ref, view, part, reads))
    spread = summed.spread()
    return Said(card=card, measured=reported, probability=spread.probability, spread=spread)


def _probability(read, reported, work, ref, view, part, seen=None):
    """Return the probabilities (category, y, x) that one network gives a part in one view."""
    run = runtimes.runtime_of(ref).scores
    if not ref.card.exact:
        blend = work.blend_of(ref)
        reads = blend.reads(part, reported)
        return blended(
            read.image(reads, work, ref.card),
            reported,
            outer=reads,
            block=part,
            blend=blend,
            predict=_by_windows(run, ref.card, view),
            categories=len(ref.card.categories),
        )
    own = view.expand(part, work.halo, work.shape, work.stride)
    reads = own if seen is None else seen(view)
    image = view.apply(read.image(reads, work, ref.card))
    inner = view.window(part, work.shape).inside(view.window(reads, work.shape))
    scores = run(np.ascontiguousarray(image[np.newaxis]), inner)
    return view.invert(_softmax(scores, ref.card)[0])


def _by_windows(
    run: Callable[[np.ndarray, tuple[slice, slice]], np.ndarray], card: ModelCard, view: View
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that gives the probabilities of whole windows in one view."""

    def probabilities(images: np.ndarray) -> np.ndarray:
        seen = np.ascontiguousarray(view.apply(images))
        whole = (slice(0, seen.shape[2]), slice(0, seen.shape[3]))
        return view.invert(_softmax(run(seen, whole), card))

    return probabilities


def _softmax(scores: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return probabilities (n, category, y, x), calibrated; in the scores' own memory.

    In NumPy, category after category: torch shares a softmax out among its threads, and their
    number shows in the last bits.
    """
    for image in scores:
        for rows in strips(image.shape[1:]):
            part = image[:, rows]
            part /= np.float32(card.temperature)
            highest = part.max(axis=0)
            if not np.isfinite(highest).all():
                raise WeightsError(
                    f"the network of {card.name!r} must give finite scores, found NaN or infinity "
                    "for finite input; its weights or its precision do not fit: take "
                    "runtime='torch', or train again"
                )
            part -= highest
            np.exp(part, out=part)
            part /= part.sum(axis=0)
    return scores


def _highest(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the most probable category (y, x), the first of equals, and its share.

    Several times as fast as `argmax` along the first axis.
    """
    number, best = np.zeros(probability.shape[1:], np.uint8), probability[0].copy()
    for rows in strips(number.shape):
        found, highest = number[rows], best[rows]
        for place, share in enumerate(probability[1:, rows], start=1):
            # arithmetic, not a choice by a mask: its time does not depend on the image
            found += (share > highest).view(np.uint8) * (np.uint8(place) - found)
            np.maximum(highest, share, out=highest)
    return number, best
