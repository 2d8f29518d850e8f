"""What clients of object stores share: one per process, patience, and texts without secrets."""

import asyncio
import os
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

from glaciercube.errors import StoreError

ENVIRONMENT = ("AWS_", "AZURE_", "GOOGLE_")
"""Beginnings of the environment variables that clients are made from."""

TRIES = 10
"""Times that a request is made whose failure may pass; the client beneath repeats reads itself."""

PATIENCE_S = 90.0
"""After this time a failing request is not repeated any more (s)."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between two tries (s): drawn from zero to a bound that doubles (Brooker 2015, "full jitter")."""

NO_BUCKET = "the bucket does not exist; create it, or correct the address"
DENIED = "access is denied; the credentials in the environment may not do this"
_ADVICE = (
    (("NoSuchBucket", "ContainerNotFound", "bucket does not exist"), NO_BUCKET),
    (("169.254.169.254", "metadata.google", "CredentialsNotLoaded", "token request",
      "latest/api/token", "no providers in chain", "credentials provider was not enabled"),
     "there are no credentials in the environment of this process; set AWS_ACCESS_KEY_ID and "
     "AWS_SECRET_ACCESS_KEY (GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_KEY), or "
     "AWS_SKIP_SIGNATURE=true for a public bucket"),
    (("Account must be specified",),
     "the account is not named; set AZURE_STORAGE_ACCOUNT_NAME"),
    (("Redirect", "redirect"), "the bucket is in another region; set AWS_REGION"),
    (("builder error",),
     "the endpoint is without encryption; set AWS_ALLOW_HTTP=true if that is meant"),
    (("SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "status code: 401"),
     "the credentials in the environment are not valid (any more)"),
    (("status code: 403", "AccessDenied", "Forbidden"), DENIED),
)  # fmt: skip
"""Parts of an error's text, and what they mean to a user."""


_SECRET = re.compile(r"KEY|SECRET|TOKEN|SAS|PASSWORD|CREDENTIAL|SIGNATURE", re.IGNORECASE)
_SHOWN = re.compile(r"ACCESS_KEY_ID$|_FILE$|SKIP_SIGNATURE$|_URI$|PATH$", re.IGNORECASE)
_SIGNED = re.compile(r"\?[^\s\"'<>]*|(?<=//)[^/@\s]*:[^/@\s]*@")
_PASSING = re.compile(
    r"status code: (5\d\d|429|408)|error sending request|body error|decoding response|"
    r"dispatch failure|streaming error|I/O error|(?<!_)timed? ?out|"
    r"failed to create manifest|connection (reset|refused|closed)|incomplete message|broken pipe",
    re.IGNORECASE,
)

_LASTING = re.compile(
    r"no space left|permission denied|read-only file system|disk quota", re.IGNORECASE
)

_Result = TypeVar("_Result")
_Client = TypeVar("_Client")


class Clients(dict):
    """Clients by address: one per process and environment, made on first use."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def client(self, address: str, make: Callable[[str], _Client]) -> _Client:
        """Return the client of an address; another one where the environment has changed."""
        require_threads(address)
        key = (address, _environment())
        with self._lock:
            if key not in self:
                for old in [known for known in self if known[0] == address]:
                    del self[old]
                self[key] = make(address)
            return self[key]

    def drop(self, address: str) -> None:
        """Forget the clients of an address."""
        with self._lock:
            for key in [known for known in self if known[0] == address]:
                del self[key]


def _environment():
    """Return what changes when a credential or an endpoint of the environment does."""
    return hash(
        tuple(sorted(item for item in os.environ.items() if item[0].startswith(ENVIRONMENT)))
    )


class _Threads:
    """Whether the threads of clients run in this process, or were lost as it was forked."""

    used = False
    lost = False


def require_threads(address: str) -> None:
    """Note that clients are used in this process, whose threads a forked one does not have.

    Raises
    ------
    StoreError
        If this process was forked from one that had used them: a request would never end.
    """
    if _Threads.lost:
        raise StoreError(
            f"{address} cannot be used in process {os.getpid()}, which was forked from one that "
            "had used an object store; start processes with 'spawn' or 'forkserver' "
            "(multiprocessing_context='spawn' of a DataLoader)"
        )
    _Threads.used = True


def _forked():
    _Threads.lost = _Threads.lost or _Threads.used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def require_plain(address: str) -> str:
    """Return an address without "/" at its end, if it is one that may be stored and shown.

    Raises
    ------
    StoreError
        If it holds a password, a query such as a signature, or steps out of its folder.
    """
    parts = urlsplit(address)
    if parts.password is not None or parts.query or parts.fragment:
        raise StoreError(
            f"the address of a store is {parts.scheme}://name/folder and no more, found one with "
            "a password or a query; give credentials by the environment, as docs/stores.md says"
        )
    inside = parts.path.removeprefix("/").rstrip("/")
    if not (parts.netloc or inside) or (inside and {".", "..", ""} & set(inside.split("/"))):
        raise StoreError(
            f"the address of a store is {parts.scheme}://name/folder, found {address!r}"
        )
    return address.rstrip("/")


def is_plain_http(endpoint: str) -> bool:
    """Say whether a client may use an endpoint without encryption: on this machine, or if told.

    Examples
    --------
    >>> is_plain_http("http://127.0.0.1:9000"), is_plain_http("http://minio.example.org")
    (True, False)
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "http":
        return False
    told = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes", "on")
    return told or parts.hostname in ("localhost", "127.0.0.1", "::1")


def endpoint_of_environment() -> str | None:
    """Return the address of the S3 service that the environment names; None for Amazon's own."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def redacted(text: str) -> str:
    """Return the first paragraph of an error's text, without queries and secrets.

    Parameters
    ----------
    text : str
        Of a client, which may quote addresses that are signed and answers of a server.
    """
    first = _SIGNED.sub("...", " ".join(text.strip().split("\n\n")[0].split()))
    for name, value in os.environ.items():
        secret = name.startswith(ENVIRONMENT) and _SECRET.search(name) and not _SHOWN.search(name)
        if secret and len(value) > 3:
            first = first.replace(value, "***")
    return first if len(first) <= 500 else f"{first[:500]} ..."


def advice_of(text: str) -> str | None:
    """Return what an error's text means to a user; None if that is not known."""
    return next((say for parts, say in _ADVICE if any(part in text for part in parts)), None)


def may_pass(error: Exception) -> bool:
    """Say whether a request that failed may succeed when it is made again."""
    if isinstance(error, StoreError | FileNotFoundError):
        return False
    text = str(error)
    return _PASSING.search(text) is not None and _LASTING.search(text) is None


class Patience:
    """How often and how long a request is repeated."""

    def __init__(self) -> None:
        self._tries = 0
        self._end = time.monotonic() + PATIENCE_S

    def pause(self) -> float | None:
        """Return how long to wait before the next try (s); None if there is to be none."""
        self._tries += 1
        if self._tries >= TRIES or time.monotonic() >= self._end:
            return None
        return random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._tries))


def patiently(
    request: Callable[[], _Result], explained: Callable[[Exception], Exception]
) -> _Result:
    """Make a request until it succeeds, or fails for good.

    Parameters
    ----------
    request : callable
    explained : callable
        Returns what to raise instead of an error that does not pass: no text of a client gets
        out.
    """
    patience = Patience()
    while True:
        try:
            return request()
        except Exception as error:
            pause = patience.pause() if may_pass(error) else None
            told = explained(error) if pause is None else None
        if told is not None:
            raise told  # outside of the handler: the client's error is not its context
        time.sleep(pause or 0.0)


async def patiently_async(
    request: Callable[[], Awaitable[_Result]], explained: Callable[[Exception], Exception]
) -> _Result:
    """Make a request until it succeeds, or fails for good, as `patiently` does."""
    patience = Patience()
    while True:
        try:
            return await request()
        except Exception as error:
            pause = patience.pause() if may_pass(error) else None
            told = explained(error) if pause is None else None
        if told is not None:
            raise told
        await asyncio.sleep(pause or 0.0)
