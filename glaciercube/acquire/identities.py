"""What tells one source from another: a file by its content, anything else by its address."""

from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pystac
import xxhash

from glaciercube.acquire.access import SECRETS, is_remote
from glaciercube.store.lineage import fingerprint

WHOLE_BYTES = 64 << 20
"""Files up to this size are told by all of their content, larger ones by samples of it and the
time of their last change, which a copy must keep (``cp -p``) to count as the same file."""

SAMPLE_BYTES = 64 << 10
SAMPLES = 64
"""Of a larger file, the first and the last bytes among them."""

CHECKSUMS = ("file:checksum", "checksum:multihash")
"""Fields of an asset that state its content."""

CHANGED = ("updated", "created")
"""Properties of an item that tell its versions apart, where its assets state no content."""


def identity_of_source(address: str, version: str = "") -> str:
    """Return the fingerprint of a source: equal if its pixels are.

    Parameters
    ----------
    address : str
        Of a local file its path: where it lies does not count, only what it holds. Of
        anything else the address counts, without a credential.
    version : str
        What the catalogue states of a remote source; see `version_of`.

    Examples
    --------
    >>> one = identity_of_source("https://example.org/B04.tif?sig=old&se=2024")
    >>> one == identity_of_source("https://example.org/B04.tif?sig=new&se=2025")
    True
    """
    if "://" not in address and Path(address).is_file():
        return fingerprint("content", content_of(address))
    return fingerprint("address", public(address), version)


def version_of(item: pystac.Item, key: str) -> str:
    """Return what an item states of the version of an asset, "" if nothing.

    Parameters
    ----------
    item : Item
    key : str
        Of the asset. Its checksum if it states one; else when the item was changed last.
    """
    fields = item.assets[key].extra_fields
    stated = [fields[name] for name in CHECKSUMS if fields.get(name)]
    changed = [item.properties[name] for name in CHANGED if item.properties.get(name)]
    return str(next(iter([*stated, *changed]), ""))


def public(address: str) -> str:
    """Return an address without a credential.

    Parameters
    ----------
    address : str
        Its query goes where one of its parameters is a credential: what stands beside it, such
        as when it expires, tells no file from another either.

    Examples
    --------
    >>> public("https://me:pw@example.org/get?id=5")
    'https://example.org/get?id=5'
    >>> public("https://example.org/B04.tif?sig=secret&se=2024")
    'https://example.org/B04.tif'
    """
    if not is_remote(address):
        return address
    parts = urlsplit(address)
    names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    query = "" if names & set(SECRETS) else parts.query
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def content_of(path: str | Path) -> str:
    """Return a hash of what a file holds (XXH3, 128 bits); see `WHOLE_BYTES` for large ones.

    Kept in memory as long as size and time of change stay.
    """
    stat = Path(path).stat()
    return _content(str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 14)
def _content(path, size, changed):
    digest = xxhash.xxh3_128(size.to_bytes(8, "little"))
    with open(path, "rb") as file:
        if size <= WHOLE_BYTES:
            while part := file.read(1 << 20):
                digest.update(part)
            return digest.hexdigest()
        digest.update(changed.to_bytes(8, "little", signed=True))
        for number in range(SAMPLES):
            file.seek((size - SAMPLE_BYTES) * number // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def glimpse_of(path: str | Path) -> str | None:
    """Return a hash of a file's size, beginning and end, None if there is no such file.

    Parameters
    ----------
    path : path
        The header of an image, with the sizes of its parts, stands at its beginning or end, so
        that hardly an image is written anew without a trace there.
    """
    try:
        size = Path(path).stat().st_size
        digest = xxhash.xxh3_128(size.to_bytes(8, "little"))
        with open(path, "rb") as file:
            digest.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_BYTES))
            digest.update(file.read(SAMPLE_BYTES))
    except OSError:
        return None
    return digest.hexdigest()
