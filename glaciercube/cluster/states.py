"""What a run leaves in its folder: which plan it is of, and how far each tile is."""

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from glaciercube.errors import StoreError
from glaciercube.store.places import Directory

RUN = "run.json"
STATE = "state.json"
FORMAT = 1

STEPS = ("ingest", "predict", "products")
"""Of each tile, in their order."""

_NAME = re.compile(r"[a-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all tiles of a folder share."""

    plan: str
    """Fingerprint of the plan."""

    address: str
    """Where the plan's file lay, for people."""

    networks: Mapping[str, str]
    """Fingerprint of the weights and the card of each network, by its name."""

    asked: Mapping[str, Any] = field(default_factory=dict)
    """How networks are to run, such as the `halo`, where it was said when the run began."""


@dataclass(frozen=True, kw_only=True)
class State:
    """How far a tile is, as its file says."""

    plan: str
    state: Literal["running", "done", "failed"]
    step: str
    """That is worked on, or failed."""

    cause: str = ""
    """Why it failed."""

    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each finished step did: blocks, blocks written, seconds and so on."""

    machine: str = ""
    """On which it is, or was, worked on."""

    process: int = 0
    started: int | None = None
    """When that process began, in ticks since the machine did; None where that is not told."""

    since: str = ""
    """UTC, for people; decides nothing."""

    @property
    def is_gone(self) -> bool:
        """Whether the process that worked on it has ended for certain."""
        if self.machine != socket.gethostname() or self.process <= 0 or os.name != "posix":
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        now = _started(self.process)
        return _is_zombie(self.process) or (
            now is not None and self.started is not None and now != self.started
        )


def folder_of(out: Path, tile: str) -> Path:
    """Return the folder of a tile.

    Parameters
    ----------
    out : Path
    tile : str
        Its name.

    Raises
    ------
    StoreError
        If the name is none of a folder within `out`.

    Examples
    --------
    >>> folder_of(Path("alps"), "utm32n_3_4").as_posix()
    'alps/utm32n_3_4'
    """
    if not _NAME.fullmatch(tile):
        raise StoreError(
            f"a tile's name needs letters a-z, digits, _ and - only, as it is a folder's; found "
            f"{tile!r}: the plan is damaged, or not to be trusted"
        )
    return out / tile


def read_run(out: Path) -> Run | None:
    """Return what the tiles of a folder share; None if no run has begun there.

    Parameters
    ----------
    out : Path

    Raises
    ------
    StoreError
        If the folder's file is damaged, or of a newer version of this package.
    """
    try:
        content = json.loads((out / RUN).read_bytes())
        version = int(content.pop("format"))
        if version <= FORMAT:
            return Run(**content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{str(out / RUN)!r} is damaged: {error!r}") from error
    raise StoreError(
        f"{str(out / RUN)!r} has format {version}, this version of glaciercube knows up to "
        f"{FORMAT}; update glaciercube"
    )


def require_same(found: Run, wanted: Run, out: Path) -> None:
    """Raise an error if a folder is of another plan or other networks, or was begun otherwise.

    Parameters
    ----------
    found : Run
        As the folder says.
    wanted : Run
    out : Path

    Raises
    ------
    StoreError
    """
    if found.plan != wanted.plan:
        raise StoreError(
            f"{str(out)!r} holds a run of another plan: {found.address!r} "
            f"({found.plan[:12]}), not {wanted.address!r} ({wanted.plan[:12]}); choose another "
            "folder"
        )
    changed = sorted(
        name
        for name in {*found.networks, *wanted.networks}
        if found.networks.get(name) != wanted.networks.get(name)
    )
    if changed:
        raise StoreError(
            f"{str(out)!r} was begun with other networks: {changed} have other weights or cards "
            "now; put those of then back, or run the plan into another folder"
        )
    for name, value in wanted.asked.items():
        if found.asked.get(name) != value:
            raise StoreError(
                f"{str(out)!r} was begun with {name}={found.asked.get(name)!r}, found "
                f"{name}={value!r}; leave it out to go on as it was begun, or run the plan into "
                "another folder"
            )


def begin_run(out: Path, wanted: Run) -> Run:
    """Take a folder for a run, or find that it is of the same one.

    Parameters
    ----------
    out : Path
        Made if it does not exist.
    wanted : Run
        What is not in `asked` is as the run was begun.

    Returns
    -------
    Run
        As it was begun.

    Raises
    ------
    StoreError
        If the folder is of another run, or holds something else; nothing is touched then.
    """
    found = read_run(out)
    if found is None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StoreError(
                f"a run needs an empty or new folder, but {str(out)!r} holds something that is "
                f"no run (it has no {RUN}); choose another"
            )
        out.mkdir(parents=True, exist_ok=True)
        content = asdict(wanted)
        kept = {name: one for name, one in content.items() if name != "asked" or one}
        Directory(out).create(RUN, _json({"format": FORMAT, **kept}))
        found = read_run(out) or wanted
    require_same(found, wanted, out)
    return found


def read_state(folder: Path, plan: str) -> State | None:
    """Return how far a tile is; None if it has not begun, or its file cannot be understood.

    Parameters
    ----------
    folder : Path
        Of the tile.
    plan : str
        Fingerprint of the plan.

    Raises
    ------
    StoreError
        If the tile is of another plan.
    """
    try:
        content = json.loads((folder / STATE).read_bytes())
        if int(content.pop("format")) > FORMAT:
            return None
        found = State(**content)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if found.plan != plan:
        raise StoreError(
            f"{str(folder)!r} holds a tile of another plan ({found.plan[:12]}, not {plan[:12]}); "
            "choose another folder"
        )
    return found


def write_state(folder: Path, state: State) -> None:
    """Write how far a tile is, with this process as the one that says so.

    Parameters
    ----------
    folder : Path
        Of the tile; made if it does not exist.
    state : State
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        **asdict(state),
        "machine": socket.gethostname(),
        "process": os.getpid(),
        "started": _started(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(folder / STATE, _json({"format": FORMAT, **content}))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file such that nobody ever reads half of it.

    Parameters
    ----------
    path : Path
    content : bytes
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _json(content):
    return json.dumps(content, indent=1).encode()


def _started(process):
    """Return when a process began, in ticks since the machine did; None where that is not told."""
    told = _told(process)
    return int(told[19]) if len(told) > 19 and told[19].isdigit() else None


def _is_zombie(process):
    """Say whether a process has ended, and only its parent does not know yet."""
    return _told(process)[:1] == ["Z"]


def _told(process):
    """Return what Linux tells of a process, from its state on; empty where it tells nothing."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []
