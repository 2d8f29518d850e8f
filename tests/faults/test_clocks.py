"""Clocks that go backwards, and files whose times are wrong: nothing depends on them."""

import os
import time
from datetime import datetime

import numpy as np
import pytest

from faults.victims import Model, do, files
from glaciercube.store import claims, ledger
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

MODEL = Model((0, 2, 4))
BEGUN = Model((0, 2, 4), fails=frozenset({(2, 1, 1), (4, 0, 0)}))


class BackwardTime:
    """A clock of which each reading lies an hour before the last."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        self.now -= 3600
        return self.now


class BackwardDate:
    """Stands for `datetime`, and goes backwards too."""

    clock = BackwardTime(1_900_000_000.0)

    @classmethod
    def now(cls, zone):
        return datetime.fromtimestamp(cls.clock(), zone)


def set_times(path, moment):
    """Say of all files and folders that they were written at a moment; random if it is None."""
    chance = np.random.default_rng(0)
    for file in sorted(path.rglob("*")):
        then = moment if moment is not None else float(chance.uniform(0, 4e9))
        os.utime(file, (then, then))


@pytest.mark.parametrize("moment", [0.0, 4_000_000_000.0, None], ids=["past", "future", "random"])
@pytest.mark.parametrize("verb", ["write", "append"])
def test_times_of_files_and_clocks_decide_nothing(verb, moment, tmp_path, monkeypatch, fresh):
    path, undisturbed = tmp_path / "cube.zarr", tmp_path / "undisturbed.zarr"
    do(verb, MODEL, undisturbed)
    wanted = files(undisturbed)
    monkeypatch.setattr(time, "time", BackwardTime(1_900_000_000.0))
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))
    monkeypatch.setattr(claims, "datetime", BackwardDate)
    with pytest.raises(OSError, match="2 of 16 blocks failed|2 of 12 blocks failed"):
        do(verb, BEGUN, path)
    before = set((path / ledger.RECORDS).glob("*[0-9].json"))
    set_times(path, moment)
    report = do(verb, MODEL, path)
    assert report.written == 2
    found = {key: content for key, content in files(path).items() if "failed" not in key}
    assert found == wanted
    assert len(before) == 14
    set_times(path, moment)
    assert do(verb, MODEL, path).written == 0
    assert verify(path).sound
    for index, day in enumerate(MODEL.days):
        np.testing.assert_array_equal(read(path)["sample"][index], MODEL.whole("sample", day))


def test_a_store_replaced_by_one_of_the_same_times_is_seen(tmp_path, fresh):
    path = tmp_path / "cube.zarr"
    do("write", MODEL, path)
    set_times(path, 1e9)
    before = read(path)
    before["sample"][0].load()
    other = MODEL.changed(0, 0, 0).with_parameters(weights="2" * 64)
    do("overwrite", other, path)
    set_times(path, 1e9)
    with pytest.raises(OSError, match="was replaced since it was read"):
        before["sample"][0].load()
    np.testing.assert_array_equal(read(path)["sample"][0], other.whole("sample", 0))
    assert claims.writers(Directory(path)) == []
