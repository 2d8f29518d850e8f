"""Where a store lies: one small interface, and the directory of a file system behind it."""

import errno
import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import zarr
from zarr.abc.store import Store

from glaciercube.errors import StoreError
from glaciercube.optional import load

REMOTE = ("s3://", "gs://", "gcs://", "az://", "abfs://", "memory://")
"""Beginnings of the addresses that obstore opens."""

ICECHUNK = "icechunk+"
"""Beginning of the address of an Icechunk repository: icechunk+file:///..., icechunk+s3://..."""

_KEY = re.compile(r"[\w.-]+(/[\w.-]+)*")


class Place(ABC):
    """Where one store lies. Small, and safe to pickle: it holds no connection and no secret.

    Keys are relative to the store, with slashes: "zarr.json", "valid/c/0/1/2",
    "_glaciercube/ledger/0.1.2.json". What is not Zarr's own lies under "_glaciercube".
    """

    uri: str
    """Address of the store, absolute; `place_of` makes the same place of it."""

    consolidates: bool = True
    """Whether readers see what the consolidated metadata say, and not before."""

    shared: bool = True
    """Whether all objects of this address see the same; False for a branch of a transaction."""

    @abstractmethod
    def zarr(self, *, writable: bool = False) -> Store:
        """Return the store as Zarr sees it."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the content of a key; FileNotFoundError if there is none."""

    @abstractmethod
    def write(self, key: str, content: bytes) -> None:
        """Write a key so that others see all of it or nothing; replaces what was there."""

    @abstractmethod
    def create(self, key: str, content: bytes) -> bool:
        """Write a key unless it exists; return whether it was written. One of many wins."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a key; nothing happens if there is none."""

    @abstractmethod
    def names(self, folder: str) -> Iterator[str]:
        """Return the names of the keys directly in a folder, in any order."""

    def keys(self) -> Iterator[str]:
        """Return all keys, in any order; none where only Zarr knows them."""
        return iter(())

    @abstractmethod
    def stamp(self, key: str) -> Hashable:
        """Return what changes when a key is written again; FileNotFoundError if there is none."""

    @abstractmethod
    def exists(self) -> bool:
        """Say whether there is anything at all."""

    def writing(self) -> "Place":
        """Return the place for tasks that write, which may run in other processes.

        The same place where writes are seen at once; a branch of a transaction elsewhere.
        """
        return self

    def token(self) -> Any:
        """Return what a task that wrote hands back to `commit`."""
        return None

    def commit(self, tokens: Sequence[Any], message: str) -> None:
        """Make what the tasks of `writing` wrote seen by others; at once where it is already."""
        return

    @contextmanager
    def making(self) -> Iterator["Place"]:
        """Give a place in which to make an empty store, which then stands in this one."""
        yield self

    def beside(self, mark: str) -> "Place":
        """Return the place of an unfinished store that is to replace this one.

        Raises
        ------
        StoreError
            If a store at such a place cannot be replaced in one step.
        """
        raise StoreError(
            f"{self.uri} cannot be replaced in one step, as a directory can; write to another "
            "address, and remove this one when the new store is complete"
        )

    def replace(self, new: "Place") -> None:
        """Let a complete store that grew `beside` this one take its place."""
        raise NotImplementedError

    @property
    def address(self) -> str | Path:
        """Address as a user writes it."""
        return self.uri

    @property
    def name(self) -> str:
        """Last part of the address, for reports."""
        return self.uri.rstrip("/").rsplit("/", 1)[-1]

    def __str__(self) -> str:
        """Return the address."""
        return self.uri

    def __eq__(self, other: object) -> bool:
        """Places are equal if their addresses are."""
        return type(self) is type(other) and str(self) == str(other)

    def __hash__(self) -> int:
        """Return the hash of the address."""
        return hash((type(self).__name__, self.uri))


def require_key(key: str) -> str:
    """Return a key that stays within its store.

    Raises
    ------
    StoreError
        If it does not: an absolute path, "..", a backslash.

    Examples
    --------
    >>> require_key("valid/c/0/1/2")
    'valid/c/0/1/2'
    """
    if not _KEY.fullmatch(key) or {".", ".."} & set(key.split("/")):
        raise StoreError(
            f"a key of a store is names with slashes between, such as 'valid/c/0/1', found {key!r}"
        )
    return key


class Directory(Place):
    """A store in a directory of a file system."""

    def __init__(self, path: str | os.PathLike):
        """Take a path, which may not exist yet."""
        self.path = Path(os.path.abspath(path))
        self.uri = str(self.path)

    def file(self, key: str) -> Path:
        """Return the file of a key."""
        return self.path / require_key(key)

    def zarr(self, *, writable: bool = False) -> Store:
        """Return the store as Zarr sees it."""
        return zarr.storage.LocalStore(self.path, read_only=not writable)

    def read(self, key: str) -> bytes:
        """Return the content of a key."""
        try:
            with open(f"{self.uri}/{require_key(key)}", "rb") as file:  # a Path takes as long
                return file.read()
        except NotADirectoryError as error:
            raise FileNotFoundError(str(error)) from None

    def write(self, key: str, content: bytes) -> None:
        """Write a key so that others see all of it or nothing."""
        target = self.file(key)
        draft = self._draft(target, content)
        try:
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)

    def create(self, key: str, content: bytes) -> bool:
        """Write a key unless it exists; return whether it was written."""
        target = self.file(key)
        draft = self._draft(target, content)
        try:
            os.link(draft, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            return _create(target, content)  # a file system without hard links
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _draft(self, target, content):
        """Write a file beside its place, whole or not at all."""
        draft = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
        try:
            draft.write_bytes(content)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(content)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def delete(self, key: str) -> None:
        """Remove a key."""
        self.file(key).unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """Return the names of the keys in a folder."""
        try:
            with os.scandir(self.file(folder)) as entries:
                yield from (
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and not entry.is_dir()
                )
        except (FileNotFoundError, NotADirectoryError):
            return

    def keys(self) -> Iterator[str]:
        """Return all files."""
        for folder, _, names in os.walk(self.path):
            inside = Path(folder).relative_to(self.path)
            yield from ((inside / name).as_posix() for name in names)

    def stamp(self, key: str) -> Hashable:
        """Return the file's number and when it was written."""
        status = os.stat(self.file(key))
        return status.st_ino, status.st_mtime_ns

    def exists(self) -> bool:
        """Say whether there is a file or directory of this name."""
        return self.path.exists()

    @contextmanager
    def making(self) -> Iterator[Place]:
        """Give a hidden directory beside this one, which is renamed when it is made."""
        draft = self.path.with_name(f".{self.path.name}.{uuid4().hex}.draft")
        try:
            draft.mkdir(parents=True)
            yield Directory(draft)
            os.rename(draft, self.path)
        except BaseException:
            _remove(draft)
            raise

    def beside(self, mark: str) -> Place:
        """Return the hidden directory of an unfinished store that is to replace this one."""
        return Directory(self.path.with_name(f".{self.path.name}.{mark}.new"))

    def replace(self, new: Place) -> None:
        """Let a complete store that grew `beside` this one take its place."""
        old = self.path.with_name(f".{self.path.name}.{uuid4().hex}.old")
        try:
            if self.path.exists():
                os.rename(self.path, old)
            os.rename(new.uri, self.path)
        except OSError as error:
            raise StoreError(
                f"the new store {new.uri!r} is complete but cannot replace {self.uri!r}: {error}"
            ) from error
        shutil.rmtree(old, ignore_errors=True)

    @property
    def address(self) -> str | Path:
        """The path."""
        return self.path


def _create(target, content):
    """Write a file that must not exist; return whether it was written."""
    try:
        with open(target, "xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _remove(folder):
    """Remove a folder into which something may still be written.

    Where one of the writes fails that Zarr begins together, it does not wait for the others.
    """
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
        if not folder.exists():
            return


def place_of(path: str | os.PathLike | Place) -> Place:
    """Return the place of an address.

    Parameters
    ----------
    path : str, path or Place
        A directory; the address of an object store, such as s3://bucket/prefix (needs
        obstore); or of an Icechunk repository, such as icechunk+file:///data/repo. Credentials
        come from the environment of each process that reads or writes.

    Raises
    ------
    StoreError
        If the address is of no known kind.
    ImportError
        If the package for it is not installed, with the line that installs it.

    Examples
    --------
    >>> place_of("/data/aletsch.zarr").name
    'aletsch.zarr'
    """
    if isinstance(path, Place):
        return path
    text = os.fspath(path)
    if text.startswith(ICECHUNK):
        return load("glaciercube.store.place_icechunk").Repository(text)
    if text.startswith(REMOTE):
        return load("glaciercube.store.place_objects").Bucket(text)
    if "://" in text:
        raise StoreError(
            f"a store is a directory or an address that begins with one of {[*REMOTE, ICECHUNK]}, "
            f"found {text!r}"
        )
    return Directory(text)
