"""Of what each block of a prediction is made, and what is refused in one store."""

import json
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import xarray as xr
from cards import make_card
from conftest import make_cube
from dask.base import tokenize

from glaciercube.errors import StoreError
from glaciercube.infer import lazy, lineage
from glaciercube.infer.lazy import predict
from glaciercube.store import ledger
from glaciercube.store.appending import append
from glaciercube.store.inputs import StoreInputs
from glaciercube.store.lineage import Lineage, fingerprint, lineage_of, with_lineage
from glaciercube.store.places import place_of
from glaciercube.store.reading import read
from glaciercube.store.writing import write
from glaciercube.windows import Window

CHUNKS = {"time": 1, "band": -1, "y": 32, "x": 40}
"""Three rows and two columns of blocks; the halo of the card is 3 pixels."""

ALL = {(row, column) for row in range(3) for column in range(2)}


@pytest.fixture
def store(cube, tmp_path):
    """Return the path of a stored cube."""
    write(made(cube), tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


class Content:
    """Inputs that are what the pixels of a block are, whatever computes them."""

    def __init__(self, cube):
        self.cube = cube

    def of(self, time, window):
        part = self.cube.isel(y=window.slices[0], x=window.slices[1])
        part = part[[name for name in part if ("time" in part[name].dims) == (time is not None)]]
        part = part if time is None else part.sel(time=time)
        return fingerprint(*(part[name].values.tobytes() for name in sorted(part.data_vars)))


def made(cube):
    """Return a cube in chunks whose lineage is known."""
    lazy_cube = cube.chunk(CHUNKS)
    inputs = Content(cube)
    told = {}
    for name, variable in lazy_cube.data_vars.items():
        parameters = {"made_by": "test"}
        found = Lineage(name=variable.data.name, parameters=parameters, inputs=inputs)
        told[name] = with_lineage(variable, found)
    return lazy_cube.assign(told)


def told_of(layers, name="facies"):
    """Return the fingerprint of the inputs of each block, by date, row and column."""
    inputs = lineage_of(layers[name]).inputs
    inputs.refresh()
    return {
        (number, row, column): inputs.of(
            time, Window(row * 32, row * 32 + 32, column * 40, column * 40 + 40)
        )
        for number, time in enumerate(layers["time"].values)
        for row, column in ALL
    }


def changes(before, after):
    return {place for place in before if before[place] != after[place]}


def edited(cube, row, column, time=0):
    """Return a cube with another number in one pixel."""
    out = cube.copy(deep=True)
    out["reflectance"][time, 0, row, column] += 0.1
    return out


def rewrite(cube, store):
    """Write a cube that changed to its store: only blocks that changed are written."""
    return write(made(cube), store)


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        # in the middle of the first block; a block is the least that is known of a store
        ((20, 20), {(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)}),
        ((70, 60), {(0, 2, 1), (0, 1, 1), (0, 2, 0), (0, 1, 0)}),
    ],
)
def test_a_block_of_the_store_changes_the_blocks_that_read_it(cube, store, card, pixel, expected):
    before = told_of(predict(read(store), [card]))
    report = rewrite(edited(cube, *pixel), store)
    assert report.written == 1
    assert changes(before, told_of(predict(read(store), [card]))) == expected


def test_exactly_these_blocks_are_computed_again(cube, store, card, tmp_path, forwards):
    layers = tmp_path / "layers.zarr"
    first = write(predict(read(store), [card]), layers)
    assert (first.written, len(forwards)) == (18 + 6, 18)  # elevation has blocks of its own
    del forwards[:]
    assert write(predict(read(store), [card]), layers).written == 0
    assert forwards == []
    rewrite(edited(cube, 20, 20, time=1), store)
    report = write(predict(read(store), [card]), layers)
    assert (report.written, report.skipped, len(forwards)) == (4, 14 + 6, 4)
    write(predict(read(store), [card]), tmp_path / "fresh.zarr")
    xr.testing.assert_equal(read(layers).compute(), read(tmp_path / "fresh.zarr").compute())


def test_without_a_halo_only_the_block_itself_counts(cube, store, card):
    before = told_of(predict(read(store), [card], halo=0))
    rewrite(edited(cube, 20, 20), store)
    assert changes(before, told_of(predict(read(store), [card], halo=0))) == {(0, 0, 0)}


def test_both_strategies_of_a_store_have_the_same_lineage(store, card):
    direct = predict(read(store), [card], strategy="direct")
    overlap = predict(read(store), [card], strategy="overlap")
    assert isinstance(lineage_of(direct["facies"]).inputs, StoreInputs)
    assert told_of(direct) == told_of(overlap)
    assert lineage_of(direct["facies"]).parameters == lineage_of(overlap["facies"]).parameters


def test_a_part_of_a_store_has_the_lineage_of_that_part(cube, store, card):
    part = {"time": "2022-08-05"}
    before = told_of(predict(read(store, **part), [card]))
    rewrite(edited(cube, 20, 20, time=0), store)
    assert told_of(predict(read(store, **part), [card])) == before
    rewrite(edited(cube, 20, 20, time=1), store)
    assert changes(before, told_of(predict(read(store, **part), [card])))


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((20, 20), {(0, 0, 0)}),
        # 3 pixels of halo: one row before the border of two blocks, and at a corner of four
        ((31, 20), {(0, 0, 0), (0, 1, 0)}),
        ((33, 42), {(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)}),
        ((36, 43), {(0, 1, 1)}),
    ],
)
def test_the_lineage_of_a_cube_passes_through_with_its_halo(cube, card, pixel, expected):
    before = predict(made(cube), [card])
    after = predict(made(edited(cube, *pixel)), [card])
    assert changes(told_of(before), told_of(after)) == expected
    one, other = before.compute(), after.compute()
    for number, row, column in set(told_of(before)) - expected:
        where = {"time": number, "y": slice(row * 32, row * 32 + 32)}
        where["x"] = slice(column * 40, column * 40 + 40)
        np.testing.assert_array_equal(
            one["confidence"].isel(where), other["confidence"].isel(where)
        )


def test_what_is_not_known_of_the_cube_is_not_known_of_its_layers(cube, lazy_cube, card):
    assert lineage_of(predict(lazy_cube, [card])["facies"]) is None
    assert lineage_of(predict(cube, [card])["facies"]) is None
    mixed = made(cube).assign(valid=lazy_cube["valid"])
    assert lineage_of(predict(mixed, [card])["facies"]) is None


def test_every_layer_is_told_of_and_what_travels_along_keeps_its_own(store, card, extent_card):
    cube = read(store)
    layers = predict(cube, [card, extent_card])
    assert all(lineage_of(variable) for variable in layers.data_vars.values())
    for name in ("valid", "elevation"):
        assert lineage_of(layers[name]) == lineage_of(cube[name])
    found = lineage_of(layers["facies"])
    assert lineage_of(layers["extent"]).inputs is found.inputs
    assert json.loads(json.dumps(found.parameters)) == found.parameters
    assert [one["task"] for one in found.parameters["networks"]] == ["facies", "extent"]
    assert found.parameters["networks"][0]["weights"] == card.sha256
    assert {"halo": 5, "stride": 1, "made_by": "predict"}.items() <= found.parameters.items()


def parameters(cube, cards, **options):
    return lineage_of(predict(cube, cards, **options)["facies"]).parameters


def test_what_changes_the_numbers_is_a_parameter(store, card, tmp_path, monkeypatch):
    cube = read(store)
    same = parameters(cube, [card])
    assert parameters(read(store), [card]) == same
    renamed = replace(card, name="other", version="9", training={"steps": 1})
    assert parameters(cube, [renamed]) == same
    others = [
        [replace(card, temperature=2.0)],
        [replace(card, mean=(0.1, *card.mean[1:]))],
        [make_card(tmp_path, seed=7)],
    ]
    found = [parameters(cube, cards) for cards in others]
    found += [parameters(cube, [card], halo=1), parameters(cube, [card], outputs=["facies"])]
    monkeypatch.setattr(lazy, "ALGORITHM_VERSION", 99)
    found.append(parameters(cube, [card]))
    assert len({json.dumps(one) for one in [same, *found]}) == 7
    assert found[2]["networks"][0]["weights"] != same["networks"][0]["weights"]


def test_other_weights_and_another_halo_are_refused(store, card, tmp_path):
    layers = tmp_path / "layers.zarr"
    write(predict(read(store), [card]), layers)
    before = ledger.record_names(place_of(layers))
    with pytest.raises(StoreError, match=r"holds a different cube(?s:.)*weights"):
        write(predict(read(store), [make_card(tmp_path, seed=7)]), layers)
    with pytest.raises(StoreError, match=r"holds a different cube(?s:.)*halo"):
        write(predict(read(store), [card], halo=1), layers)
    with pytest.raises(StoreError, match=r"holds a different cube(?s:.)*temperature|card"):
        write(predict(read(store), [replace(card, temperature=2.0)]), layers)
    assert ledger.record_names(place_of(layers)) == before


def test_lineage_is_in_no_graph_and_in_no_token_and_needs_no_weights(store, card):
    Path(card.weights).unlink()
    layers = predict(read(store), [card])
    graph = cloudpickle.dumps(dict(layers["facies"].__dask_graph__()))
    for word in (b"StoreInputs", b"AroundInputs", b"glaciercube.store.lineage"):
        assert word not in graph
    assert told_of(layers)
    assert tokenize(layers["facies"]) == tokenize(layers["facies"].drop_encoding())


def test_a_stride_reaches_farther(store, card):
    strided = replace(card, stride=8, halo=8)
    found = lineage_of(predict(read(store), [strided])["facies"])
    assert found.inputs.halo == 15
    assert found.parameters["stride"] == 8


def test_inputs_of_one_array_are_asked_once(cube, card):
    asked = []

    class Counting(Content):
        def of(self, time, window):
            asked.append(window)
            return super().of(time, window)

        def refresh(self):
            asked.append("refresh")

    inputs = Counting(cube)
    lazy_cube = cube.chunk(CHUNKS)
    told = {
        name: with_lineage(
            lazy_cube[name], Lineage(name=lazy_cube[name].data.name, parameters={}, inputs=inputs)
        )
        for name in ("reflectance", "valid")
    }
    found = lineage_of(predict(lazy_cube.assign(told), [card])["facies"]).inputs
    assert isinstance(found, lineage.AroundInputs)
    found.refresh()
    found.of(cube["time"].values[0], Window(0, 32, 0, 40))
    assert asked == ["refresh", Window(0, 35, 0, 43)]


# --- networks that see several dates


FIVE = ("2021-07-02", "2021-08-01", "2021-08-11", "2022-07-20", "2022-08-05")
SUMMER = {"count": 3, "season": ["06-01", "09-30"]}


@pytest.fixture
def years(geobox):
    """Return a cube of three dates of one season and two of the next."""
    return make_cube(geobox, FIVE)


@pytest.fixture
def summer(tmp_path):
    return make_card(tmp_path, seed=4, dates=SUMMER)


def pending(layers, before):
    """Return which dates have other fingerprints than before, by label."""
    after = {time: inputs_of_date(layers, time) for time in layers["time"].values}
    return {str(time)[:10] for time, told in after.items() if before.get(time) != told}


def inputs_of_date(layers, time):
    return lineage_of(layers["facies"]).inputs.of(time, Window(0, 32, 0, 40))


@pytest.mark.parametrize(("time", "expected"), [(0, {0, 1}), (1, {0, 1, 2}), (4, {3, 4})])
def test_a_changed_date_changes_the_blocks_that_see_it(years, summer, tmp_path, time, expected):
    path = tmp_path / "years.zarr"
    write(made(years), path)
    before = told_of(predict(read(path), [summer]))
    write(made(edited(years, 70, 60, time)), path)
    found = changes(before, told_of(predict(read(path), [summer])))
    around = {(2, 1), (1, 1), (2, 0), (1, 0)}  # a block and those whose halo touches it
    assert found == {(number, *place) for number in expected for place in around}


def test_the_lineage_of_a_cube_passes_through_with_the_dates_seen(years, summer):
    before = predict(made(years), [summer])
    after = predict(made(edited(years, 20, 20, time=2)), [summer])
    assert changes(told_of(before), told_of(after)) == {(1, 0, 0), (2, 0, 0)}


def test_both_strategies_tell_the_same_of_several_dates(years, summer, tmp_path):
    write(made(years), tmp_path / "years.zarr")
    cube = read(tmp_path / "years.zarr")
    direct, overlap = (predict(cube, [summer], strategy=name) for name in ("direct", "overlap"))
    assert isinstance(lineage_of(direct["facies"]).inputs, lineage.SeenInputs)
    assert told_of(direct) == told_of(overlap)


ADDED = {
    "at the end": ("2022-08-30", {"2022-08-05", "2022-08-30"}),
    "between": ("2021-08-05", {"2021-08-01", "2021-08-11", "2021-08-05"}),
    "another year": ("2023-08-01", {"2023-08-01"}),
}


@pytest.mark.parametrize(("day", "expected"), ADDED.values(), ids=ADDED)
def test_an_added_date_is_computed_with_those_that_now_see_it(
    years, summer, geobox, tmp_path, day, expected, forwards
):
    path, layers = tmp_path / "years.zarr", tmp_path / "layers.zarr"
    write(made(years), path)
    write(predict(read(path), [summer]), layers)
    append(made(make_cube(geobox, (day,), seed=1)).drop_vars("elevation"), path)
    del forwards[:]
    grown = predict(read(path), [summer])
    append(grown, layers)
    report = write(grown, layers)
    assert report.changed == 6 * (len(expected) - 1)
    assert len(forwards) == 6 * len(expected)
    write(grown, tmp_path / "fresh.zarr")
    xr.testing.assert_equal(read(layers).compute(), read(tmp_path / "fresh.zarr").compute())
    old = {str(time)[:10] for time in years["time"].values}
    assert expected - old == {day}


def test_exactly_the_dates_whose_window_changed_have_another_fingerprint(
    years, summer, geobox, tmp_path
):
    path = tmp_path / "years.zarr"
    write(made(years), path)
    layers = predict(read(path), [summer])
    before = {time: inputs_of_date(layers, time) for time in layers["time"].values}
    append(made(make_cube(geobox, ("2021-08-05",), seed=1)).drop_vars("elevation"), path)
    grown = predict(read(path), [summer])
    assert pending(grown, before) == {"2021-08-01", "2021-08-05", "2021-08-11"}


def test_a_date_in_another_place_is_another_input(years, summer, tmp_path):
    """Padding in place of a date tells, not only which dates are read."""
    write(made(years), tmp_path / "years.zarr")
    cube = read(tmp_path / "years.zarr", time=slice("2021-08-01", "2021-08-11"))
    past = replace(summer, dates={"count": 3, "anchor": "past"})
    nearest = replace(summer, dates={"count": 3, "anchor": "nearest"})
    found = {
        inputs_of_date(predict(cube, [card]), cube["time"].values[1])
        for card in (summer, past, nearest)
    }
    assert len(found) == 3


def test_declared_dates_are_a_parameter(years, summer, tmp_path):
    write(made(years), tmp_path / "years.zarr")
    cube, layers = read(tmp_path / "years.zarr"), tmp_path / "layers.zarr"
    write(predict(cube, [summer]), layers)
    (network,) = lineage_of(predict(cube, [summer])["facies"]).parameters["networks"]
    assert network["dates"] == dict(summer.dates)
    with pytest.raises(StoreError, match=r"holds a different cube(?s:.)*'days': 10"):
        write(predict(cube, [replace(summer, dates=SUMMER | {"days": 10})]), layers)


def test_each_date_is_asked_once_for_all_that_see_it(years, summer):
    asked = []

    class Counting(Content):
        def of(self, time, window):
            asked.append(time)
            return super().of(time, window)

    cube, inputs = years.chunk(CHUNKS), Counting(years)
    told = {
        name: with_lineage(
            cube[name], Lineage(name=cube[name].data.name, parameters={}, inputs=inputs)
        )
        for name in ("reflectance", "valid")
    }
    found = lineage_of(predict(cube.assign(told), [summer])["facies"]).inputs
    for time in years["time"].values:
        found.of(time, Window(0, 32, 0, 40))
    assert len(asked) == len(FIVE)
    found.refresh()
    found.of(years["time"].values[0], Window(0, 32, 0, 40))
    assert len(asked) == len(FIVE) + 2
