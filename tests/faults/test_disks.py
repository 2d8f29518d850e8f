"""Disks that are full, and disks that cannot be written."""

import errno
import re
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

from faults.disks import NEVER, Disk, OnDisk, kind_of
from faults.victims import Model, do, files, snapshot
from glaciercube.errors import StoreError
from glaciercube.store import ledger
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

OLD = Model((0,))
VERBS = {
    "write": (None, OLD),
    "append": (OLD, Model((0, 2))),
    "overwrite": (OLD.with_parameters(weights="0" * 64), OLD),
    "change": (OLD, OLD.changed(0, 1, 0)),
}
"""What is there before each verb, and what it is to write."""


def make(verb, path):
    """Make what is there before a verb, and return what is to be written."""
    before, model = VERBS[verb]
    if before is not None:
        do("write", before, path)
    return "write" if verb == "change" else verb, model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the store .* is incomplete")
@pytest.mark.parametrize(
    ("verb", "step"), [("write", 3), ("append", 2), ("overwrite", 5), ("change", 1)]
)
def test_a_disk_that_is_full_at_any_write(verb, step, tmp_path, fresh, tell):
    """At every so many writes, and at the first of each kind: their order is Dask's."""
    how, model = make(verb, tmp_path / "undisturbed.zarr")
    if VERBS[verb][0] is not None:
        shutil.copytree(tmp_path / "undisturbed.zarr", tmp_path / "before.zarr")
    large = Disk(NEVER)
    do(how, model, OnDisk(tmp_path / "undisturbed.zarr", large))
    wanted, kinds = files(tmp_path / "undisturbed.zarr"), sorted(set(large.kinds))
    assert {"shard", "ledger", "metadata"} <= set(kinds)
    for moment in [*range(1, len(large.kinds) + 1, step), *kinds]:
        disk, folder = Disk(moment), tmp_path / str(moment)
        folder.mkdir()
        if VERBS[verb][0] is not None:
            shutil.copytree(tmp_path / "before.zarr", folder / "cube.zarr")
        place = OnDisk(folder / "cube.zarr", disk)
        fresh()
        said = refusal(how, model, place)
        assert moment in (len(disk.kinds) - len(disk.refused) + 1, kind_of(disk.refused[0]))
        assert re.search(rf"'{folder}/(cube.zarr|\.cube.zarr.*new)'.*No space left", said), said
        require_nothing_wrong(folder, verb)
        disk.mended = True
        do(how, model, place)
        assert files(folder / "cube.zarr") == wanted, f"full at {moment}: {disk.refused}"
        assert verify(place).sound
        assert [one.name for one in folder.iterdir()] == ["cube.zarr"]
        shutil.rmtree(folder)
    tell(
        f"full at writes 1 to {len(large.kinds)} in steps of {step}, and at the first write of "
        f"each of {kinds}: as if undisturbed when there was room again"
    )


def refusal(verb, model, place):
    """Return what the error says of a disk; empty if all is written."""
    try:
        do(verb, model, place)
    except StoreError as error:
        return str(error)
    return ""


def require_nothing_wrong(folder, verb):
    """Require that what the ledger says is true, and that readers see what they saw."""
    for path in folder.iterdir():
        if not (path / "zarr.json").exists():
            assert not path.name.endswith(".draft")
            continue
        assert verify(path).corrupt == ()
        assert verify(path).foreign == ()
    if verb in ("append", "overwrite"):
        before, _ = VERBS[verb]
        seen = read(folder / "cube.zarr")
        assert seen.sizes["time"] >= 1
        np.testing.assert_array_equal(seen["sample"][0].values, before.whole("sample", 0))


@contextmanager
def mounted(folder, *commands):
    """Mount something at a folder, or skip the test with the reason."""
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)
            pytest.skip(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], capture_output=True, check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount here")
@pytest.mark.filterwarnings("ignore:the store .* is incomplete")
@pytest.mark.parametrize("verb", ["write", "append"])
def test_a_small_disk_that_fills_and_is_made_larger(verb, tmp_path, fresh, tell):
    disk = tmp_path / "disk"
    disk.mkdir()
    old, model = Model((0, 1)), Model(tuple(range(30)))
    paths = tmp_path / "undisturbed.zarr", disk / "cube.zarr"
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    with mounted(disk, command):
        if verb == "append":
            for path in paths:
                do("write", old, path)
        do(verb, model, paths[0])
        with pytest.raises(StoreError, match="cube.zarr' cannot be written: .*No space left"):
            do(verb, model, paths[1])
        fresh()
        report = verify(paths[1])
        assert report.corrupt == ()
        before = len(list((paths[1] / ledger.RECORDS).glob("[!.]*")))
        assert 8 < before < model.blocks
        if verb == "append":
            days = read(paths[1]).sizes["time"]
            assert 2 <= days < 30
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        done = do(verb, model, paths[1])
        assert done.written + done.empty == model.blocks - before
        assert files(paths[1]) == files(paths[0])
        assert verify(paths[1]).sound
    tell(f"1 MiB full after {before} of {model.blocks} blocks, complete after it grew to 8 MiB")


# disks that cannot be written


@pytest.fixture
def store(tmp_path):
    do("write", OLD, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


@pytest.mark.parametrize("verb", ["write", "append"])
def test_what_is_complete_is_not_touched(verb, store, fresh):
    before = snapshot(store)
    disk = Disk(code=errno.EROFS)
    report = do(verb, OLD, OnDisk(store, disk))
    assert (report.written, report.empty) == (0, 0)
    assert disk.refused == []
    assert snapshot(store) == before


@pytest.mark.parametrize("verb", ["write", "append", "overwrite", "repair"])
def test_what_is_incomplete_says_which_disk_cannot_be_written(verb, store, fresh):
    ledger.forget(Directory(store), [Block(0, 1, time=0)])
    model = Model((0, 2)) if verb == "append" else OLD
    before, disk = snapshot(store.parent), Disk(code=errno.EROFS)
    with pytest.raises(StoreError, match="cube.zarr.*' cannot be (written|created): .*Read-only"):
        do(verb, model, OnDisk(store, disk))
    assert disk.refused
    assert snapshot(store.parent) == before


def test_a_new_store_on_such_a_disk_is_refused(tmp_path, fresh):
    with pytest.raises(StoreError, match="new.zarr' cannot be created: .*Read-only"):
        do("write", OLD, OnDisk(tmp_path / "new.zarr", Disk(code=errno.EROFS)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount here")
def test_a_folder_that_is_mounted_read_only(store, tmp_path, fresh):
    view = tmp_path / "view"
    view.mkdir()
    with mounted(
        view,
        ["mount", "--bind", store.parent, view],
        ["mount", "-o", "remount,bind,ro", view],
    ):
        assert do("write", OLD, view / "cube.zarr").skipped == OLD.blocks
        assert do("append", OLD, view / "cube.zarr").dates == ()
        assert verify(view / "cube.zarr").sound
        ledger.forget(Directory(store), [Block(0, 1, time=0)])
        before = snapshot(store)
        with pytest.raises(StoreError, match="view/cube.zarr' cannot be written: .*Read-only"):
            do("write", OLD, view / "cube.zarr")
        with pytest.raises(StoreError, match="view/cube.zarr' cannot be written: .*Read-only"):
            do("append", Model((0, 2)), view / "cube.zarr")
        with pytest.raises(StoreError, match="view/new.zarr' cannot be created: .*Read-only"):
            do("write", OLD, view / "new.zarr")
        assert snapshot(store) == before
    assert do("write", OLD, store).skipped == OLD.blocks - 1
