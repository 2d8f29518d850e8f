"""Disks that are full or cannot be written, at a write of a number or of a kind."""

import errno
import os
import threading
from contextlib import contextmanager

import zarr

from glaciercube.store.places import Directory

NEVER = 10**9


class Disk:
    """Says yes to what is written up to a moment, and no from then on until it is mended.

    Parameters
    ----------
    moment : int or str
        Number of the first write that is refused, or its kind as `kind_of` tells it; or NEVER.
    code : int
        Of the error.
    """

    def __init__(self, moment=1, code=errno.ENOSPC):
        self.moment, self.code, self.mended = moment, code, False
        self.kinds, self.refused, self._lock = [], [], threading.Lock()

    def take(self, key):
        """Note a write; raise if it is refused."""
        with self._lock:
            self.kinds.append(kind_of(str(key)))
            due = self.moment in (len(self.kinds), self.kinds[-1])
            if (due or self.refused) and not self.mended:
                self.refused.append(str(key))
                raise OSError(self.code, os.strerror(self.code), str(key))

    def take_removal(self, key):
        """Note that a file is removed: of a full disk it may be, of a read-only one not."""
        if self.code == errno.EROFS:
            self.take(key)


class OnDisk(Directory):
    """A directory all of whose writes a disk may refuse."""

    def __init__(self, path, disk):
        super().__init__(path)
        self.disk = disk

    def zarr(self, *, writable=False):
        return StoreOnDisk(self.path, self.disk, read_only=not writable)

    def write(self, key, content):
        self.disk.take(key)
        super().write(key, content)

    def create(self, key, content):
        self.disk.take(key)
        return super().create(key, content)

    def delete(self, key):
        self.disk.take_removal(key)
        super().delete(key)

    @contextmanager
    def making(self):
        with super().making() as draft:
            yield OnDisk(draft.path, self.disk)

    def beside(self, mark):
        return OnDisk(super().beside(mark).path, self.disk)


class StoreOnDisk(zarr.storage.LocalStore):
    """What Zarr writes to."""

    def __init__(self, root, disk, *, read_only=False):
        super().__init__(root, read_only=read_only)
        self.disk = disk

    def with_read_only(self, read_only=False):
        return StoreOnDisk(self.root, self.disk, read_only=read_only)

    async def set(self, key, value):
        self.disk.take(key)
        await super().set(key, value)

    async def delete(self, key):
        self.disk.take_removal(key)
        await super().delete(key)


def kind_of(key):
    """Return what a write is of: a folder or file of this package, or a part of an array."""
    parts = key.split("/")
    if "_glaciercube" in parts:
        return parts[1].removesuffix(".json")
    if key.endswith("zarr.json"):
        return "metadata"
    return "shard" if parts[0] in ("sample", "reflectance", "height") else "coordinate"
