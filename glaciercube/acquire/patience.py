"""How often and how long a read is tried, and GDAL's part in it."""

import os
import random
from dataclasses import dataclass, fields
from typing import Any

import rasterio.env

from glaciercube.errors import AcquireError

PREFIX = "GLACIERCUBE_READ_"
"""Environment variables that change a field of `Patience`: GLACIERCUBE_READ_TRIES and so on."""


CACHE_BYTES = 256 * 2**20
"""Of decoded blocks that GDAL keeps per process; its own limit, 5 % of the memory, adds up over the
workers of a node."""


ODC_DEFAULTS = {"GDAL_HTTP_MAX_RETRY": "10", "GDAL_HTTP_RETRY_DELAY": "0.5"}
"""What odc-loader sets where the user has set nothing: minutes of waiting that nobody can bound."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Limits of trying again; each may be set by an environment variable, on workers too."""

    tries: int = 8
    """Reads of one block at most."""

    pause_s: float = 0.5
    """Before the second try (s); twice as long before each more, plus up to half at random."""

    longest_s: float = 30.0
    """Pause at most (s), also where a server asks for more."""

    total_s: float = 300.0
    """No further try after this time (s)."""

    timeout_s: float = 60.0
    """One request takes this long at most (s)."""

    connect_s: float = 10.0
    """Reaching a server takes this long at most (s)."""

    requests: int = 2
    """Repetitions of one request by GDAL itself, for statuses that may pass."""

    def __post_init__(self) -> None:
        """Refuse limits that make no sense."""
        if self.tries < 1 or min(self.pause_s, self.longest_s, self.total_s, self.requests) < 0:
            raise AcquireError(f"reading needs one try or more and no negative time, found {self}")

    def pause(self, attempt: int, asked_s: float = 0.0) -> float:
        """Return how long to wait (s) after a try.

        Parameters
        ----------
        attempt : int
            Tries made, from 1.
        asked_s : float
            What the server asked for (s).
        """
        own = self.pause_s * 2 ** (attempt - 1) * random.uniform(1.0, 1.5)
        return min(max(own, asked_s), self.longest_s)


def patience() -> Patience:
    """Return the limits as the environment of this process has them.

    Raises
    ------
    AcquireError
        If a variable is no number.
    """
    given: dict[str, Any] = {}
    for one in fields(Patience):
        text = os.environ.get(PREFIX + one.name.upper())
        if text is None:
            continue
        try:
            given[one.name] = int(text) if isinstance(one.default, int) else float(text)
        except ValueError as error:
            raise AcquireError(
                f"{PREFIX}{one.name.upper()} needs a number, found {text!r}"
            ) from error
    return Patience(**given)


def gdal_options(limits: Patience) -> dict[str, Any]:
    """Return GDAL's options for remote reads, without those that the user set.

    By `odc.stac.configure_rio`, `rasterio.Env` or the environment. The file extensions are not
    restricted (CPL_VSIL_CURL_ALLOWED_EXTENSIONS): what a file may be is checked by its content,
    and without a listing of folders GDAL looks for no other files.

    Parameters
    ----------
    limits : Patience
    """
    options = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_MAX_RETRY": str(limits.requests),
        "GDAL_HTTP_RETRY_DELAY": f"{limits.pause_s:g}",
        "GDAL_HTTP_TIMEOUT": f"{limits.timeout_s:g}",
        "GDAL_HTTP_CONNECTTIMEOUT": f"{limits.connect_s:g}",
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_HTTP_MULTIPLEX": "YES",
        "GDAL_CACHEMAX": CACHE_BYTES,
    }
    set_here = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    by_user = {name for name, value in set_here.items() if str(value) != ODC_DEFAULTS.get(name)}
    return {
        name: value
        for name, value in options.items()
        if name not in by_user and name not in os.environ
    }
