"""A bucket as Zarr sees it: no client in its pickle, patient, its errors explained."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol, Self, TypeVar

import obstore
import zarr
from zarr.abc.store import Store

from glaciercube.store.clients import patiently_async
from glaciercube.store.object_clients import explained

WHOLE_PUT = 64 << 20
"""Bytes that are sent in one request at most, and of one part beyond (B)."""

_Result = TypeVar("_Result")


class HasClient(Protocol):
    """A place with a client of obstore."""

    uri: str

    @property
    def client(self) -> Any:
        """The client of this process."""


class Objects(zarr.storage.ObjectStore):
    """A bucket as Zarr sees it: by its address alone when pickled, patient, errors explained."""

    def __init__(self, place: HasClient, *, read_only: bool = False):
        Store.__init__(self, read_only=read_only)
        self.place = place

    @property
    def store(self) -> Any:
        """The client of this process."""
        return self.place.client

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the same store, to read only or to write too."""
        return type(self)(self.place, read_only=read_only)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: no client."""
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled."""
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        """Say whether the places are equal."""
        return (
            isinstance(other, Objects)
            and self.place == other.place
            and self.read_only == other.read_only
        )

    def __str__(self) -> str:
        """Return the address."""
        return self.place.uri

    async def get(self, key, prototype, byte_range=None):
        """Return the content of a key, or a part of it; None if there is none."""
        return await self._tried(key, lambda: self._get(key, prototype, byte_range))

    async def _get(self, key, prototype, byte_range):
        try:
            return await super().get(key, prototype, byte_range)
        except ValueError:  # obstore refuses an empty range; no Zarr key is empty
            return None

    async def get_partial_values(self, prototype, key_ranges):
        """Return parts of keys."""
        asked = list(key_ranges)
        return await self._tried(
            "", lambda: super(Objects, self).get_partial_values(prototype, asked)
        )

    async def exists(self, key):
        """Say whether there is a key."""
        return await self._tried(key, lambda: super(Objects, self).exists(key))

    async def set(self, key, value):
        """Write a key, all of it at once."""
        self._check_writable()
        content = value.as_buffer_like()
        await self._tried(
            key,
            lambda: obstore.put_async(
                self.store, key, content, use_multipart=len(value) > WHOLE_PUT, chunk_size=WHOLE_PUT
            ),
        )

    async def set_if_not_exists(self, key, value):
        """Write a key unless it exists."""
        await self._tried(key, lambda: super(Objects, self).set_if_not_exists(key, value))

    async def delete(self, key):
        """Remove a key."""
        await self._tried(key, lambda: super(Objects, self).delete(key))

    async def getsize(self, key):
        """Return the number of bytes of a key."""
        return await self._tried(key, lambda: super(Objects, self).getsize(key))

    async def _list(self, prefix=None) -> AsyncGenerator[Any, None]:
        for item in await self._tried(
            prefix or "", lambda: obstore.list(self.store, prefix=prefix).collect_async()
        ):
            yield item

    async def list_dir(self, prefix):
        """Return the names of the keys and folders in a folder."""
        folder = prefix.rstrip("/")
        found = await self._tried(
            prefix, lambda: obstore.list_with_delimiter_async(self.store, prefix=folder)
        )
        objects = [entry["path"] for entry in found["objects"]]
        for path in (*found["common_prefixes"], *objects):
            yield path.removeprefix(f"{folder}/" if folder else "").rstrip("/")

    async def _tried(self, key: str, request: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the answer to a request, repeated while its failure may pass."""
        return await patiently_async(request, lambda error: explained(error, self.place.uri, key))
