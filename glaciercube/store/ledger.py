"""What is done: the header of a store and one small record per block, each written at once."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube.errors import StoreError
from glaciercube.store.layout import LAYOUT_VERSION, Block, Layout, layout_of

FOLDER = "_glaciercube"
HEADER = "store.json"
RECORDS = "ledger"
READ_FAILURES = "read_failures.json"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a store is, written once, before any block."""

    fingerprint: str
    """Of the identity; every block's record carries it."""

    identity: Mapping[str, Any]
    """Grid, times, labels, variables with their encoding and content, sensor and level."""

    @property
    def layout(self) -> Layout:
        """How the variables are cut into blocks."""
        return layout_of(self.identity)

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
        return f"{self.identity['time'][block.time][:19]}, {where}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """That one block is done."""

    state: Literal["done", "empty"]
    """Empty: no pixel of the block holds a value, and nothing is stored for it."""

    checksum: str
    """XXH3 (128 bits) of the codes of all variables, in the order of the layout."""

    fingerprint: str
    clipped: int = 0
    """Values that lay beyond the range of their codes."""

    unread: int = 0
    """Pixels that are a hole because a source could not be read."""


def header_path(path: Path) -> Path:
    """Return where the header of a store lies."""
    return path / FOLDER / HEADER


def write_header(path: Path, header: Header) -> None:
    """Write the header of a store, and the folder for its records."""
    (path / FOLDER / RECORDS).mkdir(parents=True, exist_ok=True)
    _write_at_once(header_path(path), {"layout": LAYOUT_VERSION, **asdict(header)})


def read_header(path: Path) -> Header:
    """Return the header of a store.

    Raises
    ------
    StoreError
        If there is no store, it was not written by this package, or by a newer version.
    """
    if not path.exists():
        raise StoreError(f"there is no store at {str(path)!r}; create it with write(cube, path)")
    try:
        content = json.loads(header_path(path).read_text())
        version = int(content["layout"])
        if version <= LAYOUT_VERSION:
            return Header(fingerprint=content["fingerprint"], identity=content["identity"])
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{str(path)!r} is not a store of this package: it has no {FOLDER}/{HEADER}; "
            "write a store elsewhere, or move what is there away"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{str(header_path(path))!r} is damaged: {error!r}") from error
    raise StoreError(
        f"{str(path)!r} has store layout {version}, this version of glaciercube knows up to "
        f"{LAYOUT_VERSION}; update glaciercube"
    )


def write_record(path: Path, block: Block, record: Record) -> None:
    """Write the record of a block, after its data."""
    _write_at_once(_record_path(path, block), asdict(record))


def read_record(path: Path, block: Block) -> Record | None:
    """Return the record of a block; None if there is none or it cannot be understood."""
    try:
        content = json.loads(_record_path(path, block).read_text())
        return Record(**content)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def forget(path: Path, blocks: Iterable[Block]) -> None:
    """Remove the records of blocks, so that the next `write` computes them again."""
    for block in blocks:
        _record_path(path, block).unlink(missing_ok=True)


def records(path: Path, header: Header) -> dict[Block, Record]:
    """Return the records of all blocks that are done."""
    present = _names(path)
    found = {
        block: read_record(path, block)
        for block in header.layout.all_blocks()
        if f"{block.key}.json" in present
    }
    return {
        block: record
        for block, record in found.items()
        if record is not None and record.fingerprint == header.fingerprint
    }


def add_read_failures(path: Path, failures: Iterable[Mapping[str, Any]]) -> None:
    """Keep beside the ledger what could not be read while a store was written."""
    kept = [*read_failures(path), *(dict(one) for one in failures)]
    _write_at_once(path / FOLDER / READ_FAILURES, kept)


def read_failures(path: Path) -> list[dict[str, Any]]:
    """Return what could not be read while a store was written; each as plain values."""
    try:
        return list(json.loads((path / FOLDER / READ_FAILURES).read_text()))
    except (OSError, ValueError):
        return []


def count_records(path: Path) -> int:
    """Return how many blocks have a record, by their names alone."""
    return len(_names(path))


def _names(path):
    try:
        with os.scandir(path / FOLDER / RECORDS) as entries:
            return {entry.name for entry in entries if entry.name.endswith(".json")}
    except OSError:
        return set()


def _record_path(path, block):
    return path / FOLDER / RECORDS / f"{block.key}.json"


def _write_at_once(path, content):
    """Write JSON so that another process sees all of it or nothing."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        draft.write_text(json.dumps(content))
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
