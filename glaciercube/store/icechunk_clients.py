"""Icechunk repositories: one client per process, one commit at a time on a local disk."""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import icechunk
from icechunk import (
    ConflictError,
    IcechunkError,
    ManifestConfig,
    ManifestSplitCondition,
    ManifestSplitDimCondition,
    ManifestSplittingConfig,
    RepositoryConfig,
)

from glaciercube.errors import StoreError
from glaciercube.store.clients import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    NO_BUCKET,
    PATIENCE_S,
    Clients,
    advice_of,
    endpoint_of_environment,
    is_plain_http,
    patiently,
    redacted,
)
from glaciercube.store.documents import FOLDER
from glaciercube.store.places import ICECHUNK

fcntl: Any = None
with contextlib.suppress(ImportError):  # not on Windows
    import fcntl

BRANCH = "main"
"""Of the repository: what readers see."""

SPLIT = 64
"""Dates in one manifest: a commit rewrites the manifests that it touches, whole."""

MARK = "writer"
"""Name of a commit's metadata by which a writer knows its own when the answer was lost."""

if "ICECHUNK_LOG" not in os.environ:
    icechunk.set_logs_filter("error")  # it warns of what the lock below prevents

_clients = Clients()
_Result = TypeVar("_Result")


class RepositoryClient:
    """What one process knows of one repository."""

    def __init__(self, address: str):
        self.address = address
        self.storage = _storage(address)
        self.held: list[Any] = []
        """Tokens of dates that are not complete yet."""

        self._repository: icechunk.Repository | None = None
        self._session: icechunk.Session | None = None
        self._asked = 0.0
        self._lock = threading.RLock()
        self._committing = threading.RLock()

    @property
    def folder(self) -> Path | None:
        """Directory of a repository on a local disk."""
        inner = self.address.removeprefix(ICECHUNK)
        return Path(inner.removeprefix("file://")) if inner.startswith("file://") else None

    def repository(self) -> icechunk.Repository:
        """Return the repository; FileNotFoundError if there is none."""
        with self._lock:
            if self._repository is None:
                self._repository = self.ask(lambda: icechunk.Repository.open(self.storage))
            return self._repository

    def made(self) -> icechunk.Repository:
        """Return the repository, made if there is none."""
        if not self._is_there():
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
            with self.alone():
                if not self._is_there():
                    self.forget()
                    self.ask(self._make)
        return self.repository()

    def _make(self):
        try:
            icechunk.Repository.create(self.storage, config=_config())
        except IcechunkError:
            if not icechunk.Repository.exists(self.storage):  # else another process was faster
                raise

    def _is_there(self):
        return self.ask(lambda: icechunk.Repository.exists(self.storage))

    def exists(self) -> bool:
        """Say whether there is a repository, or anything else in its directory."""
        if self._is_there():
            return True
        return self.folder is not None and self.folder.is_dir() and any(self.folder.iterdir())

    def session(self, age_s: float) -> icechunk.Session:
        """Return a session that reads the last commit, or the last but some seconds."""
        with self._lock:
            now = time.monotonic()
            if self._session is None or now - self._asked > age_s:
                repository = self.repository()
                tip = self.ask(lambda: repository.lookup_branch(BRANCH))
                if self._session is None or self._session.snapshot_id != tip:
                    self._session = self.ask(lambda: repository.readonly_session(snapshot_id=tip))
                self._asked = now
            return self._session

    def fork(self) -> icechunk.ForkSession:
        """Return a session for one task to write in, from the last commit."""
        return self.ask(lambda: self.repository().writable_session(BRANCH)).fork()

    def forget(self) -> None:
        """Forget all that is known: the repository is another one, or gone."""
        with self._lock:
            self._repository = self._session = None
            self.held = []

    def commit(self, work: Callable[[icechunk.Session], bool], message: str) -> bool:
        """Do work on the last commit and commit it; again on a newer one if another was faster.

        Parameters
        ----------
        work : callable
            Changes a session; returns whether there is something to commit.
        message : str
            Of the commit.

        Returns
        -------
        bool
            What the work returned.
        """
        self.made()
        attempt = _Attempt(self, work, message)
        end = time.monotonic() + PATIENCE_S
        pause = FIRST_PAUSE_S / 10
        while time.monotonic() < end:
            with self.alone():
                done = self.ask(attempt.run)
            if done is not None:
                with self._lock:
                    self._asked = float("-inf")
                return done
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, LONGEST_PAUSE_S)
        raise StoreError(
            f"{self.address}: others committed first for {PATIENCE_S:.0f} s, and {message!r} was "
            "not; write again when fewer write"
        )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Exclude other commits of this process, and of this machine on a local disk.

        Icechunk does not protect commits on a local disk from each other.
        """
        with self._committing:
            if self.folder is None or fcntl is None:
                yield
                return
            try:
                handle = os.open(self.folder, os.O_RDONLY)
            except FileNotFoundError:
                self.forget()
                raise
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)

    def ask(self, request: Callable[[], _Result]) -> _Result:
        """Return the answer to a request, repeated while its failure may pass."""
        return patiently(request, self.explained)

    def explained(self, error: Exception) -> Exception:
        """Return the error that a user understands, without a word of a secret."""
        if not isinstance(error, IcechunkError):
            return error
        text = str(error)
        advice = advice_of(text)
        if advice != NO_BUCKET and ("doesn't exist" in text or "ref not found" in text):
            self.forget()
            return FileNotFoundError(f"there is no repository at {self.address}")
        said = redacted(text.replace("| ", "").split("context:")[0])
        if advice is None:
            return StoreError(f"{self.address} cannot be read or written: {said}")
        return StoreError(f"{self.address}: {advice}. Icechunk said: {said}")


class _Attempt:
    """One commit, tried until it is done or another was faster."""

    def __init__(self, client, work, message):
        self._client, self._work, self._message = client, work, message
        self._mark = uuid4().hex
        self._base: str | None = None

    def run(self) -> bool | None:
        """Work and commit; return what the work returned, None if another commit was faster."""
        repository = self._client.repository()
        session = repository.writable_session(BRANCH)
        if self._is_done(repository):
            return True
        if not self._work(session):
            return False
        if session.has_uncommitted_changes:
            self._base = self._base or session.snapshot_id
            try:
                session.commit(self._message, metadata={MARK: self._mark})
            except ConflictError:
                return None
        return True

    def _is_done(self, repository):
        """Say whether an earlier try was committed, and its answer lost."""
        if self._base is None:
            return False
        for snapshot in repository.ancestry(branch=BRANCH):
            if snapshot.metadata.get(MARK) == self._mark:
                return True
            if snapshot.id == self._base:
                break
        return False


def client_of(address: str) -> RepositoryClient:
    """Return the client of a repository in this process.

    Raises
    ------
    StoreError
        If this process was forked from one that had used a client.
    """
    return _clients.client(address, RepositoryClient)


def _storage(address):
    inner = address.removeprefix(ICECHUNK)
    parts = urlsplit(inner)
    if parts.scheme == "file" and not parts.netloc:
        return icechunk.local_filesystem_storage(inner.removeprefix("file://"))
    if parts.scheme != "s3":
        raise StoreError(
            f"an Icechunk repository is at {ICECHUNK}file:///folder or {ICECHUNK}s3://bucket/"
            f"prefix, found {address!r}"
        )
    endpoint = endpoint_of_environment()
    public = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes", "on")
    return icechunk.s3_storage(
        bucket=parts.netloc,
        prefix=parts.path.strip("/") or None,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_url=endpoint,
        allow_http=endpoint is not None and is_plain_http(endpoint),
        force_path_style=endpoint is not None,
        anonymous=True if public else None,
        from_env=None if public else True,
    )


def _config():
    """Return the configuration that a new repository keeps: manifests that stay small."""
    split = ManifestSplittingConfig.from_dict(
        {
            ManifestSplitCondition.path_matches(f"^/{FOLDER}/"): {
                ManifestSplitDimCondition.Axis(0): SPLIT
            },
            ManifestSplitCondition.AnyArray(): {
                ManifestSplitDimCondition.DimensionName("time"): SPLIT
            },
        }
    )
    return RepositoryConfig(manifest=ManifestConfig(splitting=split))
