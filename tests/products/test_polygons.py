import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from odc.geo.geobox import GeoBox

from glaciercube import grid
from glaciercube.errors import SchemaError
from glaciercube.products.polygons import COLUMNS, outlines

CHUNKS = [
    {"time": 1, "y": 32, "x": 40},
    {"time": 2, "y": 50, "x": 80},
    {"time": 1, "y": 17, "x": 23},
]


def native(frame):
    return frame.to_crs("EPSG:32632")


@pytest.fixture
def ragged(layers):
    """Return layers whose first date has a hole, a speck, a corner-joined piece and noise."""
    extent = layers["extent"].values
    extent[0, 30:36, 30:42] = 0
    extent[0, 84:88, 2:5] = 1
    extent[0, 80:86, 70:76] = 1  # touches the glacier at one corner only
    generator = np.random.default_rng(1)
    extent[0, 60:80, 10:70] = generator.random((20, 60)) > 0.4
    return layers


def test_contract(layers):
    frame = outlines(layers)
    assert isinstance(frame, gpd.GeoDataFrame)
    assert tuple(frame.columns) == COLUMNS
    assert frame.crs == "EPSG:4326"
    assert len(frame) == 3
    assert frame["src_date"].tolist() == [pd.Timestamp(moment) for moment in layers["time"].values]
    assert frame["id"].is_unique
    assert (frame["utm_zone"] == 32).all()
    assert frame.attrs["unobserved"] == []


def test_area_is_the_sum_of_pixels(layers):
    frame = outlines(layers)
    np.testing.assert_allclose(frame["area_km2"], [0.432, 0.384, 0.336], rtol=1e-12)
    np.testing.assert_allclose(native(frame).area * 1e-6, frame["area_km2"], rtol=1e-6)
    np.testing.assert_allclose(frame["area_probability_km2"], 0.9 * frame["area_km2"], rtol=1e-6)
    np.testing.assert_allclose(
        frame["area_uncertainty_km2"], (120 + 2 * np.array([72, 64, 56])) * 5e-5
    )


def test_elevations_are_those_of_the_pixels(layers):
    row = outlines(layers).iloc[0]
    assert (row["zmin_m"], row["zmax_m"]) == pytest.approx((3195 - 790, 3195 - 80), abs=1)
    assert row["zmean_m"] == pytest.approx(3195 - 435, abs=1)
    assert row["zmed_m"] == pytest.approx(3195 - 435, abs=10)


def test_polygons_are_valid_with_holes_and_parts_apart(ragged):
    frame = outlines(ragged.isel(time=[0]), min_area_km2=0)
    assert frame.is_valid.all()
    assert frame["area_km2"].sum() == pytest.approx((ragged["extent"][0] == 1).values.sum() * 1e-4)
    np.testing.assert_allclose(native(frame).area * 1e-6, frame["area_km2"], rtol=1e-5)
    hole = shapely.Point(*ragged.odc.geobox.affine @ (36, 33))
    assert not native(frame).contains(hole).any()
    corner = shapely.Point(*ragged.odc.geobox.affine @ (73, 83))
    alone = frame[native(frame).contains(corner)]
    assert alone["area_km2"].tolist() == [pytest.approx(0.0036)]


@pytest.mark.parametrize("chunks", CHUNKS)
def test_seams_leave_no_trace(ragged, chunks):
    whole = outlines(ragged, min_area_km2=0)
    tiled = outlines(ragged.chunk(chunks), min_area_km2=0)
    assert whole["id"].tolist() == tiled["id"].tolist()
    assert whole.geometry.geom_equals(tiled.geometry).all()
    numbers = [name for name in COLUMNS if whole[name].dtype == np.float64]
    assert len(numbers) > 8
    np.testing.assert_allclose(tiled[numbers], whole[numbers], rtol=1e-10)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_seams_leave_no_trace_within_outlines(ragged, glaciers, chunks):
    whole = outlines(ragged, within=glaciers)
    tiled = outlines(ragged.chunk(chunks), within=glaciers)
    np.testing.assert_allclose(tiled["area_km2"], whole["area_km2"], rtol=1e-10)
    difference = native(whole).geometry.symmetric_difference(native(tiled).geometry)
    # Square metres: slivers of rounding where blocks cut an outline.
    assert difference.area.max() < 1e-2


def test_outlines_cut_and_name_the_glaciers(layers, glaciers):
    frame = outlines(layers, within=glaciers)
    assert frame["rgi_id"].tolist() == ["RGI-1", "RGI-2"] * 3
    assert frame["id"].tolist() == frame["rgi_id"].tolist()
    assert frame["glac_name"].tolist()[:2] == ["Whole", "Disc"]
    assert (frame["o1region"] == "11").all()
    disc = glaciers.to_crs("EPSG:32632").geometry.iloc[1]
    first = native(frame).iloc[1]
    assert first.geometry.symmetric_difference(disc).area < 1
    assert first["area_km2"] == pytest.approx(disc.area * 1e-6, rel=1e-5)
    assert frame["area_km2"].iloc[0] == pytest.approx(0.432)
    np.testing.assert_allclose(frame["observed_fraction"], 1, rtol=1e-6)


def test_small_glaciers_are_left_out(ragged):
    first = ragged.isel(time=[0])
    everything = outlines(first, min_area_km2=0)
    large = outlines(first)
    assert (large["area_km2"] >= 0.01).all()
    assert len(large) == (everything["area_km2"] >= 0.01).sum() < len(everything)


def test_a_speck_on_a_seam_is_judged_whole(layers):
    layers["extent"].values[:] = 0
    layers["extent"].values[0, 26:38, 35:45] = 1
    frame = outlines(layers.chunk(y=32, x=40))
    assert frame["area_km2"].tolist() == [pytest.approx(0.012)]


def test_cloud_at_the_margin_is_told(make_layers):
    frame = outlines(make_layers(cloudy=30))
    assert frame["observed_fraction"].tolist()[0] == 1
    rows = 64
    unseen = rows / (2 * 40 + 2 * rows)
    assert frame["observed_fraction"].iloc[1] == pytest.approx(1 - unseen)


def test_cloud_within_an_outline_is_told(make_layers, glaciers):
    frame = outlines(make_layers(cloudy=30), within=glaciers)
    second = frame[frame["src_date"].dt.year == 2022].iloc[0]
    assert second["observed_fraction"] == pytest.approx(45 / 70, rel=1e-4)
    assert second["area_km2"] + second["area_uncertainty_km2"] > 0.384


def test_the_image_border_is_not_observed_beyond(layers):
    layers = layers.isel(y=slice(8, None))
    frame = outlines(layers)
    assert frame["observed_fraction"].iloc[0] == pytest.approx(1 - 60 / (2 * 60 + 2 * 72))


def test_a_date_without_observation_has_no_row_but_is_listed(make_layers, glaciers):
    layers = make_layers(cloudy=80)
    for within in (None, glaciers):
        frame = outlines(layers, within=within)
        assert set(frame["src_date"].dt.year) == {2021, 2023}
        assert frame.attrs["unobserved"] == ["2022-08-05T00:00:00"]


def test_no_glacier_gives_an_empty_frame(layers):
    layers["extent"].values[:] = 0
    frame = outlines(layers)
    assert len(frame) == 0
    assert frame.crs == "EPSG:4326"
    assert tuple(frame.columns) == COLUMNS


def test_layers_without_probability_or_elevation(layers):
    frame = outlines(layers[["extent"]])
    assert frame["area_probability_km2"].isna().all()
    assert frame["zmin_m"].isna().all()


def test_a_grid_in_degrees_keeps_its_own_areas(make_layers):
    geobox = GeoBox.from_bbox((10, 60, 10.08, 60.096), "EPSG:4326", resolution=0.001)
    frame = outlines(make_layers(on=geobox).chunk(y=32, x=40))
    expected = grid.pixel_area(geobox)[8:80].sum() * 60 * 1e-6
    assert frame["area_km2"].iloc[0] == pytest.approx(expected, rel=1e-12)
    assert frame.total_bounds[0] == pytest.approx(10.01)


def test_simulated_layers_say_so(layers):
    assert "simulated" not in outlines(layers).attrs
    assert outlines(layers.assign_attrs(simulated=1)).attrs["simulated"] is True


def test_round_trip_through_files(layers, glaciers, tmp_path):
    frame = outlines(layers, within=glaciers)
    frame.to_parquet(tmp_path / "outlines.parquet")
    frame.to_file(tmp_path / "outlines.gpkg")
    assert len(gpd.read_file(tmp_path / "outlines.gpkg")) == 6
    assert len(gpd.read_parquet(tmp_path / "outlines.parquet")) == 6


def test_layers_without_extent(layers):
    with pytest.raises(SchemaError, match=r"needs 'extent' .* but the layers have \['confidence'"):
        outlines(layers.drop_vars("extent"))
