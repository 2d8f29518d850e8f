"""A store read back: the same cube, lazily, cut as asked, with its proof."""

import pickle

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.base import tokenize
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from glaciercube import schema
from glaciercube.cube.composites import composite
from glaciercube.errors import GlacierCubeWarning, GridError, StoreError
from glaciercube.store import ledger, reading
from glaciercube.store.layout import Block
from glaciercube.store.places import Directory
from glaciercube.store.reading import read, source_of
from glaciercube.store.writing import write
from glaciercube.windows import Window


@pytest.fixture
def store(tmp_path, lazy_cube):
    write(lazy_cube, tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def test_a_cube_comes_back_as_it_was_written(store, cube):
    found = read(store)
    exact = ["valid", "cloud", "elevation"]
    xr.testing.assert_identical(found[exact].compute(), cube[exact])
    assert list(found.data_vars) == list(cube.data_vars)
    assert found.attrs == cube.attrs
    # reflectance lies on disk in steps of 1e-4
    xr.testing.assert_allclose(found.compute(), cube, rtol=0, atol=0.5e-4 + 1e-6)
    assert found.reflectance.attrs == cube.reflectance.attrs
    schema.check(found, schema.CUBE, "the cube")


def test_what_was_read_and_written_again_is_identical(store, tmp_path):
    first = read(store)
    write(first, tmp_path / "again.zarr")
    xr.testing.assert_identical(read(tmp_path / "again.zarr").compute(), first.compute())


def test_layers_come_back_with_their_flags(tmp_path, lazy_cube, geobox):
    shape = lazy_cube.valid.shape
    codes = np.random.default_rng(0).choice(np.uint8([0, 1, 8, 255]), shape)
    layers = lazy_cube[["elevation"]].assign(
        facies=(("time", "y", "x"), codes, schema.flag_attrs("facies")),
        probability=(
            ("time", "category", "y", "x"),
            np.random.default_rng(1).random((3, 2, 96, 80), np.float32),
            {"units": "1"},
        ),
    )
    layers = layers.assign_coords(category=["ice", "snow"], time=lazy_cube.time)
    write(layers, tmp_path / "layers.zarr")
    found = read(tmp_path / "layers.zarr").compute()
    xr.testing.assert_identical(found.facies, layers.facies)
    assert found.facies.attrs["flag_values"].dtype == np.uint8
    assert found.probability.dtype == np.float32
    # probability lies on disk in steps of 1 / 250
    xr.testing.assert_allclose(found.probability, layers.probability, rtol=0, atol=0.002 + 1e-6)
    assert found.odc.geobox == geobox


def test_reading_is_lazy_with_one_task_per_block(store, no_compute):
    with no_compute:
        found = read(store)
    assert found.reflectance.chunks == ((1, 1, 1), (10,), (32, 32, 32), (40, 40))
    assert found.elevation.chunks == ((32, 32, 32), (40, 40))
    assert len(dict(found.reflectance.data.dask)) == 18


def test_the_crs_is_on_every_variable(store, geobox):
    found = read(store)
    for variable in found.data_vars.values():
        assert variable.encoding["grid_mapping"] == "spatial_ref"
        assert variable.odc.geobox == geobox


def test_a_read_cube_can_be_written_by_xarray_itself(store, tmp_path):
    found = read(store)
    found.to_zarr(tmp_path / "plain.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "plain.zarr", consolidated=False, decode_coords="all")
    np.testing.assert_array_equal(again.reflectance.values, found.reflectance.values)


area_of = {
    "bounds": lambda b: tuple(gpd.GeoSeries([box(*b)], crs=32632).to_crs(4326).total_bounds),
    "outlines": lambda b: gpd.GeoDataFrame(geometry=[box(*b)], crs=32632),
}


def test_an_area_cuts_to_the_pixels_it_touches(store):
    # rows 20 to 70 and columns 30 to 60, a little inside their outer edges
    area = area_of["outlines"]((600_301, 5_000_261, 600_599, 5_000_759))
    found = read(store, area=area)
    whole = read(store)
    expected = whole.isel(y=slice(20, 70), x=slice(30, 60))
    for name in whole.data_vars:
        np.testing.assert_array_equal(found[name].values, expected[name].values, err_msg=name)
    xr.testing.assert_equal(found.y, expected.y)
    assert found.chunksizes["y"] == (12, 32, 6)
    assert found.chunksizes["x"] == (10, 20)
    assert found.odc.geobox == whole.odc.geobox[20:70, 30:60]
    assert found.spatial_ref.attrs["GeoTransform"] == "600300 10 0 5000760 0 -10"


def test_an_area_given_by_pixel_edges_takes_no_row_more(store):
    area = area_of["outlines"]((600_300, 5_000_260, 600_600, 5_000_760))
    assert read(store, area=area).valid.shape == (3, 50, 30)


def test_an_area_in_degrees_and_a_grid_are_areas(store):
    wanted = area_of["bounds"]((600_301, 5_000_261, 600_599, 5_000_759))
    rows, columns = read(store, area=wanted).valid.shape[1:]
    assert 50 <= rows <= 54
    assert 30 <= columns <= 34
    whole = read(store)
    assert read(store, area=whole.odc.geobox[5:9, 2:4]).valid.shape == (3, 4, 2)


def test_an_area_beyond_the_border_is_cut_there(store):
    area = area_of["outlines"]((599_000, 5_000_000, 600_100, 5_000_100))
    assert read(store, area=area).valid.shape == (3, 10, 10)


def test_an_area_elsewhere_is_refused(store):
    with pytest.raises(GridError, match=r"the area \(.*\) lies outside the store's grid: EPSG:32"):
        read(store, area=area_of["outlines"]((700_000, 5_000_000, 700_100, 5_000_100)))


def test_a_south_up_grid_is_cut_right(tmp_path, cube):
    turned = cube.isel(y=slice(None, None, -1))
    write(turned, tmp_path / "turned.zarr")
    area = area_of["outlines"]((600_301, 5_000_261, 600_599, 5_000_759))
    found = read(tmp_path / "turned.zarr", area=area)
    expected = cube.isel(y=slice(20, 70), x=slice(30, 60)).isel(y=slice(None, None, -1))
    xr.testing.assert_equal(found.elevation.compute(), expected.elevation)
    assert found.odc.geobox == expected.odc.geobox


@pytest.mark.parametrize(
    ("time", "years"),
    [
        (None, [2021, 2022, 2023]),
        ("2022", [2022]),
        ("2022-08-05", [2022]),
        (pd.Timestamp("2023-08-03"), [2023]),
        (["2023-08-03", "2021-08-01"], [2021, 2023]),
        (slice("2022", None), [2022, 2023]),
    ],
)
def test_dates_are_chosen_by_label(store, time, years):
    found = read(store, time=time)
    assert found.time.dt.year.values.tolist() == years
    whole = read(store)
    expected = whole.isel(time=[year - 2021 for year in years])
    np.testing.assert_array_equal(found.reflectance.values, expected.reflectance.values)


@pytest.mark.parametrize("time", ["2020", slice("2024", None), ["2021-08-02"], "soon"])
def test_dates_that_are_not_there_are_said(store, time):
    with pytest.raises(StoreError, match="the store has no .*; it has 3 dates from 2021-08-01"):
        read(store, time=time)


def test_bands_are_chosen_by_name_in_the_order_asked(store):
    found = read(store, bands=["swir16", "green"])
    assert found.band.values.tolist() == ["swir16", "green"]
    expected = read(store).sel(band=["swir16", "green"])
    np.testing.assert_array_equal(found.reflectance.values, expected.reflectance.values)
    assert read(store, bands="nir").reflectance.shape == (3, 1, 96, 80)


@pytest.mark.parametrize("bands", [["green", "red2"], []])
def test_bands_that_are_not_there_are_said(store, bands):
    with pytest.raises(
        StoreError, match=r"the store has no bands \[.*\]; it has \['blue', 'green'"
    ):
        read(store, bands=bands)


def test_missing_blocks_are_said_and_read_as_no_value(store, lazy_cube):
    layout = ledger.read_header(Directory(store)).layout
    gone = [Block(0, 0, time=1), Block(1, 1)]
    for block in gone:
        for stored in layout.of(block.time is not None):
            place = "/".join(map(str, layout.place(stored, block)))
            (store / stored.name / "c" / place).unlink(missing_ok=True)
    ledger.forget(Directory(store), gone)
    with pytest.warns(
        GlacierCubeWarning, match=r"incomplete: 2 of 24 blocks .* write the same cube"
    ):
        found = read(store)
    assert not found.valid[1, :32, :40].any()
    assert found.reflectance[1, :, :32, :40].isnull().all()
    assert found.elevation[32:64, 40:].isnull().all()
    assert found.valid[1, 32:].any()


def test_an_incomplete_store_is_another_dataset(store, lazy_cube):
    whole = read(store)
    ledger.forget(Directory(store), [Block(1, 1, time=0)])
    with pytest.warns(GlacierCubeWarning, match="1 of 24 blocks"):
        part = read(store)
    assert part.valid.data.name != whole.valid.data.name


def test_names_do_not_depend_on_where_the_store_lies(store, tmp_path):
    before = read(store)
    store.rename(tmp_path / "moved.zarr")
    after = read(tmp_path / "moved.zarr")
    assert after.reflectance.data.name == before.reflectance.data.name
    assert after.valid.any()


def test_no_store_is_said(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        read(tmp_path / "nowhere.zarr")


# the proof


def test_every_variable_that_was_read_has_its_source(store):
    area = area_of["outlines"]((600_301, 5_000_261, 600_599, 5_000_759))
    for found in (read(store), read(store, area=area, time="2022", bands=["red"])):
        for name, variable in found.data_vars.items():
            source = source_of(variable)
            assert source is not None, name
            assert source.variable == name


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a * 0.5,
        lambda a: a.isel(time=[0]),
        lambda a: a.isel(x=slice(1, None)),
        lambda a: a.where(a > 0),
        lambda a: a.sortby("time", ascending=False),
        lambda a: a.transpose("time", "y", "x", "band"),
        lambda a: a.T,
        lambda a: a.chunk(y=48),
        lambda a: a.compute(),
        lambda a: a.rename(y="row"),
        lambda a: a.astype("float64"),
        lambda a: a.fillna(0),
        lambda a: a.shift(x=1),
        lambda a: xr.concat([a, a], "time"),
        lambda a: a[:, ::-1],
    ],
)
def test_the_proof_does_not_survive_a_change(store, change):
    array = read(store).reflectance
    assert source_of(array) is not None
    assert source_of(change(array)) is None


def test_the_proof_survives_what_does_not_touch_the_numbers(store):
    found = read(store)
    assert source_of(found.reflectance.assign_attrs(note="a")) is not None
    assert source_of(found.copy(deep=True).reflectance) is not None
    assert source_of(found[["reflectance"]].reflectance.rename("other")) is not None


def test_an_array_without_source_has_none(lazy_cube):
    assert source_of(lazy_cube.reflectance) is None


def test_encoding_alone_proves_nothing(store, lazy_cube):
    fake = lazy_cube.reflectance
    fake.encoding = read(store).reflectance.encoding
    assert source_of(fake) is None


def test_a_source_travels(store):
    source = source_of(read(store, time="2022").reflectance)
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert hash(again) == hash(source)
    assert again.name == source.name
    assert tokenize(again) == tokenize(source)
    assert len(pickle.dumps(source)) < 2000


windows = st.tuples(st.integers(0, 49), st.integers(1, 50), st.integers(0, 29), st.integers(1, 30))


@settings(max_examples=25, deadline=None)
@given(pixels=windows, number=st.integers(0, 1), name=st.sampled_from(["reflectance", "cloud"]))
def test_a_source_loads_any_window_of_its_array(shared_store, pixels, number, name):
    y0, height, x0, width = pixels
    window = Window(y0, min(50, y0 + height), x0, min(30, x0 + width))
    area = area_of["outlines"]((600_301, 5_000_261, 600_599, 5_000_759))
    found = read(shared_store, area=area, time=slice("2022", None), bands=["nir", "red"])
    values = source_of(found[name]).load(number, window)
    np.testing.assert_array_equal(values, found[name][number].values[..., *window.slices])
    assert values.dtype == found[name].dtype


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    with pytest.MonkeyPatch.context():
        return _make_shared(tmp_path_factory.mktemp("shared") / "cube.zarr")


def _make_shared(path):
    times = pd.to_datetime(["2021-08-01", "2022-08-05", "2023-08-03"]).as_unit("ns")
    generator = np.random.default_rng(3)
    dataset = xr.Dataset(
        {
            "reflectance": (
                ("time", "band", "y", "x"),
                generator.random((3, 3, 96, 80), np.float32),
                {"units": "1"},
            ),
            "cloud": (("time", "y", "x"), generator.random((3, 96, 80)) > 0.5, {"units": "1"}),
        },
        coords={
            "time": times,
            "band": ["green", "red", "nir"],
            "y": 5_000_955.0 - 10 * np.arange(96),
            "x": 600_005.0 + 10 * np.arange(80),
        },
    )
    write(dataset.odc.assign_crs("EPSG:32632").chunk(time=1, y=32, x=40), path)
    return path


def test_a_static_source_ignores_the_date(store, cube):
    source = source_of(read(store).elevation)
    values = source.load(2, Window(3, 40, 10, 70))
    np.testing.assert_array_equal(values, cube.elevation.values[3:40, 10:70])


@pytest.mark.parametrize("window", [Window(0, 97, 0, 1), Window(-1, 2, 0, 1), Window(2, 2, 0, 1)])
def test_a_window_outside_is_refused(store, window):
    source = source_of(read(store).valid)
    with pytest.raises(StoreError, match=r"Window\(.*\) is not inside 'valid' of 96 x 80"):
        source.load(0, window)


def test_a_replaced_store_is_not_read_through(store, lazy_cube):
    found = read(store)
    found.valid[0].compute()
    other = lazy_cube.assign(valid=~lazy_cube.valid.assign_attrs(units="1"))
    other["valid"].attrs["units"] = "1"
    write(other, store, overwrite=True)
    with pytest.raises(StoreError, match="was replaced since it was read"):
        found.valid.compute()
    assert (read(store).valid.values == ~lazy_cube.valid.values).all()


def test_the_chunks_of_a_cut_lie_on_the_blocks():
    assert reading._cut(5, 100, 32) == (27, 32, 32, 4)
    assert reading._cut(32, 64, 32) == (32,)
    assert reading._cut(33, 40, 32) == (7,)


def test_days_stay_days_and_blocks_without_any_have_none(lazy_cube, tmp_path):
    hidden = lazy_cube.copy()
    hidden["valid"] = lazy_cube["valid"].where(lazy_cube["x"] > 600_400, False)
    cube = composite(hidden, "medoid", clear="measured")
    write(cube, tmp_path / "composite.zarr")
    stored = read(tmp_path / "composite.zarr")["acquired"]
    assert stored.dtype == "int32"
    assert stored.attrs["units"] == schema.DAYS
    values = stored.values
    np.testing.assert_array_equal(values, cube["acquired"].values)
    assert (values[:, :, :40] == schema.NO_DAY).all()
    assert (values[:, :, 40:] != schema.NO_DAY).any()
    plain = xr.open_zarr(tmp_path / "composite.zarr", decode_coords="all")["acquired"].values
    assert np.isnat(plain[:, :, :40]).all()
    assert plain[0, 50, 60] == np.datetime64("1970-01-01") + np.timedelta64(values[0, 50, 60], "D")
