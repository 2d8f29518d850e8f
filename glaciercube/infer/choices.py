"""Which runtime a network takes: measured, and compared with float32, on pixels of the cube."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.infer import runtimes
from glaciercube.infer.runtimes import CHOICES
from glaciercube.model.card import ModelCard

AUTO = "auto"
"""Stands for the fastest runtime that agrees with float32."""

AGREEMENT = 0.999
"""Share of the measured pixels whose class must be the one that float32 gives."""

SMALL = 2**24
"""Pixels of a cube (time x y x x) below which "auto" is float32: measuring would take longer than
it saves."""

PIXELS = 10_000
"""Measured pixels, at least, of which "auto" believes an agreement."""

_log = logging.getLogger("glaciercube.infer")


@dataclass(frozen=True)
class Choice:
    """How one network runs, and how well that agrees with float32."""

    runtime: str
    """A name in `runtimes.CHOICES`."""

    agreement: float = 1.0
    """Share (0-1) of the sample's pixels whose class is the one of float32."""

    pixels: int = 0
    """Of the sample that were measured; 0 if nothing had to be compared."""

    def record(self) -> dict[str, Any]:
        """Return what a store keeps of it, as JSON."""
        runtime, precision = CHOICES[self.runtime]
        told: dict[str, Any] = {"runtime": runtime, "precision": precision}
        if self.pixels:
            told |= {"agreement": self.agreement, "pixels": self.pixels}
        return told


@dataclass(frozen=True)
class Sample:
    """One tile of a cube as a network sees it."""

    image: np.ndarray
    """(channel, y, x), float32, normalised."""

    measured: np.ndarray
    """(y, x), bool: what counts."""


def known(
    runtime: str | Sequence[Choice], cards: Sequence[ModelCard], pixels: int
) -> tuple[Choice, ...] | None:
    """Return how networks run where nothing has to be measured for it, else None.

    Parameters
    ----------
    runtime : str or sequence of Choice
        A name of `runtimes.CHOICES`, "auto", or what was chosen before.
    cards : sequence of ModelCard
    pixels : int
        Of the cube: time x y x x.

    Raises
    ------
    WeightsError
        If there is no such runtime, or a network cannot run so.
    """
    if not isinstance(runtime, str):
        return tuple(runtime)
    if runtime == AUTO:
        if pixels >= SMALL:
            return None
        return tuple(Choice(runtimes.reference_of(card)) for card in cards)
    runtimes.require_choice(runtime, more=(AUTO,))
    for card in cards:
        runtimes.ref_for(card, runtime)
    exact = CHOICES[runtime][1] == "float32"
    return tuple(Choice(runtime) for _ in cards) if exact else None


def adopted(networks: Iterable[Mapping[str, Any]], runtime: str) -> tuple[Choice, ...] | None:
    """Return how the networks run of which a store was made; None if that is not asked for.

    Parameters
    ----------
    networks : iterable of mapping
        What a store keeps of each, with what `Choice.record` gives.
    runtime : str
        As asked for now. "auto" takes what the store has, a name only what it is the name of.
    """
    names: dict[tuple[Any, Any], str] = {how: name for name, how in CHOICES.items()}
    found = []
    for told in networks:
        name = names.get((told.get("runtime"), told.get("precision")))
        if name is None or runtime not in (AUTO, name):
            return None
        found.append(Choice(name, told.get("agreement", 1.0), told.get("pixels", 0)))
    return tuple(found) or None


def chosen(
    runtime: str, cards: Sequence[ModelCard], samples: Callable[[ModelCard], Iterable[Sample]]
) -> tuple[Choice, ...]:
    """Return how each network runs from now on.

    Parameters
    ----------
    runtime : str
        "auto", or a name of `runtimes.CHOICES` whose agreement is measured.
    cards : sequence of ModelCard
    samples : callable
        Gives the tiles that a card sees.

    Raises
    ------
    WeightsError
        If a runtime that was asked for by name agrees with float32 in too few classes.
    """
    found = []
    for card in cards:
        tiles = [tile for tile in samples(card) if tile.measured.any()]
        if runtime == AUTO:
            choice = _fastest(card, tiles)
        else:
            choice = compared(card, runtime, tiles)
            _require_agreement(card, choice)
        _log.info("%s runs with %s", card.name, choice)
        found.append(choice)
    return tuple(found)


def _fastest(card, tiles):
    """Return the fastest choice of those that agree; float32 if too little was measured."""
    reference = Choice(runtimes.reference_of(card))
    others = [name for name in runtimes.candidates(card) if name != reference.runtime]
    if sum(int(tile.measured.sum()) for tile in tiles) < PIXELS or not others:
        return reference
    classes = _classes(card, tiles)
    largest = max((tile.image for tile in tiles), key=np.size)
    best, least = reference, _seconds(card, reference.runtime, largest)
    for name in others:
        try:
            choice = compared(card, name, tiles, classes)
        except WeightsError as error:  # such as an operation that it does not know
            _log.info("%s cannot run in %r: %s", card.name, name, error)
            continue
        if choice.agreement < AGREEMENT:
            continue
        taken = _seconds(card, name, largest)
        if taken < least:
            best, least = choice, taken
    for name in {reference.runtime, *others} - {best.runtime}:
        runtimes.drop(runtimes.ref_for(card, name))
    return best


def _require_agreement(card, choice):
    if choice.pixels and choice.agreement < AGREEMENT:
        raise WeightsError(
            f"{card.name} in {choice.runtime!r} gives the classes of float32 in "
            f"{100 * choice.agreement:.3f} % of {choice.pixels} pixels of this cube, needs "
            f"{100 * AGREEMENT:g} %; take runtime='auto' or {runtimes.reference_of(card)!r}"
        )


def _classes(card, tiles):
    """Return the classes of the measured pixels that float32 gives, a tile each."""
    return [_class_of(card, runtimes.reference_of(card), tile) for tile in tiles]


def _class_of(card, name, tile):
    run = runtimes.runtime_of(runtimes.ref_for(card, name)).scores
    return run(tile.image[np.newaxis], _whole(tile.image))[0].argmax(axis=0)[tile.measured]


def compared(
    card: ModelCard,
    name: str,
    tiles: Sequence[Sample],
    classes: Sequence[np.ndarray] | None = None,
) -> Choice:
    """Return a choice with its agreement with float32, measured on tiles.

    Parameters
    ----------
    card : ModelCard
    name : str
        Of the choice.
    tiles : sequence of Sample
    classes : sequence of array, optional
        What float32 gives in the measured pixels of each, if that is known.
    """
    classes = _classes(card, tiles) if classes is None else classes
    same = pixels = 0
    for tile, wanted in zip(tiles, classes, strict=True):
        same += int((_class_of(card, name, tile) == wanted).sum())
        pixels += wanted.size
    return Choice(name, round(same / pixels, 6) if pixels else 1.0, pixels)


def _seconds(card, name, image):
    """Return how long a tile takes, at best of two; the network has run before."""
    run = runtimes.runtime_of(runtimes.ref_for(card, name)).scores
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        run(image[np.newaxis], _whole(image))
        taken.append(time.perf_counter() - start)
    return min(taken)


def _whole(image):
    return slice(0, image.shape[1]), slice(0, image.shape[2])
