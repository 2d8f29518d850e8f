"""A process that writes is killed anywhere: the next one makes what an undisturbed one makes."""

import shutil
import threading
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from faults.victims import (
    STATIC,
    THREADS,
    Model,
    Trap,
    day_of,
    do,
    files,
    logged,
)
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

KILLS = 25
OLD, NEW = (0, 2, 4), (0, 2, 3, 4, 9, 11)


def require_whole_dates(path, model, at_least=()):
    """Require that readers of the consolidated metadata, and `read`, see whole dates only."""
    plain = xr.open_zarr(path, consolidated=True, chunks=None, decode_coords="all")
    days = [day_of(time) for time in plain.time.values]
    assert set(at_least) <= set(days) <= set(model.days), f"{days} are seen"
    for index, day in enumerate(days):
        assert str(plain.scene.values[index]) == f"S{day}"
        np.testing.assert_array_equal(plain["sample"][index].values, model.whole("sample", day))
    if days:
        np.testing.assert_array_equal(plain["height"].values, model.whole("height", STATIC))
        ours = read(path)
        assert {day_of(time) for time in ours.time.values} >= set(days)
        for time, values in zip(ours.time.values, ours["sample"].values, strict=True):
            np.testing.assert_array_equal(values, model.whole("sample", day_of(time)))
    return days


class Watch:
    """Reads a store again and again while others write it, from `with` to its end."""

    def __init__(self, path, model, at_least=()):
        self.given = path, model, at_least
        self.looks, self.seen, self.error = 0, set(), None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        try:
            while not self._stop.is_set():
                if (self.given[0] / "zarr.json").exists():
                    self.seen.add(len(require_whole_dates(*self.given)))
                    self.looks += 1
                self._stop.wait(0.01)
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)
        if self.error is not None:
            raise self.error


def random_kill(chance, folder, changes, span_s):
    """Return when to kill: every second time after a time, else at a change of a number."""
    if chance.random() < 0.5:
        return {"after_s": chance.uniform(0, span_s)}
    return {"trap": Trap(folder, int(chance.integers(1, changes)))}


def begin(verb, path, days):
    """Make what is there before a verb is killed; nothing, if there are no days."""
    old = Model(days)
    if verb == "overwrite":
        old = old.with_parameters(weights="0" * 64)
    if days:
        do("write", old, path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the store .* is incomplete")
@pytest.mark.parametrize(
    ("verb", "olds"),
    [("write", [()]), ("append", [OLD, ()]), ("overwrite", [OLD])],
    ids=["write", "append", "overwrite"],
)
def test_killed_25_times_it_is_as_if_undisturbed(verb, olds, tmp_path, kill, fresh, tell):
    chance = np.random.default_rng(len(verb))
    model = Model(NEW, pause_s=0.005)
    wanted = {}
    for old in olds:
        begin(verb, tmp_path / f"{len(old)}.zarr", old)
        do(verb, model, tmp_path / f"{len(old)}.zarr")
        wanted[old] = files(tmp_path / f"{len(old)}.zarr")
    kills = stores = computed = recomputed = looks = 0
    while kills < KILLS:
        old, folder = olds[stores % len(olds)], tmp_path / str(stores)
        stores += 1
        folder.mkdir()
        path, victim = folder / "cube.zarr", replace(model, log=str(folder / "log"))
        begin(verb, path, old)
        done, here = False, 0
        while not done and kills < KILLS:
            how = random_kill(chance, folder, changes=250, span_s=0.25)
            with Watch(path, victim, old) if verb == "append" else nullcontext() as watch:
                killed = kill(verb, victim, path, **how)
            looks += watch.looks if watch else 0
            if verb == "append" and path.exists():
                require_whole_dates(path, victim, old)
            here, kills, done = here + killed, kills + killed, not killed
            # It may be killed after the new store took the place of the old one.
            done = done or (verb == "overwrite" and has_taken_place(path))
        fresh()
        if not done:
            do(verb, victim, path)
        counts = logged(victim.log)
        again = counts.total() - len(counts)
        computed, recomputed = computed + counts.total(), recomputed + again
        before = Model(old).blocks if verb == "append" and old else 0
        assert len(counts) == model.blocks - before
        assert again <= here * THREADS, f"{here} kills, {again} blocks computed again: {counts}"
        found = files(path)
        assert found == wanted[old], f"{differing(found, wanted[old])} differ"
        assert verify(path).sound
    tell(
        f"{kills} kills, {stores} stores, {computed} blocks computed, {recomputed} of them again "
        f"(bound {kills * THREADS}), {looks} looks of a reader meanwhile"
    )


def has_taken_place(path):
    """Say whether a store has the dates of the new model."""
    ledger = path / "_glaciercube" / "ledger"
    return ledger.exists() and len(list(ledger.iterdir())) == Model(NEW).blocks


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the store .* is incomplete")
@pytest.mark.parametrize("verb", ["append", "write"])
def test_killed_before_each_change_that_others_see(verb, tmp_path, kill, fresh, tell):
    """One date is appended, or one block's source has changed, and the last third is tried all."""
    old = Model((0, 2))
    model = Model((0, 2, 5)) if verb == "append" else old.changed(2, 1, 0)
    do("write", old, tmp_path / "undisturbed.zarr")
    do(verb, model, tmp_path / "undisturbed.zarr")
    wanted = files(tmp_path / "undisturbed.zarr")
    do("write", old, tmp_path / "before.zarr")
    number, killed = 0, True
    while killed:
        number += 1
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "before.zarr", folder / "cube.zarr")
        trap = Trap(folder, number, seen_only=True)
        killed = kill(verb, model, folder / "cube.zarr", trap=trap)
        if verb == "append":
            require_whole_dates(folder / "cube.zarr", model, old.days)
        fresh()
        do(verb, model, folder / "cube.zarr")
        found = files(folder / "cube.zarr")
        assert found == wanted, f"killed before change {number}: {differing(found, wanted)}"
        shutil.rmtree(folder)
    assert number > 10
    tell(f"{number - 1} moments, and the store always as if undisturbed")


def differing(found, wanted):
    """Return the keys in which two stores differ."""
    keys = found.keys() | wanted.keys()
    return sorted(key for key in keys if found.get(key) != wanted.get(key))
