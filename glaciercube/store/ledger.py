"""What is done: the header of a store and one small record per block, each written at once."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube.errors import StoreError
from glaciercube.store import dates
from glaciercube.store.layout import LAYOUT_VERSION, Block, Layout, layout_of
from glaciercube.store.lineage import fingerprint
from glaciercube.store.places import Place

FOLDER = "_glaciercube"
HEADER = f"{FOLDER}/store.json"
RECORDS = f"{FOLDER}/ledger"
REVISION = f"{FOLDER}/revision.json"
RECIPES = f"{FOLDER}/recipes"
READ_FAILURES = f"{FOLDER}/read_failures.json"

_NAME = re.compile(r"[A-Za-z]\w*(?:[.-]\w+)*")
"""Of a variable; it is a folder of the store."""

_RECORD = re.compile(r"(\d+)\.(\d+)\.(\d+)\.json")
"""Name of the record of a block with time that is done."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a store is, written once, before any block."""

    fingerprint: str
    """Of the identity and content."""

    identity: Mapping[str, Any]
    """What every block shares: grid, labels, variables with encoding and lineage, sensor, level."""

    content: Mapping[str, str]
    """Names of the arrays whose lineage is not known, by variable: they count as a whole."""

    times: tuple[str, ...]
    """Dates by their place on disk, in the order of their arrival; not part of the file."""

    @property
    def layout(self) -> Layout:
        """How the variables are cut into blocks."""
        return layout_of(self.identity, len(self.times))

    @property
    def geobox(self) -> GeoBox:
        """The grid."""
        stated = self.identity["grid"]
        return GeoBox(tuple(stated["shape"]), Affine(*stated["transform"]), stated["crs"])

    def label(self, block: Block) -> str:
        """Return where a block lies, in words."""
        window = self.layout.window(block)
        where = f"y {window.y0}-{window.y1}, x {window.x0}-{window.x1}"
        if block.time is None:
            return where
        return f"{self.times[block.time][:19]}, {where}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """That one block is done, or why it is not."""

    state: Literal["done", "empty", "failed"]
    """Empty: no pixel of the block holds a value, and nothing is stored for it."""

    checksum: str
    """XXH3 (128 bits) of the codes of all variables, in the order of the layout."""

    fingerprint: str
    """Of the date and of what the block was made from."""

    clipped: int = 0
    """Values that lay beyond the range of their codes."""

    unread: int = 0
    """Pixels that are a hole because a source could not be read."""

    date: str = ""
    """Of the block, for people, and to find the dates again should the time axis be lost."""

    cause: str = ""
    """Why a block failed."""

    seconds: float = 0.0
    """That coding and writing took."""


def write_header(place: Place, header: Header) -> bool:
    """Write the header of a store unless there is one; return whether it was written."""
    content = {key: value for key, value in asdict(header).items() if key != "times"}
    return place.create(HEADER, _json({"layout": LAYOUT_VERSION, **content}))


def exists(place: Place) -> bool:
    """Say whether a place has the header of a store."""
    try:
        place.read(HEADER)
    except FileNotFoundError:
        return False
    return True


def read_header(place: Place, *, times: tuple[str, ...] | None = None) -> Header:
    """Return the header of a store.

    Parameters
    ----------
    place : Place
    times : tuple of str, optional
        Dates, instead of those that readers see.

    Returns
    -------
    Header

    Raises
    ------
    StoreError
        If there is no store, it was not written by this package, or by another version.
    """
    version, content = _header_of(place)
    if version > LAYOUT_VERSION:
        raise StoreError(
            f"{str(place)!r} has store layout {version}, this version of glaciercube knows up to "
            f"{LAYOUT_VERSION}; update glaciercube"
        )
    if version < LAYOUT_VERSION:
        raise StoreError(
            f"{str(place)!r} has store layout {version}, this version of glaciercube needs "
            f"{LAYOUT_VERSION}; write the cube again, to another path"
        )
    try:
        header = Header(**content, times=())
        _require_names(header, place)
        has_time = any(stored.temporal for stored in header.layout.variables)
        if times is None:
            times = dates.published(place) if has_time else ()
        return Header(**content, times=times)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"'{place}/{HEADER}' is damaged: {error!r}") from error


def header_told(place: Place) -> Header:
    """Return the header of a store with the dates that its records tell.

    Those of the time axis count where records do not tell all. The two differ only in a store
    that is damaged.

    Raises
    ------
    StoreError
        If there is no store, or neither tells the dates.
    """
    told = dates_of(place) if exists(place) else ()
    try:
        header = read_header(place)
    except StoreError:
        if not told:
            raise
        return read_header(place, times=told)
    seen = len(header.times)
    return replace(header, times=told[:seen]) if len(told) >= seen else header


def _header_of(place):
    try:
        content = json.loads(place.read(HEADER))
        return int(content.pop("layout")), content
    except FileNotFoundError:
        if not place.exists():
            raise StoreError(
                f"there is no store at {str(place)!r}; create it with write(cube, path)"
            ) from None
        raise StoreError(
            f"{str(place)!r} is not a store of this package: it has no {HEADER}; "
            "write a store elsewhere, or move what is there away"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"'{place}/{HEADER}' is damaged: {error!r}") from error


def _require_names(header, place):
    wrong = [name for name in header.identity["variables"] if not _NAME.fullmatch(name)]
    if wrong:
        raise StoreError(
            f"'{place}/{HEADER}' names the variables {wrong}, which are no names of folders; "
            "the store is damaged, or not to be trusted"
        )


def is_name(name: str) -> bool:
    """Say whether a variable may bear a name: letters, digits and _, a letter first."""
    return _NAME.fullmatch(name) is not None


def write_record(place: Place, block: Block, record: Record) -> None:
    """Write the record of a block, after its data, or that it failed."""
    failed = record.state == "failed"
    place.write(_key(block, failed), _json(asdict(record)))


def read_record(place: Place, block: Block, *, failed: bool = False) -> Record | None:
    """Return the record of a block; None if there is none or it cannot be understood."""
    try:
        return Record(**json.loads(place.read(_key(block, failed))))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def forget(place: Place, blocks: Iterable[Block], *, failed: bool = False) -> None:
    """Remove the records of blocks, so that the next `write` computes them again."""
    for block in blocks:
        place.delete(_key(block, failed))


def records(place: Place, blocks: Sequence[Block], *, failed: bool = False) -> dict[Block, Record]:
    """Return the records of those blocks that are done; or of those that failed, if asked."""
    present = set(place.names(RECORDS)) if blocks else set()
    found = {
        block: read_record(place, block, failed=failed)
        for block in blocks
        if _file(block, failed) in present
    }
    return {block: record for block, record in found.items() if record is not None}


def dates_of(place: Place) -> tuple[str, ...]:
    """Return the dates on disk as the records tell them; empty if they do not tell all."""
    found: dict[int, str] = {}
    for name in place.names(RECORDS):
        match = _RECORD.fullmatch(name)
        if match is None or int(match[1]) in found:
            continue
        slot, row, column = (int(part) for part in match.groups())
        record = read_record(place, Block(row, column, time=slot))
        if record is not None:
            found[slot] = record.date
    whole = all(found.get(slot) for slot in range(len(found)))
    return tuple(found[slot] for slot in range(len(found))) if whole else ()


def count_records(place: Place, header: Header) -> int:
    """Return how many blocks of a store are done, by the names of their records alone."""
    present = set(place.names(RECORDS))
    return sum(_file(block, False) in present for block in header.layout.all_blocks())


def record_names(place: Place) -> set[str]:
    """Return the names of all records, those of failed blocks and of no block included."""
    return set(place.names(RECORDS))


def revise(place: Place, text: str) -> None:
    """Say that blocks which were done are made anew: what was read before is another array."""
    place.write(REVISION, _json({"revision": text}))


def revision(place: Place) -> str:
    """Return what changes when blocks that were done are made anew; empty at first."""
    try:
        return str(json.loads(place.read(REVISION))["revision"])
    except FileNotFoundError:
        return ""


def add_recipe(place: Place, recipe: Mapping[str, Any], times: Iterable[str]) -> None:
    """Keep how the dataset of some dates can be made again."""
    content = _json({"times": sorted(times), "recipe": dict(recipe)})
    key = f"{RECIPES}/{fingerprint(content)}.json"
    place.create(key, content)


def recipes(place: Place) -> list[tuple[set[str], dict[str, Any]]]:
    """Return how parts of a store can be made again: the dates of each, and the recipe."""
    found = [json.loads(place.read(f"{RECIPES}/{name}")) for name in sorted(place.names(RECIPES))]
    return [(set(one["times"]), one["recipe"]) for one in found]


def add_read_failures(place: Place, failures: Iterable[Mapping[str, Any]]) -> None:
    """Keep beside the ledger what could not be read while a store was written."""
    kept = [*read_failures(place), *(dict(one) for one in failures)]
    place.write(READ_FAILURES, _json(kept))


def read_failures(place: Place) -> list[dict[str, Any]]:
    """Return what could not be read while a store was written; each as plain values."""
    try:
        return list(json.loads(place.read(READ_FAILURES)))
    except (OSError, ValueError):
        return []


def _file(block, failed):
    return f"{block.key}.failed.json" if failed else f"{block.key}.json"


def _key(block, failed):
    return f"{RECORDS}/{_file(block, failed)}"


def _json(content):
    return json.dumps(content).encode()
