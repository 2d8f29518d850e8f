"""Overviews of a store: derived from native pixels, kept up to date, seen when they are whole."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (the accessor)
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.errors import GlacierCubeWarning, GridError, StoreError
from glaciercube.store import dates, ledger, level_units, levels, overviews, pyramids
from glaciercube.store.appending import append
from glaciercube.store.layout import Block
from glaciercube.store.overviews import (
    OverviewsReport,
    build_overviews,
    overview_factors,
    read_overview,
)
from glaciercube.store.places import place_of
from glaciercube.store.reading import read
from glaciercube.store.strays import strays_of
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

FACTORS = (2, 4, 8)
ROWS, COLUMNS = 150, 130
BLOCK = {"y": 44, "x": 36}  # no multiple of 8
DATES = ("2021-08-01", "2022-08-05", "2023-08-03")


def make_layers(seed=0, days=DATES, rows=ROWS, columns=COLUMNS):
    """Return layers of every kind that a store holds, in patches and with holes."""
    generator = np.random.default_rng(seed)
    shape = (len(days), rows, columns)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    waves = np.stack(
        [
            np.sin(y / a + s) + np.cos(x / b + s)
            for s, a, b in generator.uniform(3, 9, (len(days), 3))
        ]
    )
    waves += generator.normal(0, 0.3, shape)
    facies = np.digitize(waves, [-0.8, 0, 0.8]).astype(np.uint8)
    hole = waves > 1.6
    facies[hole] = 255
    probability = generator.random((len(days), 2, rows, columns), np.float32)
    probability[np.broadcast_to(hole[:, np.newaxis], probability.shape)] = np.nan
    aspect = (np.degrees(np.arctan2(x - columns / 2, y - rows / 2)) % 360).astype(np.float32)
    time, one = ("time", "y", "x"), {"units": "1"}
    dataset = xr.Dataset(
        {
            "facies": (time, facies, schema.flag_attrs("facies")),
            "probability": (("time", "category", "y", "x"), probability, one),
            "valid": (time, ~hole, one),
            "acquired": (time, (19_000 + 5 * (waves > 0)).astype(np.int32), {"units": schema.DAYS}),
            "elevation": (("y", "x"), 3000 - 5 * y + 2 * x, {"units": "m"}),
            "aspect": (("y", "x"), aspect, {"units": "degree"}),
        },
        coords={"time": pd.to_datetime(list(days)).as_unit("ns"), "category": ["ice", "snow"]},
        attrs={"sensor": "sentinel-2-l2a"},
    )
    box = GeoBox((rows, columns), Affine(10, 0, 600_000, 0, -10, 5_000_000), "EPSG:32632")
    return grid.georeferenced(dataset, box)


def snapshot(path):
    """Return the content of every file under a path."""
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def checksums(path):
    """Return the checksum of each unit, from its record."""
    folder = path / overviews.RECORDS
    found = {file.name: json.loads(file.read_text()) for file in folder.glob("*.*.*.json")}
    return {name: record["checksum"] for name, record in found.items()}


def level_affine(factor):
    return Affine(10 * factor, 0, 600_000, 0, -10 * factor, 5_000_000)


@pytest.fixture(scope="module")
def layers():
    return make_layers()


@pytest.fixture(scope="module")
def written(tmp_path_factory, layers):
    path = tmp_path_factory.mktemp("written") / "layers.zarr"
    write(layers.chunk(BLOCK | {"time": 1}), path)
    return path


@pytest.fixture
def path(tmp_path, written):
    """Return a store without overviews."""
    return Path(shutil.copytree(written, tmp_path / "layers.zarr"))


@pytest.fixture(scope="module")
def built(tmp_path_factory, written):
    """Return a store with overviews, which tests leave as it is."""
    path = tmp_path_factory.mktemp("built") / "layers.zarr"
    shutil.copytree(written, path)
    build_overviews(path, FACTORS)
    return path


@pytest.fixture
def many_units(monkeypatch):
    """Make units of one block, so that small stores have several."""
    monkeypatch.setattr(levels, "SPAN", 1)


# what the levels hold


def test_every_level_is_derived_from_native_pixels(path, many_units):
    report = build_overviews(path, FACTORS)
    # units of 48 x 40 pixels: 4 x 4, of three dates and of what has no date
    assert (report.units, report.derived) == (64, 64)
    native = read(path).compute()
    codes = {stored.name: stored for stored in ledger.read_header(place_of(path)).layout.variables}
    stored = codes["probability"]
    packed = stored.encode(native.probability.values)[0]
    wanted = {
        "facies": pyramids.modes(native.facies.values, FACTORS, 255),
        "valid": pyramids.modes(native.valid.values, FACTORS),
        "acquired": pyramids.modes(native.acquired.values, FACTORS, schema.NO_DAY),
        "elevation": pyramids.means(native.elevation.values, FACTORS),
        "aspect": pyramids.directions(native.aspect.values, FACTORS),
        "probability": [
            stored.decode(level) for level in pyramids.means(packed, FACTORS, schema.NODATA)
        ],
    }
    for number, factor in enumerate(FACTORS):
        level = read_overview(path, factor).compute()
        assert list(level.data_vars) == list(native.data_vars)
        for name, array in level.data_vars.items():
            assert array.dtype == native[name].dtype
            np.testing.assert_array_equal(array.values, wanted[name][number])


@pytest.mark.slow
def test_units_do_not_change_the_levels(tmp_path, written, monkeypatch):
    for name, span in (("one", 1), ("two", 2), ("all", 4)):
        monkeypatch.setattr(levels, "SPAN", span)
        shutil.copytree(written, tmp_path / name)
        build_overviews(tmp_path / name, FACTORS)
    for factor in FACTORS:
        found = [read_overview(tmp_path / name, factor).compute() for name in ("one", "two", "all")]
        xr.testing.assert_identical(found[0], found[1])
        xr.testing.assert_identical(found[0], found[2])


def test_areas_of_classes_are_near_the_native_ones(built):
    native = read(built).facies.values
    for factor, tolerance in ((2, 0.01), (4, 0.02), (8, 0.05)):
        level = read_overview(built, factor).facies.values
        for code in (0, 1, 2, 3):
            share, found = (native == code).mean(), (level == code).mean()
            assert share > 0.1
            assert found == pytest.approx(share, abs=tolerance)


def test_means_of_probability_are_near_the_native_ones(built):
    native = float(read(built).probability.mean())
    for factor in FACTORS:
        # each pixel of a level counts once, however many pixels it was observed in
        assert float(read_overview(built, factor).probability.mean()) == pytest.approx(
            native, abs=0.01
        )


def test_a_hole_of_less_than_half_a_cell_hides_no_class(tmp_path, layers):
    small = layers[["facies"]].isel(time=[0], y=slice(0, 8), x=slice(0, 8)).copy(deep=True)
    small.facies.values[:] = 1
    cell = small.facies.values[0, :4, :4]
    cell[:] = [[255, 255, 255, 2], [255, 255, 255, 2], [255, 0, 0, 2], [3, 3, 3, 3]]
    write(small, tmp_path / "small.zarr")
    build_overviews(tmp_path / "small.zarr", (4,))
    assert read_overview(tmp_path / "small.zarr", 4).facies.values[0, 0, 0] == 3


# where the levels lie


def test_levels_lie_on_the_grid_of_the_store(built, layers):
    native = layers.odc.geobox
    for factor in FACTORS:
        level = read_overview(built, factor)
        box = level.odc.geobox
        assert box.shape == (-(-ROWS // factor), -(-COLUMNS // factor))
        assert box.affine == level_affine(factor)
        assert box.crs == native.crs
        for array in level.data_vars.values():
            assert array.encoding["grid_mapping"] == "spatial_ref"
            assert array.odc.geobox == box


def test_other_readers_find_grid_and_attributes_of_every_level(built, layers):
    for factor in FACTORS:
        found = xr.open_zarr(built, group=f"overviews/{factor}", decode_coords="all")
        affine = level_affine(factor)
        stated = [float(part) for part in found.spatial_ref.attrs["GeoTransform"].split()]
        assert Affine.from_gdal(*stated) == affine
        assert found.x.attrs["resolution"] == 10 * factor
        assert found.attrs["spatial:transform"] == [*affine[:6]]
        assert found.attrs["sensor"] == "sentinel-2-l2a"
        assert "multiscales" not in found.attrs
        for array in found.data_vars.values():
            assert array.rio.crs.to_epsg() == 32632
            assert array.rio.transform() == affine
            assert array.attrs["spatial:shape"] == [*array.shape[-2:]]
        assert found.facies.dtype == np.uint8
        assert found.facies.attrs["flag_meanings"] == layers.facies.attrs["flag_meanings"]
        assert found.facies.attrs["cell_methods"] == "area: mode"
        assert found.probability.attrs["cell_methods"] == "area: mean"
        wanted = read_overview(built, factor).probability.values
        # plain xarray decodes in float64
        np.testing.assert_allclose(found.probability.values, wanted, rtol=0, atol=1e-6)


def test_the_store_says_which_groups_are_its_levels(built, layers):
    root = zarr.open_group(built, mode="r")
    layout = root.attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == [".", *(f"overviews/{f}" for f in FACTORS)]
    names = {one["name"] for one in root.attrs["zarr_conventions"]}
    assert names == {"spatial:", "proj:", "multiscales"}
    # the pattern of the convention's schema
    pattern = re.compile(r"^(?!/)(?!.*(\.\.))([^/]+(/[^/]+)*)$")
    for entry, factor in zip(layout, (1, *FACTORS), strict=True):
        assert pattern.match(entry["asset"])
        assert entry["transform"] == {"scale": [factor, factor], "translation": [0, 0]}
        group = root if entry["asset"] == "." else root[entry["asset"]]
        assert entry["spatial:shape"] == group.attrs["spatial:shape"]
        assert entry["spatial:transform"] == group.attrs["spatial:transform"]
        assert group["facies"].shape == (3, *entry["spatial:shape"])
        assert entry.get("derived_from") == (None if factor == 1 else ".")
    # classes get the mode and probabilities the mean: there is no one method
    assert "resampling_method" not in root.attrs["multiscales"]


def test_a_store_of_classes_alone_names_its_method(tmp_path, layers):
    write(layers[["facies"]], tmp_path / "classes.zarr")
    build_overviews(tmp_path / "classes.zarr", (2,))
    multiscales = zarr.open_group(tmp_path / "classes.zarr").attrs["multiscales"]
    assert multiscales["resampling_method"] == "mode"


def test_levels_are_sharded_as_units(path, many_units):
    build_overviews(path, FACTORS)
    root = zarr.open_group(path, mode="r")
    for factor in FACTORS:
        array = root[f"overviews/{factor}/facies"]
        assert array.shards == (1, 48 // factor, 40 // factor)
        assert array.compressors == root["facies"].compressors
        files = [*(path / "overviews" / str(factor) / "facies" / "c").rglob("*")]
        assert sum(file.is_file() for file in files) == 3 * 16


# what stays as it was


def test_the_store_itself_reads_and_verifies_as_before(path):
    before, plain = read(path).compute(), xr.open_zarr(path, decode_coords="all").compute()
    native = {file: data for file, data in snapshot(path).items() if file.name != "zarr.json"}
    build_overviews(path, FACTORS)
    xr.testing.assert_identical(read(path).compute(), before)
    assert read(path).facies.data.name == read(path).facies.data.name
    after = xr.open_zarr(path, decode_coords="all").compute()
    assert after.attrs.pop("multiscales")
    assert len(after.attrs.pop("zarr_conventions")) == len(plain.attrs.pop("zarr_conventions")) + 1
    xr.testing.assert_identical(after, plain)
    assert verify(path).sound
    place = place_of(path)
    assert strays_of(place, ledger.read_header(place)).foreign == ()
    assert native.items() <= snapshot(path).items()


def test_the_store_is_gone_on_with_and_written_elsewhere_as_before(path, layers, tmp_path):
    build_overviews(path, FACTORS)
    before = snapshot(path)
    report = write(layers.chunk(BLOCK | {"time": 1}), path)
    assert (report.written, report.skipped) == (0, report.blocks)
    assert snapshot(path) == before
    write(read(path), tmp_path / "copy.zarr")
    assert "multiscales" not in zarr.open_group(tmp_path / "copy.zarr").attrs


def test_a_second_build_computes_nothing_and_changes_nothing(path):
    build_overviews(path, FACTORS)
    before = snapshot(path)
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("it computed")):
        report = build_overviews(path)
    assert (report.factors, report.units, report.derived) == (FACTORS, 4, 0)
    assert snapshot(path) == before


def test_only_units_whose_native_blocks_changed_are_derived_again(path, many_units):
    build_overviews(path, FACTORS)
    before, seen = checksums(path), read_overview(path, 2).facies.data.name
    place = place_of(path)
    block = Block(1, 2, time=1)  # rows 44-88, columns 72-108: units 0-1 down, 1-2 across
    window = ledger.read_header(place).layout.window(block)
    facies = zarr.open_group(path, mode="r+", use_consolidated=False)["facies"]
    facies[(1, *window.slices)] = np.uint8(2)
    record = ledger.read_record(place, block)
    ledger.write_record(place, block, replace(record, checksum="of other codes"))
    report = build_overviews(path)
    changed = {name for name, one in checksums(path).items() if one != before[name]}
    assert report.derived == 4
    assert changed == {f"1.{row}.{column}.json" for row in (0, 1) for column in (1, 2)}
    found = read_overview(path, 2)
    assert found.facies.data.name != seen
    assert (found.facies.values[1, 22:44, 36:54] == 2).all()


def test_every_native_block_is_read_once_for_all_levels(tmp_path, layers, monkeypatch):
    write(layers.chunk(time=1, y=48, x=48), tmp_path / "aligned.zarr")
    taken = []
    original = level_units._pixels

    def counted(array, stored, tile, unit, layout):
        taken.append((stored.name, unit.block.time, tile.y0 // 48, tile.x0 // 48))
        codes = original(array, stored, tile, unit, layout)
        assert codes.shape[-2] <= 48
        assert codes.shape[-1] <= 48
        return codes

    monkeypatch.setattr(level_units, "_pixels", counted)
    build_overviews(tmp_path / "aligned.zarr", FACTORS)
    # 4 variables of 3 dates and 2 without, in 4 x 3 blocks
    assert len(taken) == len(set(taken)) == (4 * 3 + 2) * 12


# stores that are not whole, and that grow


def test_blocks_that_are_not_written_show_no_value_until_they_are(path, layers, many_units):
    place = place_of(path)
    missing = Block(2, 1, time=0)  # rows 88-132, columns 36-72
    ledger.forget(place, [missing])
    with pytest.warns(GlacierCubeWarning, match="1 of 64 blocks are missing"):
        report = build_overviews(path, FACTORS)
    assert report.missing == 1
    assert "1 native blocks missing" in str(report)
    found = read_overview(path, 4)
    assert (found.facies.values[0, 22:33, 9:18] == 255).all()
    assert np.isnan(found.probability.values[0, :, 22:33, 9:18]).all()
    assert (found.facies.values[0, 22:33, 18:] != 255).any()
    write(layers.chunk(BLOCK | {"time": 1}), path)
    report = build_overviews(path)
    assert (report.derived, report.missing) == (4, 0)
    wanted = pyramids.modes(layers.facies.values, (2, 4), 255)[1]
    np.testing.assert_array_equal(read_overview(path, 4).facies.values, wanted)


def test_new_dates_are_derived_and_old_ones_are_not(tmp_path, many_units):
    path = tmp_path / "growing.zarr"
    days = ("2021-08-01", "2022-08-05", "2020-07-30", "2023-08-03")
    whole = make_layers(days=days).chunk(BLOCK | {"time": 1})
    append(whole.isel(time=[0, 1]), path)
    build_overviews(path, FACTORS)
    first = read_overview(path, 4).compute()
    append(whole.isel(time=[2, 3]).sortby("time"), path)
    # until they are built, overviews have the dates that they had
    xr.testing.assert_identical(read_overview(path, 4).compute(), first)
    report = build_overviews(path)
    assert (report.units, report.derived) == (80, 32)
    found = read_overview(path, 4)
    native = read(path)
    assert found.indexes["time"].is_monotonic_increasing
    np.testing.assert_array_equal(found.time.values, native.time.values)
    xr.testing.assert_identical(found.sel(time=first.time).compute(), first)
    wanted = pyramids.modes(native.facies.values, (2, 4), 255)[1]
    np.testing.assert_array_equal(found.facies.values, wanted)
    assert zarr.open_group(path).attrs["multiscales"]
    assert verify(path).sound


def test_half_derived_dates_are_not_seen(tmp_path, monkeypatch):
    path = tmp_path / "growing.zarr"
    whole = make_layers().chunk(BLOCK | {"time": 1})
    append(whole.isel(time=[0, 1]), path)
    build_overviews(path, FACTORS)
    plain = xr.open_zarr(path, group="overviews/2").compute()
    append(whole.isel(time=[2]), path)
    monkeypatch.setattr(overviews, "publish_levels", _refuse)
    with pytest.raises(StoreError, match="no space left"):
        build_overviews(path)
    xr.testing.assert_identical(xr.open_zarr(path, group="overviews/2").compute(), plain)
    assert read_overview(path, 2).sizes["time"] == 2
    monkeypatch.undo()
    assert build_overviews(path).derived == 0
    assert read_overview(path, 2).sizes["time"] == 3


def _refuse(*args):
    raise OSError("no space left on device")


# interruptions


def test_an_interrupted_build_leaves_the_store_readable_and_is_gone_on_with(
    path, many_units, monkeypatch
):
    before, plain = read(path).compute(), xr.open_zarr(path).compute()
    original, done = level_units._write, []

    def fails_after_some(place, codes, level, at):
        if len(done) == 40:
            raise OSError("no space left on device")
        done.append(at)
        original(place, codes, level, at)

    monkeypatch.setattr(level_units, "_write", fails_after_some)
    text = r"overviews of '.*layers.zarr' at .*y0=.*cannot be made: OSError: no space left"
    with dask.config.set(scheduler="synchronous"), pytest.raises(StoreError, match=text):
        build_overviews(path, FACTORS)
    assert overview_factors(path) == ()
    with pytest.raises(StoreError, match=r"has overviews by \[\], not by 2"):
        read_overview(path, 2)
    xr.testing.assert_identical(read(path).compute(), before)
    xr.testing.assert_identical(xr.open_zarr(path).compute(), plain)
    assert verify(path).sound
    monkeypatch.undo()
    monkeypatch.setattr(levels, "SPAN", 1)
    finished = len(checksums(path))
    assert 0 < finished < 64
    report = build_overviews(path, FACTORS)
    assert report.derived == 64 - finished
    assert overview_factors(path) == FACTORS


@pytest.mark.parametrize("step", ["create_levels", "publish_levels", "remove_levels"])
def test_whatever_step_is_cut_off_the_next_build_is_whole(
    path, tmp_path, written, step, monkeypatch
):
    shutil.copytree(written, tmp_path / "undisturbed.zarr")
    build_overviews(tmp_path / "undisturbed.zarr", (2, 4))
    build_overviews(path, (2,))
    original = getattr(overviews, step)

    def cut_off(*args):
        original(*args)
        raise OSError("killed")

    monkeypatch.setattr(overviews, step, cut_off)
    with pytest.raises(StoreError, match="killed"):
        build_overviews(path, (2, 4))
    monkeypatch.undo()
    xr.testing.assert_identical(read(path).compute(), read(tmp_path / "undisturbed.zarr").compute())
    assert verify(path).sound
    build_overviews(path, (2, 4))
    assert _levels_of(path) == _levels_of(tmp_path / "undisturbed.zarr")


def _levels_of(path):
    """Return the content of every file of levels, and of the metadata of the store."""
    folders = (path / "overviews", path / overviews.RECORDS, path / "zarr.json")
    return {
        str(file.relative_to(path)): data
        for file, data in snapshot(path).items()
        if any(file.is_relative_to(folder) for folder in folders)
    }


@pytest.mark.slow
def test_a_killed_build_is_gone_on_with(path, tmp_path, written, layers):
    whole = tmp_path / "undisturbed.zarr"
    shutil.copytree(written, whole)
    script = textwrap.dedent(
        """
        import sys
        from glaciercube.store import levels
        from glaciercube.store.overviews import build_overviews
        levels.SPAN = 1
        print("ready", flush=True)
        build_overviews(sys.argv[1], (2, 4, 8))
        """
    )
    subprocess.run([sys.executable, "-c", script, str(whole)], check=True, capture_output=True)
    wanted, killed = _levels_of(whole), 0
    for records in (0, 1, 7, 20, 40, 60, 64):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, cwd=os.getcwd()
        )
        assert process.stdout.readline() == b"ready\n"
        while process.poll() is None and len(checksums_names(path)) < records:
            pass
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        process.stdout.close()
        assert read(path).sizes == layers.sizes
        assert verify(path).sound
    assert killed >= 4
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True)
    assert _without_drafts(_levels_of(path)) == wanted


def checksums_names(path):
    return [*(path / overviews.RECORDS).glob("[0-9s]*.json")]


def _without_drafts(files):
    """Return what a killed process left without halves of files, which no reader sees."""
    return {key: data for key, data in files.items() if not re.search(r"\.(tmp|partial)$", key)}


def test_a_damaged_native_shard_is_named(path):
    shard = next(file for file in (path / "facies" / "c").rglob("*") if file.is_file())
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(StoreError, match=r"cannot be made: .*; verify\(path\) says whether"):
        build_overviews(path, FACTORS)
    assert overview_factors(path) == ()


@pytest.mark.parametrize("damage", ["cut off", "bit", "gone"])
def test_a_damaged_level_is_found_and_derived_again(path, many_units, damage):
    build_overviews(path, FACTORS)
    assert build_overviews(path, check=True).derived == 0
    before = _levels_of(path)
    shard = path / "overviews" / "4" / "facies" / "c" / "1" / "2" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 4] ^= 16
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(content[:20] if damage == "cut off" else content)
    assert build_overviews(path).derived == 0
    assert build_overviews(path, check=True).derived == 1
    assert _levels_of(path) == before


# which levels there are


@pytest.mark.parametrize(
    ("rows", "columns", "wanted"),
    [
        (512, 400, ()),
        (513, 400, (2,)),
        (10_980, 10_980, (2, 4, 8, 16, 32)),
        (40_000, 3, (2,)),
        (2_000_000, 2_000_000, (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)),
    ],
)
def test_levels_are_halved_until_they_fit_a_screen(path, rows, columns, wanted):
    header = ledger.read_header(place_of(path))
    identity = {**header.identity, "grid": {**header.identity["grid"], "shape": [rows, columns]}}
    attrs = {name: {} for name in identity["variables"]}
    pyramid = levels.pyramid_of(replace(header, identity=identity), attrs, None)
    assert (pyramid.factors if pyramid is not None else ()) == wanted


def test_a_small_store_needs_no_levels(path):
    before = snapshot(path)
    report = build_overviews(path)
    assert (report.factors, report.units) == ((), 0)
    assert snapshot(path) == before
    assert overview_factors(path) == ()


@pytest.mark.parametrize("factors", [(), (1, 2), (2, 3), (4, 6), (200,), (2, 130), (-2,)])
def test_factors_that_are_not_to_be_had_are_refused(path, factors):
    before = snapshot(path)
    text = rf"of 2 to 129 .*found {re.escape(str(factors))} for 150 rows x 130 columns"
    with pytest.raises(GridError, match=text):
        build_overviews(path, factors)
    assert snapshot(path) == before


def test_other_factors_take_the_place_of_those_before(path):
    build_overviews(path, (2, 4))
    report = build_overviews(path, (3,))
    assert report.derived == report.units
    assert overview_factors(path) == (3,)
    assert sorted(file.name for file in (path / "overviews").iterdir()) == ["3", "zarr.json"]
    layout = zarr.open_group(path).attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == [".", "overviews/3"]
    assert build_overviews(path).derived == 0
    with pytest.raises(StoreError, match=r"has overviews by \[3\], not by 4"):
        read_overview(path, 4)


def test_a_store_that_is_none_is_refused(tmp_path):
    for call in (build_overviews, overview_factors, lambda path: read_overview(path, 2)):
        with pytest.raises(StoreError, match="there is no store at"):
            call(tmp_path / "nothing.zarr")
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreError, match="is not a store of this package"):
        build_overviews(tmp_path / "other", FACTORS)
    assert [*(tmp_path / "other").iterdir()] == []


def test_units_tile_the_store_and_tiles_the_units(path):
    header = ledger.read_header(place_of(path))
    attrs = {stored.name: {} for stored in header.layout.variables}
    for factors in ((2,), (2, 4, 8), (5, 10), (64,)):
        pyramid = levels.pyramid_of(header, attrs, factors)
        covered = np.zeros((ROWS, COLUMNS), int)
        for unit in pyramid.units.blocks(temporal=False):
            window = pyramid.units.window(unit)
            for tile in pyramid.tiles(window):
                covered[tile.slices] += 1
                assert tile.y0 % factors[-1] == tile.x0 % factors[-1] == 0
        assert (covered == 1).all()


def test_units_are_small_where_there_are_many_layers(path):
    header = ledger.read_header(place_of(path))
    big = {**header.identity["grid"], "shape": [9000, 9000]}
    attrs = {name: {} for name in header.identity["variables"]}
    for categories, span in ((2, 4096), (30, 2048), (200, 1024)):
        labels = {"category": [str(number) for number in range(categories)]}
        identity = header.identity | {"grid": big, "block": [1024, 1024], "labels": labels}
        pyramid = levels.pyramid_of(replace(header, identity=identity), attrs, (2, 4))
        assert pyramid.units.block == (span, span)
        held = categories * sum((span // factor) ** 2 for factor in (2, 4))
        assert held <= levels.UNIT_BYTES or span == 1024


# reading


def test_reading_a_level_is_lazy(built):
    with dask.config.set(scheduler=lambda *args, **kwargs: pytest.fail("it computed")):
        found = read_overview(built, 4)
    assert found.facies.chunks == ((1, 1, 1), (38,), (33,))
    assert read_overview(built, 4).facies.data.name == found.facies.data.name


def test_dates_held_by_pixels_stay_numbers(built):
    found = read_overview(built, 2)
    assert found.acquired.dtype == np.int32
    assert set(np.unique(found.acquired)) == {19_000, 19_005}
    assert found.acquired.attrs["units"] == schema.DAYS
    assert found.time.dtype == "datetime64[ns]"


def test_levels_go_where_the_store_goes(path, tmp_path):
    build_overviews(path, FACTORS)
    path.rename(tmp_path / "moved.zarr")
    assert overview_factors(tmp_path / "moved.zarr") == FACTORS
    assert build_overviews(tmp_path / "moved.zarr").derived == 0


def test_the_report_is_one_line(path):
    report = build_overviews(path, (2, 4))
    assert isinstance(report, OverviewsReport)
    assert report.path == path
    text = r"layers.zarr: overviews by \[2, 4\], 4 of 4 units derived, 0 as they were, 0 native b"
    assert re.match(text, str(report))
    assert "\n" not in str(report)


def test_progress_is_shown_where_asked(path, capsys):
    build_overviews(path, (2,), progress=True)
    assert "100%" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_of_a_cluster_derive_the_same(path, tmp_path, written):
    distributed = pytest.importorskip("distributed")
    shutil.copytree(written, tmp_path / "threads.zarr")
    build_overviews(tmp_path / "threads.zarr", FACTORS)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        assert build_overviews(path, FACTORS).derived == 4
    assert _levels_of(path) == _levels_of(tmp_path / "threads.zarr")


def test_levels_of_an_asset_that_is_not_there_are_not_seen(built):
    # read_overview takes a factor of the list, never a built from it
    for factor in ("../2", 2.5, "2"):
        with pytest.raises(StoreError, match=re.escape(f"not by {factor!r}")):
            read_overview(built, factor)


def test_level_groups_keep_the_codec_and_text_of_coordinates(built):
    found = zarr.open_group(built, mode="r")["overviews/2"]
    assert found["category"][:].tolist() == ["ice", "snow"]
    assert found["time"].chunks == (dates.CHUNK,)


def test_levels_lie_in_a_bucket_as_in_a_directory(path, layers):
    pytest.importorskip("obstore")
    address = "memory://overviews/layers.zarr"
    whole = layers.chunk(BLOCK | {"time": 1})
    append(whole.isel(time=[0, 1]), address)
    build_overviews(address, (3,))
    append(whole.isel(time=[2]), address)
    assert build_overviews(address, FACTORS).derived == 4
    assert build_overviews(address, check=True).derived == 0
    build_overviews(path, FACTORS)
    for factor in FACTORS:
        xr.testing.assert_identical(
            read_overview(address, factor).compute(), read_overview(path, factor).compute()
        )
    assert verify(address).sound
