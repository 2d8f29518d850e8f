import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rioxarray
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid, schema
from glaciercube.errors import GridError, SchemaError
from glaciercube.products.series import VARIABLES, summarize

CHUNKS = [
    {"time": 1, "y": 96, "x": 80},
    {"time": 1, "y": 32, "x": 40},
    {"time": 2, "y": 50, "x": 80},
    {"time": 3, "y": 17, "x": 23},
]


def one(series, name, glacier="RGI-1"):
    return series[name].sel(glacier=glacier).values


def test_contract(layers, glaciers):
    series = summarize(layers, glaciers)
    assert set(series.data_vars) == {*VARIABLES, "reason"}
    assert series["area"].dims == ("glacier", "time")
    assert series["glacier"].values.tolist() == ["RGI-1", "RGI-2"]
    assert series["glac_name"].values.tolist() == ["Whole", "Disc"]
    xr.testing.assert_identical(
        series["time"].drop_vars("spatial_ref"), layers["time"].drop_vars("spatial_ref")
    )
    for name, (units, _) in VARIABLES.items():
        assert series[name].dtype == np.float64
        assert series[name].attrs["units"] == units
        assert series[name].attrs["long_name"]
    assert series.attrs["sensor"] == "sentinel-2-l2a"


def test_known_area_ratio_and_snowline_are_found(layers, glaciers):
    series = summarize(layers, glaciers).compute()
    np.testing.assert_allclose(one(series, "area"), [0.432, 0.384, 0.336], rtol=1e-9)
    np.testing.assert_allclose(one(series, "snow_area"), 60 * 32e-4, rtol=1e-9)
    np.testing.assert_allclose(one(series, "aar"), [32 / 72, 32 / 64, 32 / 56], rtol=1e-9)
    # Bins of 20 m hold two rows each, so that the step is known to half a bin.
    np.testing.assert_allclose(one(series, "snowline"), 2800, atol=10)
    np.testing.assert_allclose(one(series, "snowline_uncertainty"), 10)
    assert (series["reason"] == "").all()


def test_area_uncertainty_is_half_a_pixel_of_margin(layers, glaciers):
    series = summarize(layers, glaciers).compute()
    rows = np.array([72, 64, 56])
    margin = (2 * 60 + 2 * rows) * 50e-6  # edges times half a pixel of 100 m2
    np.testing.assert_allclose(one(series, "area_uncertainty"), margin, rtol=1e-9)


def test_ice_beyond_an_outline_is_no_margin(layers, glaciers):
    series = summarize(layers, glaciers).compute()
    np.testing.assert_allclose(one(series, "area_uncertainty", "RGI-2"), 0, atol=1e-9)


def test_partial_pixels_count_by_their_share(layers, glaciers):
    series = summarize(layers, glaciers).compute()
    disc = glaciers.to_crs("EPSG:32632").geometry.iloc[1]
    np.testing.assert_allclose(one(series, "area", "RGI-2"), disc.area * 1e-6, rtol=1e-5)


def test_sum_of_probability_stands_beside_the_area(layers, glaciers):
    series = summarize(layers, glaciers).compute()
    outline = glaciers.to_crs("EPSG:32632").geometry.iloc[0].area * 1e-6
    expected = 0.9 * 0.432 + 0.1 * (outline - 0.432)
    np.testing.assert_allclose(one(series, "area_probability")[0], expected, rtol=1e-5)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunking_does_not_change_the_result(make_layers, glaciers, chunks):
    layers = make_layers(cloudy=13)
    whole = summarize(layers, glaciers, min_observed=0.5).compute()
    tiled = summarize(layers.chunk(chunks), glaciers, min_observed=0.5).compute()
    # Sums of float64 in another order.
    xr.testing.assert_allclose(tiled.drop_vars("reason"), whole.drop_vars("reason"), rtol=1e-11)
    assert (tiled["reason"] == whole["reason"]).all()


@pytest.mark.parametrize("first", ["y", "x"])
def test_flipped_axes_do_not_change_the_result(make_layers, glaciers, first):
    layers = make_layers(cloudy=13)
    flipped = layers.isel({first: slice(None, None, -1)}).chunk(y=32, x=40)
    whole = summarize(layers, glaciers, min_observed=0.5).compute()
    turned = summarize(flipped, glaciers, min_observed=0.5).compute()
    xr.testing.assert_allclose(turned.drop_vars("reason"), whole.drop_vars("reason"), rtol=1e-6)


def test_cloud_gives_no_smaller_area_but_none(make_layers, glaciers):
    series = summarize(make_layers(cloudy=30), glaciers).compute()
    assert np.isnan(one(series, "area")[1])
    assert np.isnan(one(series, "aar")[1])
    assert np.isnan(one(series, "snowline")[1])
    assert one(series, "area_observed")[1] == pytest.approx(0.384 * 40 / 60)
    assert one(series, "observed_fraction")[1] == pytest.approx(45 / 70, rel=1e-4)
    assert one(series, "reason")[1] == "area: observed 0.64 < 0.90"
    assert one(series, "area")[0] == pytest.approx(0.432)


def test_little_cloud_widens_the_uncertainty(make_layers, glaciers):
    series = summarize(make_layers(cloudy=11), glaciers).compute()
    area, error = one(series, "area")[1], one(series, "area_uncertainty")[1]
    assert area == pytest.approx(0.384 * 59 / 60)
    assert area + error > 0.384
    assert error > 0.384 / 60


def test_an_outline_that_leaves_the_grid_is_unobserved_there(layers, glaciers):
    layers = layers.isel(x=slice(0, 40))
    series = summarize(layers, glaciers).compute()
    np.testing.assert_allclose(one(series, "observed_fraction"), 0.5, rtol=1e-4)
    assert np.isnan(one(series, "area")).all()


def test_an_outline_off_the_grid_says_so(layers, glaciers):
    far = glaciers.copy()
    far.geometry = [glaciers.geometry.iloc[0], shapely.box(8, 45, 8.01, 45.01)]
    series = summarize(layers, far).compute()
    assert (one(series, "reason", "RGI-2") == "area: outside the grid").all()
    assert (one(series, "observed_fraction", "RGI-2") == 0).all()
    np.testing.assert_allclose(one(series, "area")[0], 0.432)


def test_without_outlines_the_grid_is_one_glacier(layers):
    series = summarize(layers.chunk(time=1, y=32, x=40)).compute()
    assert series["glacier"].values.tolist() == ["all"]
    np.testing.assert_allclose(one(series, "area", "all"), [0.432, 0.384, 0.336])


def test_facies_alone_give_area_inside_outlines(make_layers, glaciers):
    layers = make_layers(cloudy=30).drop_vars("extent")
    series = summarize(layers, glaciers).compute()
    np.testing.assert_allclose(one(series, "area")[[0, 2]], [0.432, 0.336])
    assert np.isnan(one(series, "area")[1])


def test_water_and_land_on_a_glacier_are_no_part_of_its_ratio(layers, glaciers):
    layers["facies"].values[0, 60:64, 10:70] = 6
    series = summarize(layers, glaciers).compute()
    assert one(series, "aar")[0] == pytest.approx(32 / 68)


def test_firn_is_not_snow(layers, glaciers):
    layers["facies"].values[0, 40:48, 10:70] = 3
    series = summarize(layers, glaciers).compute()
    assert one(series, "aar")[0] == pytest.approx(32 / 72)
    assert one(series, "aar_with_firn")[0] == pytest.approx(40 / 72)
    assert one(series, "snowline")[0] == pytest.approx(2800, abs=10)


def test_ratio_uncertainty_grows_as_confidence_falls(layers, glaciers):
    sure = summarize(layers, glaciers).compute()
    layers["confidence"][:] = 0.6
    unsure = summarize(layers, glaciers).compute()
    patches = 0.432e6 / 300**2
    assert one(sure, "aar_uncertainty")[0] == pytest.approx(np.sqrt(0.09 / patches), rel=1e-5)
    assert (one(unsure, "aar_uncertainty") > one(sure, "aar_uncertainty")).all()


@pytest.mark.parametrize(
    ("drop", "reason"),
    [
        (["facies"], "aar: no facies"),
        (["elevation"], "snowline: no elevation"),
        (["confidence"], "aar_uncertainty: no confidence"),
        (["glacier_probability"], "area_probability: no glacier probability"),
    ],
)
def test_what_is_missing_is_said(layers, glaciers, drop, reason):
    series = summarize(layers.drop_vars(drop), glaciers).compute()
    assert (series["reason"] == reason).all()


def test_a_glacier_that_is_gone_has_area_zero(layers, glaciers):
    layers["extent"].values[2] = 0
    series = summarize(layers, glaciers).compute()
    assert one(series, "area")[2] == 0
    assert one(series, "reason")[2] == "aar: no glacier"


def test_facies_hidden_in_shadow_give_no_ratio(layers, glaciers):
    layers["facies"].values[0, 8:40, 10:70] = 4
    series = summarize(layers, glaciers).compute()
    assert one(series, "area")[0] == pytest.approx(0.432)
    assert one(series, "reason")[0] == "aar: facies known of 0.56 of the glacier < 0.90"


def test_elevation_with_a_void_gives_no_snowline(layers, glaciers):
    layers["elevation"].values[:, :40] = np.nan
    series = summarize(layers, glaciers).compute()
    assert one(series, "reason")[0] == "snowline: elevation known of 0.50 of the glacier < 0.90"


def test_elevation_may_come_beside_the_layers(layers, glaciers):
    heights = layers["elevation"] + 100
    series = summarize(layers, glaciers, elevation=heights).compute()
    np.testing.assert_allclose(one(series, "snowline"), 2900, atol=10)


def test_degrees_count_by_the_area_of_their_row(make_layers):
    geobox = GeoBox.from_bbox((10, 60, 10.08, 60.096), "EPSG:4326", resolution=0.001)
    series = summarize(make_layers(on=geobox).chunk(y=32, x=40)).compute()
    rows = grid.pixel_area(geobox)
    assert rows[0] < rows[-1]
    expected = rows[8:80].sum() * 60 * 1e-6
    assert one(series, "area", "all")[0] == pytest.approx(expected, rel=1e-12)


def test_stays_lazy(layers, glaciers, no_compute):
    with no_compute:
        series = summarize(layers.chunk(time=1, y=32, x=40), glaciers)
    assert all(series[name].chunks for name in series.data_vars)


def test_names_are_a_function_of_what_they_hold(layers, glaciers):
    lazy = layers.chunk(time=1, y=32, x=40)
    names = [summarize(lazy, glaciers)[name].data.name for name in VARIABLES]
    assert names == [summarize(lazy, glaciers)[name].data.name for name in VARIABLES]
    other = summarize(lazy, glaciers, min_observed=0.8)
    assert names[0] != other["area"].data.name
    moved = glaciers.copy()
    moved.geometry = glaciers.geometry.translate(0.0001)
    assert names[0] != summarize(lazy, moved)["area"].data.name


def test_cover_is_computed_once_for_all_dates(layers, glaciers, monkeypatch):
    calls = []
    original = cover.window_fractions
    monkeypatch.setattr(
        cover.blocks, "window_fractions", lambda *a: calls.append(1) or original(*a)
    )
    summarize(layers.chunk(time=1, y=48, x=40), glaciers).compute(scheduler="synchronous")
    assert len(calls) == 4


def test_neither_extent_nor_facies(layers):
    with pytest.raises(SchemaError, match=r"needs 'extent' or 'facies'.*\['elevation'\]"):
        summarize(layers[["elevation"]])


def test_facies_without_outlines(layers):
    with pytest.raises(SchemaError, match="do not tell a glacier from a snowy slope"):
        summarize(layers.drop_vars("extent"))


def test_min_observed_is_a_share(layers):
    with pytest.raises(SchemaError, match="share from 0 to 1, found 90"):
        summarize(layers, min_observed=90)


def test_elevation_on_another_grid(layers):
    with pytest.raises(GridError, match="elevation and the layers need the same grid"):
        summarize(layers, elevation=layers["elevation"].isel(y=slice(0, 50)))


def test_elevation_with_a_time(layers):
    with pytest.raises(SchemaError, match=r"elevation needs dims \('y', 'x'\), found \('time'"):
        summarize(layers, elevation=layers["confidence"])


def test_outlines_elsewhere(layers, glaciers):
    away = glaciers.set_geometry(glaciers.translate(5))
    with pytest.raises(GridError, match="none of the 2 outlines touches the grid"):
        summarize(layers, away)


def test_outlines_of_one_id(layers, glaciers):
    with pytest.raises(SchemaError, match=r"found twice: \['RGI-1'\]"):
        summarize(layers, glaciers.assign(rgi_id="RGI-1"))


def test_outlines_without_ids_are_numbered(layers, glaciers):
    bare = gpd.GeoDataFrame(geometry=glaciers.geometry)
    assert summarize(layers, bare)["glacier"].values.tolist() == ["0", "1"]


def test_liligo_glacier(real_data):
    """A real glacier with mapped facies: its own ratio, and a snowline near the firn's edge."""
    folder = real_data("liligo-facies")
    masks = {
        name: rioxarray.open_rasterio(folder / f"{name}Mask_30m.tif").squeeze("band", drop=True)
        for name in ("glacier", "firn", "ice", "debris")
    }
    height = rioxarray.open_rasterio(folder / "srtm_dem_30m.tif").squeeze("band", drop=True)
    glacier = masks["glacier"].values == 1
    facies = np.full(glacier.shape, 8, np.uint8)
    for name, code in (("firn", 1), ("ice", 0), ("debris", 2)):
        facies[masks[name].values == 1] = code
    layers = xr.Dataset(
        {
            "extent": (
                schema.TIME_DIMS,
                glacier[None].astype(np.uint8),
                schema.flag_attrs("extent"),
            ),
            "facies": (schema.TIME_DIMS, facies[None], schema.flag_attrs("facies")),
            "elevation": (("y", "x"), height.values.astype(np.float32), {"units": "m"}),
        },
        coords={"time": pd.to_datetime(["2011-08-10"]).as_unit("ns")},
    )
    layers = grid.georeferenced(layers, grid.grid_of(height))
    series = summarize(layers.chunk(y=100, x=100)).compute().squeeze()
    assert series["area"].item() == pytest.approx(34_622 * 900e-6)
    assert series["aar"].item() == pytest.approx(0.546, abs=5e-4)
    # Avalanches blur the line: its edge has its median near 5420 m, half of it below.
    assert abs(series["snowline"] - 5420) < 2 * series["snowline_uncertainty"]
