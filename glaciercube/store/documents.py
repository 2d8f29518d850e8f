"""JSON documents as Zarr nodes, for stores that hold nothing else.

The documents of one folder whose names differ by numbers, such as the records of a ledger, are
the chunks of one array; any other is an array of its own. All are arrays of text that Zarr reads.
"""

import json
import re
import struct
from dataclasses import dataclass

from glaciercube.errors import StoreError

FOLDER = "_glaciercube"
"""What is below is a document; everything else is Zarr's."""

LONGEST = 1 << 16
"""Numbers below this name a chunk."""

NUMBER = "@"
"""Stands for a number in the name of an array; no key of a place has this sign."""

_NUMBER = re.compile(r"0|[1-9]\d{0,8}")
_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Spot:
    """Where a document lies: the node of its array, and its chunk."""

    node: str
    chunk: tuple[int, ...]

    @property
    def key(self) -> str:
        """Of the chunk, as Zarr names it."""
        return "/".join([self.node, "c", *map(str, self.chunk)])

    @property
    def numbered(self) -> bool:
        """Whether the array holds more than this document."""
        return NUMBER in self.node.rsplit("/", 1)[-1].split(".")

    @property
    def groups(self) -> tuple[str, ...]:
        """Nodes above, the outermost first."""
        parts = self.node.split("/")[:-1]
        return tuple("/".join(parts[:count]) for count in range(1, len(parts) + 1))


def spot_of(key: str) -> Spot:
    """Return where a document lies.

    Examples
    --------
    >>> spot_of("_glaciercube/ledger/5.0.2.json")
    Spot(node='_glaciercube/ledger/@.@.@.json', chunk=(5, 0, 2))
    >>> spot_of("_glaciercube/store.json")
    Spot(node='_glaciercube/store.json', chunk=(0,))
    """
    folder, _, name = key.rpartition("/")
    parts = name.split(".")
    chunk = [int(part) for part in parts if _is_number(part)]
    if not chunk:
        return Spot(key, (0,))
    pattern = ".".join(NUMBER if _is_number(part) else part for part in parts)
    return Spot(f"{folder}/{pattern}", tuple(chunk))


def _is_number(part):
    return _NUMBER.fullmatch(part) is not None and int(part) < LONGEST


def name_of(node: str, chunk: tuple[int, ...]) -> str:
    """Return the name of the document in a chunk of an array.

    Examples
    --------
    >>> name_of("_glaciercube/ledger/@.@.@.json", (5, 0, 2))
    '5.0.2.json'
    """
    numbers = iter(chunk)
    parts = node.rsplit("/", 1)[-1].split(".")
    return ".".join(str(next(numbers)) if part == NUMBER else part for part in parts)


def is_document(key: str) -> bool:
    """Say whether a key is of a document, not of Zarr."""
    return key.startswith(f"{FOLDER}/")


def group_metadata() -> bytes:
    """Return the metadata of a folder."""
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}).encode()


def array_metadata(spot: Spot) -> bytes:
    """Return the metadata of the array that holds a document: text, one document a chunk."""
    size = LONGEST if spot.numbered else 1
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [size] * len(spot.chunk),
            "data_type": "string",
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [1] * len(spot.chunk)},
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "",
            "codecs": [{"name": "vlen-utf8", "configuration": {}}],
            "attributes": {},
            "storage_transformers": [],
        }
    ).encode()


def packed(content: bytes, key: str) -> bytes:
    """Return a document as the one text of a chunk (codec vlen-utf8: counts, then the text).

    Raises
    ------
    StoreError
        If it is not text.
    """
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"{key} is to be JSON in UTF-8, found {content[:20]!r}") from error
    return _HEAD.pack(1, len(content)) + content


def unpacked(chunk: bytes) -> bytes:
    """Return the document in a chunk."""
    return chunk[_HEAD.size :]
