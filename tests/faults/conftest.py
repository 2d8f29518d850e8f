"""Fixtures: processes that may be killed, figures that can be seen."""

import multiprocessing
import sys
import time

import pytest

from faults import victims
from glaciercube.store import arrays


@pytest.fixture(scope="session")
def processes():
    """Return the way to start processes quickly: copies of one that has imported the package."""
    context = multiprocessing.get_context("forkserver")
    names = ("appending", "reading", "verification")
    context.set_forkserver_preload([f"glaciercube.store.{name}" for name in names])
    return context


@pytest.fixture
def start(processes):
    """Return a function that starts `victims.run`; what still runs at the end is killed."""
    begun = []

    def begin(*given, **options):
        process = processes.Process(target=victims.run, args=given, kwargs=options)
        process.start()
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.is_alive():
            process.kill()
        process.join(30)


@pytest.fixture
def kill(processes, start):
    """Return a function that lets a process begin, and kills it after a time or at a change.

    It returns whether the process was killed: it may be done before.
    """

    def killed(*given, after_s=None, trap=None, **options):
        if trap is not None:
            process = start(*given, trap=trap, **options)
        else:
            near, far = processes.Pipe()
            process = start(*given, started=far, **options)
            assert near.recv() == "started"
            time.sleep(after_s)
            process.kill()
        process.join(60)
        assert process.exitcode in (0, -9), f"the victim ended with {process.exitcode}"
        return process.exitcode == -9

    return killed


@pytest.fixture
def tell(request):
    """Return a function that shows a figure with -s."""

    def say(text):
        sys.stdout.write(f"\n{request.node.name}: {text}\n")

    return say


@pytest.fixture
def fresh():
    """Return a function that forgets arrays that are open, as a new process does."""

    def forget():
        arrays._arrays.clear()
        arrays._stamps.clear()

    forget()
    yield forget
    forget()
