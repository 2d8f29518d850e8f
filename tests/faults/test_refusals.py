"""What is another store is refused by name before anything is touched, and so are other weights."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox

from faults import victims
from faults.victims import Model, do, files, logged, snapshot
from glaciercube import grid
from glaciercube.errors import StoreError
from glaciercube.store import ledger, planning
from glaciercube.store.appending import append
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write

MODEL = Model((0, 2))
VERBS = ["write", "append", "overwrite", "repair", "verify", "read"]


def call(verb, path, dataset):
    if verb == "read":
        return read(path)
    if verb in ("repair", "verify"):
        return verify(path, repair=dataset if verb == "repair" else None)
    return (
        append(dataset, path)
        if verb == "append"
        else write(dataset, path, overwrite=verb == "overwrite")
    )


@pytest.fixture
def path(tmp_path, fresh):
    do("write", MODEL, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def require_refused(verb, path, dataset, text):
    before = snapshot(path.parent)
    with pytest.raises(StoreError, match=text):
        call(verb, path, dataset)
    assert snapshot(path.parent) == before


# stores that are not ours


def foreign(path):
    """Make what other programs make: a plain Zarr store, a folder, a file."""
    shutil.rmtree(path)
    xr.Dataset({"t": ("x", np.arange(3))}).to_zarr(path, zarr_format=3, consolidated=False)


def emptied(path):
    shutil.rmtree(path)
    path.mkdir()


def thesis(path):
    shutil.rmtree(path)
    path.write_text("not a folder at all")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("make", [foreign, emptied, thesis])
def test_what_is_not_ours_is_left_alone(verb, make, path):
    make(path)
    require_refused(verb, path, MODEL.dataset(), "cube.zarr' is not a store of this package")


def edited(path, change):
    file = path / ledger.HEADER
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("number", "advice"), [(99, "update glaciercube"), (1, "write the cube")])
def test_another_layout_is_refused(verb, number, advice, path):
    edited(path, lambda content: content.update(layout=number))
    require_refused(verb, path, MODEL.dataset(), f"has store layout {number}, (?s:.*){advice}")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/../../b", ".", "a\\b"])
def test_keys_of_a_store_stay_in_its_folder(verb, name, path):
    def rename(content):
        variables = content["identity"]["variables"]
        variables[name] = variables.pop("sample")

    edited(path, rename)
    require_refused(verb, path, MODEL.dataset(), "which are no names of folders")


@pytest.mark.parametrize("verb", VERBS)
def test_a_header_cut_short_is_said(verb, path):
    file = path / ledger.HEADER
    file.write_bytes(file.read_bytes()[:100])
    require_refused(verb, path, MODEL.dataset(), "_glaciercube/store.json' is damaged")


# other cubes


def shifted(dataset):
    box = GeoBox.from_bbox((600_010, 5_000_000, 600_490, 5_000_400), "EPSG:32632", resolution=10)
    return grid.georeferenced(dataset.drop_vars(["x", "y", "spatial_ref"]), box)


def zone_33(dataset):
    box = GeoBox.from_bbox((600_000, 5_000_000, 600_480, 5_000_400), "EPSG:32633", resolution=10)
    return grid.georeferenced(dataset.drop_vars(["x", "y", "spatial_ref"]), box)


OTHERS = {
    "a shifted grid": (shifted, "the grid is EPSG:32632(?s:.*) in the store"),
    "another zone": (zone_33, "EPSG:32633(?s:.*)in the dataset"),
    "another sensor": (
        lambda d: d.assign_attrs(sensor="landsat-c2-l2"),
        "sensor is 'sentinel-2-l2a' in the store, 'landsat-c2-l2' in the dataset",
    ),
    "other bands": (
        lambda d: d.assign_coords(band=["red", "nir"]),
        r"labels is \{'band': \['green', 'nir'\]\} in the store, \{'band': \['red', 'nir'\]\}",
    ),
    "bands in another order": (lambda d: d.isel(band=[1, 0]), r"labels is .*'nir', 'green'"),
    "other blocks": (lambda d: d.chunk(y=20), r"block is \[24, 32\] in the store, \[20, 32\]"),
    "another variable": (lambda d: d.drop_vars("sample"), "the store has the variables"),
}


@pytest.mark.parametrize("verb", ["write", "append", "repair"])
@pytest.mark.parametrize("other", OTHERS)
def test_another_cube_is_refused_by_what_differs(verb, other, path):
    change, text = OTHERS[other]
    encodings = {name: dict(v.encoding) for name, v in MODEL.dataset().data_vars.items()}
    dataset = change(MODEL.dataset())
    for name in dataset.data_vars:
        dataset[name].encoding.setdefault(
            "glaciercube_lineage", encodings[name].get("glaciercube_lineage")
        )
    require_refused(verb, path, dataset, f"a different cube(?s:.*){text}")


# weights, parameters, versions


@pytest.mark.filterwarnings("ignore:the store .* is incomplete")
@pytest.mark.parametrize("verb", ["write", "append", "repair"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("weights", "2" * 64), ("runtime", "onnx"), ("precision", "bfloat16"), ("halo", 17)],
)
def test_other_weights_between_run_and_resume_are_refused(verb, name, value, path):
    first = MODEL.with_parameters(runtime="torch", precision="float32", halo=8)
    path = path.with_name("made.zarr")
    do("write", first, path)
    ledger.forget(Directory(path), [Block(1, 1, time=1)])
    old = dict(first.parameters)[name]
    second = first.with_parameters(**{name: value})
    second = Model((0, 2, 3), parameters=second.parameters) if verb == "append" else second
    text = f"made with other parameters: {name} {old!r} in the store, {value!r} in the dataset"
    require_refused(verb, path, second.dataset(), text)
    assert do("write", first, path).written == 1


def test_other_weights_after_a_kill_are_refused_and_the_first_go_on(tmp_path, kill, fresh):
    path, log = tmp_path / "made.zarr", tmp_path / "log"
    first = Model((0, 2, 4), log=str(log), pause_s=0.1)
    assert kill("write", first, path, after_s=0.6)
    second = first.with_parameters(weights="2" * 64)
    require_refused("write", path, second.dataset(), f"weights '{'1' * 64}' in the store, '2222")
    do("write", first, path)
    assert len(logged(log)) == first.blocks
    assert logged(log).total() <= first.blocks + victims.THREADS
    do("overwrite", second, path)
    do("write", second, tmp_path / "undisturbed.zarr")
    assert files(path) == files(tmp_path / "undisturbed.zarr")


@pytest.mark.parametrize("verb", ["write", "append", "repair"])
def test_another_version_of_the_algorithm_is_refused(verb, path, monkeypatch):
    monkeypatch.setattr(planning, "ALGORITHM_VERSION", 7)
    require_refused(verb, path, MODEL.dataset(), "algorithm is 1 in the store, 7 in the dataset")
    assert do("overwrite", MODEL, path).written == 12
    assert read(path).sizes["time"] == 2


@pytest.mark.parametrize("block", [(0, 1, 1), (2, 0, 0), (-1, 0, 1)])
def test_one_changed_source_is_one_block_computed(block, path, tmp_path):
    log = tmp_path / "log"
    now = Model((0, 2), log=str(log)).changed(*block)
    report = do("write", now, path)
    assert (report.changed, report.written, report.skipped) == (1, 1, 11)
    assert dict(logged(log)) == {".".join(map(str, block)): 1}
    assert verify(path).sound
    found = read(path)
    np.testing.assert_array_equal(found["height"], now.whole("height", -1))
    for index, day in enumerate(now.days):
        np.testing.assert_array_equal(found["sample"][index], now.whole("sample", day))
