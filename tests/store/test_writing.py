"""A write that is whole, resumes, refuses another cube, and survives being killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Lock

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from glaciercube import schema
from glaciercube.errors import GlacierCubeWarning, GridError, SchemaError, StoreError
from glaciercube.store import arrays, blocks, ledger, places
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import IncompleteWriteError, WriteReport, write


def snapshot(path):
    """Return the content of every file under a path, the durations in the ledger apart."""
    found = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    return {file: _without_seconds(file, content) for file, content in found.items()}


def _without_seconds(file, content):
    if file.parent.name != "ledger" or file.name.startswith("."):
        return content
    return {key: value for key, value in json.loads(content).items() if key != "seconds"}


class Counter:
    """Identity on blocks that counts them, and fails for the calls it is told to."""

    def __init__(self, fails=lambda values, call: False):
        self.calls, self.fails, self.lock = 0, fails, Lock()

    def __call__(self, values):
        with self.lock:
            self.calls += 1
            call = self.calls
        if self.fails(values, call):
            raise RuntimeError("the catalogue went away")
        return values

    def of(self, cube):
        """Return a cube whose reflectance passes through, under the same name every time."""
        data = cube.reflectance.data
        passed = data.map_blocks(
            self, dtype=data.dtype, meta=np.empty((0,) * 4, np.float32), name="passed-1"
        )
        out = cube.copy()
        out["reflectance"] = cube.reflectance.copy(data=passed)
        return out


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cube.zarr"


def test_the_report_counts_every_block(lazy_cube, path):
    report = write(lazy_cube, path)
    assert isinstance(report, WriteReport)
    assert (report.blocks, report.written, report.empty, report.skipped) == (24, 24, 0, 0)
    assert report.failed == ()
    assert report.path == path
    assert str(report).startswith("cube.zarr: 24 of 24 blocks written, 0 empty, 0 done before, 0 f")
    assert "\n" not in str(report)


def test_a_second_write_computes_nothing_and_changes_nothing(lazy_cube, path):
    write(lazy_cube, path)
    before = snapshot(path)
    counter = Counter()
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("it computed")):
        report = write(lazy_cube, path)
    assert (report.written, report.skipped) == (0, 24)
    assert counter.calls == 0
    assert snapshot(path) == before


def test_only_blocks_without_a_record_are_computed(lazy_cube, path):
    counter = Counter()
    write(counter.of(lazy_cube), path)
    assert counter.calls == 18
    whole = snapshot(path)
    ledger.forget(Directory(path), [Block(0, 1, time=2), Block(2, 0, time=0)])
    report = write(counter.of(lazy_cube), path)
    assert counter.calls == 20
    assert (report.written, report.skipped) == (2, 22)
    assert snapshot(path) == whole


def test_chunked_and_whole_cubes_hold_the_same(cube, lazy_cube, tmp_path):
    write(cube, tmp_path / "whole.zarr")
    write(lazy_cube, tmp_path / "chunked.zarr")
    chunked = read(tmp_path / "chunked.zarr").compute()
    xr.testing.assert_identical(read(tmp_path / "whole.zarr").compute(), chunked)


@pytest.mark.parametrize(
    ("rows", "columns", "down", "across"), [(2, 3, 1, 2), (70, 50, 32, 40), (33, 80, 32, 7)]
)
def test_any_shape_and_block_comes_back(cube, path, rows, columns, down, across):
    part = cube.isel(y=slice(0, rows), x=slice(0, columns)).chunk(y=down, x=across, time=1)
    write(part, path)
    found = read(path)
    for name in ("valid", "cloud", "elevation"):
        np.testing.assert_array_equal(found[name].values, part[name].values)
    assert verify(path).sound


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(2, 96),
    columns=st.integers(2, 80),
    down=st.integers(8, 96),
    across=st.integers(8, 80),
    lost=st.sets(st.integers(0, 20), max_size=5),
)
def test_whatever_was_lost_is_written_again(tmp_path_factory, rows, columns, down, across, lost):
    path = tmp_path_factory.mktemp("property") / "cube.zarr"
    generator = np.random.default_rng(rows * 100 + columns)
    dims = ("time", "y", "x")
    whole = xr.Dataset(
        {
            "extent": (dims, generator.integers(0, 2, (2, rows, columns), np.uint8)),
            "height": (("y", "x"), generator.random((rows, columns), np.float32)),
        },
        coords={
            "time": pd.to_datetime(["2021-08-01", "2022-08-01"]).as_unit("ns"),
            "y": 5_000_000.0 - 10 * np.arange(rows),
            "x": 600_000.0 + 10 * np.arange(columns),
        },
    ).odc.assign_crs("EPSG:32632")
    whole["extent"].attrs = schema.flag_attrs("extent")
    layers = whole.chunk(time=1, y=down, x=across)
    total = write(layers, path).blocks
    header = ledger.read_header(Directory(path))
    every = header.layout.all_blocks()
    gone = {every[number] for number in lost if number < total}
    for block in gone:
        for stored in header.layout.of(block.time is not None):
            array = arrays.array_of(Directory(path), stored, header.fingerprint)
            Directory(path).delete(arrays.shard_key(array, header.layout, (stored, block)))
    ledger.forget(Directory(path), gone)
    report = write(layers, path)
    assert (report.written + report.empty, report.skipped) == (len(gone), total - len(gone))
    found = read(path)
    np.testing.assert_array_equal(found.extent.values, whole.extent.values)
    np.testing.assert_array_equal(found.height.values, whole.height.values)
    assert verify(path).sound


def test_dates_and_bands_may_be_chunked_as_they_are(cube, path):
    write(cube.chunk(time=2, band=3, y=48, x=-1), path)
    np.testing.assert_array_equal(read(path).valid.values, cube.valid.values)
    assert ledger.read_header(Directory(path)).layout.block == (48, 80)


def test_blocks_without_values_are_recorded_and_not_stored(lazy_cube, path):
    dark = lazy_cube.isel(time=[0]).map(lambda v: v)
    nothing = xr.zeros_like(dark.valid)
    dark = dark.assign(
        reflectance=dark.reflectance.where(dark.x < 600_400).assign_attrs(units="1"),
        valid=(dark.valid & (dark.x < 600_400)).assign_attrs(units="1"),
        cloud=nothing.assign_attrs(units="1"),
    )
    report = write(dark, path)
    assert (report.written, report.empty) == (9, 3)
    assert not list((path / "reflectance" / "c" / "0" / "0").glob("*/1"))
    assert verify(path).sound
    assert not read(path).valid.values[:, :, 40:].any()


def test_values_beyond_the_codes_are_said_and_counted(lazy_cube, path):
    bright = lazy_cube.assign(reflectance=lazy_cube.reflectance.fillna(9.0))
    expected = int(lazy_cube.reflectance.isnull().sum())
    text = rf"{expected} values lay beyond what the store holds \(reflectance -0.0999 to 6.4535\)"
    with pytest.warns(GlacierCubeWarning, match=text):
        report = write(bright, path)
    assert report.clipped == expected
    with pytest.warns(GlacierCubeWarning, match=text):
        assert write(bright, path).clipped == expected


# refusals


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.isel(time=[0, 1]), "the store has 3 dates from 2021-08-01 to 2023"),
        (lambda c: c.drop_vars("cloud"), "the store has the variables"),
        (lambda c: c.isel(x=slice(0, 40)), "the grid is EPSG:32632"),
        (lambda c: c.assign(elevation=c.elevation + 1), "'elevation' differs in content"),
    ],
)
def test_a_different_cube_is_refused_and_the_store_left_as_it_is(lazy_cube, path, change, text):
    write(lazy_cube, path)
    before = snapshot(path.parent)
    other = change(lazy_cube)
    other["elevation"].attrs["units"] = "m"
    with pytest.raises(StoreError, match=f"holds a different cube:(?s:.*){text}(?s:.*)overwrite="):
        write(other, path)
    assert snapshot(path.parent) == before


def test_what_is_not_a_store_is_refused_even_to_overwrite(lazy_cube, path):
    path.mkdir()
    (path / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="is not a store of this package"):
            write(lazy_cube, path, overwrite=overwrite)
    assert (path / "thesis.txt").read_text() == "precious"
    assert len(list(path.parent.rglob("*"))) == 2


def test_an_unfit_dataset_writes_nothing(lazy_cube, path):
    with pytest.raises(SchemaError, match="'time' need to be sorted"):
        write(lazy_cube.isel(time=[1, 0]), path)
    with pytest.raises(GridError, match="needs regular coordinates y and x"):
        write(lazy_cube.isel(y=[0, 1, 5, 6]), path)
    assert list(path.parent.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_named(lazy_cube, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"'.*file/cube.zarr' cannot be created"):
        write(lazy_cube, tmp_path / "file" / "cube.zarr")


def test_an_unknown_address_is_refused(lazy_cube):
    with pytest.raises(StoreError, match="an address that begins with one of .*, found 'ftp://a/b"):
        write(lazy_cube, "ftp://a/b.zarr")


# failures


def test_a_failing_block_does_not_stop_the_others(lazy_cube, path):
    corner = float(lazy_cube.reflectance[1, 0, 40, 50])
    counter = Counter(fails=lambda values, call: np.any(values == np.float32(corner)))
    text = (
        r"(?s)1 of 24 blocks failed in '.*cube.zarr':\n  2022-08-05T00:00:00, y 32-64, x 40-80: "
        r"RuntimeError: the catalogue went away.*write again"
    )
    with pytest.raises(IncompleteWriteError, match=text) as caught:
        write(counter.of(lazy_cube), path)
    report = caught.value.report
    assert (report.written, len(report.failed)) == (23, 1)
    assert isinstance(caught.value.__cause__, RuntimeError)
    again = write(Counter().of(lazy_cube), path)
    assert (again.written, again.skipped) == (1, 23)
    np.testing.assert_array_equal(read(path).valid.values, lazy_cube.valid.values)


def test_a_failure_that_passes_fails_nothing(lazy_cube, path):
    counter = Counter(fails=lambda values, call: call in (3, 9))
    assert write(counter.of(lazy_cube), path).written == 24


def test_many_failures_are_listed_shortly(lazy_cube, path):
    counter = Counter(fails=lambda values, call: True)
    with pytest.raises(IncompleteWriteError, match="18 of 24 blocks failed(?s:.*)and 8 more") as e:
        write(counter.of(lazy_cube), path)
    assert e.value.report.written == 6  # the blocks of elevation


def test_a_full_disk_stops_the_write_at_once(lazy_cube, path, monkeypatch):
    calls = []

    def full(*given):
        calls.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blocks.arrays, "write_codes", full)
    with pytest.raises(StoreError, match=r"cube.zarr' cannot be written: .*No space left"):
        write(lazy_cube, path)
    assert len(calls) <= 2 * (os.cpu_count() or 1)
    monkeypatch.undo()
    report = write(lazy_cube, path)  # a thread that was at work then may have written its block
    assert report.written + report.skipped == 24
    assert report.skipped < (os.cpu_count() or 1)


# overwriting


def make_other(lazy_cube):
    other = lazy_cube.assign(valid=~lazy_cube.valid)
    other["valid"].attrs["units"] = "1"
    return other


def test_overwriting_replaces_the_store(lazy_cube, path):
    write(lazy_cube, path)
    report = write(make_other(lazy_cube), path, overwrite=True)
    assert (report.written, report.path) == (24, path)
    assert (read(path).valid.values == ~lazy_cube.valid.values).all()
    assert list(path.parent.iterdir()) == [path]


def test_overwriting_where_nothing_is_just_writes(lazy_cube, path):
    assert write(lazy_cube, path, overwrite=True).written == 24
    assert list(path.parent.iterdir()) == [path]


def test_overwriting_with_the_same_cube_computes_it_again(lazy_cube, path):
    write(lazy_cube, path)
    assert write(lazy_cube, path, overwrite=True).written == 24


def test_an_interrupted_overwrite_loses_nothing_and_goes_on(lazy_cube, path):
    write(lazy_cube, path)
    before = snapshot(path)
    other = make_other(lazy_cube)
    corner = float(lazy_cube.reflectance[1, 0, 40, 50])
    failing = Counter(fails=lambda values, call: np.any(values == np.float32(corner)))
    with pytest.raises(IncompleteWriteError, match="1 of 24 blocks failed"):
        write(failing.of(other), path, overwrite=True)
    assert snapshot(path) == before
    report = write(Counter().of(other), path, overwrite=True)
    assert (report.written, report.skipped) == (1, 23)
    assert (read(path).valid.values == ~lazy_cube.valid.values).all()


def test_a_crash_between_the_two_renames_is_mended(lazy_cube, path, monkeypatch):
    write(lazy_cube, path)
    other, real, calls = make_other(lazy_cube), os.rename, []

    def crash(source, target):
        if Path(target) == path:
            raise KeyboardInterrupt
        calls.append(target)
        real(source, target)

    monkeypatch.setattr(places.os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        write(other, path, overwrite=True)
    monkeypatch.undo()
    assert not path.exists()
    report = write(other, path, overwrite=True)
    assert (report.written, report.skipped) == (0, 24)
    assert (read(path).valid.values == ~lazy_cube.valid.values).all()


def test_a_store_that_cannot_be_replaced_is_named(lazy_cube, path, monkeypatch):
    write(lazy_cube, path)
    real = os.rename

    def refuse(source, target):
        if str(target).endswith(".old"):
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(places.os, "rename", refuse)
    with pytest.raises(StoreError, match="is complete but cannot replace '.*cube.zarr': .*denied"):
        write(make_other(lazy_cube), path, overwrite=True)
    assert (read(path).valid.values == lazy_cube.valid.values).all()


def test_a_store_may_be_overwritten_with_what_is_computed_from_it(lazy_cube, path):
    write(lazy_cube, path)
    first = read(path)
    changed = first.assign(elevation=(first.elevation + 1).assign_attrs(first.elevation.attrs))
    write(changed, path, overwrite=True)
    np.testing.assert_array_equal(read(path).elevation.values, lazy_cube.elevation.values + 1)


# schedulers


@pytest.mark.parametrize("scheduler", ["synchronous", "processes"])
def test_other_schedulers_write_and_read_the_same(lazy_cube, tmp_path, scheduler):
    write(lazy_cube, tmp_path / "threads.zarr")
    with dask.config.set(scheduler=scheduler):
        write(lazy_cube, tmp_path / "other.zarr")
        found = read(tmp_path / "other.zarr").valid.compute()
    np.testing.assert_array_equal(found.values, lazy_cube.valid.values)
    one, two = snapshot(tmp_path / "threads.zarr"), snapshot(tmp_path / "other.zarr")
    assert [file.relative_to(tmp_path / "threads.zarr") for file in one] == [
        file.relative_to(tmp_path / "other.zarr") for file in two
    ]
    assert list(one.values()) == list(two.values())


@pytest.mark.slow
def test_a_cluster_writes_the_same(lazy_cube, tmp_path):
    distributed = pytest.importorskip("distributed")
    write(lazy_cube, tmp_path / "threads.zarr")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        report = write(lazy_cube, tmp_path / "cluster.zarr")
    assert report.written == 24
    assert verify(tmp_path / "cluster.zarr").sound
    one, two = read(tmp_path / "threads.zarr"), read(tmp_path / "cluster.zarr")
    xr.testing.assert_identical(one.compute(), two.compute())


def test_progress_is_shown_only_when_asked(lazy_cube, tmp_path, capsys):
    write(lazy_cube, tmp_path / "quiet.zarr")
    assert capsys.readouterr().out == ""
    write(lazy_cube, tmp_path / "loud.zarr", progress=True)
    assert "100%" in capsys.readouterr().out


def test_zarr_has_nothing_to_warn_about(lazy_cube, path, recwarn):
    write(lazy_cube, path)
    read(path).valid.compute()
    xr.open_zarr(path).valid.compute()
    assert [
        w for w in recwarn if "zarr" in str(w.category).lower() or "Zarr" in str(w.message)
    ] == []


# killed


class Outage:
    """A source that cannot be read in the left half of the first date, until it is mended."""

    def __init__(self):
        self.over, self.calls = False, 0

    def of(self, cube):
        """Return a cube with `read_failed`, under the same names every time."""
        out = cube.copy()
        failed = cube.valid.data.map_blocks(
            self, dtype=bool, meta=np.empty((0, 0, 0), bool), name="outage-1"
        )
        out[schema.READ_FAILED] = cube.valid.copy(data=failed)
        return out

    def __call__(self, valid, block_info=None):
        self.calls += 1
        place = block_info[0]["chunk-location"]
        hole = not self.over and place[0] == 0 and place[2] == 0
        return np.full(valid.shape, hole)


def test_holes_of_failed_reads_are_counted_and_filled_on_request(lazy_cube, path):
    outage = Outage()
    report = write(outage.of(lazy_cube), path)
    assert report.unread == 96 * 40
    assert "3840 pixels unread" in str(report)
    outage.over = True
    report = write(outage.of(lazy_cube), path)
    assert (report.written, report.unread) == (0, 96 * 40)
    report = write(outage.of(lazy_cube), path, retry_unread=True)
    assert (report.written, report.skipped, report.unread) == (3, 24 - 3, 0)
    assert "unread" not in str(report)
    assert not read(path)[schema.READ_FAILED].any()
    assert verify(path).sound


VICTIM = textwrap.dedent(
    """
    import os, signal, sys
    import numpy as np, xarray as xr
    from glaciercube.store import blocks, ledger, places
    from glaciercube.store.writing import write

    source, target, moment, call = *sys.argv[1:4], int(sys.argv[4])
    count = 0

    def tick(*given):
        global count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(module, name):
        real = getattr(module, name)
        setattr(module, name, lambda *given: (tick(), real(*given))[1])

    if moment == "computing":
        before(blocks, "_write_values")
    elif moment == "between data and record":
        before(ledger, "write_record")
    elif moment == "between draft and record":
        before(places.os, "replace")
    cube = xr.open_dataset(source, decode_coords="all").load()
    write(cube.chunk(time=1, y=32, x=40), target)
    """
)


@pytest.mark.parametrize(
    ("moment", "seed"),
    [("computing", 0), ("between data and record", 1), ("between draft and record", 2)],
)
def test_a_killed_write_resumes_to_the_same_store(cube, tmp_path, moment, seed):
    cube.to_netcdf(tmp_path / "cube.nc")
    victim, undisturbed = tmp_path / "killed.zarr", tmp_path / "undisturbed.zarr"
    call = int(np.random.default_rng(seed).integers(4, 20))
    given = map(str, [tmp_path / "cube.nc", victim, moment, call])
    killed = subprocess.run(
        [sys.executable, "-c", VICTIM, *given], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = len(ledger.record_names(Directory(victim)))
    assert before < 24
    again = xr.open_dataset(tmp_path / "cube.nc", decode_coords="all").load()
    again = again.chunk(time=1, y=32, x=40)
    report = write(again, victim)
    assert (report.skipped, report.written) == (before, 24 - before)
    write(again, undisturbed)
    assert verify(victim).sound
    xr.testing.assert_identical(read(victim).compute(), read(undisturbed).compute())

    def files(path):
        return {
            file.relative_to(path): content
            for file, content in snapshot(path).items()
            if file.suffix not in (".tmp", ".partial")
        }

    assert files(victim) == files(undisturbed)
