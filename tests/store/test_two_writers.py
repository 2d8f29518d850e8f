"""Two writers of one block, of one store; and clocks that cannot be trusted."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from glaciercube.errors import StoreError
from glaciercube.store import blocks, claims, ledger, template
from glaciercube.store.appending import append
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.planning import plan_of
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

WRITER = textwrap.dedent(
    """
    import sys, time
    import xarray as xr
    from glaciercube.store.writing import write
    from glaciercube.store.appending import append

    verb, source, target, pause = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    cube = xr.open_dataset(source, decode_coords="all").load().chunk(time=1, y=32, x=40)

    def slow(values):
        time.sleep(pause)
        return values

    data = cube.valid.data.map_blocks(slow, dtype=bool, name="slow-" + cube.valid.data.name)
    cube["valid"] = cube.valid.copy(data=data)
    print("ready", flush=True)
    sys.stdin.readline()
    report = {"write": write, "append": append}[verb](cube, target)
    print(report.written, flush=True)
    """
)


def start(verb, source, target, pause=0.02):
    """Return a process that is about to write."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, verb, str(source), str(target), str(pause)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def end(process):
    """Return what a writer said last, and its errors."""
    out, errors = process.communicate(timeout=120)
    return out.strip(), errors


@pytest.mark.parametrize("rounds", [40])
def test_one_block_written_by_many_at_once_is_whole(lazy_cube, tmp_path, rounds):
    plan = plan_of(lazy_cube[["valid", "cloud"]])
    place = Directory(tmp_path / "cube.zarr")
    template.create(plan, place)
    values = lazy_cube.valid.values[:1, :32, :40], lazy_cube.cloud.values[:1, :32, :40]
    cell = np.array([(0, 0, 0, "made of this", "2021-08-01")], blocks.CELL)[0]
    where = {"place": place, "layout": plan.header.layout, "fingerprint": plan.header.fingerprint}
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        blocks.write_block(cell, *values, **where)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(rounds):
            for done in [pool.submit(work) for _ in range(4)]:
                done.result()
            assert ledger.read_record(place, Block(0, 0, time=0)).fingerprint == "made of this"
    report = verify(place.path)
    assert len(report.missing) == 17
    assert (report.corrupt, report.foreign) == ((), ())


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["write", "append"])
def test_two_processes_of_the_same_content_make_one_store(cube, lazy_cube, tmp_path, verb):
    cube.to_netcdf(tmp_path / "cube.nc")
    both = [start(verb, tmp_path / "cube.nc", tmp_path / "cube.zarr") for _ in range(2)]
    for process in both:
        go(process)
    ends = [end(process) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert verify(tmp_path / "cube.zarr").sound
    np.testing.assert_array_equal(read(tmp_path / "cube.zarr").valid.values, cube.valid.values)
    assert list(Directory(tmp_path / "cube.zarr").names(claims.WRITERS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["write", "append"])
def test_the_second_of_other_content_is_refused_and_the_first_completes(cube, tmp_path, verb):
    path = tmp_path / "cube.zarr"
    cube.to_netcdf(tmp_path / "cube.nc")
    first = start(verb, tmp_path / "cube.nc", path, pause=0.2)
    go(first)
    place = Directory(path)
    while not (path.exists() and list(place.names(claims.WRITERS))):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    other = cube.assign(valid=(~cube.valid).assign_attrs(units="1")).chunk(time=1, y=32, x=40)
    text = "holds a different cube" if verb == "write" else "being written with other content"
    function, given = {"write": (write, other), "append": (append, other)}[verb]
    with pytest.raises(StoreError, match=text):
        function(given, path)
    out, errors = end(first)
    assert first.returncode == 0, errors
    assert int(out) == 24
    assert verify(path).sound
    np.testing.assert_array_equal(read(path).valid.values, cube.valid.values)


@pytest.mark.slow
def test_a_killed_writer_does_not_keep_the_next_one_out(cube, tmp_path):
    path = tmp_path / "cube.zarr"
    cube.isel(time=[0]).to_netcdf(tmp_path / "one.nc")
    victim = start("append", tmp_path / "one.nc", path, pause=0.5)
    go(victim)
    while not (path.exists() and list(Directory(path).names(claims.WRITERS))):
        time.sleep(0.01)
    victim.kill()
    victim.communicate()
    assert len(list(Directory(path).names(claims.WRITERS))) == 1
    report = append(cube.isel(time=[1]).chunk(time=1, y=32, x=40), path)
    assert len(report.dates) == 1
    assert list(Directory(path).names(claims.WRITERS)) == []
    assert verify(path).sound


@pytest.mark.parametrize("moment", [0.0, 4e9])
def test_no_clock_takes_part(lazy_cube, tmp_path, monkeypatch, moment):
    """Times of files and of the process go backwards and far ahead between two writes."""
    path = tmp_path / "cube.zarr"
    write(lazy_cube, path)
    place = Directory(path)
    ledger.forget(place, [Block(0, 0, time=1)])
    for file in path.rglob("*"):
        os.utime(file, (moment, moment))
    monkeypatch.setattr(time, "time", lambda: moment)
    report = write(lazy_cube, path)
    assert (report.written, report.skipped) == (1, 23)
    assert report.seconds >= 0
    assert verify(path).sound
    record = json.loads(place.read("_glaciercube/ledger/1.0.0.json"))
    assert record["seconds"] >= 0
