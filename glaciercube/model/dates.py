"""The dates that a network sees at once, as its card declares them."""

import calendar
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

ANCHORS = ("centred", "past", "nearest")
"""What may stand around a date: as many dates before it as after it, those before it, or the
nearest ones; see `infer.dates.seen`."""

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {"anchor": "centred", "season": None, "days": None, "mask": True}
)
"""Of what a card need not state; `count` it must."""

APART: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"utae": ("mask", "day"), "resunet3d": ("mask",)}
)
"""Architectures of this package that take the dates of their input apart, and what they need of
each beside its bands; `networks.build` tells them `count`, `mask` and `day`."""

YEAR = 365
"""Days that are 1 in the channel that says how far away a date is."""

_DAY = re.compile(r"\d{2}-\d{2}")
_LEAP = 2000
"""A leap year, so that a season may start or end on 29 February."""


def declared(dates: Mapping[str, Any]) -> dict[str, Any]:
    """Return a declaration with the defaults of what it does not state; empty if it is.

    `day` stands in it where it is True, so that cards without it stay what they were.

    Examples
    --------
    >>> declared({"count": 3, "mask": False})
    {'anchor': 'centred', 'season': None, 'days': None, 'mask': False, 'count': 3}
    >>> declared({"count": 3, "day": False}) == declared({"count": 3})
    True
    >>> declared({})
    {}
    """
    stated = {key: value for key, value in dates.items() if (key, value) != ("day", False)}
    return {**DEFAULTS, **stated} if stated else {}


def planes(dates: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether each date has a mask and a day beside its bands.

    Parameters
    ----------
    dates : mapping
        As `declared` gives it, not empty.

    Examples
    --------
    >>> planes(declared({"count": 3}))
    {'mask': True, 'day': False}
    """
    return {"mask": dates["mask"], "day": dates.get("day", False)}


def channels(dates: Mapping[str, Any], bands: int) -> int:
    """Return the number of channels of a network's input.

    Parameters
    ----------
    dates : mapping
        As `declared` gives it.
    bands : int
        Of one date.

    Examples
    --------
    >>> channels({}, 4), channels(declared({"count": 3}), 4)
    (4, 15)
    >>> channels(declared({"count": 3, "day": True}), 4)
    18
    """
    return dates["count"] * (bands + sum(planes(dates).values())) if dates else bands


def problems(dates: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not fit of a declaration that is not empty, a sentence each.

    Parameters
    ----------
    dates : mapping
        As `declared` gives it.
    """
    known = ("count", *DEFAULTS, "day")
    unknown = [key for key in dates if key not in known]
    if unknown:
        yield f"'dates' has {unknown}; it knows {list(known)}"
    if not _is_whole(count := dates.get("count")):
        yield f"'dates' needs a 'count' of 1 date or more, found {count!r}"
    if dates["anchor"] not in ANCHORS:
        yield f"'anchor' of 'dates' must be one of {list(ANCHORS)}, found {dates['anchor']!r}"
    if dates["season"] is not None and not _is_season(dates["season"]):
        yield (
            "'season' of 'dates' must be its first and last day such as ['07-01', '09-30'], or "
            f"None, found {dates['season']!r}"
        )
    if dates["days"] is not None and not _is_whole(dates["days"]):
        yield f"'days' of 'dates' must be 1 day or more, or None, found {dates['days']!r}"
    if not isinstance(dates["mask"], bool):
        yield f"'mask' of 'dates' must be True or False, found {dates['mask']!r}"
    if not isinstance(dates.get("day", True), bool):
        yield f"'day' of 'dates' must be True or False, found {dates['day']!r}"


def problems_of(architecture: str, dates: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an architecture that takes dates apart lacks in a declaration.

    Parameters
    ----------
    architecture : str
    dates : mapping
        As `declared` gives it.

    Examples
    --------
    >>> next(problems_of("utae", declared({"count": 3})))
    "the architecture 'utae' needs 'dates' with 'day': True, found {'mask': True, 'day': False}"
    """
    needed = APART.get(architecture, ())
    lacking = [name for name in needed if not (dates and planes(dates)[name])]
    if lacking:
        wanted = ", ".join(f"{name!r}: True" for name in lacking)
        found = planes(dates) if dates else "none: it sees several dates, so give a 'count' too"
        yield f"the architecture {architecture!r} needs 'dates' with {wanted}, found {found}"


def _is_whole(number):
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def _is_season(season):
    return isinstance(season, list) and len(season) == 2 and all(_is_day(day) for day in season)


def _is_day(text):
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        return False
    month, day = int(text[:2]), int(text[3:])
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(_LEAP, month)[1]
