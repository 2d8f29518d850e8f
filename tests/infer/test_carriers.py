"""Forward passes run in threads whose memory stays with the process."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from glaciercube.infer import carriers, threads
from glaciercube.infer.carriers import carried
from glaciercube.infer.threads import Policy, set_policy, slot

glibc = pytest.mark.skipif(sys.platform != "linux", reason="arenas are glibc's")

EARLY = (
    "from concurrent.futures import ThreadPoolExecutor\n"
    "from threading import Barrier\n"
    "early = ThreadPoolExecutor(2)\n"
    "both = Barrier(2)\n"
    "def each(function):\n"
    "    def once():\n"
    "        both.wait(60)\n"
    "        return function()\n"
    "    return [one.result() for one in [early.submit(once) for _ in range(2)]]\n"
    "each(lambda: bytearray(2**20))\n"
    "from glaciercube.infer.carriers import carried, in_main_arena\n"
)
"""Two threads that have taken memory before this package is imported, as those of Dask may."""


def output_of(code):
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.fixture
def fresh(monkeypatch):
    """Let a test start its own threads."""
    monkeypatch.setattr(carriers, "_shared", carriers._Shared())
    set_policy(None)
    yield
    set_policy(None)


def test_a_function_runs_in_another_thread_and_what_it_raises_comes_back(fresh):
    assert carried(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        carried(lambda: 1 // 0)
    assert carried(lambda: "next") == "next"


def test_there_are_no_more_threads_than_passes_at_a_time(fresh):
    set_policy(Policy(2, 1))

    def forward(_):
        with slot():
            return carried(threading.get_ident)

    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(forward, range(60)))
    assert 1 <= len(found) <= threads.policy().slots


@glibc
def test_threads_have_the_main_arena_whatever_threads_there_were_before():
    found = output_of(
        f"{EARLY}from glaciercube.infer.allocator import keep_buffers\n"
        "keep_buffers()\n"
        "print(*each(in_main_arena), *each(lambda: carried(in_main_arena)))"
    )
    assert found == ["False", "False", "True", "True"]


@glibc
def test_large_tensors_of_old_threads_are_not_mapped_afresh():
    """144 MB are 35,000 pages, more than an arena besides the main one can keep."""
    code = (
        f"{EARLY}import resource, torch\n"
        "def faults(side):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    early.submit(carried, lambda: float(torch.ones(side, side)[0, 0])).result()\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(faults(7000), *[faults(6000) for _ in range(4)])\n"
    )
    first, *others = map(int, output_of(code))
    assert first > 40_000
    assert min(others) < 5000


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_child_starts_its_own():
    code = (
        f"{EARLY}import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "carried(lambda: 1)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(carried(lambda: 7))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert output_of(code) == ["7"]
