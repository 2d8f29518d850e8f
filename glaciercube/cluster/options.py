"""What a job does, as it is saved with its plan: checked once, plain JSON, no secret."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from glaciercube import sensors
from glaciercube.acquire.access import SECRETS, is_remote, plain
from glaciercube.acquire.intervals import parse_period, parse_season
from glaciercube.cluster.orbits import missions_of
from glaciercube.errors import AcquireError, GridError, SchemaError
from glaciercube.model.card import ModelCard
from glaciercube.model.channels import positions
from glaciercube.model.zoo import card_of


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a job does with each tile of its plan."""

    catalog: str
    """Address, or absolute path."""

    period: str
    """First and last day or moment: "2019-01-01/2023-12-31"."""

    season: tuple[str, str] | None
    sensor: str
    resolution: float
    """Pixel size (m)."""

    dem: str | None
    """Collection, or absolute path."""

    cards: tuple[str, ...]
    """Bundled networks by name, others by the absolute path of their card."""

    weights: tuple[str, ...]
    """SHA-256 of the weights of each card."""

    buffer_m: float
    block: int
    """Rows and columns of a block (pixels)."""

    halo: int
    """Pixels around what a tile reports."""

    target_pixels: int
    """Useful pixels of a tile at most, unless one glacier has more."""

    def as_json(self) -> dict[str, Any]:
        """Return the options as JSON has them."""
        plain_values = dict(vars(self))
        for name in ("season", "cards", "weights"):
            value = plain_values[name]
            plain_values[name] = None if value is None else list(value)
        return plain_values


def address_of(value: Any, what: str) -> str:
    """Return an address, or the absolute path of a file, as text.

    Parameters
    ----------
    value : str or Path
    what : str
        For the message.

    Raises
    ------
    AcquireError
        If it is something in memory, or holds a credential.
    """
    if not isinstance(value, str | Path):
        raise AcquireError(
            f"a plan is read by other processes, so {what} is an address or a path, found "
            f"{type(value).__name__}; save it to a file first"
        )
    text = str(value)
    if is_remote(text):
        parts = urlsplit(text)
        named = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        if parts.password or parts.username or named & set(SECRETS):
            raise AcquireError(
                f"{what} {plain(text)} holds a credential, which a plan would keep; give the "
                "address without it, and the credential in the environment of the workers"
            )
        return text
    path = Path(text).expanduser()
    return str(path.absolute()) if path.exists() or isinstance(value, Path) else text


def period_of(period: Any) -> str:
    """Return a period as text, its ends included.

    Raises
    ------
    AcquireError
        If it is not understood, or has an open end.

    Examples
    --------
    >>> period_of(2021), period_of(("2021-07", "2022"))
    ('2021-01-01/2021-12-31', '2021-07-01/2022-12-31')
    """
    start, end = parse_period(period)
    if start is None or end is None:
        raise AcquireError(
            f"a plan needs a period with two ends, so that a resume does the same, found "
            f"{period!r}; give one such as '2019/2023'"
        )
    text = f"{start.date()}/{end.date()}"
    if parse_period(text) == (start, end):
        return text
    return f"{start.isoformat()}/{end.isoformat()}"


def cards_of(cards: Any, sensor: str) -> tuple[list[str], list[ModelCard]]:
    """Return networks by name or absolute path, and their cards.

    Raises
    ------
    WeightsError
        If there is no such card.
    SchemaError
        If the sensor lacks a band that one needs.
    """
    named = [cards] if isinstance(cards, str | Path) else list(cards)
    found = [card_of(one) for one in named]
    names = [
        str(Path(one).absolute()) if Path(str(one)).suffix or Path(str(one)).name != str(one)
        else str(one)
        for one in named
    ]  # fmt: skip
    for row in sensors.rows_of(sensor):
        for card in found:
            positions(row.names, card)
    return names, found


def halo_of(halo: int | None, block: int, cards: Sequence[ModelCard]) -> int:
    """Return the halo of a job: what its networks need, or more.

    Raises
    ------
    GridError
        If less is given, or a block is no multiple of the networks' stride.
    """
    stride = math.lcm(1, *(card.stride for card in cards))
    if block % stride:
        raise GridError(
            f"block={block} pixels needs to be a multiple of the stride of the networks, {stride}"
        )
    needed = -(-max((card.halo for card in cards), default=0) // stride) * stride
    if halo is not None and (not isinstance(halo, int) or halo < needed):
        raise GridError(
            f"halo needs at least the {needed} pixels that the networks depend on, found {halo!r}"
        )
    return needed if halo is None else halo


def require_numbers(resolution: float, buffer_m: float, block: int, target_pixels: int) -> None:
    """Raise an error that lists all numbers that are none of use.

    Raises
    ------
    SchemaError
    """
    problems = []
    if not (_is_number(resolution) and resolution > 0):
        problems.append(f"resolution is a size such as 10 m, found {resolution!r}")
    if not (_is_number(buffer_m) and buffer_m >= 0):
        problems.append(f"buffer_m is a length such as 500 m, found {buffer_m!r}")
    for name, value in (("block", block), ("target_pixels", target_pixels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(f"{name} is a number of pixels, 1 or more, found {value!r}")
    if problems:
        raise SchemaError("; ".join(problems))


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def options_of(*, sensor: str, season: Any, cards: Any, halo: int | None, **given: Any) -> Options:
    """Return the options of a job, checked.

    Parameters
    ----------
    sensor : str
    season : (str, str) or None
    cards : names or paths
    halo : int or None
    **given
        The other fields of `Options`, but for `weights`.

    Raises
    ------
    AcquireError, GridError, SchemaError, SensorError, WeightsError
        That says which option is not of use.
    """
    missions_of(sensors.rows_of(sensor))
    parse_season(season)
    numbers = [given[name] for name in ("resolution", "buffer_m", "block", "target_pixels")]
    require_numbers(*numbers)
    names, found = cards_of(cards, sensor)
    dem = given["dem"]
    return Options(
        catalog=address_of(given["catalog"], "the catalogue"),
        period=period_of(given["period"]),
        season=None if season is None else (str(season[0]), str(season[1])),
        sensor=sensor,
        resolution=given["resolution"],
        dem=None if dem is None else address_of(dem, "the elevation model"),
        cards=tuple(names),
        weights=tuple(card.sha256 for card in found),
        buffer_m=given["buffer_m"],
        block=given["block"],
        halo=halo_of(halo, given["block"], found),
        target_pixels=given["target_pixels"],
    )
