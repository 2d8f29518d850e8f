"""Stores in buckets of object stores: S3 and what speaks like it, Google, Azure, memory."""

import re
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

from obstore.exceptions import AlreadyExistsError, NotSupportedError
from zarr.abc.store import Store

from glaciercube.errors import GlacierCubeWarning, StoreError
from glaciercube.store.clients import TRIES, patiently, require_plain
from glaciercube.store.object_clients import MEMORY, client_of, explained
from glaciercube.store.object_zarr import Objects
from glaciercube.store.places import Place, require_key

MARK = "nonce"
"""Name of the metadata by which a writer knows its own object when the answer was lost."""

_HERE = uuid4().hex
"""Of this process: what lies in its memory is nowhere else."""

_UNKNOWN = re.compile("NotImplemented|status code: 501")
"""What services answer that do not know conditional writes."""

_refuses: dict[str, bool] = {}
"""Whether the service of an address refuses to create what exists."""

_Result = TypeVar("_Result")


class Bucket(Place):
    """A store under a prefix of a bucket; its pickle is its address.

    Parameters
    ----------
    address : str
        s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or memory://name, which
        lives as long as this process.

    Raises
    ------
    StoreError
        If the address holds a password or a query, or is none.
    """

    def __init__(self, address: str):
        self.uri = require_plain(address)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again: from its address; what is in memory, only here."""
        return _again, (self.uri, _HERE if self.uri.startswith(MEMORY) else None)

    @property
    def client(self) -> Any:
        """Return the client of this process.

        Raises
        ------
        StoreError
            If the environment does not say enough, or this process was forked.
        """
        return client_of(self.uri)

    def zarr(self, *, writable: bool = False) -> Store:
        """Return the store as Zarr sees it."""
        return Objects(self, read_only=not writable)

    def read(self, key: str) -> bytes:
        """Return the content of a key."""
        return self._ask(key, lambda: bytes(self.client.get(require_key(key)).bytes()))

    def write(self, key: str, content: bytes) -> None:
        """Write a key so that others see all of it or nothing."""
        self._ask(key, lambda: self.client.put(require_key(key), content, use_multipart=False))

    def create(self, key: str, content: bytes) -> bool:
        """Write a key unless it exists; return whether it was written.

        Warns
        -----
        GlacierCubeWarning
            If the service cannot refuse to create what exists: of two that create the same
            key at the same moment, both may then be told that they did.
        """
        if self._has(key):
            return False
        mine = uuid4().hex
        for _ in range(TRIES):
            outcome = self._ask(key, lambda: self._put_new(key, content, mine))
            if outcome is not None:
                return outcome and self._is_mine(key, content, mine)
        return False  # it comes and goes: others write it

    def _put_new(self, key, content, mine):
        """Put a key if there is none; return whether that was done, None if that is open."""
        try:
            self._put_marked(key, content, mine, mode="create")
        except AlreadyExistsError:
            # It may be ours: the answer to an earlier try was lost.
            found = self._mark(key)
            return None if found is None else found == mine
        except NotSupportedError:
            return self._put_anyway(key, content, mine)
        except Exception as error:
            if not _UNKNOWN.search(str(error)):
                raise
            return self._put_anyway(key, content, mine)
        return True

    def _put_anyway(self, key, content, mine):
        self._doubt()
        self._put_marked(key, content, mine, mode="overwrite")
        return self._mark(key) == mine

    def _put_marked(self, key, content, mine, mode):
        self.client.put(key, content, mode=mode, attributes={MARK: mine}, use_multipart=False)

    def _mark(self, key):
        """Return who created a key; "" if that is not told, None if there is no such key."""
        try:
            return str(self.client.get(key).attributes.get(MARK, ""))
        except FileNotFoundError:
            return None

    def _has(self, key):
        try:
            self.stamp(key)
        except FileNotFoundError:
            return False
        return True

    def _is_mine(self, key, content, mine):
        """Say whether what was created is still ours; where services do not refuse, it may not be.

        Whether this one refuses is tried once per process, on the key just created.
        """
        if self.uri not in _refuses and not self._ask(key, lambda: self._is_refused(key, content)):
            self._ask(key, lambda: self._put_marked(key, content, mine, mode="overwrite"))
            self._doubt()
        return (
            _refuses.setdefault(self.uri, True) or self._ask(key, lambda: self._mark(key)) == mine
        )

    def _is_refused(self, key, content):
        try:
            self._put_marked(key, content, uuid4().hex, mode="create")
        except AlreadyExistsError:
            return True
        return False

    def _doubt(self):
        if _refuses.get(self.uri) is not False:
            _refuses[self.uri] = False
            warnings.warn(
                f"the service of {self.uri} does not know conditional writes (If-None-Match): of "
                "two processes that begin the same store at the same moment both may go on; let "
                "one process create it",
                GlacierCubeWarning,
                stacklevel=2,
            )

    def delete(self, key: str) -> None:
        """Remove a key."""
        try:
            self._ask(key, lambda: self.client.delete(require_key(key)))
        except FileNotFoundError:
            return

    def names(self, folder: str) -> Iterator[str]:
        """Return the names of the keys in a folder."""
        found = self._ask(folder, lambda: self.client.list_with_delimiter(require_key(folder)))
        names = (entry["path"].rsplit("/", 1)[-1] for entry in found["objects"])
        yield from (name for name in names if not name.startswith("."))

    def keys(self) -> Iterator[str]:
        """Return all keys."""
        found = self._ask("", lambda: self.client.list().collect())
        yield from (entry["path"] for entry in found)

    def stamp(self, key: str) -> Hashable:
        """Return the entity tag of a key, its version and when it was written."""
        found = self._ask(key, lambda: self.client.head(require_key(key)))
        return found["e_tag"], found["version"], found["last_modified"]

    def exists(self) -> bool:
        """Say whether there is any key; StoreError if there is no bucket."""
        return self._ask("", lambda: next(iter(self.client.list(chunk_size=1)), None)) is not None

    def _ask(self, key: str, request: Callable[[], _Result]) -> _Result:
        """Return the answer to a request, repeated while its failure may pass."""
        return patiently(request, lambda error: explained(error, self.uri, key))


def _again(address, here):
    """Return the place of an address that was pickled."""
    if here not in (None, _HERE):
        raise StoreError(
            f"{address} lies in the memory of another process; write to a directory or a bucket "
            "when several processes work"
        )
    return Bucket(address)
