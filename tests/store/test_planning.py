"""What is checked before anything is written, and what makes two datasets the same."""

import re
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from glaciercube import grid
from glaciercube.errors import GridError, SchemaError
from glaciercube.store.planning import (
    content_differences,
    differences,
    plan_of,
    time_differences,
)


def identity(dataset):
    return plan_of(dataset).header.identity


def all_differences(stored, wanted):
    found, plan = plan_of(stored).header, plan_of(wanted)
    return [
        *differences(found, plan.header),
        *time_differences(found, plan),
        *content_differences(found, plan),
    ]


def test_planning_computes_nothing(lazy_cube, no_compute):
    with no_compute:
        plan_of(lazy_cube)


def test_the_same_numbers_give_the_same_fingerprint(cube, lazy_cube):
    assert plan_of(cube).header == plan_of(cube.copy(deep=True)).header
    again = cube.copy(deep=True).chunk(time=1, band=-1, y=32, x=40)
    assert plan_of(lazy_cube).header == plan_of(again).header


def test_the_fingerprint_is_the_same_in_another_process(lazy_cube, tmp_path):
    lazy_cube.load().to_netcdf(tmp_path / "cube.nc")
    code = (
        "import sys, xarray as xr; from glaciercube.store.planning import plan_of; "
        "c = xr.open_dataset(sys.argv[1], decode_coords='all').load(); "
        "print(plan_of(c.chunk(time=1, y=32, x=40)).header.fingerprint)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cube.nc")],
        capture_output=True,
        text=True,
        check=True,
    )
    here = xr.open_dataset(tmp_path / "cube.nc", decode_coords="all").load()
    here = here.chunk(time=1, y=32, x=40)
    assert other.stdout.strip() == plan_of(here).header.fingerprint


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.assign(valid=~c.valid.assign_attrs(units="1")), "'valid' differs in content"),
        (lambda c: c.assign_attrs(level="top-of-atmosphere"), "level is 'surface' in the store"),
        (lambda c: c.drop_vars("cloud"), r"the store has the variables \['refl.*'cloud'"),
        (lambda c: c.isel(time=[0, 1]), "the store has 3 dates from 2021-08-01 to 2023-08-03"),
        (lambda c: c.isel(y=slice(0, 64)), "the grid is EPSG:32632, 10 x 10, 96 rows"),
        (lambda c: c.chunk(y=48), r"block is \[32, 40\] in the store, \[48, 40\]"),
        (lambda c: c.assign_coords(band=list("abcdefghij")), r"labels is .*'blue'.* in the store"),
    ],
)
def test_what_differs_is_said(lazy_cube, change, text):
    changed = change(lazy_cube)
    changed["valid"].attrs["units"] = "1"
    found = all_differences(lazy_cube, changed)
    assert plan_of(changed).header.fingerprint != plan_of(lazy_cube).header.fingerprint
    assert any(re.search(text, line) for line in found), found


def test_the_order_of_variables_does_not_matter(lazy_cube):
    turned = lazy_cube[list(lazy_cube.data_vars)[::-1]]
    assert all_differences(lazy_cube, turned) == []
    assert plan_of(turned).header.fingerprint == plan_of(lazy_cube).header.fingerprint


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.isel(time=[1, 0, 2]), "dates in 'time' need to be sorted and unique"),
        (lambda c: c.isel(time=[0, 0, 1]), "dates in 'time' need to be sorted and unique"),
        (lambda c: c.drop_vars("time"), "'time' has no dates: it needs a coordinate of datetime64"),
        (lambda c: c.assign_coords(time=[0, 1, 2]), "'time' has no dates"),
        (
            lambda c: c.chunk(y=(20, 40, 36)),
            r"irregular chunks along y: \(20, 40, 36\); use .chunk",
        ),
        (
            lambda c: c.assign(elevation=c.elevation.chunk(y=48)),
            r"'elevation' has chunks \(48, 48\) along y, 'reflectance' \(32, 32, 32\); use .chunk",
        ),
        (lambda c: c.assign(extra=("time", [1, 2, 3])), r"'extra' has dims \('time',\), needs"),
        (
            lambda c: c.assign(extra=c.valid.astype(complex)),
            "'extra' has dtype complex128, needs bool, an integer or a float",
        ),
        (lambda c: c.assign_attrs(when=object()), "'when' of the dataset is object, needs JSON"),
        (
            lambda c: c.assign(cloud=c.cloud.assign_attrs(when={1, 2})),
            "attribute 'when' of 'cloud' is set, needs JSON",
        ),
        (lambda c: c.drop_vars(list(c.data_vars)), "it has no variables"),
        (lambda c: c.isel(time=slice(0, 0)), "'valid' is empty: its shape is"),
    ],
)
def test_what_cannot_be_stored_is_said(lazy_cube, change, text):
    with pytest.raises(SchemaError, match=text):
        plan_of(change(lazy_cube))


def test_every_problem_is_listed_at_once(lazy_cube):
    wrong = lazy_cube.isel(time=[1, 0, 2]).chunk(y=(20, 40, 36)).assign_attrs(when=object())
    with pytest.raises(SchemaError, match=r"(?s)sorted and unique.*irregular chunks.*needs JSON"):
        plan_of(wrong)


def test_known_variables_need_their_schema(lazy_cube):
    with pytest.raises(SchemaError, match="'valid' has dtype uint8, needs bool"):
        plan_of(lazy_cube.assign(valid=lazy_cube.valid.astype("uint8").assign_attrs(units="1")))


def test_a_grid_without_crs_is_refused(cube):
    bare = cube.drop_vars("spatial_ref")
    for variable in bare.variables.values():
        variable.encoding.clear()
        variable.attrs.pop("grid_mapping", None)
        variable.attrs.pop("crs", None)
    with pytest.raises(GridError, match="the dataset has no coordinate reference system"):
        plan_of(bare)


def test_numpy_variables_are_cut_as_the_lazy_ones(lazy_cube):
    mixed = lazy_cube.assign(elevation=lazy_cube.elevation.compute())
    assert identity(mixed)["block"] == [32, 40]


def test_numpy_cubes_are_cut_at_1024(geobox):
    large = xr.Dataset({"count": (("y", "x"), np.zeros((1500, 30), np.int16))})
    box = grid.grid_around((7.0, 46.0, 7.01, 46.01), 10)
    located = grid.georeferenced(large, type(box)((1500, 30), box.affine, box.crs))
    assert identity(located)["block"] == [1024, 30]


def test_a_cut_cube_states_its_own_corner(lazy_cube):
    cut = plan_of(lazy_cube.isel(y=slice(10, 90), x=slice(20, 80)).chunk(y=32, x=40)).dataset
    assert cut.spatial_ref.attrs["GeoTransform"] == "600200 10 0 5000860 0 -10"


def test_planning_leaves_the_dataset_as_it_is(lazy_cube):
    lazy_cube["reflectance"].encoding["chunks"] = (1, 1, 1, 1)
    before = lazy_cube.copy(deep=True)
    plan_of(lazy_cube.isel(y=slice(32, 96)))
    xr.testing.assert_identical(lazy_cube, before)
    assert lazy_cube["reflectance"].encoding["chunks"] == (1, 1, 1, 1)


def test_lazy_content_is_its_dask_name(lazy_cube):
    content = plan_of(lazy_cube).header.content["valid"]
    assert content == lazy_cube.valid.data.name
    assert isinstance(lazy_cube.valid.data, da.Array)
