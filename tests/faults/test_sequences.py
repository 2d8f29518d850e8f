"""Random lives of a store whose writers die at any write, whose sources change, whose files rot."""

import json
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faults.disks import OnDisk
from faults.victims import ACROSS, BLOCK, DOWN, STATIC, Model, day_of, do, files
from glaciercube.store import arrays, claims, ledger
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

DAYS = st.sets(st.integers(0, 7), min_size=1, max_size=3)
CUTS = st.one_of(st.none(), st.integers(1, 70))
"""At which write a writer dies."""

PLACES = [(row, column) for row in range(DOWN) for column in range(ACROSS)]


class Dead(BaseException):
    """The process is no more: nothing that it would do comes to pass."""


class Life:
    """Counts what a process writes, and ends it at a number; stands for a `Disk`."""

    def __init__(self, number):
        self.left, self.code = number, None
        self._lock = threading.Lock()

    def take(self, key):
        with self._lock:
            self.left -= 1
            if self.left <= 0:
                raise Dead

    def take_removal(self, key):
        if self.left <= 0:
            raise Dead


class Mortal(OnDisk):
    """A directory to which a process writes as long as it lives."""

    def beside(self, mark):
        return Mortal(super().beside(mark).path, self.disk)


def parsed(found):
    """Return the content of files, metadata without the order in which attributes were added."""
    return {
        key: json.loads(content) if key.endswith("zarr.json") else content
        for key, content in found.items()
    }


class Lives(RuleBasedStateMachine):
    """The store on disk beside what it may hold."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "cube.zarr"
        self.model = Model(())
        """What is to be, its days those that readers see."""

        self.older = {}
        """Versions that blocks may still have, since a writer died."""

    def teardown(self):
        shutil.rmtree(self.folder)

    def call(self, verb, model, cut):
        """Do something in a process that may die; return whether it lived.

        In one thread: of two, either may come first, and Hypothesis must see the same again.
        """
        arrays._arrays.clear()
        place = self.path if cut is None else Mortal(self.path, Life(cut))
        try:
            do(verb, model, place, scheduler="synchronous")
        except Dead:
            return False
        return True

    @property
    def days_on_disk(self):
        if not self.path.exists():
            return ()
        return tuple(sorted(day_of(t) for t in ledger.read_header(Directory(self.path)).times))

    @rule(days=DAYS, cut=CUTS)
    def append(self, days, cut):
        model = replace(self.model, days=tuple(sorted(days)))
        lived = self.call("append", model, cut)
        before, now = set(self.model.days), set(self.days_on_disk)
        assert before <= now <= before | days
        assert not lived or now == before | days
        self.model = replace(self.model, days=tuple(sorted(now)))

    @precondition(lambda self: self.model.days)
    @rule(data=st.data(), count=st.integers(0, 3), cut=CUTS)
    def change_and_write(self, data, count, cut):
        for _ in range(count):
            day = data.draw(st.sampled_from([STATIC, *self.model.days]))
            block = (day, *data.draw(st.sampled_from(PLACES)))
            self.older.setdefault(block, set()).add(self.model.version(*block))
            self.model = self.model.changed(*block)
        if self.call("write", self.model, cut):
            self.older = {}

    @precondition(lambda self: self.model.days)
    @rule(days=DAYS, cut=CUTS)
    def overwrite(self, days, cut):
        weights = f"{int(dict(self.model.parameters)['weights'], 16) + 1:064x}"
        new = replace(self.model, days=tuple(sorted(days))).with_parameters(weights=weights)
        before = files(self.path)
        lived = self.call("overwrite", new, cut)
        if lived:
            self.model, self.older = new, {}
        else:
            assert files(self.path) == before
            for rest in self.folder.glob(".cube.zarr.*"):
                shutil.rmtree(rest)  # it is given up

    @precondition(lambda self: self.model.days and not self.older)
    @rule(data=st.data(), how=st.sampled_from(["cut", "turned", "gone"]))
    def damage_and_repair(self, data, how):
        self.call("write", self.model, None)
        wanted = files(self.path)
        seen = self.days_on_disk
        keys = [key for key in sorted(wanted) if self.is_mendable(key, len(seen))]
        key = data.draw(st.sampled_from(keys))
        file = self.path / key
        content = file.read_bytes()
        if how == "gone":
            file.unlink()
        elif how == "cut" or not content.strip(b"\0"):
            file.write_bytes(content[: len(content) // 2])
        else:
            place = len(content) // 3
            file.write_bytes(content[:place] + b"\xff\x00\xff"[: place + 1] + content[place + 3 :])
        arrays._arrays.clear()
        assert not verify(self.path).sound, f"{key} was {how}"
        assert self.call("repair", self.model, None)
        assert parsed(files(self.path)) == parsed(wanted)

    def is_mendable(self, key, times):
        """Say whether a key is a shard that readers see, its record, or of an array."""
        parts = key.split("/")
        if parts[0] in ("sample", "reflectance", "height"):
            return parts[0] == "height" or parts[1] == "zarr.json" or int(parts[2]) < times
        first = parts[-1].split(".")[0]
        return key.startswith("_glaciercube/ledger/") and (first == "static" or int(first) < times)

    @precondition(lambda self: self.model.days)
    @rule()
    def a_dead_writer_of_another_content(self):
        note = Directory(self.path)
        note.write(f"{claims.WRITERS}/{'0' * 32}.json", b'{"content": "x", "process": 1}')
        assert len(verify(self.path).writers) == 1
        note.delete(f"{claims.WRITERS}/{'0' * 32}.json")

    def require_values(self, found):
        for index, time in enumerate(found.time.values):
            day = day_of(time)
            assert str(found.scene.values[index]) == f"S{day}"
            self.require_blocks("sample", day, found["sample"][index].values)
        self.require_blocks("height", STATIC, found["height"].values)

    def require_blocks(self, name, day, values):
        for row, column in PLACES:
            y, x = row * BLOCK[0], column * BLOCK[1]
            part = values[y : y + BLOCK[0], x : x + BLOCK[1]]
            versions = {self.model.version(day, row, column)}
            versions |= self.older.get((day, row, column), set())
            possible = [
                replace(self.model, versions=(((day, row, column), version),)).block(
                    name, day, row, column
                )
                for version in versions
            ]
            assert any(np.array_equal(part, one) for one in possible)

    @invariant()
    def readers_see_what_was_written(self):
        if not self.path.exists():
            return
        plain = xr.open_zarr(self.path, chunks=None, decode_coords="all")
        assert tuple(sorted(map(day_of, plain.time.values))) == self.model.days
        if not self.model.days:
            return
        self.require_values(plain)
        ours = read(self.path)
        assert tuple(map(day_of, ours.time.values)) == self.model.days
        self.require_values(ours)

    @invariant()
    def verify_tells_the_truth(self):
        if not self.path.exists():
            return
        report = verify(self.path)
        assert (report.corrupt, report.foreign, report.writers) == ((), (), ())
        assert not report.missing or self.older or not self.model.days


TestLives = pytest.mark.filterwarnings("ignore:the store .* is incomplete")(
    pytest.mark.slow(Lives.TestCase)
)
TestLives.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
