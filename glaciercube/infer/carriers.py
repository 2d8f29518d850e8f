"""The threads that forward passes run in: few, and in the main arena of glibc.

glibc gives each thread one of several arenas. Those besides the main one are made of pieces of 64
MiB, so that a larger tensor is mapped afresh by every forward pass of such a thread, whatever the
thresholds of `allocator`: with two threads of Dask that was measured to double the processor time
of a small network. Passes are therefore handed to threads of this module, which are started after
`keep_buffers` and of which only those are taken that have the main arena. There are as many as
passes run at a time, and so not more teams of OpenMP either.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, LifoQueue
from threading import Lock
from typing import TypeVar

from glaciercube.infer.allocator import keep_buffers

Result = TypeVar("Result")

ATTEMPTS = 64
"""Threads that are started, at most, to find one in the main arena; new ones get each in turn."""

PROBE = 2**20
"""Bytes that tell of what arena a thread is: more than it keeps for itself."""

NOT_MAIN = 4
"""Bit of the size that stands before memory of another arena (NON_MAIN_ARENA of glibc)."""


def carried(function: Callable[[], Result]) -> Result:
    """Run a function in one of these threads and return its result.

    Parameters
    ----------
    function : callable
        Without arguments. What it raises is raised here.
    """
    carrier = _carrier()
    try:
        return carrier.submit(function).result()
    finally:
        _shared.free.put(carrier)


def in_main_arena() -> bool:
    """Return whether this thread takes its memory from the main arena of glibc.

    To be asked only where `keep_buffers` has found glibc's allocator.
    """
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    place = library.malloc(PROBE)
    size = ctypes.c_size_t.from_address(place - ctypes.sizeof(ctypes.c_size_t)).value
    library.free(place)
    return not size & NOT_MAIN


class _Shared:
    """Of all threads of this process."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.free: LifoQueue[ThreadPoolExecutor] = LifoQueue()


_shared = _Shared()


def _carrier():
    """Return a thread that is free, started if there is none."""
    try:
        return _shared.free.get_nowait()
    except Empty:
        with _shared.lock:
            return _started()


def _started():
    found = _thread()
    if not keep_buffers():
        return found
    # They live until one is found: a new thread would get the arena of one that has ended.
    others: list[ThreadPoolExecutor] = []
    while not found.submit(in_main_arena).result() and len(others) < ATTEMPTS:
        others.append(found)
        found = _thread()
    for other in others:
        other.shutdown()
    return found


def _thread():
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="glaciercube-forward")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.__init__)  # type: ignore[misc]
