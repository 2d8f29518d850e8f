"""Each way in a process of its own: its peak memory and its allocator are nobody else's."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glaciercube.errors import GlacierCubeError
from inference.setup import Setup

QUIET = {"OMP_WAIT_POLICY": "passive"}
"""Of every process: threads of OpenMP that wait for one another sleep. With the default they spin,
and beside other work on the same cores a forward pass was measured to take ten times as long."""

Way = Callable[..., dict[str, Any]]
"""Takes the setup and options, gives numbers, runs in the process."""


def measured(
    module: str, way: str, setup: Setup, *, environ: Mapping[str, str] | None = None, **options: Any
) -> dict[str, Any]:
    """Run a way in a new process and return what it found.

    Parameters
    ----------
    module : str
        Of this package, that has the way and calls `serve`.
    way : str
    setup : Setup
    environ : mapping, optional
        Variables that the process has besides ours.
    **options
        Of the way, as JSON.

    Returns
    -------
    dict
        Only "skipped", with the reason, if the way cannot run here.
    """
    told = json.dumps({"setup": asdict(setup), "options": options})
    done = subprocess.run(
        [sys.executable, "-m", f"inference.{module}", way, told],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **QUIET, **(environ or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module}.{way} with {options} ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def serve(ways: Mapping[str, Way]) -> None:
    """Run the way that the command line names and print what it found; called in the process."""
    told = json.loads(sys.argv[2])
    try:
        found = ways[sys.argv[1]](Setup(**told["setup"]), **told["options"])
    except (GlacierCubeError, ImportError) as error:
        found = {"skipped": " ".join(str(error).split())}
    print(json.dumps(found))


@contextmanager
def clocked(found: dict[str, Any]) -> Iterator[None]:
    """Put seconds, processor seconds, bytes and memory of what is done within into `found`."""
    found["before"] = memory()["VmRSS"]
    _forget_peak()
    start, processor, begun = time.perf_counter(), time.process_time(), transferred()
    yield
    found["seconds"] = time.perf_counter() - start
    found["cpu"] = time.process_time() - processor
    read, written = transferred()
    found["read"], found["written"] = read - begun[0], written - begun[1]
    found["peak"] = memory()["VmHWM"]


def memory() -> dict[str, int]:
    """Return the bytes that this process has resident (VmRSS), and had at most (VmHWM)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux: the peak since the start serves for both
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return dict.fromkeys(("VmRSS", "VmHWM"), peak * (1 if sys.platform == "darwin" else 1024))
    named = (line.split(":") for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {name: int(value.split()[0]) * 1024 for name, value in named}


def transferred() -> tuple[int, int]:
    """Return the bytes that this process has read and written, cached files included."""
    try:
        text = Path("/proc/self/io").read_text()
    except OSError:
        return 0, 0
    found = dict(line.split(": ") for line in text.splitlines())
    return int(found["rchar"]), int(found["wchar"])


def _forget_peak():
    """Let the peak begin anew, where the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
