"""What is chosen once for all tiles of a run: the first to write it wins, all others adopt it."""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from time import sleep
from typing import Any

from glaciercube.errors import StoreError
from glaciercube.store.places import Directory

FORMAT = 1
"""Of a choice's file; a newer one is refused."""

PATIENCE_S = (0.05, 0.2, 1.0)
"""How long a file that cannot be understood is waited for: where a file system has no hard links,
one that is being written can be seen unfinished."""

_FILE = re.compile(r"choice-([a-z_]+)\.json")
_locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


def choose(out: Path, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a run has chosen; make the choice if nobody has.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str
        Of the choice, a-z and _ only.
    make : callable
        Gives the choice as JSON. It is called at most once at a time in a process; workers in
        several processes may call it at once, then the one that ends first has chosen.

    Returns
    -------
    dict
        The same for every caller, now and later, whatever its own `make` gave.

    Raises
    ------
    StoreError
        If the choice's file is damaged, or of a newer version of this package.

    Notes
    -----
    The file is written whole and only where there is none (a hard link to a draft fails if the
    name is taken, on shared file systems too), so that a worker that is killed on the way leaves
    no choice, and nobody ever replaces one.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp())
    >>> choose(out, "halo", lambda: {"halo": 48})
    {'halo': 48}
    >>> choose(out, "halo", lambda: {"halo": 96})
    {'halo': 48}
    """
    with _locks[str(out), name]:
        found = chosen(out, name)
        if found is not None:
            return found
        content = json.dumps({"format": FORMAT, "choice": dict(make())}, indent=1).encode()
        Directory(out).create(_file(name), content)
    found = chosen(out, name)
    if found is None:
        raise StoreError(
            f"the choice of {name!r} needs a folder that keeps what is written, but it is gone "
            f"from {str(out)!r}; run the same again"
        )
    return found


def chosen(out: Path, name: str) -> dict[str, Any] | None:
    """Return what a run has chosen, None if nobody has chosen yet.

    Parameters
    ----------
    out : Path
        Folder of the run.
    name : str

    Raises
    ------
    StoreError
        If the choice's file is damaged, or of a newer version of this package.
    """
    for seconds in PATIENCE_S:
        try:
            return _read(out, name)
        except StoreError:
            sleep(seconds)
    return _read(out, name)


def all_chosen(out: Path) -> dict[str, dict[str, Any]]:
    """Return all choices of a run by name; for reports.

    Parameters
    ----------
    out : Path
        Folder of the run.

    Raises
    ------
    StoreError
        As `chosen`.
    """
    names = sorted(found[1] for path in out.glob("*.json") if (found := _FILE.fullmatch(path.name)))
    kept = {name: chosen(out, name) for name in names}
    return {name: one for name, one in kept.items() if one is not None}


def _file(name):
    file = f"choice-{name}.json"
    if not _FILE.fullmatch(file):
        raise StoreError(f"a choice needs a name of letters a-z and _, found {name!r}")
    return file


def _read(out, name):
    path = out / _file(name)
    try:
        content = json.loads(path.read_bytes())
        version, choice = int(content["format"]), dict(content["choice"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{str(path)!r} is damaged: {error!r}; put it back, or run the plan into another folder"
        ) from error
    if version > FORMAT:
        raise StoreError(
            f"{str(path)!r} has format {version}, this version of glaciercube knows up to "
            f"{FORMAT}; update glaciercube"
        )
    return choice
