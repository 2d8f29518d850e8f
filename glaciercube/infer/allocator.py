"""Keep the memory of a forward pass for the next one: glibc gives it back after each.

glibc maps every large buffer afresh and unmaps it when it is freed, and gives the end of the heap
back to the system; both are faulted in again, page by page, by the next forward pass, which was
measured at a fifth of its time, and at a third under the nanny of Dask, which sets
`MALLOC_TRIM_THRESHOLD_=65536`. Before the first forward pass this process therefore raises both
thresholds with mallopt(3), and lets new threads share one arena (see `carriers`). What is freed is
used again, so memory stays at the peak of what was in use at a time; it does not grow.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import MappingProxyType

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt, as in glibc's malloc.h."""

NEVER = 2**31 - 1
"""Bytes at the end of the heap before any are given back: the largest number that mallopt takes."""

LARGE = 2**30
"""Bytes from which a buffer gets a mapping of its own: no tensor of a tile is as large."""

DASK = "65536"
"""What the nanny of Dask sets for trimming; it stands for no wish of the user."""

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
        "MALLOC_MMAP_THRESHOLD_": str(LARGE),
        "MALLOC_ARENA_MAX": "1",
    }
)
"""The same for a process that is not yet started; one arena, so that a thread finds the memory
that another freed."""

OTHERS = ("jemalloc", "tcmalloc", "mimalloc", "libhoard", "snmalloc")
"""Allocators that people load in place of glibc's."""

SWITCH = "GLACIERCUBE_KEEP_BUFFERS"
"""Variable of the environment: "0" leaves the allocator as it is."""


def keep_buffers() -> bool:
    """Let this process keep the memory that it frees; once, whatever the number of calls.

    Returns
    -------
    bool
        Whether the allocator was changed. Not where it is another one than glibc's, nor where
        `GLACIERCUBE_KEEP_BUFFERS=0`. What the user has set in the environment
        (`MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`, `MALLOC_ARENA_MAX`, or in
        `GLIBC_TUNABLES`) stays, but for the 65536 of Dask's nanny.
    """
    with _lock:
        if _done:
            return _done[0]
        _done.append(_keep(os.environ))
        return _done[0]


_lock = Lock()
_done: list[bool] = []


def _keep(environ):
    wanted = wanted_of(environ, sys.platform, _libraries())
    library = _glibc() if wanted else None
    if library is None:
        return False
    return all([library.mallopt(name, value) == 1 for name, value in wanted])


def wanted_of(
    environ: Mapping[str, str], platform: str, libraries: str
) -> tuple[tuple[int, int], ...]:
    """Return what to ask of mallopt, as (parameter, bytes); nothing where it is not to be asked.

    Parameters
    ----------
    environ : mapping
        The environment.
    platform : str
        As `sys.platform`.
    libraries : str
        Paths of what is loaded into the process.

    Examples
    --------
    >>> wanted_of({"MALLOC_TRIM_THRESHOLD_": "65536"}, "linux", "/lib/libc.so.6")
    ((-3, 1073741824), (-1, 2147483647), (-8, 1))
    >>> wanted_of({"MALLOC_TRIM_THRESHOLD_": "9000000"}, "linux", "/lib/libc.so.6")
    ((-3, 1073741824), (-8, 1))
    >>> wanted_of({}, "linux", "/usr/lib/libjemalloc.so.2"), wanted_of({}, "darwin", "")
    ((), ())
    """
    if platform != "linux" or environ.get(SWITCH, "").strip() == "0":
        return ()
    if any(name in libraries for name in OTHERS):
        return ()
    wanted = []
    tunables = environ.get("GLIBC_TUNABLES", "")
    if not environ.get("MALLOC_MMAP_THRESHOLD_") and "mmap_threshold" not in tunables:
        wanted.append((M_MMAP_THRESHOLD, LARGE))
    if environ.get("MALLOC_TRIM_THRESHOLD_", DASK) == DASK and "trim_threshold" not in tunables:
        wanted.append((M_TRIM_THRESHOLD, NEVER))
    if not environ.get("MALLOC_ARENA_MAX") and "arena_max" not in tunables:
        wanted.append((M_ARENA_MAX, 1))
    return tuple(wanted)


def _libraries():
    """Return the paths of what is loaded into this process, one a line."""
    try:
        return Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return ""


def _glibc():
    """Return the C library of this process if it is glibc; musl has no such function."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
