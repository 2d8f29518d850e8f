import json

import dask.array as da
import numpy as np
import pytest

from glaciercube import schema
from glaciercube.infer.layers import LONG_NAMES, dataset_of


@pytest.fixture
def arrays():
    shape = (3, 96, 80)
    return {
        "facies": da.zeros(shape, dtype="uint8"),
        "valid_fraction": da.zeros(shape, dtype="float32"),
        "probability": da.zeros((3, 5, 96, 80), dtype="float32"),
    }


def test_every_layer_has_a_long_name():
    assert set(LONG_NAMES) | set(schema.TASKS) == set(schema.LAYERS)


def test_layers_are_described(arrays, cube, card):
    out = dataset_of(arrays, cube, [card], 3)
    schema.check(out, {name: schema.LAYERS[name] for name in arrays}, "the layers")
    assert out["facies"].attrs["source"] == "small-facies 1"
    assert out["facies"].attrs["ancillary_variables"] == "valid_fraction"
    np.testing.assert_array_equal(out["facies"].attrs["flag_values"], [*range(9), 255])
    assert out["probability"]["category"].values.tolist() == list(card.categories)
    assert json.loads(out.attrs["cards"]) == [
        {"name": "small-facies", "version": "1", "sha256": card.sha256}
    ]


def test_the_cube_is_left_as_it_was(arrays, cube, card):
    encoding = {name: dict(cube[name].encoding) for name in cube.variables}
    before = cube.copy(deep=True)
    dataset_of(arrays, cube, [card], 3)
    assert cube.identical(before)
    assert {name: dict(cube[name].encoding) for name in cube.variables} == encoding


def test_coordinates_of_dates_travel_and_those_of_bands_do_not(arrays, cube, card):
    more = cube.assign_coords(
        item=("time", ["a", "b", "c"]), wavelength=("band", np.arange(10.0)), orbit=65
    )
    out = dataset_of(arrays, more, [card], 3)
    assert out["item"].values.tolist() == ["a", "b", "c"]
    assert int(out["orbit"]) == 65
    assert not {"band", "wavelength"} & set(out.coords)
    assert out.odc.geobox == cube.odc.geobox
