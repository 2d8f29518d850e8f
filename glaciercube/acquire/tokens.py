"""Planetary Computer's tokens: one per container and process, fetched anew before they expire."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import requests

from glaciercube.errors import AcquireError

SERVICE = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
"""Gives a token to anybody for a container of an account (planetarycomputer.microsoft.com/docs)."""

KEY = "PC_SDK_SUBSCRIPTION_KEY"
"""Environment variable of a subscription key, as the planetary-computer package names it."""

MARGIN = timedelta(minutes=5)
"""A token that lasts no longer than this is fetched anew."""

TIMEOUT_S = 30.0

Fetch = Callable[[str, str], tuple[str, datetime]]
"""Returns the token of (account, container) and when it expires."""


@dataclass(frozen=True)
class Token:
    """A token and how long it lasts; neither is ever printed."""

    text: str = field(repr=False)
    expires: datetime


def fetched(account: str, container: str) -> tuple[str, datetime]:
    """Return a token from the service and when it expires.

    Raises
    ------
    AcquireError
        If the service does not answer with one.
    """
    key = os.environ.get(KEY)
    headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
    address = f"{SERVICE}/{account}/{container}"
    try:
        answer = requests.get(address, headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
        told = answer.json()
        expires = datetime.fromisoformat(told["msft:expiry"].replace("Z", "+00:00"))
        return told["token"], expires
    except (requests.RequestException, KeyError, ValueError) as error:
        why = getattr(getattr(error, "response", None), "status_code", type(error).__name__)
    raise AcquireError(f"no token for container {account}/{container}: {SERVICE} answered {why}")


class Tokens:
    """Tokens by container, for all threads of a process."""

    def __init__(self, fetch: Fetch = fetched) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._held: dict[tuple[str, str], Token] = {}

    def get(self, account: str, container: str, stale: str = "") -> str:
        """Return a token that lasts.

        Parameters
        ----------
        account, container : str
        stale : str
            One that was refused: if it is the one held, another is fetched.
        """
        key = (account, container)
        with self._lock:
            own = self._locks.setdefault(key, threading.Lock())
        with own:
            held = self._held.get(key)
            lasts = held is not None and held.expires - datetime.now(UTC) > MARGIN
            if held is None or not lasts or held.text == stale:
                held = Token(*self._fetch(account, container))
                self._held[key] = held
            return held.text
