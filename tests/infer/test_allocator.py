import subprocess
import sys

import pytest

from glaciercube.infer.allocator import (
    DASK,
    LARGE,
    M_ARENA_MAX,
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    NEVER,
)
from glaciercube.infer.allocator import wanted_of as wanted

MMAP, TRIM, ARENA = (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, NEVER), (M_ARENA_MAX, 1)


@pytest.mark.parametrize("environ", [{}, {"MALLOC_TRIM_THRESHOLD_": DASK}])
def test_both_thresholds_are_raised_and_dasks_is_no_wish(environ):
    assert wanted(environ, "linux", "/lib/libc.so.6") == (MMAP, TRIM, ARENA)


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({"MALLOC_TRIM_THRESHOLD_": "9000000"}, (MMAP, ARENA)),
        ({"MALLOC_MMAP_THRESHOLD_": "1"}, (TRIM, ARENA)),
        ({"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"}, (MMAP, ARENA)),
        ({"MALLOC_ARENA_MAX": "4"}, (MMAP, TRIM)),
        ({"GLACIERCUBE_KEEP_BUFFERS": "0"}, ()),
    ],
)
def test_what_the_user_set_stays(environ, left):
    assert wanted(environ, "linux", "/lib/libc.so.6") == left


def test_other_allocators_and_systems_are_left_alone():
    assert wanted({}, "linux", "/usr/lib/libjemalloc.so.2") == ()
    assert wanted({}, "darwin", "") == ()
    assert wanted({}, "win32", "") == ()


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_memory_that_is_freed_is_used_again():
    """Buffers of changing sizes, freed after each: the process does not grow beyond its peak."""
    code = (
        "import resource, torch\n"
        "from glaciercube.infer.allocator import keep_buffers\n"
        "print(keep_buffers())\n"
        "def work(side):\n"
        "    held = [torch.ones(side, side) for _ in range(4)]\n"
        "    return sum(float(one[0, 0]) for one in held)\n"
        "size = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for side in (1500, 1400, 1300):\n"
        "    work(side)\n"
        "before = size()\n"
        "for turn in range(60):\n"
        "    work(1300 + 10 * (turn % 21))\n"
        "print((size() - before) * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True
    )
    kept, grown = done.stdout.split()
    assert kept == "True"
    assert int(grown) < 4 * 1500**2 * 4
