"""Random histories of a store: written, grown, cut off, damaged, mended - and always true."""

import shutil
import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glaciercube.errors import StoreError
from glaciercube.store import ledger
from glaciercube.store.appending import append
from glaciercube.store.lineage import Lineage, with_lineage
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

DAYS = [str(day)[:10] for day in pd.date_range("2021-07-01", periods=8, freq="3D")]
ROWS, COLUMNS, BLOCK = 12, 10, 6


class Sources:
    """What a cube is made of: a number per date and block that can be changed."""

    def __init__(self):
        self.versions = {}

    def version(self, day, y0, x0):
        return self.versions.get((day, y0, x0), 0)

    def of(self, time, window):
        return str(self.version(str(time)[:10], window.y0, window.x0))

    def values(self, day):
        """Return all pixels of a date."""
        out = np.empty((ROWS, COLUMNS), np.uint8)
        for y0 in range(0, ROWS, BLOCK):
            for x0 in range(0, COLUMNS, BLOCK):
                part = out[y0 : y0 + BLOCK, x0 : x0 + BLOCK]
                part[...] = self.version(day, y0, x0) + 10 * DAYS.index(day) + y0 + x0
        return out % 255


class Cut(BaseException):
    """The process ends here, as if killed."""


class Source:
    """Gives blocks, until it is told to cut everything off."""

    def __init__(self, sources, days, stops_after):
        self.sources, self.days, self.left = sources, days, stops_after

    def __call__(self, block_info=None):
        (t, _), (y0, y1), (x0, x1) = block_info[None]["array-location"]
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Cut
        return self.sources.values(self.days[t])[np.newaxis, y0:y1, x0:x1]


def cube_of(sources, days, stops_after=None):
    """Return a lazy cube of some dates; always the same lineage, never the same Dask name."""
    days = sorted(days)
    chunks = ((1,) * len(days), (6, 6), (6, 4))
    data = da.map_blocks(
        Source(sources, days, stops_after), chunks=chunks, dtype=np.uint8,
        meta=np.empty((0, 0, 0), np.uint8), name=f"source-{np.random.default_rng().integers(1e15)}",
    )  # fmt: skip
    cube = xr.Dataset(
        {"count": (("time", "y", "x"), data)},
        coords={
            "time": pd.to_datetime(days).as_unit("ns"),
            "y": 5_000_000.0 - 10 * np.arange(ROWS),
            "x": 600_000.0 + 10 * np.arange(COLUMNS),
        },
    ).odc.assign_crs("EPSG:32632")
    lineage = Lineage(name=data.name, parameters={"kind": "count"}, inputs=sources)
    return cube.assign(count=with_lineage(cube["count"], lineage))


class Histories(RuleBasedStateMachine):
    """The store on disk beside what it should hold."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "cube.zarr"
        self.sources = Sources()
        self.seen: set[str] = set()
        self.whole = True
        """Whether no write that may have changed blocks was cut off since the last one."""
        self.damaged = False

    def teardown(self):
        shutil.rmtree(self.folder)

    def cut(self, verb, days, after):
        """Call a verb that is cut off after some blocks; it may also get through."""
        try:
            verb(cube_of(self.sources, days, after), self.path)
        except Cut:
            pass

    @property
    def on_disk(self):
        """Dates that readers see."""
        return {time[:10] for time in ledger.read_header(Directory(self.path)).times}

    @rule(days=st.sets(st.sampled_from(DAYS), min_size=1, max_size=4))
    def append(self, days):
        report = append(cube_of(self.sources, days), self.path)
        assert {date[:10] for date in report.dates} == days - self.seen
        self.seen |= days

    @rule(days=st.sets(st.sampled_from(DAYS), min_size=1, max_size=4), after=st.integers(0, 20))
    def append_and_be_cut_off(self, days, after):
        self.cut(append, days, after)
        now = self.on_disk
        assert self.seen <= now <= self.seen | days
        self.seen = now

    @precondition(lambda self: self.seen)
    @rule(day=st.sampled_from(DAYS), y0=st.sampled_from([0, 6]), x0=st.sampled_from([0, 6]))
    def change_a_source_and_write(self, day, y0, x0):
        changed = day in self.seen
        self.sources.versions[day, y0, x0] = self.sources.version(day, y0, x0) + 1
        report = write(cube_of(self.sources, self.seen), self.path)
        if self.whole and not self.damaged:
            assert report.written == report.changed == int(changed)
        self.whole = True

    @precondition(lambda self: self.seen)
    @rule(after=st.integers(0, 3), day=st.sampled_from(DAYS))
    def change_a_date_and_be_cut_off(self, after, day):
        for y0 in (0, 6):
            self.sources.versions[day, y0, 0] = self.sources.version(day, y0, 0) + 1
        self.cut(write, self.seen, after)
        self.whole = False

    @precondition(lambda self: self.seen and self.whole)
    @rule()
    def write_again(self):
        report = write(cube_of(self.sources, self.seen), self.path)
        assert (report.written, report.changed) == (0, 0)

    @precondition(lambda self: self.seen and self.whole)
    @rule(data=st.data())
    def damage_and_repair(self, data):
        shards = sorted((self.path / "count" / "c").rglob("*"))
        shards = [shard for shard in shards if shard.is_file() and self.is_seen(shard)]
        victim = data.draw(st.sampled_from(shards))
        content = bytearray(victim.read_bytes())
        kind = data.draw(st.sampled_from(["flip", "cut", "gone", "record"]))
        if kind == "flip":
            content[len(content) // 4] ^= 1 << data.draw(st.integers(0, 7))
            victim.write_bytes(bytes(content))
        elif kind == "cut":
            victim.write_bytes(bytes(content[: len(content) // 2]))
        elif kind == "gone":
            victim.unlink()
        else:
            slot, row, column = victim.relative_to(self.path / "count" / "c").parts
            (self.path / "_glaciercube" / "ledger" / f"{slot}.{row}.{column}.json").write_text("{")
        assert not verify(self.path).sound
        assert verify(self.path, repair=cube_of(self.sources, self.seen)).repaired == 1

    def is_seen(self, shard):
        return int(shard.relative_to(self.path / "count" / "c").parts[0]) < len(self.on_disk)

    @precondition(lambda self: self.seen)
    @rule()
    def another_cube_is_refused(self):
        other = cube_of(self.sources, self.seen).assign_attrs(sensor="another")
        for verb in (write, append):
            with pytest.raises(StoreError, match="sensor is None in the store, 'another'"):
                verb(other, self.path)

    @invariant()
    def readers_see_whole_dates(self):
        if not self.path.exists():
            return
        plain = xr.open_zarr(self.path)
        assert {str(time)[:10] for time in plain.time.values} == self.seen
        if not self.seen or not self.whole:
            return
        found = read(self.path)
        assert [str(time)[:10] for time in found.time.values] == sorted(self.seen)
        for day in self.seen:
            wanted = self.sources.values(day)
            np.testing.assert_array_equal(found["count"].sel(time=day).values.squeeze(), wanted)
            np.testing.assert_array_equal(plain["count"].sel(time=day).values.squeeze(), wanted)

    @invariant()
    def the_ledger_tells_the_truth(self):
        if self.seen and self.whole:
            report = verify(self.path)
            assert report.sound, str(report)
            assert (report.foreign, report.writers) == ((), ())


TestHistories = pytest.mark.slow(Histories.TestCase)
TestHistories.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
