"""Keys of a store that belong to no block: of other programs, of cut-off writes, of no date."""

import re
from dataclasses import dataclass

from glaciercube.store import ledger
from glaciercube.store.claims import WRITERS
from glaciercube.store.layout import Block
from glaciercube.store.ledger import Header
from glaciercube.store.places import Place

OVERVIEWS = "overviews/"
"""Beginning of the keys of coarser levels, which have a ledger of their own."""

_DRAFT = re.compile(r"(?:^|/)\.[^/]+\.[0-9a-f]{32}\.tmp$|\.[0-9a-f]{32}\.partial$")
_RECORD = re.compile(r"(static|\d+)\.(\d+)\.(\d+)(?:\.failed)?\.json")


@dataclass(frozen=True)
class Strays:
    """Keys that are in a store and not of what readers see."""

    foreign: tuple[str, ...]
    """Of no array, block or record of the store."""

    unfinished: tuple[str, ...]
    """Of dates that no reader sees yet."""

    drafts: tuple[str, ...]
    """Halves of files, left by a writer that was killed or by one at work."""


def strays_of(place: Place, header: Header) -> Strays:
    """Return the keys of a store that belong to none of its blocks.

    Parameters
    ----------
    place : Place
    header : Header

    Returns
    -------
    Strays
        Empty where keys cannot be listed.
    """
    found: dict[str, list[str]] = {"foreign": [], "unfinished": [], "drafts": [], "own": []}
    layout = header.layout
    variables = {stored.name: stored for stored in layout.variables}
    for key in sorted(place.keys()):
        found[_kind(key, layout, variables)].append(key)
    return Strays(tuple(found["foreign"]), tuple(found["unfinished"]), tuple(found["drafts"]))


def _kind(key, layout, variables):
    if _DRAFT.search(key):
        return "drafts"
    first, _, rest = key.partition("/")
    if first == ledger.FOLDER:
        return _own_kind(key, layout)
    if first in variables:
        return _shard_kind(rest, layout, variables[first])
    coordinate = rest == "zarr.json" or re.fullmatch(r"c(/\d+)*", rest)
    own = key == "zarr.json" or key.startswith(OVERVIEWS) or coordinate
    return "own" if own else "foreign"


def _own_kind(key, layout):
    if key.startswith(f"{ledger.RECORDS}/"):
        match = _RECORD.fullmatch(key.removeprefix(f"{ledger.RECORDS}/"))
        if match is None:
            return "foreign"
        time = None if match[1] == "static" else int(match[1])
        return _block_kind(Block(int(match[2]), int(match[3]), time=time), layout)
    folders = (f"{ledger.RECIPES}/", f"{WRITERS}/", f"{ledger.FOLDER}/{OVERVIEWS}")
    files = (ledger.HEADER, ledger.REVISION, ledger.READ_FAILURES)
    return "own" if key in files or key.startswith(folders) else "foreign"


def _shard_kind(rest, layout, stored):
    if rest == "zarr.json":
        return "own"
    parts = rest.split("/")
    if parts[0] != "c" or not all(part.isdigit() for part in parts[1:]):
        return "foreign"
    numbers = [int(part) for part in parts[1:]]
    if len(numbers) != len(stored.dims):
        return "foreign"
    at = dict(zip(stored.dims, numbers, strict=True))
    middle = [number for dim, number in at.items() if dim not in ("time", "y", "x")]
    if any(middle):
        return "foreign"
    time = at["time"] if stored.temporal else None
    return _block_kind(Block(at["y"], at["x"], time=time), layout)


def _block_kind(block, layout):
    temporal = block.time is not None
    times, down, across = layout.counts(temporal)
    if not (block.row < down and block.column < across) and (times or not temporal):
        return "foreign"
    return "unfinished" if temporal and (block.time or 0) >= times else "own"
