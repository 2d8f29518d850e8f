"""Several tasks' changes as one commit of an Icechunk repository: nothing is lost silently."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import icechunk
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from glaciercube.errors import StoreError
from glaciercube.store import documents
from glaciercube.store.icechunk_clients import RepositoryClient
from glaciercube.store.icechunk_zarr import METADATA, Stretched, get_surely


@dataclass(frozen=True)
class Token:
    """What one task wrote: chunks by reference, documents as they are."""

    fork: icechunk.ForkSession | None
    documents: Mapping[str, bytes | None]
    """By key; None of those that were removed."""

    stretched: Mapping[str, Stretched] = field(default_factory=dict)
    """Arrays along time that the task wrote to, by path."""


def commit(client: RepositoryClient, tokens: Sequence[Token], message: str) -> None:
    """Commit what tasks wrote, and keep back what lies behind an array's end.

    Parameters
    ----------
    client : RepositoryClient
    tokens : sequence of Token
    message : str
        Of the commit.

    Raises
    ------
    StoreError
        If another commit since the tasks began changed what they changed, to something else:
        nothing is committed then.

    Notes
    -----
    Icechunk drops chunks behind an array's end when it commits. So these wait in this process
    until a commit makes the array longer: dates and their data are seen at once.
    """
    waiting: list[Token] = []

    def work(session):
        waiting[:] = _merge(client, session, [*client.held, *tokens])
        return session.has_uncommitted_changes

    try:
        client.commit(work, message)
    except StoreError:
        client.held = []
        raise
    client.held = list(waiting)


def _merge(client, session, tokens):
    """Merge tokens into a session of the last commit; return those that must wait."""
    others = _Others(client, session)
    ready, meant = _ready(tokens, others)
    forks = [(one.fork, one.stretched) for one in ready if one.fork is not None]
    _require_apart(fork for fork, _ in forks)
    kept = [fork for fork, stretched in forks if not others.hold(fork, stretched)]
    session.merge(*kept)
    made = {path.strip("/") for fork in kept for path in _nodes(fork.status())}
    for path, content in meant.items():
        if path in made:
            _set(session.store, f"{path}/{METADATA}", content)
    sync(put_documents(session.store, {k: v for one in ready for k, v in one.documents.items()}))
    return [token for token in tokens if all(token is not one for one in ready)]


def _ready(tokens, others):
    """Return the tokens whose chunks lie within the arrays, and how these are to be."""
    ready = list(tokens)
    while True:
        meant: dict[str, bytes] = {}
        for token in ready:
            for path, one in token.stretched.items():
                before = meant.get(path) or others.metadata(path) or one.meant
                meant[path] = one.meant if one.own else before
        fitting = [
            token
            for token in ready
            if all(_length(meant[path]) >= one.need for path, one in token.stretched.items())
        ]
        if len(fitting) == len(ready):
            return ready, meant
        ready = fitting


def _length(metadata):
    return json.loads(metadata)["shape"][0]


def _nodes(changes):
    """Return the nodes whose metadata were changed or made."""
    return changes.new_arrays | changes.new_groups | changes.updated_arrays | changes.updated_groups


def _require_apart(forks):
    """Raise where two tasks made the same node: the one would hide the other."""
    made: set[str] = set()
    for fork in forks:
        status = fork.status()
        own = status.new_arrays | status.new_groups
        if both := sorted(made & own):
            raise StoreError(f"two tasks of one commit made the same arrays or groups: {both}")
        made |= own


class _Others:
    """What others committed since a task began, compared with what the task changed."""

    def __init__(self, client, session):
        self._client, self._tip = client, session.snapshot_id
        self._store = self._at(self._tip)
        self._diffs: dict[str, Any] = {}
        self._metadata: dict[str, bytes | None] = {}

    def metadata(self, path: str) -> bytes | None:
        """Return the metadata of a node in the last commit; None if there is no such node."""
        if path not in self._metadata:
            self._metadata[path] = get_key(self._store, f"{path}/{METADATA}")
        return self._metadata[path]

    def hold(self, fork: icechunk.ForkSession, stretched: Mapping[str, Stretched]) -> bool:
        """Say whether the last commit holds all that a task changed, so that nothing is to merge.

        Parameters
        ----------
        fork : ForkSession
            Of the task.
        stretched : mapping
            Arrays along time that it wrote to.

        Raises
        ------
        StoreError
            If others changed the same to something else.
        """
        if fork.snapshot_id == self._tip:
            return False
        task = _Task(fork, stretched)
        lines = self._conflicts(task)
        if not lines:
            return False
        if all(self._same(task, key) for key in task.keys()):
            return True
        raise StoreError(
            f"{self._client.address} was changed by another writer since this one began:\n  "
            + "\n  ".join(lines[:10])
            + "\nnothing of this commit is stored; write again, which goes on from what is there"
        )

    def _conflicts(self, task):
        other, own = self._since(task.fork.snapshot_id), task.changes
        replaced = other.new_arrays | other.deleted_arrays | other.new_groups | other.deleted_groups
        touched = {*own.updated_arrays, *own.updated_groups, *own.updated_chunks}
        made = own.new_arrays | own.new_groups
        gone = own.deleted_arrays | own.deleted_groups
        changed = {*other.updated_arrays, *other.updated_groups, *other.updated_chunks}
        base = self._at(task.fork.snapshot_id)
        described = {key for key in _described(other) if not self._equal(base, self._store, key)}
        fixed = {
            _metadata_key(path) for path in own.updated_chunks if path[1:] not in task.stretched
        }
        lines = [f"{path} was replaced" for path in touched | gone if _in(path, replaced)]
        lines += [f"{path} was made" for path in made & replaced]
        lines += [f"{path} was changed" for path in changed if _in(path, gone)]
        lines += [f"{key} was changed" for key in fixed & described]
        both = described.intersection(task.metadata())
        both |= set(task.chunks()).intersection(_chunks(other))
        both |= {key for key in task.chunks() if self._is_new(task, key)}
        lines += [f"{key} was changed" for key in both if not self._same(task, key)]
        return sorted(lines)

    def _at(self, snapshot):
        return self._client.repository().readonly_session(snapshot_id=snapshot).store

    def _since(self, base):
        if base not in self._diffs:
            self._diffs[base] = self._client.repository().diff(
                from_snapshot_id=base, to_snapshot_id=self._tip
            )
        return self._diffs[base]

    def _is_new(self, task, key):
        """Say whether a chunk lies where others made an array longer since the task began."""
        path, _, place = key.rpartition("/c/")
        known, now = task.stretched.get(path), self.metadata(path)
        if known is None or now is None:
            return False
        metadata = json.loads(now)
        step = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        return known.length <= int(place.split("/")[0]) * step < metadata["shape"][0]

    def _same(self, task, key):
        path, _, name = key.rpartition("/")
        if name == METADATA and path in task.stretched:
            return _content(key, task.stretched[path].meant) == _content(key, self.metadata(path))
        return self._equal(task.fork.store, self._store, key)

    @staticmethod
    def _equal(one, other, key):
        return _content(key, get_key(one, key)) == _content(key, get_key(other, key))


@dataclass(frozen=True)
class _Task:
    """What one task changed."""

    fork: icechunk.ForkSession
    stretched: Mapping[str, Stretched]

    @cached_property
    def changes(self):
        return self.fork.status()

    def metadata(self):
        """Return the keys of the metadata that it changed, not of arrays that only look longer."""
        given = {f"{path}/{METADATA}" for path, one in self.stretched.items() if not one.own}
        return [key for key in _described(self.changes) if key not in given]

    def chunks(self):
        """Return the keys of the chunks that it wrote or removed."""
        return _chunks(self.changes)

    def keys(self):
        """Return the keys of all that it changed."""
        gone = self.changes.deleted_arrays | self.changes.deleted_groups
        return [*self.chunks(), *self.metadata(), *(_metadata_key(path) for path in gone)]


def _content(key, content):
    """Return what counts of a key: what metadata say, not how they are written."""
    return json.loads(content) if content and key.endswith(METADATA) else content


def _in(path, nodes):
    """Say whether a node is one of others, or below one."""
    return any(path == node or path.startswith(f"{node.rstrip('/')}/") for node in nodes)


def _metadata_key(path):
    return f"{path.strip('/')}/{METADATA}".strip("/")


def _described(changes):
    return [_metadata_key(path) for path in _nodes(changes)]


def _chunks(changes):
    return [
        "/".join([path.strip("/"), "c", *map(str, place)])
        for path, places in changes.updated_chunks.items()
        for place in places
    ]


async def put_documents(store: Store, contents: Mapping[str, bytes | None]) -> None:
    """Write documents, and remove those whose content is None.

    Parameters
    ----------
    store : Store
        Of a session that can write.
    contents : mapping
        By key.
    """
    known: set[str] = set()
    buffer = default_buffer_prototype().buffer
    for key, content in contents.items():
        spot = documents.spot_of(key)
        if content is None:
            await _remove(store, spot)
            known.discard(spot.node)
            continue
        for node in ("", *spot.groups):
            await _ensure(store, node, documents.group_metadata(), known)
        await _ensure(store, spot.node, documents.array_metadata(spot), known)
        await store.set(spot.key, buffer.from_bytes(documents.packed(content, key)))


async def _ensure(store, node, metadata, known):
    if node in known:
        return
    key = f"{node}/{METADATA}".strip("/")
    if not await store.exists(key):
        await store.set(key, default_buffer_prototype().buffer.from_bytes(metadata))
    known.add(node)


async def _remove(store, spot):
    if not await store.exists(f"{spot.node}/{METADATA}"):
        return
    await store.delete(spot.key if spot.numbered else f"{spot.node}/{METADATA}")


def get_key(store: Store, key: str) -> bytes | None:
    """Return the content of a key; None if there is none."""
    try:
        found = sync(get_surely(store, key, default_buffer_prototype()))
    except icechunk.IcechunkError as error:
        if any(part in str(error) for part in ("node not found", "not an array")):
            return None
        raise
    return None if found is None else found.to_bytes()


def _set(store, key, content):
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(content)))
