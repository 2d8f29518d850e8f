"""What an array is made of is known as long as it is that array, and decides what is computed."""

from threading import Lock

import numpy as np
import pytest
import xarray as xr

from glaciercube.errors import StoreError
from glaciercube.store import ledger, planning
from glaciercube.store.inputs import StoreInputs
from glaciercube.store.layout import Block
from glaciercube.store.lineage import Lineage, fingerprint, lineage_of, with_lineage
from glaciercube.store.places import Directory
from glaciercube.store.reading import SOURCE, read
from glaciercube.store.verification import verify
from glaciercube.store.writing import write
from glaciercube.windows import Window

PARAMETERS = {"weights": "aa11", "halo": 15, "precision": "float32", "runtime": "torch"}


class Sources:
    """Inputs that can be changed: a text per date and block corner."""

    def __init__(self):
        self.changed, self.asked = set(), 0

    def of(self, time, window):
        self.asked += 1
        key = (str(time)[:10], window.y0, window.x0)
        return f"{key} {key in self.changed}"


class Made:
    """Layers whose lineage is known, computed under another name each time."""

    def __init__(self, cube):
        self.cube, self.inputs, self.calls, self.lock = cube, Sources(), [], Lock()
        self.parameters, self.count = dict(PARAMETERS), 0

    def __call__(self, values, block_info=None):
        with self.lock:
            self.calls.append(block_info[0]["chunk-location"])
        return values

    def layers(self):
        """Return the layers, lazily."""
        self.count += 1
        data = self.cube.valid.data.map_blocks(self, dtype=bool, name=f"made-{self.count}")
        valid = self.cube.valid.copy(data=data)
        lineage = Lineage(name=data.name, parameters=self.parameters, inputs=self.inputs)
        return self.cube[["cloud"]].assign(valid=with_lineage(valid, lineage))


@pytest.fixture
def made(lazy_cube):
    return Made(lazy_cube)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "layers.zarr"


def test_a_lineage_is_lost_when_an_array_is_computed_with(made):
    valid = made.layers().valid
    assert lineage_of(valid).parameters == PARAMETERS
    assert lineage_of(valid.isel(x=slice(0, 40))) is None
    assert lineage_of(~valid) is None
    assert lineage_of(valid.compute()) is None
    assert lineage_of(made.cube.cloud) is None


def test_another_name_with_the_same_lineage_is_the_same_cube(made, path):
    write(made.layers(), path)
    made.calls.clear()
    report = write(made.layers(), path)
    assert (report.written, report.skipped, made.calls) == (0, 18, [])


def test_only_the_blocks_whose_inputs_changed_are_computed_again(made, path):
    write(made.layers(), path)
    made.calls.clear()
    made.inputs.changed = {("2022-08-05", 32, 40), ("2023-08-03", 0, 0)}
    report = write(made.layers(), path)
    assert sorted(made.calls) == [(1, 1, 1), (2, 0, 0)]
    assert (report.written, report.skipped, report.changed) == (2, 16, 2)
    assert "2 changed" in str(report)
    assert write(made.layers(), path).written == 0


def test_what_was_read_is_not_given_up_for_a_hole(made, path):
    holes = set()

    def failed(values, block_info=None):
        return np.full(values.shape, block_info[0]["chunk-location"] in holes)

    def layers():
        cube = made.layers()[["valid"]]
        data = cube.valid.data.map_blocks(failed, dtype=bool, name=f"failed-{made.count}")
        lineage = Lineage(name=data.name, parameters=made.parameters, inputs=made.inputs)
        failed_now = cube.valid.copy(data=data).assign_attrs(units="1")
        return cube.assign(read_failed=with_lineage(failed_now, lineage))

    write(layers(), path)
    made.inputs.changed = {("2022-08-05", 32, 40), ("2023-08-03", 0, 0)}
    holes.add((1, 1, 1))
    report = write(layers(), path)
    assert (report.written, report.changed, report.kept, report.unread) == (1, 1, 1, 0)
    assert "1 kept as they were" in str(report)
    assert verify(path).sound
    holes.clear()
    report = write(layers(), path)
    assert (report.written, report.changed, report.kept) == (1, 1, 0)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("weights", "bb22", "weights 'aa11' in the store, 'bb22' in the dataset"),
        ("halo", 7, "halo 15 in the store, 7 in the dataset"),
        ("precision", "bfloat16", "precision 'float32' in the store, 'bfloat16'"),
        ("runtime", "onnx", "runtime 'torch' in the store, 'onnx'"),
        ("threshold", 0.5, "threshold None in the store, 0.5 in the dataset"),
    ],
)
def test_other_parameters_are_refused_by_name(made, path, name, value, text):
    write(made.layers(), path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    made.parameters[name] = value
    with pytest.raises(StoreError, match=f"'valid' was made with other parameters: {text}"):
        write(made.layers(), path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert write(made.layers(), path, overwrite=True).written == 18


def test_another_version_of_the_algorithm_is_refused(made, path, monkeypatch):
    write(made.layers(), path)
    monkeypatch.setattr(planning, "ALGORITHM_VERSION", 99)
    with pytest.raises(StoreError, match="algorithm is 1 in the store, 99 in the dataset"):
        write(made.layers(), path)


def test_an_array_of_unknown_making_is_another_cube(made, path):
    write(made.layers(), path)
    other = made.layers()
    other["valid"] = (~other.valid).assign_attrs(units="1")
    with pytest.raises(StoreError, match="what it is made of is known of one only"):
        write(other, path)


def test_a_recipe_is_kept_with_its_dates(made, path):
    layers = made.layers()
    lineage = lineage_of(layers.valid)
    recipe = {"verb": "predict", "cards": ["extent"]}
    known = Lineage(name=lineage.name, parameters={}, inputs=made.inputs, recipe=recipe)
    write(layers[["valid"]].assign(valid=with_lineage(layers.valid, known)), path)
    ((dates, kept),) = ledger.recipes(Directory(path))
    assert kept == recipe
    assert {date[:10] for date in dates} == {"2021-08-01", "2022-08-05", "2023-08-03"}


def test_no_recipe_is_kept_where_a_part_is_unknown(made, path):
    write(made.layers(), path)
    assert ledger.recipes(Directory(path)) == []


# what was read from a store


@pytest.fixture
def stored(tmp_path, lazy_cube):
    write(lazy_cube, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def test_what_was_read_is_made_of_the_blocks_of_the_store(stored):
    valid = read(stored).valid
    inputs = lineage_of(valid).inputs
    first, window = np.datetime64("2021-08-01", "ns"), Window(0, 32, 0, 40)
    before = {
        (time, halo): StoreInputs(inputs.sources, halo).of(time, window)
        for time in (first, np.datetime64("2022-08-05", "ns"))
        for halo in (0, 8)
    }
    assert len(set(before.values())) == 4
    ledger.forget(Directory(stored), [Block(1, 0, time=0)])  # a neighbour of the block
    again = {
        (time, halo): StoreInputs(inputs.sources, halo).of(time, window) for time, halo in before
    }
    assert [key for key in before if before[key] != again[key]] == [(first, 8)]


def test_a_window_of_a_cut_array_is_moved_by_the_cut(stored, lazy_cube):
    west, south, east, north = 600_400, 5_000_000, 600_800, 5_000_320
    cut = read(stored, area=lazy_cube.odc.geobox[64:96, 40:80])
    assert cut.odc.geobox.boundingbox.bbox == (west, south, east, north)
    inputs, time = lineage_of(cut.valid).inputs, np.datetime64("2021-08-01", "ns")
    before = inputs.of(time, Window(0, 32, 0, 40))
    ledger.forget(Directory(stored), [Block(2, 1, time=0)])
    assert inputs.of(time, Window(0, 32, 0, 40)) == before  # a write asks anew
    inputs.refresh()
    assert inputs.of(time, Window(0, 32, 0, 40)) != before


def test_a_copy_follows_the_blocks_that_changed(stored, tmp_path, lazy_cube):
    write(read(stored), tmp_path / "copy.zarr")
    report = write(read(stored), tmp_path / "copy.zarr")
    assert (report.written, report.skipped) == (0, 24)
    place = Directory(stored)
    record = ledger.read_record(place, Block(1, 1, time=2))
    ledger.write_record(
        place, Block(1, 1, time=2), ledger.Record(**{**vars(record), "checksum": "another"})
    )
    report = write(read(stored), tmp_path / "copy.zarr")
    assert (report.written, report.changed, report.skipped) == (1, 1, 23)


def test_an_array_read_before_blocks_were_made_anew_has_another_name(made, path):
    write(made.layers(), path)
    first = read(path).valid.data.name
    made.inputs.changed = {("2022-08-05", 32, 40)}
    write(made.layers(), path)
    assert read(path).valid.data.name != first
    assert SOURCE in read(path).valid.encoding


def test_fingerprints_keep_order_and_borders():
    assert fingerprint("a", "b") != fingerprint("b", "a")
    assert fingerprint(b"ab") == fingerprint("ab")


def test_a_deep_copy_of_a_dataset_keeps_its_lineage(stored):
    assert lineage_of(read(stored).copy(deep=True).valid) is not None
    xr.testing.assert_identical(read(stored).compute(), read(stored).copy(deep=True).compute())
