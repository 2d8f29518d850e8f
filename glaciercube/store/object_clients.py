"""Clients of object stores: made from an address and the environment, their errors explained."""

from datetime import timedelta
from typing import Any

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, from_url

from glaciercube.errors import StoreError
from glaciercube.store.clients import (
    DENIED,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    NO_BUCKET,
    PATIENCE_S,
    TRIES,
    Clients,
    advice_of,
    endpoint_of_environment,
    is_plain_http,
    redacted,
    require_threads,
)

REQUEST_S, SILENCE_S = 300, 60
"""How long one request may take, and how long its answer may stall (s)."""

MEMORY = "memory://"
"""Beginning of the addresses of what lies in the memory of one process."""

_clients = Clients()
_memories: dict[str, MemoryStore] = {}
_make: Any = from_url


def client_of(address: str) -> Any:
    """Return the client of an address in this process.

    Raises
    ------
    StoreError
        If the environment does not say enough, or this process was forked from one that had
        used a client.
    """
    if address.startswith(MEMORY):
        require_threads(address)
        return _memories.setdefault(address, MemoryStore())
    return _clients.client(address, _client)


def _client(address):
    """Return a client as the environment says; it signs its requests and repeats them."""
    pauses = {
        "init_backoff": timedelta(seconds=FIRST_PAUSE_S),
        "max_backoff": timedelta(seconds=LONGEST_PAUSE_S),
        "base": 2,
    }
    options: dict[str, Any] = {
        "timeout": timedelta(seconds=REQUEST_S),
        "read_timeout": timedelta(seconds=SILENCE_S),
    }
    own: dict[str, Any] = {}
    if address.startswith("s3://"):
        endpoint = endpoint_of_environment()
        if endpoint:
            own["endpoint"] = endpoint
            options["allow_http"] = is_plain_http(endpoint)
    patience = timedelta(seconds=PATIENCE_S)
    try:
        client = _make(
            "gs://" + address.removeprefix("gcs://") if address.startswith("gcs://") else address,
            config=own or None,
            client_options=options,
            retry_config={"max_retries": TRIES, "backoff": pauses, "retry_timeout": patience},
        )
        told = None
    except Exception as error:
        told = explained(error, address, "")
    if told is not None:
        raise told
    return client


def explained(error: Exception, address: str, key: str) -> Exception:
    """Return the error that a user understands, without a word of a secret.

    Parameters
    ----------
    error : Exception
        Of a client.
    address : str
        Of the store.
    key : str
        That was asked for.
    """
    if isinstance(error, StoreError):
        return error
    text = str(error)
    where = f"{address}/{key}" if key else address
    advice = advice_of(text)
    if isinstance(error, FileNotFoundError) and advice != NO_BUCKET:
        return FileNotFoundError(f"there is no {where}")
    if advice is None and isinstance(error, PermissionDeniedError | UnauthenticatedError):
        advice = DENIED
    if advice is None:
        return StoreError(f"{where} cannot be read or written: {redacted(text)}")
    return StoreError(f"{where}: {advice}. The service said: {redacted(text)}")
