import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.cube.seasons import annual, glacier_years, rank_dates
from glaciercube.errors import SchemaError
from glaciercube.store.reading import read
from glaciercube.store.writing import write

DATES = ("2020-10-05", "2021-07-10", "2021-08-20", "2021-09-12", "2022-08-30")
JUNE_SNOW, CLEAR, CLOUDY = 1, 2, 3
"""Places of the three summer dates of 2021; the first date lies in the year 2021 too."""


@pytest.fixture
def layers(geobox):
    """Return layers of five dates: snow down to row 80, 70, 40, 44 and 50, ice to row 60.

    On the third a tenth is cloud, on the fourth a half; one corner is never seen in 2021.
    """
    rows, columns = geobox.shape
    row = np.broadcast_to(np.arange(rows)[:, None], (rows, columns))
    facies = np.stack(
        [np.where(row < snow, 1, np.where(row < 60, 0, 8)) for snow in (80, 70, 40, 44, 50)]
    ).astype(np.uint8)
    facies[CLEAR, :, :8] = 7
    facies[CLOUDY, :, 40:] = 7
    facies[:4, :10, :8] = 7
    facies[0, :10, :8] = schema.NODATA
    extent = np.isin(facies, (0, 1)).astype(np.uint8)
    extent[np.isin(facies, (7, schema.NODATA))] = schema.NODATA
    generator = np.random.default_rng(0)
    confidence = generator.random(facies.shape, np.float32)
    probability = generator.random((5, 3, rows, columns), np.float32)
    dims = schema.TIME_DIMS
    dataset = xr.Dataset(
        {
            "extent": (dims, extent, schema.flag_attrs("extent")),
            "facies": (dims, facies, schema.flag_attrs("facies")),
            "confidence": (dims, confidence, {"units": "1"}),
            "probability": (("time", "category", "y", "x"), probability, {"units": "1"}),
            "valid": (dims, facies != schema.NODATA, {"units": "1"}),
            "elevation": (("y", "x"), row.astype(np.float32), {"units": "m"}),
        },
        coords={"time": pd.to_datetime(list(DATES)).as_unit("ns"), "category": ["a", "b", "c"]},
        attrs={"sensor": "sentinel-2-l2a", "level": "surface", "cards": "[]"},
    )
    return grid.georeferenced(dataset, geobox)


def test_contract(layers):
    yearly = annual(layers)
    assert set(yearly.data_vars) == {*layers.data_vars, "source"}
    assert yearly["glacier_year"].values.tolist() == [2021, 2022]
    assert yearly["time"].values.tolist() == layers["time"].values[[3, 4]].tolist()
    for name in layers.data_vars:
        assert yearly[name].dims == layers[name].dims
        assert yearly[name].dtype == layers[name].dtype
        for key, value in layers[name].attrs.items():
            np.testing.assert_array_equal(yearly[name].attrs[key], value)
    assert yearly["source"].dtype == np.int16
    assert yearly["source"].attrs["acquisitions"][3] == "2021-09-12T00:00:00"
    assert yearly.attrs["cards"] == "[]"
    assert json.loads(yearly.attrs["annual"])["year_start"] == "10-01"
    assert grid.grid_of(yearly) == grid.grid_of(layers)
    schema.check(yearly, {"extent": schema.LAYERS["extent"]}, "yearly")


def test_the_least_seasonal_snow_comes_first(layers):
    ranks = rank_dates(layers).compute()
    assert ranks["rank"].values.tolist() == [3, 2, 0, 1, 0]
    assert ranks["glacier_year"].values.tolist() == [2021] * 4 + [2022]
    score = ranks["score"].values
    assert score[4] == 0
    # Cloud: half of the pixels and the corner; rows 40 to 43
    # carry snow that the third date shows gone, beside its own cloud.
    unseen = (40 * 96 + 80) / (80 * 96)
    assert score[CLOUDY] == pytest.approx(4 * 32 / (40 * 96 - 80) + unseen / 10)


def test_each_pixel_comes_from_the_best_date_that_shows_it(layers):
    yearly = annual(layers).compute()
    source = yearly["source"].values[0]
    assert (source[:, 8:] == CLEAR).all()
    assert (source[10:, :8] == CLOUDY).all()
    assert (yearly["source"].values[1] == 4).all()
    expected = layers["facies"].values[CLEAR].copy()
    expected[10:, :8] = layers["facies"].values[CLOUDY, 10:, :8]
    np.testing.assert_array_equal(yearly["facies"].values[0], expected)


def test_all_variables_of_a_pixel_come_from_one_date(layers):
    yearly = annual(layers).compute()
    source = yearly["source"].values
    where = np.where(source < 0, CLEAR, source)
    for name in ("extent", "confidence", "valid"):
        expected = np.take_along_axis(layers[name].values, where, axis=0)
        np.testing.assert_array_equal(yearly[name].values, expected)
    expected = np.take_along_axis(layers["probability"].values, where[:, None], axis=0)
    np.testing.assert_array_equal(yearly["probability"].values, expected)
    xr.testing.assert_identical(yearly["elevation"], layers["elevation"])


def test_what_no_date_shows_stays_unobserved(layers):
    yearly = annual(layers).compute()
    assert (yearly["source"].values[0, :10, :8] == -1).all()
    assert (yearly["extent"].values[0, :10, :8] == schema.NODATA).all()
    assert (yearly["facies"].values[0, :10, :8] == 7).all()


@pytest.mark.parametrize("names", [["extent"], ["facies"], ["extent", "facies"]])
@pytest.mark.parametrize(
    "chunks", [{"time": 1, "y": 32, "x": 40}, {"time": 2, "y": 50, "x": 23}, {"time": 5}]
)
def test_chunking_does_not_change_the_result(layers, chunks, names):
    some = layers[[*names, "confidence", "probability"]]
    xr.testing.assert_identical(annual(some.chunk(chunks)).compute(), annual(some).compute())


def test_the_order_of_dates_does_not_matter(layers):
    shuffled = layers.isel(time=[3, 0, 4, 2, 1])
    xr.testing.assert_identical(annual(shuffled).compute(), annual(layers).compute())


def test_extent_alone_ranks_by_glacier(layers):
    ranks = rank_dates(layers[["extent"]]).compute()
    assert ranks["rank"].values.tolist() == [3, 2, 0, 1, 0]


def test_an_extent_is_taken_where_only_the_facies_are_hidden(layers):
    facies = layers["facies"].values
    facies[:4, 90:, 70:] = 4
    assert (layers["extent"].values[1, 90:, 70:] == 0).all()
    yearly = annual(layers).compute()
    assert (yearly["source"].values[0, 90:, 70:] == CLEAR).all()
    assert (yearly["extent"].values[0, 90:, 70:] == 0).all()


def test_years_of_one_date_are_passed_on(layers):
    single = layers.isel(time=[2, 4]).chunk(time=1, y=32, x=40)
    yearly = annual(single)
    for name in ("extent", "facies", "confidence", "probability"):
        assert yearly[name].data.name == single[name].data.name
    np.testing.assert_array_equal(yearly["time"], single["time"])
    assert (yearly["source"].values[0] == -1).sum() == 8 * 96


def test_stays_lazy(layers, no_compute):
    lazy = layers.chunk(time=1, y=32, x=40)
    with no_compute:
        yearly = annual(lazy)
        ranks = rank_dates(lazy)
    assert yearly["extent"].chunks == ((1, 1), (32, 32, 32), (40, 40))
    assert ranks["score"].chunks


def test_names_are_a_function_of_what_they_hold(layers):
    lazy = layers.chunk(time=1, y=32, x=40)
    names = [one.data.name for one in annual(lazy).data_vars.values()]
    assert names == [one.data.name for one in annual(lazy.copy()).data_vars.values()]
    other = annual(lazy, year_start="09-01")
    assert names[0] != other["extent"].data.name


def test_a_store_is_read_again_rather_than_kept(layers, tmp_path):
    write(layers.chunk(time=1, y=32, x=40), tmp_path / "layers.zarr")
    stored = read(tmp_path / "layers.zarr")
    yearly = annual(stored)
    whole = annual(layers)
    for name in ("extent", "facies", "source"):
        np.testing.assert_array_equal(yearly[name].values, whole[name].values)
    # What is counted for the score does not depend on the blocks that are chosen from.
    layers_of_graph = yearly["extent"].data.__dask_graph__().dependencies
    (count,) = [name for name in layers_of_graph if name.startswith("count-2021")]
    assert all(name.startswith("windows-") for name in layers_of_graph[count])


def test_the_result_can_be_stored(layers, tmp_path):
    yearly = annual(layers.chunk(time=1, y=32, x=40))
    write(yearly, tmp_path / "yearly.zarr")
    back = read(tmp_path / "yearly.zarr")
    np.testing.assert_array_equal(back["source"].values, yearly["source"].values)
    np.testing.assert_array_equal(back["facies"].values, yearly["facies"].values)


@pytest.mark.parametrize(
    ("day", "start", "year"),
    [
        ("2021-09-30T23:59", "10-01", 2021),
        ("2021-10-01", "10-01", 2022),
        ("2022-03-31", "04-01", 2022),
        ("2022-04-01", "04-01", 2023),
        ("2022-01-01", "01-01", 2022),
        ("2022-12-31", "01-01", 2022),
    ],
)
def test_a_glacier_year_is_named_by_its_end(day, start, year):
    assert glacier_years(pd.DatetimeIndex([day]), start).tolist() == [year]


def test_the_south_has_its_own_year(layers):
    south = GeoBox.from_bbox((600_000, 5_000_000, 600_800, 5_000_960), "EPSG:32719", resolution=10)
    moved = grid.georeferenced(layers.drop_vars(["x", "y", "spatial_ref"]), south)
    yearly = annual(moved)
    assert json.loads(yearly.attrs["annual"])["year_start"] == "04-01"
    assert yearly["glacier_year"].values.tolist() == [2021, 2022, 2023]


def test_no_class_layer(layers):
    with pytest.raises(SchemaError, match=r"'extent' or 'facies'.*\['confidence', 'valid'\]"):
        annual(layers[["confidence", "valid"]])


def test_no_time(layers):
    with pytest.raises(SchemaError, match="annual needs 'extent' or 'facies'"):
        annual(layers.isel(time=0))


def test_no_date(layers):
    with pytest.raises(SchemaError, match="at least one date, the layers have none"):
        annual(layers.isel(time=slice(0, 0)))


def test_wrong_dtype(layers):
    with pytest.raises(SchemaError, match="'extent' has dtype float32, needs uint8"):
        annual(layers.assign(extent=layers["extent"].astype("float32")))


@pytest.mark.parametrize("day", ["1 October", "13-01"])
def test_year_start_that_is_no_day(layers, day):
    with pytest.raises(SchemaError, match=f"a day as 'MM-DD', found '{day}'"):
        annual(layers, year_start=day)
