"""Which scenes repeat others: one pass over one tile, processed or published more than once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import shapely

SAME_SCENE_S = 1.0
"""Scenes of one platform and tile that name no pass and are no further apart (s) are the same."""

SAME_FOOTPRINT = 0.95
"""Of a repeated scene's footprint, at least this share is covered by the one that is kept;
less means that two ground stations received parts of one scene, and both are kept."""

WHOLE = "whole"
"""The part of a scene that is never received in parts."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What tells one scene from another, and which of two versions is the better one."""

    name: str
    collection: str
    family: str
    """Of sensors: Level-1 and Level-2 of one scene are not the same."""

    platform: str
    tile: str
    time: datetime
    """UTC."""

    dated: bool = False
    """Whether of the time only the day is known."""

    orbit: int | None = None
    """Relative orbit, None if not stated."""

    passes: Mapping[str, str] = field(default_factory=dict)
    """Names of the pass by kind, such as {"datatake": "20220805T103031"}. Two scenes that share a
    kind are of one pass if the names agree, whatever their times: providers state the time of the
    datatake or that of the tile."""

    product: str = ""
    """Name of the product, with its version; "" if not stated."""

    part: str = ""
    """Which part of the pass was received; "" if not stated."""

    footprint: shapely.Geometry
    """Longitude and latitude, -180 to 180."""

    tier: int = 0
    """The larger the better: Landsat's T1, T2 and RT are 3, 2 and 1."""

    baseline: float = 0.0
    """Processing baseline, 0 if not stated."""

    made: str = ""
    """When it was processed: digits of a date and time, "" if not stated."""

    preference: int = 0
    """Of its collection among those that hold the same scenes; the larger the better."""

    created: str = ""
    """When it was published, ISO."""

    address: str = ""
    """Of its files; decides where nothing else does."""

    @property
    def rank(self) -> tuple[Any, ...]:
        """What versions of a scene are sorted by; the largest is kept.

        The tier, the processing baseline and the time of processing come first, then the
        collection and when it was published; names and addresses make the order whole.
        """
        return (
            self.tier, self.baseline, self.made, self.preference, self.created,
            self.name, self.collection, self.address,
        )  # fmt: skip


@dataclass(frozen=True)
class Repeat:
    """One scene that is left out."""

    dropped: int
    """Its position among the scenes."""

    kept: int
    """Position of the scene that stands for it."""

    reason: str


def repeats(scenes: Sequence[Facts]) -> list[Repeat]:
    """Return which scenes repeat a better one, whatever the order they come in.

    Parameters
    ----------
    scenes : sequence of Facts

    Returns
    -------
    list of Repeat
        In the order of the scenes.
    """
    ranked = sorted(range(len(scenes)), key=lambda n: scenes[n].rank, reverse=True)
    kept: dict[tuple[Any, ...], list[int]] = {}
    found = []
    for number in ranked:
        own = scenes[number]
        days = [_place(own, days) for days in (0, -1, 1)]
        others = (n for day in days for n in kept.get(day, ()))
        better = next((n for n in others if repeats_other(own, scenes[n])), None)
        if better is None:
            kept.setdefault(days[0], []).append(number)
        else:
            found.append(Repeat(number, better, reason_of(own, scenes[better])))
    return sorted(found, key=lambda repeat: repeat.dropped)


def _place(scene, days):
    """Return what repeats share: satellite, tile and nearly the day, as a pass takes minutes."""
    day = scene.time.toordinal() + days
    return scene.family, scene.platform, scene.tile, day


def repeats_other(own: Facts, kept: Facts) -> bool:
    """Return whether a scene shows nothing that a kept one of its platform and tile does not."""
    if own.name == kept.name and own.collection == kept.collection:
        return True
    if not _same_pass(own, kept):
        return False
    if own.product and own.product == kept.product:
        return True
    if own.part and own.part == kept.part:
        return True
    shared = own.footprint.intersection(kept.footprint).area
    return own.footprint.area == 0 or shared >= SAME_FOOTPRINT * own.footprint.area


def reason_of(own: Facts, kept: Facts) -> str:
    """Return why the kept one of two versions is the better one."""
    if own.tier != kept.tier:
        tiers = {0: "no tier stated", 1: "RT", 2: "T2", 3: "T1"}
        return f"tier {tiers[own.tier]}, kept {tiers[kept.tier]}"
    if own.baseline != kept.baseline:
        stated = f"{own.baseline:05.2f}" if own.baseline else "not stated"
        return f"processing baseline {stated}, kept {kept.baseline:05.2f}"
    if own.made != kept.made:
        digits = 8 if own.made[:8] != kept.made[:8] else None
        return f"processed {own.made[:digits] or 'at an unknown time'}, kept {kept.made[:digits]}"
    if own.collection != kept.collection:
        return f"the same product in {own.collection or 'no collection'}"
    if own.name == kept.name:
        return "the same item twice"
    return "the same scene, published earlier"


def _same_pass(own, kept):
    if None not in (own.orbit, kept.orbit) and own.orbit != kept.orbit:
        return False
    shared = own.passes.keys() & kept.passes.keys()
    if shared:
        return all(own.passes[kind] == kept.passes[kind] for kind in shared)
    if own.dated or kept.dated:
        return own.time.date() == kept.time.date()
    return abs((own.time - kept.time).total_seconds()) <= SAME_SCENE_S
