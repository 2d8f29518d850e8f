"""What flows between the stages, and the check of it."""

import colorsys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from glaciercube import radiometry, schema
from glaciercube.errors import SchemaError


def test_a_cube_that_fits_passes(cube, lazy_cube, no_compute):
    schema.check(cube, schema.CUBE, "the cube")
    with no_compute:
        schema.check(lazy_cube, {**schema.CUBE, "cloud": schema.CUBE_MORE["cloud"]}, "the cube")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.drop_vars("valid"), r"'valid' is missing; it has \['cloud', 'elevation', 're"),
        (
            lambda c: c.transpose("y", "x", ...),
            r"'valid' has dims \('y', 'x', 'time'\), needs \('t",
        ),
        (
            lambda c: c.assign(reflectance=c.reflectance.astype("float64").assign_attrs(units="1")),
            "'reflectance' has dtype float64, needs float32",
        ),
        (
            lambda c: c.assign(valid=c.valid.assign_attrs(units="percent")),
            "'valid' has units 'percent', needs '1'",
        ),
        (lambda c: c.assign(valid=c.valid.drop_attrs()), "'valid' has units None, needs '1'"),
    ],
)
def test_what_does_not_fit_is_said(cube, change, text):
    with pytest.raises(SchemaError, match=rf"the cube does not fit its schema:\n(?s:.*){text}"):
        schema.check(change(cube), schema.CUBE, "the cube")


def test_every_problem_is_listed_at_once(cube):
    wrong = cube.drop_vars("valid").assign(reflectance=cube.reflectance.astype("float64").T)
    wrong["reflectance"].attrs["units"] = "%"
    with pytest.raises(SchemaError) as caught:
        schema.check(wrong, schema.CUBE, "the cube")
    assert len(str(caught.value).splitlines()) == 5


def test_the_published_codes_do_not_move():
    names = ["ice", "snow", "debris", "firn", "shadow", "refrozen", "water", "cloud", "land"]
    assert [category.name for category in schema.FACIES] == names
    assert [category.code for category in schema.FACIES] == list(range(9))
    assert {c.name: c.code for c in schema.EXTENT} == {"not_glacier": 0, "glacier": 1}
    assert schema.NODATA == 255


@pytest.mark.parametrize("task", sorted(schema.TASKS))
def test_codes_names_and_colours_are_unique(task):
    categories = schema.TASKS[task]
    for what in ("code", "name", "colour"):
        assert len({getattr(category, what) for category in categories}) == len(categories)
    assert schema.NODATA not in {category.code for category in categories}
    assert schema.NODATA_COLOUR not in {category.colour for category in categories}
    for category in categories:
        assert len(bytes.fromhex(category.colour.removeprefix("#"))) == 3
        assert " " not in category.name


def test_snow_is_the_brightest_and_shadow_the_darkest():
    def lightness(category):
        red, green, blue = bytes.fromhex(category.colour[1:])
        return colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)[1]

    ordered = sorted(schema.FACIES, key=lightness)
    assert (ordered[0].name, ordered[-1].name) == ("shadow", "snow")


def test_a_category_cannot_be_changed():
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'code'"):
        schema.FACIES[0].code = 3


def test_roll_ups_name_facies_and_do_not_overlap_where_they_must_not():
    known = {category.name for category in schema.FACIES}
    for name, members in schema.ROLLUPS.items():
        assert set(members) <= known, name
    groups = [schema.ROLLUPS[name] for name in ("glacier", "unobservable", "not_glacier")]
    flat = [member for group in groups for member in group]
    assert sorted(flat) == sorted(known)
    parts = set(schema.ROLLUPS["accumulation"]) | set(schema.ROLLUPS["ablation"])
    assert parts == set(schema.ROLLUPS["glacier"])
    assert not set(schema.ROLLUPS["accumulation"]) & set(schema.ROLLUPS["ablation"])


def test_codes_of_names_keep_their_order():
    assert schema.codes(("snow", "ice")) == (1, 0)
    assert schema.codes(("glacier",), schema.EXTENT) == (1,)


def test_an_unknown_category_is_said():
    with pytest.raises(SchemaError, match=r"no category \['lava'\]; there are \['cloud', 'debris'"):
        schema.codes(("snow", "lava"))


@pytest.mark.parametrize("task", sorted(schema.TASKS))
def test_flags_pair_values_and_meanings(task):
    attrs = schema.flag_attrs(task)
    meanings = attrs["flag_meanings"].split()
    assert len(meanings) == len(attrs["flag_values"])
    assert attrs["flag_values"].dtype == np.uint8
    assert (meanings[-1], attrs["flag_values"][-1]) == ("nodata", 255)
    assert "_FillValue" not in attrs
    assert attrs["units"] == schema.VARIABLES[task].units


def test_an_unknown_class_layer_is_said():
    with pytest.raises(
        SchemaError, match=r"no class layer 'snow'; there are \['extent', 'facies'\]"
    ):
        schema.flag_attrs("snow")


@pytest.mark.parametrize("name", sorted(schema.VARIABLES))
def test_every_variable_can_lie_on_disk(name):
    variable = schema.VARIABLES[name]
    assert variable.dims[-2:] == ("y", "x")
    np.dtype(variable.dtype)
    if set(variable.encoding) - {"_FillValue"}:
        scaled = {"dtype", "scale_factor", "add_offset", "_FillValue"}
        assert set(variable.encoding) == scaled
        info = np.iinfo(variable.encoding["dtype"])
        assert info.min <= variable.encoding["_FillValue"] <= info.max


def test_the_encoding_of_reflectance_is_exact_for_digital_numbers():
    encoding = dict(schema.REFLECTANCE_ENCODING)
    fill = encoding.pop("_FillValue")
    numbers = np.arange(1, 65536)
    for offset in (0, -1000):
        values = radiometry.to_reflectance(numbers.astype(np.uint16), 1e-4, offset)
        fits = values < 6.45
        codes = radiometry.pack(values, fill=fill, **encoding)
        assert np.array_equal(codes[fits], (numbers + offset + 1000)[fits])


def test_the_encoding_of_probability_holds_zero_and_one():
    encoding = dict(schema.PROBABILITY_ENCODING)
    fill = encoding.pop("_FillValue")
    codes = radiometry.pack(np.float32([0, 1, np.nan]), fill=fill, **encoding)
    del encoding["dtype"]
    back = radiometry.unpack(codes, fill=fill, **encoding)
    assert back[:2].tolist() == [0.0, 1.0]
    assert np.isnan(back[2])


@pytest.mark.parametrize("category", schema.FACIES, ids=lambda category: category.name)
def test_each_category_goes_to_its_rollup(category):
    want = 255
    if category.name in schema.ROLLUPS["glacier"]:
        want = 1
    if category.name in schema.ROLLUPS["not_glacier"]:
        want = 0
    assert schema.extent_of_facies(np.uint8([[category.code]])) == want


def test_every_category_is_rolled_up_once():
    groups = ("glacier", "not_glacier", "unobservable")
    names = [name for group in groups for name in schema.ROLLUPS[group]]
    assert sorted(names) == sorted(category.name for category in schema.FACIES)
