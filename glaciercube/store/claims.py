"""Who writes a store at this moment: writers of the same content may, others are refused."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from glaciercube.errors import StoreError
from glaciercube.store.ledger import FOLDER
from glaciercube.store.places import Place

WRITERS = f"{FOLDER}/writers"

_own: set[str] = set()
"""Keys of the notes of writers at work in this process."""


@contextmanager
def writing(place: Place, content: str, *, take_over: bool = False) -> Iterator[None]:
    """Say that this process writes a store, as long as the context lasts.

    Parameters
    ----------
    place : Place
    content : str
        Fingerprint of all that is to be written.
    take_over : bool
        Whether writers of other content are taken for dead, but for those that are seen alive.

    Raises
    ------
    StoreError
        If another writer of other content is at work, or may be; and if anything within the
        context cannot be written.

    Notes
    -----
    Each writer leaves a note before it begins and looks for others' notes after that, so that
    of two that begin together at least one sees the other. No clock takes part: a note counts
    until it is removed, or its process is known to be gone - on the same machine that is seen.
    """
    key = f"{WRITERS}/{uuid4().hex}.json"
    try:
        _require_alone(place, content, take_over)
        _own.add(key)
        place.write(key, json.dumps({"content": content, **_this_process()}).encode())
        try:
            _require_alone(place, content, take_over=False)
            yield
        finally:
            place.delete(key)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"the store {str(place)!r} cannot be written: {error}") from error
    finally:
        _own.discard(key)


def writers(place: Place) -> list[dict[str, Any]]:
    """Return the notes of writers that are at work, or may be."""
    return [note for key, note in _notes(place) if not _is_gone(key, note)]


def clear(place: Place) -> None:
    """Remove the notes of writers that are known to be gone, where the store can be written."""
    for key, note in _notes(place):
        if _is_gone(key, note):
            with suppress(OSError):  # nobody waits for them
                place.delete(key)


def _require_alone(place, content, take_over):
    for key, note in _notes(place):
        if _is_gone(key, note) or (take_over and not _is_alive(key, note)):
            place.delete(key)
        elif note.get("content") != content:
            raise StoreError(
                f"the store {str(place)!r} is being written with other content by process "
                f"{note.get('process')} on {note.get('machine')!r} since {note.get('since')}; "
                "wait until it is done, or, if that process is gone, write with take_over=True"
            )


def _notes(place):
    found = []
    for name in sorted(place.names(WRITERS)):
        key = f"{WRITERS}/{name}"
        try:
            note = json.loads(place.read(key))
        except (FileNotFoundError, ValueError):
            continue
        found.append((key, note))
    return found


def _this_process():
    return {
        "machine": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),  # for people; decides nothing
    }


def _is_gone(key, note):
    """Say whether a writer has ended for certain: its process has, or it was one of this one."""
    if note.get("machine") != socket.gethostname() or os.name != "posix":
        return False
    process = note.get("process")
    if not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    if _state(process) == "Z":  # ended, and not waited for by its parent
        return True
    started = _started(process)
    if started is not None and started != note.get("started"):
        return True
    return process == os.getpid() and key not in _own  # the note could not be removed


def _is_alive(key, note):
    """Say whether a writer is at work for certain: its process runs on this machine."""
    if note.get("machine") != socket.gethostname() or note.get("started") is None:
        return False
    return not _is_gone(key, note) and _started(note.get("process")) == note["started"]


def _started(process):
    """Return when a process began, in ticks since the machine did; None where that is not told."""
    status = _status(process)
    return int(status[19]) if len(status) > 19 else None


def _state(process):
    """Return the letter of a process's state; empty where that is not told."""
    return next(iter(_status(process)), "")


def _status(process):
    """Return what Linux tells of a process, from its state on; nothing elsewhere."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []
