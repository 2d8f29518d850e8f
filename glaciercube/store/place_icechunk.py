"""Stores in Icechunk repositories: each commit is seen whole or not at all, and none is lost."""

import hashlib
import threading
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import icechunk
from zarr.abc.store import Store
from zarr.core.sync import sync

from glaciercube.errors import StoreError
from glaciercube.store import documents, merging
from glaciercube.store.clients import require_plain
from glaciercube.store.icechunk_clients import RepositoryClient, client_of
from glaciercube.store.icechunk_zarr import METADATA, Following, Staged, Stretched
from glaciercube.store.merging import Token, get_key
from glaciercube.store.places import ICECHUNK, Place, require_key

FRESH_S = 1.0
"""For how long documents of the last commit known are taken for the last (s)."""


class Repository(Place):
    """A store in an Icechunk repository; its pickle is its address.

    Readers see the last commit on the branch main. A document that is written here is a commit
    of its own; arrays are written, and documents with them, by what `writing` returns.

    Parameters
    ----------
    address : str
        icechunk+file:///folder or icechunk+s3://bucket/prefix.

    Raises
    ------
    StoreError
        If the address is of another kind, or holds a password or a query.
    """

    consolidates = False

    def __init__(self, address: str):
        self.uri = ICECHUNK + require_plain(address.removeprefix(ICECHUNK))
        client_of(self.uri)  # refuses what is no address of a repository

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again: from its address."""
        return Repository, (self.uri,)

    @property
    def client(self) -> RepositoryClient:
        """The client of this process."""
        return client_of(self.uri)

    def zarr(self, *, writable: bool = False) -> Store:
        """Return the store as Zarr sees it: as the last commit says, also of later ones.

        Raises
        ------
        StoreError
            If it is to be written to, which only a transaction can.
        """
        if writable:
            raise StoreError(
                f"{self.uri} is written by transactions: branch = place.writing(), then "
                "place.commit([branch.token()], message)"
            )
        return Following(self)

    def session(self, age_s: float) -> icechunk.Session:
        """Return a session that reads the last commit, or the last but some seconds."""
        return self.client.session(age_s)

    def read(self, key: str) -> bytes:
        """Return the content of a key."""
        require_key(key)
        held = self._held()
        if key in held:
            return _required(held[key], self, key)
        session = self.session(FRESH_S)
        return _required(self.client.ask(lambda: _content(session, key)), self, key)

    def write(self, key: str, content: bytes) -> None:
        """Write a document, in a commit of its own."""
        self._put(key, content, f"write {key}")

    def create(self, key: str, content: bytes) -> bool:
        """Write a document unless it exists, in a commit of its own."""
        _require_document(key)

        def work(session):
            if _content(session, key) is not None:
                return False
            sync(merging.put_documents(session.store, {key: content}))
            return True

        return self.client.commit(work, f"create {key}")

    def delete(self, key: str) -> None:
        """Remove a document, in a commit of its own."""
        try:
            self.read(key)
        except FileNotFoundError:
            return
        self._put(key, None, f"delete {key}")

    def _put(self, key, content, message):
        _require_document(key)
        self.commit([Token(None, {key: content})], message)

    def names(self, folder: str) -> Iterator[str]:
        """Return the names of the documents in a folder, or of Zarr's keys."""
        require_key(folder)
        try:
            session = self.session(0)
        except FileNotFoundError:
            return
        yield from self.client.ask(lambda: _names(session, folder, self._held()))

    def stamp(self, key: str) -> Hashable:
        """Return a digest of a key's content: a store that says the same is the same."""
        return hashlib.sha256(self.read(key)).hexdigest()

    def exists(self) -> bool:
        """Say whether there is a repository, or anything else in its directory."""
        return self.client.exists()

    def writing(self) -> "Branch":
        """Return a branch of a transaction: of one task, or to be pickled for many."""
        self.client.made()
        return Branch(self)

    def commit(self, tokens: Sequence[Any], message: str) -> None:
        """Let readers see what tasks wrote, all of it at once.

        Parameters
        ----------
        tokens : sequence of Token
            Of branches of `writing`.
        message : str
            Of the commit.

        Raises
        ------
        StoreError
            If others committed something else in the place of what was written since the
            tasks began.

        Notes
        -----
        Blocks behind the end of an array wait in this process until a commit makes the array
        longer, and so do the documents written with them; this process reads these already.
        """
        merging.commit(self.client, [token for token in tokens if token is not None], message)

    def _held(self):
        return {key: one for token in self.client.held for key, one in token.documents.items()}


class Branch(Place):
    """What one task writes of a transaction, unseen until its token is committed.

    A pickled one begins anew, at the last commit. Each task begins with `writing`, and ends
    with `token`.
    """

    consolidates = False
    shared = False

    def __init__(self, repository: Repository):
        self.repository = repository
        self.uri = repository.uri
        self._fork: icechunk.ForkSession | None = None
        self._documents: dict[str, bytes | None] = {}
        self._stretched: dict[str, Stretched] = {}
        self._thread: int | None = None
        self._ended = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make it again: without what was written."""
        return Branch, (self.repository,)

    @property
    def client(self) -> RepositoryClient:
        """The client of this process."""
        return self.repository.client

    @property
    def fork(self) -> icechunk.ForkSession:
        """The session of this task.

        Raises
        ------
        StoreError
            If another task has written with it.
        """
        self._require_own()
        if self._fork is None:
            self._fork = self.client.fork()
        return self._fork

    def _require_own(self):
        here = threading.get_ident()
        if self._thread is None:
            self._thread = here
        if self._ended or self._thread != here:
            raise StoreError(
                f"a branch of {self.uri} belongs to one task: begin each task with "
                "place = place.writing(), and end it with place.token()"
            )

    def zarr(self, *, writable: bool = False) -> Store:
        """Return the store as Zarr sees it, with what this task has written."""
        return self._staged().with_read_only(not writable)

    def _staged(self):
        return Staged(self.fork, self._stretched, self.client.explained)

    def read(self, key: str) -> bytes:
        """Return the content of a key, as this task has written it or as it was committed."""
        require_key(key)
        if key in self._documents:
            return _required(self._documents[key], self, key)
        return _required(self.client.ask(lambda: _content(self.fork, key)), self, key)

    def write(self, key: str, content: bytes) -> None:
        """Write a document, to be committed with the arrays."""
        _require_document(key)
        documents.packed(content, key)
        self._require_own()
        self._documents[key] = content

    def create(self, key: str, content: bytes) -> bool:
        """Refuse: who is first is known only when it is committed.

        Raises
        ------
        StoreError
            Always.
        """
        raise StoreError(
            f"{key!r} cannot be created within a transaction of {self.uri}, which others do not "
            "see; create it with the place that writing() was called of"
        )

    def delete(self, key: str) -> None:
        """Remove a document or a chunk."""
        require_key(key)
        if documents.is_document(key):
            self._require_own()
            self._documents[key] = None
        else:
            sync(self._staged().delete(key))

    def names(self, folder: str) -> Iterator[str]:
        """Return the names of the documents in a folder, or of Zarr's keys."""
        require_key(folder)
        yield from self.client.ask(lambda: _names(self.fork, folder, self._documents))

    def stamp(self, key: str) -> Hashable:
        """Return a digest of a key's content."""
        return hashlib.sha256(self.read(key)).hexdigest()

    def exists(self) -> bool:
        """Say whether there is a repository."""
        return self.repository.exists()

    def writing(self) -> "Branch":
        """Return a branch for one task."""
        return Branch(self.repository)

    def token(self) -> Token:
        """Return what this task wrote, and end it."""
        self._require_own()
        self._ended = True
        changed = self._fork is not None and self._fork.has_uncommitted_changes
        return Token(self._fork if changed else None, dict(self._documents), dict(self._stretched))

    def commit(self, tokens: Sequence[Any], message: str) -> None:
        """Let readers see what tasks wrote."""
        self.repository.commit(tokens, message)


def _require_document(key):
    require_key(key)
    if not documents.is_document(key):
        raise StoreError(
            f"only documents below {documents.FOLDER}/ are written by their keys, Zarr's own "
            f"({key!r}) by zarr(writable=True)"
        )


def _required(content, place, key):
    if content is None:
        raise FileNotFoundError(f"there is no {place.uri}/{key}")
    return content


def _content(session, key):
    """Return the content of a key in a session; None if there is none."""
    if not documents.is_document(key):
        return get_key(session.store, key)
    chunk = get_key(session.store, documents.spot_of(key).key)
    return None if chunk is None else documents.unpacked(chunk)


def _names(session, folder, own):
    """Return the names of the keys in a folder of a session, with what is not committed yet."""
    inside = {key.rpartition("/")[2]: one for key, one in own.items() if _folder(key) == folder}
    found = sync(_names_in(session, folder)) - {key for key, one in inside.items() if one is None}
    return found | {key for key, one in inside.items() if one is not None}


def _folder(key):
    return key.rpartition("/")[0]


async def _names_in(session, folder):
    found: set[str] = set()
    whole = documents.is_document(f"{folder}/")
    async for child in session.store.list_dir(folder):
        node = f"{folder}/{child}"
        if not whole:
            if await session.store.exists(node):
                found.add(child)
        elif child != METADATA:
            found |= await _names_of(session, node)
    return found


async def _names_of(session, node):
    """Return the names of the documents in one array; none if the node is a folder."""
    parts = node.rsplit("/", 1)[-1].split(".")
    if documents.NUMBER in parts:
        places = [place async for place in session.chunk_coordinates(f"/{node}")]
        return {documents.name_of(node, tuple(place)) for place in places}
    if len(parts) == 1:  # a folder
        return set()
    return (
        {parts and node.rsplit("/", 1)[-1]} if await session.store.exists(f"{node}/c/0") else set()
    )
