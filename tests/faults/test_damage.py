"""Files that are cut short, turned in a bit or lost: found, named, and mended bit for bit."""

import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from faults.victims import BLOCK, Model, do, files, logged
from glaciercube.store import ledger
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify

pytestmark = pytest.mark.slow

MODEL = Model((0, 2, 4))
NEW = Model((0, 2, 4, 7))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return a store that was written and has grown by a date."""
    path = tmp_path_factory.mktemp("sound") / "cube.zarr"
    do("write", MODEL, path)
    do("append", NEW, path)
    return path


@pytest.fixture
def store(sound, tmp_path, fresh):
    """Return a copy of it to be damaged, of which nothing is open."""
    return shutil.copytree(sound, tmp_path / "cube.zarr")


def turned(content, place, bit):
    """Return content with one bit turned."""
    out = bytearray(content)
    out[place % len(out)] ^= 1 << bit
    return bytes(out)


DAMAGES = st.one_of(
    st.tuples(st.just("turned"), st.integers(0, 2**20), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.integers(0, 2**20), st.none()),
    st.tuples(st.just("random"), st.integers(0, 2**20), st.integers(1, 2**32)),
)


def damage(file, how):
    """Damage a file; return whether its content has changed."""
    kind, place, more = how
    content = file.read_bytes()
    if kind == "turned":
        new = turned(content, place, more)
    elif kind == "cut":
        new = content[: place % len(content)]
    else:
        new = np.random.default_rng(more).bytes(place % (2 * len(content)))
    file.write_bytes(new)
    return new != content


def block_of(key):
    """Return the name of the block of a shard: day's place, row and column."""
    variable, rest = key.split("/c/")
    numbers = rest.split("/")
    first = "static" if variable == "height" else numbers[0]
    return ".".join([first, *numbers[-2:]])


def name_in_log(block):
    """Return what the log of a model says of a block that was computed."""
    first, *rest = block.split(".")
    return ".".join([str(-1 if first == "static" else NEW.days[int(first)]), *rest])


SHARDS = re.compile(r"(sample|reflectance|height)/c/[\d/]+")


def require_values(store, blocks):
    """Require that blocks read as they were written, whatever lies in their files."""
    found = read(store)
    for first, row, column in (block.split(".") for block in blocks):
        day = -1 if first == "static" else NEW.days[int(first)]
        where = {
            "y": slice(int(row) * BLOCK[0], (int(row) + 1) * BLOCK[0]),
            "x": slice(int(column) * BLOCK[1], (int(column) + 1) * BLOCK[1]),
        }
        name = "height" if day == -1 else "sample"
        part = found[name].isel(where)
        part = part if day == -1 else part.isel(time=int(first))
        np.testing.assert_array_equal(part.values, NEW.block(name, day, int(row), int(column)))


tally = Counter()


@pytest.mark.slow
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(picked=st.lists(st.tuples(st.integers(0, 10**6), DAMAGES), min_size=1, max_size=3))
def test_damaged_shards_are_found_and_mended(sound, tmp_path_factory, fresh, picked):
    folder = tmp_path_factory.mktemp("damaged")
    store = shutil.copytree(sound, folder / "cube.zarr")
    wanted, log = files(store), folder / "log"
    shards = sorted(key for key in wanted if SHARDS.fullmatch(key))
    for number, how in picked:
        damage(store / shards[number % len(shards)], how)
    now = files(store)
    broken = {block_of(key) for key in shards if now[key] != wanted[key]}
    fresh()
    report = verify(store)
    header = ledger.read_header(Directory(store))
    labels = {header.label(block): block.key for block in header.layout.all_blocks()}
    found = {labels[where] for where, _ in report.corrupt}
    assert found <= broken, f"{report} for {picked}"
    require_values(store, broken - found)  # a bit of what is beyond the image
    assert report.missing == ()
    repaired = do("repair", replace(NEW, log=str(log)), store)
    assert (repaired.sound, repaired.repaired) == (True, len(found))
    assert set(logged(log)) == {name_in_log(block) for block in found}
    assert logged(log).total() == len(found)
    mended = files(store)
    assert all(mended[key] == wanted[key] for key in shards if block_of(key) not in broken - found)
    assert mended.keys() == wanted.keys()
    tally.update(examples=1, broken=len(broken), found=len(found))
    shutil.rmtree(folder)


@pytest.mark.slow
def test_what_was_found(tell):
    """Figures of the test before."""
    if not tally:
        pytest.skip("the test before did not run in this process")
    tell(dict(tally))
    assert tally["found"] >= 0.9 * tally["broken"] > 0


def cut(store, key, share):
    """Leave a share of a file."""
    content = (store / key).read_bytes()
    (store / key).write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_a_record_cut_short_is_a_block_that_is_missing(store, tmp_path, share, fresh):
    wanted, log = files(store), tmp_path / "log"
    cut(store, "_glaciercube/ledger/1.0.1.json", share)
    report = verify(store)
    assert report.missing == ("2021-06-03T00:00:00, y 0-24, x 32-48",)
    assert report.corrupt == ()
    repaired = do("repair", replace(NEW, log=str(log)), store)
    assert (repaired.sound, repaired.repaired) == (True, 1)
    assert dict(logged(log)) == {"2.0.1": 1}
    assert files(store) == wanted


METADATA = [
    "time/c/0",
    "scene/c/0",
    "band/c/0",
    "x/c/0",
    "y/zarr.json",
    "time/zarr.json",
    "spatial_ref/zarr.json",
    "sample/zarr.json",
    "height/zarr.json",
    "zarr.json",
]


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("key", METADATA)
def test_metadata_and_coordinates_cut_short_are_mended(store, tmp_path, key, share, fresh):
    wanted, log = files(store), tmp_path / "log"
    cut(store, key, share)
    report = verify(store)
    assert not report.sound
    assert report.corrupt, f"{key} was cut and {report}"
    fresh()
    repaired = do("repair", replace(NEW, log=str(log)), store)
    assert repaired.sound, f"{key}: {repaired}"
    assert dict(logged(log)) == {}
    found = files(store)
    differing = [
        name for name in wanted.keys() | found.keys() if found.get(name) != wanted.get(name)
    ]
    assert differing == []


@pytest.mark.parametrize(
    "key",
    [
        "zarr.json",
        "time/c/0",
        "sample/c/1/0/1",
        "_glaciercube/ledger",
    ],
)
def test_what_is_lost_is_mended(store, key, fresh):
    wanted = files(store)
    if (store / key).is_dir():
        shutil.rmtree(store / key)
    else:
        (store / key).unlink()
    assert not verify(store).sound
    fresh()
    assert do("repair", NEW, store).sound
    assert files(store) == wanted


def test_all_at_once(store, tmp_path, fresh):
    """A date was cut off, and then the disk lost what readers see first."""
    wanted, log = files(store), tmp_path / "log"
    ledger.forget(Directory(store), [Block(1, 1, time=2)])
    for key in ("zarr.json", "time/c/0", "sample/zarr.json", "sample/c/0/1/1"):
        cut(store, key, 0.5)
    fresh()
    assert do("repair", replace(NEW, log=str(log)), store).sound
    assert set(logged(log)) == {"4.1.1", "0.1.1"}
    assert files(store) == wanted
