"""Workers in this process, and `dask scheduler` and `dask worker` as processes of their own."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import distributed
import torch

WAIT_S = 60


def wait_for(condition, what, seconds=WAIT_S):
    """Wait until a condition gives something, and return that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise TimeoutError(f"waited {seconds} s for {what}")


WITH_PARENT = """
import os, runpy, signal, sys, threading
def watch():
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module that ends, with all it has started, when the tests do, however they end."""


@contextmanager
def process(*command, folder, **environment):
    """Run a Python module as a process in a group of its own, which ends with the context."""
    started = subprocess.Popen(
        [sys.executable, "-c", WITH_PARENT, *map(str, command)], cwd=folder,
        start_new_session=True, env={**os.environ, **environment}, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield started
    finally:
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        started.communicate()


@contextmanager
def scheduler(folder):
    """Give the process of a scheduler and its address."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    command = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    options = ("--no-dashboard", "--scheduler-file", file)
    with process(*command, *options, folder=folder) as started:
        wait_for(lambda: file.exists() and file.read_text().strip().endswith("}"), "a scheduler")
        yield started, json.loads(file.read_text())["address"]


@contextmanager
def workers(folder, address, count=1, threads=1, limit="4GiB", options=(), environment=()):
    """Give the processes (nannies) of workers."""
    command = ("distributed.cli.dask_worker", address, "--no-dashboard")
    size = ("--nthreads", threads, "--nworkers", count, "--memory-limit", limit)
    with process(
        *command, *size, "--local-directory", folder, *options, folder=folder, **dict(environment)
    ) as started:
        yield started


@contextmanager
def workers_here():
    """Give a client of two workers in this process, whose networks use one thread as elsewhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=False, memory_limit=0,
                dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR,
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):  # fmt: skip
            yield client
    finally:
        torch.set_num_threads(threads)
