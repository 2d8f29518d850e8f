"""What could not be read: a record of each failed read, kept until somebody asks."""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

TOPIC = "glaciercube-read"
"""Under which workers of `dask.distributed` tell their scheduler."""

KEPT = 100_000
"""Records at most that a process keeps."""

MISSING = "missing"
FORBIDDEN = "forbidden"
NOT_A_RASTER = "not a raster"
DAMAGED = "damaged"
TRANSIENT = "transient"
REFUSED = "refused"

KINDS = {
    MISSING: "there is no such file",
    FORBIDDEN: "the server lets nobody, or not this caller, read it",
    NOT_A_RASTER: "what is there is something else, such as a page of text",
    DAMAGED: "the file is there, but a part of it cannot be decoded",
    TRANSIENT: "the server or the way to it failed on every try",
    REFUSED: "it was not tried, as the address is not one to be trusted",
}
"""What may be wrong with a read."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One read that failed. Holds no token, signature or query of an address."""

    item: str
    """Identity of the STAC item; "" where the reader was not told."""

    band: str
    """Asset key; "" where the reader was not told."""

    address: str
    window: str
    """Part of the grid that was wanted: edges in its coordinates, and pixels."""

    kind: str
    """One of `KINDS`."""

    cause: str
    """What the last try said."""

    tries: int
    """0 where an earlier read of this file had told already that it cannot be read."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON.

        Examples
        --------
        >>> Failure(item="a", band="B04", address="https://x.org/a.tif", window="", kind="missing",
        ...         cause="HTTP response code: 404", tries=1).as_dict()["kind"]
        'missing'
        """
        return asdict(self)


_lock = threading.Lock()
_kept: list[Failure] = []
_dropped = 0


def record(failure: Failure) -> None:
    """Keep a failure in this process, and tell the scheduler where this is a Dask worker.

    Parameters
    ----------
    failure : Failure
    """
    global _dropped
    with _lock:
        _kept.append(failure)
        beyond = max(len(_kept) - KEPT, 0)
        del _kept[:beyond]
        _dropped += beyond
    worker = _asked("get_worker")
    if worker is not None:
        worker.log_event(TOPIC, failure.as_dict())


@contextmanager
def collected() -> Iterator[list[Failure]]:
    """Fill a list, at its end, with the failures that were recorded meanwhile.

    Of this process and, where a `dask.distributed` client is active, of its workers; each
    once, in order, also where a task ran twice.

    Examples
    --------
    >>> with collected() as failed:
    ...     pass
    >>> failed
    []
    """
    failed: list[Failure] = []
    with _lock:
        start = _dropped + len(_kept)
    before = {stamp for stamp, _ in _told()}
    try:
        yield failed
    finally:
        with _lock:
            own = _kept[max(start - _dropped, 0) :]
        told = [_failure(event) for stamp, event in _told() if stamp not in before]
        failed.extend(distinct([*own, *told]))


def distinct(failures: Iterable[Failure]) -> list[Failure]:
    """Return failures without those that say the same of the same item, band and window."""
    found: dict[tuple[str, ...], Failure] = {}
    for one in failures:
        found.setdefault((one.item, one.band, one.address, one.window), one)
    return list(found.values())


def summary(failures: Sequence[Failure]) -> str:
    """Return failures in a line per item and kind.

    Parameters
    ----------
    failures : sequence of Failure

    Examples
    --------
    >>> one = Failure(item="a", band="B04", address="https://x.org/a.tif", window="",
    ...               kind="missing", cause="HTTP response code: 404", tries=1)
    >>> print(summary([one]))
    1 read of 1 item failed:
      a: 1 of B04 (missing: HTTP response code: 404)
    >>> summary([])
    'no read failed'
    """
    if not failures:
        return "no read failed"
    groups: dict[tuple[str, str], list[Failure]] = {}
    for one in failures:
        groups.setdefault((one.item or one.address, one.kind), []).append(one)
    items = len({name for name, _ in groups})
    lines = [f"{_many(len(failures), 'read')} of {_many(items, 'item')} failed:"]
    for (name, kind), group in groups.items():
        bands = ", ".join(dict.fromkeys(one.band for one in group if one.band)) or "its band"
        lines.append(f"  {name}: {len(group)} of {bands} ({kind}: {group[0].cause})")
    return "\n".join(lines)


def _many(count, word):
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _told() -> list[tuple[Any, dict[str, Any]]]:
    """Return what workers told the scheduler of an active client: (time, record)."""
    client = _asked("default_client")
    return [] if client is None else list(client.get_events(TOPIC))


def _failure(event: dict[str, Any]) -> Failure:
    """Return a failure as a worker told it; distributed adds the worker's address."""
    return Failure(**{one.name: event[one.name] for one in fields(Failure)})


def _asked(name: str) -> Any:
    """Return distributed's worker or client of this thread, None if there is none.

    A process that has not imported `distributed` has neither, so it is never imported here.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return getattr(distributed, name)()
    except (ValueError, AttributeError):
        return None
