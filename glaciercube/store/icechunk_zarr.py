"""An Icechunk repository as Zarr sees it: readers follow its commits, tasks write unseen."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import icechunk
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import WrapperStore

from glaciercube.errors import StoreError
from glaciercube.store.clients import patiently_async

TRUSTED_S = 30.0
"""For how long chunks of the last commit known are taken for the last (s)."""

METADATA = "zarr.json"
"""Name of the key that holds the metadata of a node."""

LONG = 1 << 16
"""Length of an array along time for a task that writes; more than one has."""

_Result = TypeVar("_Result")

_CHUNK = re.compile(r"(.+)/c((?:/\d+)*)")


class HasSession(Protocol):
    """A place with a session that reads, and its client."""

    uri: str

    @property
    def client(self) -> Any:
        """The client of this process."""

    def session(self, age_s: float) -> icechunk.Session:
        """Return a session that reads the last commit, or the last but some seconds."""


async def get_surely(
    store: Store, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
) -> Buffer | None:
    """Return the content of a key of an Icechunk store, or a part of it; None if there is none.

    Raises
    ------
    ConnectionError
        If it is there and was not read: Icechunk 1.1 takes any failure for a missing key.
    """
    found = await store.get(key, prototype, byte_range)
    if found is None and await _is_there(store, key):
        raise ConnectionError(f"I/O error: {key} is there, and was not read")
    return found


async def _is_there(store, key):
    try:
        return await store.exists(key)
    except KeyError:  # of the second version of Zarr
        return False


class _Patient(WrapperStore[Any]):
    """A store whose requests are repeated while their failure may pass, and errors explained."""

    def _explained(self, error: Exception) -> Exception:
        raise NotImplementedError

    async def _tried(self, request: Callable[[], Awaitable[_Result]]) -> _Result:
        return await patiently_async(request, self._explained)

    async def get(self, key, prototype, byte_range=None):
        """Return the content of a key, or a part of it; None if there is none."""
        return await self._tried(lambda: get_surely(self._store, key, prototype, byte_range))

    async def get_partial_values(self, prototype, key_ranges):
        """Return parts of keys."""
        asked = list(key_ranges)
        return await self._tried(lambda: self._store.get_partial_values(prototype, asked))

    async def exists(self, key):
        """Say whether there is a key."""
        return await self._tried(lambda: self._store.exists(key))

    async def _get_many(self, requests):
        for request in requests:
            yield request[0], await self.get(*request)

    async def list(self):
        """Return all keys."""
        for key in await self._tried(lambda: _all(self._store.list())):
            yield key

    async def list_prefix(self, prefix):
        """Return the keys that begin so."""
        for key in await self._tried(lambda: _all(self._store.list_prefix(prefix))):
            yield key

    async def list_dir(self, prefix):
        """Return the names of the keys and folders in a folder."""
        for name in await self._tried(lambda: _all(self._store.list_dir(prefix))):
            yield name


async def _all(keys):
    return [key async for key in keys]


class Following(_Patient):
    """The last commit of a repository, also of those to come; pickled by its address."""

    def __init__(self, place: HasSession):
        self.place = place

    def _explained(self, error: Exception) -> Exception:
        return self.place.client.explained(error)

    @property
    def _store(self) -> Store:
        return self.place.session(TRUSTED_S).store

    @property
    def read_only(self) -> bool:
        """It is, always."""
        return True

    @property
    def _is_open(self) -> bool:
        return True

    @_is_open.setter
    def _is_open(self, value: bool) -> None:
        """Stay open: each commit has a store of its own."""

    async def _open(self) -> None:
        """Do nothing: each commit has a store of its own."""

    async def _ensure_open(self) -> None:
        """Do nothing: each commit has a store of its own."""

    def with_read_only(self, read_only: bool = False) -> "Following":
        """Return the same store; ValueError if it is to be written to."""
        if not read_only:
            raise ValueError(f"{self.place.uri} is read-only outside of a transaction")
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: no session."""
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        """Say whether the places are equal."""
        return isinstance(other, Following) and self.place == other.place

    def __str__(self) -> str:
        """Return the address."""
        return self.place.uri

    def __repr__(self) -> str:
        """Return the address."""
        return f"Following({self.place.uri!r})"


@dataclass
class Stretched:
    """An array that a task has written to, and that is longer for it than for readers."""

    length: int
    """Along its first dimension, when the task began; 0 of a new array."""

    meant: bytes
    """Metadata as the task sees them, and as they are to be."""

    own: bool
    """Whether the task changed them."""

    need: int = 0
    """Length that holds all that the task wrote."""


class Staged(_Patient):
    """What one task writes, also behind the end of an array along time.

    Icechunk refuses chunks behind an array's end, and loses chunks when the changes of two
    tasks are merged to which an array had different lengths. So an array along time is LONG
    beneath for every task that writes to it, and looks as it is.

    Parameters
    ----------
    fork : ForkSession
        Of the task.
    stretched : dict
        By the path of the array; kept up to date.
    explained : callable
        Returns the error that a user understands instead of one of Icechunk.
    read_only : bool
    """

    def __init__(
        self,
        fork: icechunk.ForkSession,
        stretched: dict[str, Stretched],
        explained: Callable[[Exception], Exception],
        *,
        read_only: bool = False,
    ):
        super().__init__(fork.store)
        self._fork, self._stretched = fork, stretched
        self._explain, self._reads = explained, read_only

    def _explained(self, error: Exception) -> Exception:
        return self._explain(error)

    @property
    def read_only(self) -> bool:
        """Whether it may not be written to."""
        return self._reads

    def with_read_only(self, read_only: bool = False) -> "Staged":
        """Return the same store, to read only or to write too."""
        return Staged(self._fork, self._stretched, self._explain, read_only=read_only)

    def _check_writable(self) -> None:
        if self._reads:
            raise ValueError("store was opened in read-only mode and does not support writing")

    def __getstate__(self) -> dict[str, Any]:
        """Refuse: what another process writes with it would be lost.

        Raises
        ------
        StoreError
            Always.
        """
        raise StoreError(
            "a task's own Icechunk store cannot be pickled, what is written with the copy would "
            "be lost; pickle the place, and let each task begin with place.writing()"
        )

    def __eq__(self, other: object) -> bool:
        """Say whether both are of the same task."""
        return isinstance(other, Staged) and self._fork is other._fork

    async def get(self, key, prototype, byte_range=None):
        """Return the content of a key, or a part of it; None if there is none."""
        path = _described(key)
        if path in self._stretched:
            return prototype.buffer.from_bytes(self._stretched[path].meant)
        return await super().get(key, prototype, byte_range)

    async def set(self, key, value):
        """Write a key, behind the end of an array along time too."""
        self._check_writable()
        await self._tried(lambda: self._set(key, value))

    async def _set(self, key, value):
        path, place = _chunk(key)
        if path is not None:
            await self._stretch(path, place)
            await self._store.set(key, value)
            return
        path = _described(key)
        content = value.to_bytes()
        if path is not None and await self._is_along_time(content):
            await self._stretch(path, [], content)
        else:
            await self._store.set(key, value)

    async def set_if_not_exists(self, key, value):
        """Write a key unless it exists."""
        if not await self.exists(key):
            await self.set(key, value)

    async def _set_many(self, values):
        for key, value in values:
            await self.set(key, value)

    async def delete(self, key):
        """Remove a key; nothing happens if there is none."""
        self._check_writable()
        await self._tried(lambda: self._delete(key))

    async def _delete(self, key):
        path, place = _chunk(key)
        if path is None:
            self._stretched.pop(_described(key) or "", None)
        elif await self._store.exists(f"{path}/{METADATA}"):
            await self._stretch(path, place, delete=True)
        else:
            return
        await self._store.delete(key)

    async def delete_dir(self, prefix):
        """Remove all below a folder."""
        self._check_writable()
        inside = f"{prefix.rstrip('/')}/" if prefix else ""
        for path in [path for path in self._stretched if f"{path}/".startswith(inside)]:
            del self._stretched[path]
        await self._store.delete_dir(prefix)

    async def _is_along_time(self, content):
        metadata = json.loads(content)
        names = metadata.get("dimension_names") or [None]
        return names[0] == "time" and metadata["shape"][0] < LONG

    async def _stretch(self, path, place: Sequence[int], content=None, *, delete=False):
        """Make an array long for this task, and note how long it must be, or is to be."""
        known = self._stretched.get(path)
        if known is None:
            found = await get_surely(self._store, f"{path}/{METADATA}", default_buffer_prototype())
            before = None if found is None else found.to_bytes()
            if (before or content) is None or not await self._is_along_time(before or content):
                return
            length = json.loads(before)["shape"][0] if before else 0
            known = Stretched(length, before or content, own=False)
            self._stretched[path] = known
            await self._lengthen(path, known.meant)
        if content is not None and (content != known.meant or not known.length):
            known.meant, known.own = content, True
            known.need = min(known.need, json.loads(content)["shape"][0])
            await self._lengthen(path, content)
        if place and not delete:
            step = json.loads(known.meant)["chunk_grid"]["configuration"]["chunk_shape"][0]
            known.need = max(known.need, step * place[0] + 1)

    async def _lengthen(self, path, content):
        metadata = json.loads(content)
        metadata["shape"][0] = LONG
        changed = default_buffer_prototype().buffer.from_bytes(json.dumps(metadata).encode())
        await self._store.set(f"{path}/{METADATA}", changed)


def _described(key):
    """Return the path of the node whose metadata a key holds; None if it holds others."""
    path, _, name = key.rpartition("/")
    return path if name == METADATA else None


def _chunk(key: str) -> tuple[str | None, Sequence[int]]:
    """Return the path of the array and the place of the chunk that a key holds, if it does."""
    found = _CHUNK.fullmatch(key)
    if found is None:
        return None, []
    return found[1], [int(part) for part in found[2].split("/") if part]
