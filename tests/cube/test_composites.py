import json
import warnings

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from conftest import make_cube
from odc.geo.geobox import GeoBox

from glaciercube import grid, schema
from glaciercube.acquire.files import from_files
from glaciercube.cube import composites, masks
from glaciercube.cube.composites import composite
from glaciercube.errors import SchemaError
from glaciercube.store.writing import write

DATES = ("2021-06-01", "2021-07-10", "2021-07-20", "2021-08-03", "2022-07-05", "2022-08-05")
HOWS = ("median", "medoid", "best-pixel")


@pytest.fixture
def cube(geobox):
    """Return six dates in two glacier-years with drifting clouds and one failed read."""
    out = make_cube(geobox, dates=DATES)
    generator = np.random.default_rng(5)
    for date in range(6):
        row, column = generator.integers(0, 60, 2)
        out["cloud"].values[date, row : row + 30, column : column + 30] = True
    failed = np.zeros(out["valid"].shape, bool)
    failed[1, :5, :5] = True
    failed[4, 70:80] = True
    values = np.where(failed[:, np.newaxis], np.nan, out["reflectance"].values)
    out["reflectance"].values[:] = values
    out["valid"].values[failed] = False
    out["read_failed"] = (schema.TIME_DIMS, failed, {"units": "1"})
    out = out.assign_coords(sun_elevation=("time", np.linspace(30, 50, 6, dtype=np.float32)))
    return grid.georeferenced(out, geobox)


def days(text):
    return int(np.datetime64(text).astype("datetime64[D]").astype(int))


@pytest.mark.parametrize("how", HOWS)
def test_contract(cube, how):
    out = composite(cube.chunk(time=1, y=32, x=40), how, period="glacier-year")
    wanted = {"reflectance", "valid", "acquired", "observations", "read_failed", "elevation"}
    assert set(out.data_vars) == (wanted if how == "median" else wanted | {"cloud"})
    schema.check(out, {**schema.CUBE, "acquired": schema.VARIABLES["acquired"]}, "it")
    assert out["observations"].dtype == np.uint16
    assert out["time"].values.astype(str).tolist() == [
        "2021-09-30T00:00:00.000000000", "2022-09-30T00:00:00.000000000",
    ]  # fmt: skip
    assert out["period_start"].values[1] == np.datetime64("2021-10-01")
    assert out["glacier_year"].values.tolist() == [2021, 2022]
    assert "sun_elevation" not in out.coords
    assert out["band"].values.tolist() == cube["band"].values.tolist()
    assert grid.grid_of(out) == grid.grid_of(cube)
    assert {one.encoding["grid_mapping"] for one in out.data_vars.values()} == {"spatial_ref"}
    for name in out.data_vars:
        assert out[name].attrs[
            "long_name" if name in wanted - {"elevation", "reflectance"} else "units"
        ]
    xr.testing.assert_identical(out["elevation"].compute(), cube["elevation"])
    told = json.loads(out.attrs["composite"])
    assert told["how"] == how
    assert told["clear"] == "provider"
    assert [len(one) for one in told["acquisitions"]] == [4, 2]
    assert told["acquisitions"][1][1] == "2022-08-05T00:00:00"
    assert out.attrs["sensor"] == cube.attrs["sensor"]


@pytest.mark.parametrize("how", HOWS)
def test_stays_lazy(cube, how, no_compute):
    lazy = cube.chunk(time=1, y=32, x=40)
    with no_compute:
        out = composite(lazy, how, period="month")
    for name in set(out.data_vars) - {"elevation"}:
        assert out[name].chunksizes["time"] == (1,) * 5
        assert out[name].chunksizes["y"] == (32, 32, 32)
        assert out[name].chunksizes["x"] == (40, 40)
    assert out["reflectance"].chunksizes["band"] == (10,)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "chunks",
    [
        {"time": 1, "y": 32, "x": 40},
        {"time": 4, "band": 3, "y": 50, "x": 23},
        {"time": 6},
        {"y": 31, "x": 80},
    ],
)
def test_chunking_does_not_change_the_result(cube, how, chunks):
    whole = composite(cube, how, period="glacier-year").compute()
    for max_bytes in (60_000, 2**27):
        tiled = composite(cube.chunk(chunks), how, period="glacier-year", max_bytes=max_bytes)
        xr.testing.assert_identical(tiled.compute(), whole)


def test_chunks_of_single_variables_may_differ(cube):
    some = cube.chunk(time=1, y=32, x=40)
    some["cloud"] = some["cloud"].chunk(time=6, y=96, x=11)
    some["read_failed"] = cube["read_failed"]
    xr.testing.assert_identical(
        composite(some, "medoid").compute(), composite(cube, "medoid").compute()
    )


@pytest.mark.parametrize("how", HOWS)
def test_the_order_of_dates_does_not_matter(cube, how):
    expected = composite(cube, how, period="glacier-year").compute()
    order = [4, 1, 5, 0, 3, 2]
    for shuffled in (cube.isel(time=order), cube.chunk(time=1, y=32, x=40).isel(time=order)):
        mask = masks.clear(shuffled)
        for clear in ("provider", mask):
            found = composite(shuffled, how, period="glacier-year", clear=clear).compute()
            xr.testing.assert_identical(found, expected)


def test_the_median_of_a_cube_is_that_of_numpy(cube):
    out = composite(cube, "median", period=[("2021", "2021"), ("2021-07", "2022")]).compute()
    seen = masks.clear(cube).values
    values = np.where(seen[:, np.newaxis], cube["reflectance"].values, np.nan)
    for place, dates in enumerate((slice(0, 4), slice(1, 6))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pixels without a date
            expected = np.nanmedian(values[dates], axis=0)
        np.testing.assert_array_equal(out["reflectance"].values[place], expected)
        np.testing.assert_array_equal(out["observations"].values[place], seen[dates].sum(axis=0))


@pytest.mark.parametrize("how", ["medoid", "best-pixel"])
def test_all_of_a_pixel_comes_from_the_date_it_bears(cube, how):
    out = composite(cube, how).compute().isel(time=0)
    dates = cube["time"].values.astype("datetime64[D]").astype(int)
    seen = np.isin(out["acquired"].values, dates)
    np.testing.assert_array_equal(seen, out["valid"].values)
    assert len(np.unique(out["acquired"])) > 3
    for place, day in enumerate(dates):
        where = out["acquired"].values == day
        expected = cube["reflectance"].values[place][:, where]
        np.testing.assert_array_equal(out["reflectance"].values[:, where], expected)
        assert masks.clear(cube).values[place][where].all()
        assert not out["cloud"].values[where].any()


def test_what_no_date_shows_is_not_valid_and_says_so(cube):
    out = composite(cube, "medoid", period="glacier-year").compute()
    hole = out.isel(y=slice(0, 5), x=slice(0, 5))
    assert not hole["valid"].any()
    assert hole["reflectance"].isnull().all()
    assert (hole["acquired"] == schema.NO_DAY).all()
    assert hole["read_failed"].values[0].all()
    assert not hole["read_failed"].values[1].any()
    # Another date shows what could not be read.
    second = out.isel(time=1, y=slice(70, 80))
    np.testing.assert_array_equal(second["read_failed"], ~second["valid"])
    assert (
        second["acquired"].where(second["valid"], days("2022-08-05")) == days("2022-08-05")
    ).all()


def test_a_mask_or_a_policy(cube):
    policy = composite(cube, "median", clear="measured").compute()
    mask = composite(cube, "median", clear=cube["valid"]).compute()
    xr.testing.assert_identical(mask.drop_attrs(), policy.drop_attrs())
    assert json.loads(mask.attrs["composite"])["clear"] == "a mask"
    assert (policy["observations"] >= composite(cube, "median").compute()["observations"]).all()


def test_the_best_pixel_is_near_to_the_wanted_day(cube):
    clear = cube["valid"]  # no cloud, so that only days count
    for day, year, date in (
        ("06-05", "2021", "2021-06-01"),
        ("07-12", "2021", "2021-07-10"),
        ("12-31", "2021", "2021-08-03"),
        ("07-01", "2022", "2022-07-05"),
    ):
        out = composite(cube, "best-pixel", period=(year, year), clear=clear, prefer=day).compute()
        assert out["acquired"].values[0, 50, 50] == days(date)
    middle = composite(cube, "best-pixel", period=("2021-07-01", "2021-08-31"), clear=clear)
    assert middle["acquired"].compute().values[0, 50, 50] == days("2021-08-03")


def test_stated_preference_fills_gaps_from_the_next(cube):
    prefer = xr.DataArray([1.0, 5.0, 2.5, 4.0, -1.0, 0.0], dims="time")
    out = composite(cube, "best-pixel", prefer=prefer).compute()
    seen = masks.clear(cube).values
    best = np.where(seen, prefer.values[:, None, None], -np.inf).argmax(axis=0)
    dates = cube["time"].values.astype("datetime64[D]").astype(int)
    expected = np.where(seen.any(axis=0), dates[best], schema.NO_DAY)
    np.testing.assert_array_equal(out["acquired"].values[0], expected)
    order = [4, 1, 5, 0, 3, 2]
    shuffled = composite(cube.isel(time=order), "best-pixel", prefer=prefer.isel(time=order))
    xr.testing.assert_identical(shuffled.compute(), out)


def test_clouds_keep_their_distance(geobox):
    cube = make_cube(geobox, dates=("2021-07-01", "2021-07-03"))
    cube["valid"].values[:] = True
    cube["reflectance"].values[:] = np.nan_to_num(cube["reflectance"].values)
    cube["cloud"].values[:] = False
    cube["cloud"].values[0, :, :20] = True
    out = composite(cube, "best-pixel", prefer="07-01", period=("2021-07", "2021-07")).compute()
    # The first day is preferred, but the second is cloudless and only two days away.
    assert (out["acquired"].values == days("2021-07-03")).all()
    without = composite(cube, "best-pixel", clear="measured", prefer="07-01").compute()
    assert (without["acquired"].values == days("2021-07-01")).all()


def test_metres_of_a_grid_in_degrees():
    box = GeoBox.from_bbox((86.78, 27.94, 86.85, 28.00), "EPSG:4326", resolution=0.0002)
    height, width = composites._metres(box)
    assert height == pytest.approx(22.16, abs=0.05)
    assert width == pytest.approx(19.67, abs=0.05)


def test_radar_has_composites_too(cube):
    radar = cube[["valid", "elevation"]].assign(
        backscatter=cube["reflectance"].isel(band=slice(0, 2)).assign_coords(band=["vv", "vh"])
    )
    radar = grid.georeferenced(
        radar.drop_vars("band").assign_coords(band=["vv", "vh"]), grid.grid_of(cube)
    )
    out = composite(radar, "median", clear="measured")
    schema.check(out, schema.RADAR_CUBE, "it")
    assert out["backscatter"].isel(time=0).notnull().any()


def test_a_composite_can_be_stored(cube, tmp_path):
    lazy = cube.chunk(time=1, y=32, x=40)
    out = composite(lazy, "medoid", period="month", max_bytes=20_000)
    report = write(out, tmp_path / "monthly.zarr")
    assert report.blocks == report.written
    again = write(composite(lazy, "medoid", period="month"), tmp_path / "monthly.zarr")
    assert again.skipped == report.blocks


def test_real_scenes_of_a_debris_covered_glacier(real_data):
    folder = real_data("khumbu-s2")
    paths = [folder / "s2_winter_2024.tif", folder / "s2_autumn_2024.tif"]
    cube = from_files(paths, "sentinel-2-l2a", dates=["2024-01-15", "2024-10-30"], chunk=128)
    found = {how: composite(cube, how, clear="measured").compute() for how in HOWS}
    measured = cube["valid"].compute()
    for how, out in found.items():
        np.testing.assert_array_equal(out["valid"].values[0], measured.any("time"))
        assert set(np.unique(out["acquired"])) <= {
            days("2024-01-15"),
            days("2024-10-30"),
            schema.NO_DAY,
        }
        shown = out["reflectance"].values[:, :, out["valid"].values[0]]
        low, high = np.nanquantile(shown, [0.01, 0.99])
        assert -0.05 < low < high < 1.6, how
    both = measured.all("time").values
    mean = cube["reflectance"].mean("time").compute().values
    np.testing.assert_allclose(
        found["median"]["reflectance"].values[0][:, both], mean[:, both], rtol=1e-5, atol=1e-7
    )


def test_real_summers_at_the_end_of_the_world(real_data):
    paths = sorted(real_data("vinciguerra-s2").glob("vinciguerra_s2_l1c_*.tif"))
    dates = [f"{year}-02-15" for year in range(2019, 2024)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of offsets: the pixels decide
        cube = from_files(paths, "sentinel-2-l1c", dates=dates)
    out = composite(cube, "median", clear="measured").compute()
    seen = out["valid"].values[0]
    assert seen.mean() > 0.97
    assert set(np.unique(out["observations"].values[0][seen])) <= {1, 2, 3, 4, 5}
    green, swir16 = (
        out["reflectance"].sel(band=band).values[0][seen] for band in ("green", "swir16")
    )
    # Snow and ice of the glacier: a part of the scene, bright in green and dark in swir16.
    ice = (green - swir16) / (green + swir16) > 0.4
    assert 0.1 < ice.mean() < 0.9
    assert np.median(green[ice]) > 2 * np.median(swir16[ice])
    assert composite(cube, "median", period="glacier-year", clear="measured")[
        "glacier_year"
    ].values.tolist() == list(range(2019, 2024))


def test_a_long_axis_of_real_dates(real_data):
    path = real_data("versoyen-snowmask") / "snowmask_143dates_2017-2025.nc"
    with rasterio.open(path) as source:
        codes = source.read(window=((300, 396), (300, 380)))
        tags = source.tags()
    first = pd.Timestamp(tags["time#units"].removeprefix("milliseconds since "))
    after = [int(one) for one in tags["NETCDF_DIM_time_VALUES"].strip("{}").split(",")]
    times = first + pd.to_timedelta(after, unit="ms")
    assert len(times) == 143
    box = GeoBox.from_bbox((0, 0, 80 * 20, 96 * 20), "EPSG:32631", resolution=20)
    known = np.isin(codes, (0, 1))
    cube = xr.Dataset(
        {
            "reflectance": (
                ("time", "band", "y", "x"),
                np.where(known, codes, np.nan).astype(np.float32)[:, None],
                {"units": "1"},
            ),
            "valid": (schema.TIME_DIMS, known, {"units": "1"}),
        },
        coords={"time": times.as_unit("ns"), "band": ["green"]},
    )
    cube = grid.georeferenced(cube, box).chunk(time=1, y=48, x=40)
    out = composite(cube, "median", period="month", clear="measured", max_bytes=50_000).compute()
    months = times.to_period("M")
    assert out.sizes["time"] == months.nunique()
    for place, month in list(enumerate(months.unique()))[::7]:
        own = codes[months == month]
        seen = np.isin(own, (0, 1))
        share = np.where(seen, own, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        some = seen.any(axis=0)
        median = out["reflectance"].values[place, 0]
        np.testing.assert_array_equal(
            median[some], np.where(share > 0.5, 1, np.where(share < 0.5, 0, 0.5))[some]
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"how": "mean"}, r"how is one of \['median', 'medoid', 'best-pixel'\], found 'mean'"),
        ({"max_bytes": 0}, r"a number of bytes such as 2\*\*27, found 0"),
        ({"prefer": "08-20"}, "prefer is for how='best-pixel', found it with 'median'"),
        (
            {"how": "best-pixel", "prefer": "August"},
            "a day as 'MM-DD' or a number .* found 'August'",
        ),
        ({"clear": "sunny"}, "found 'sunny'"),
        ({"period": "fortnight"}, "found 'fortnight'"),
        ({"year_start": "32-01", "period": "glacier-year"}, "a day as 'MM-DD', found '32-01'"),
    ],
)
def test_wrong_options(cube, options, text):
    with pytest.raises(SchemaError, match=text):
        composite(cube, **options)


def test_preference_for_other_dates(cube):
    short = xr.DataArray([1.0, np.nan], dims="time")
    with pytest.raises(
        SchemaError, match=r"the cube's 6 dates \(time\), in their order, found {'time': 2} with 1"
    ):
        composite(cube, "best-pixel", prefer=short)
    shuffled = cube["time"].astype(float).isel(time=[1, 0, 2, 3, 4, 5])
    with pytest.raises(SchemaError, match="in their order"):
        composite(cube, "best-pixel", prefer=shuffled)


def test_mask_of_another_shape(cube):
    with pytest.raises(SchemaError, match=r"bool and shape \(6, 96, 80\) as the cube, but has"):
        composite(cube, clear=cube["valid"].isel(time=0))
    with pytest.raises(SchemaError, match="float64"):
        composite(cube, clear=cube["valid"].astype(float))


def test_mask_of_other_dates(cube):
    with pytest.raises(SchemaError, match="other values of 'time' than the cube"):
        composite(cube, clear=cube["valid"].isel(time=[1, 0, 2, 3, 4, 5]))


def test_no_cube(cube):
    with pytest.raises(
        SchemaError, match=r"'reflectance' or 'backscatter' .*but the cube has \['v"
    ):
        composite(cube[["valid"]])
    with pytest.raises(SchemaError, match="at least one date, the cube has none"):
        composite(cube.isel(time=slice(0, 0)))
    with pytest.raises(SchemaError, match="'reflectance' has dtype float64, needs float32"):
        composite(cube.assign(reflectance=cube["reflectance"].astype(float)))
