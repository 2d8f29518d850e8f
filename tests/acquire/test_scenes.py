"""Items to a cube: grid, days, offsets, flags, names."""

import json
import subprocess
import sys

import cloudpickle
import dask
import geopandas as gpd
import numpy as np
import pystac
import pytest
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from acquire.scenery import (
    CRS,
    FINE,
    MISLABELLED,
    NAMES,
    SCENES,
    Scene,
    geobox,
    make_catalog,
    plane,
    told,
)
from glaciercube import grid, schema
from glaciercube.acquire import blocks, failures
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.scenes import load
from glaciercube.errors import AcquireError, GlacierCubeWarning, GridError, SchemaError, SensorError
from glaciercube.simulate.archive import simulate

# DN are rounded to 1e-4, and so again when 20 m bands are resampled.
STEP = 1.01e-4


DEFECT = np.zeros((64, 64), bool)
DEFECT[24:32, 48:] = True
"""Where the scene classification of the first day says defect."""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return make_catalog(tmp_path_factory.mktemp("tiny"), (*SCENES, MISLABELLED))


@pytest.fixture(scope="module")
def items(catalog):
    return search(catalog, period="2021/2023-08-05")


@pytest.fixture(scope="module")
def cube(items):
    return load(items, geobox(), chunk=32).compute()


def test_the_cube_fits_the_schema(items, cube):
    lazy = load(items, geobox(), chunk=32)
    schema.check(lazy, schema.CUBE, "the cube")
    assert lazy["reflectance"].chunks == ((1, 1, 1), (10,), (32, 32), (32, 32))
    assert lazy["cloud"].chunks == ((1, 1, 1), (32, 32), (32, 32))
    assert grid.grid_of(lazy) == geobox()
    assert lazy["band"].values.tolist() == list(NAMES)
    assert (lazy.attrs["sensor"], lazy.attrs["level"]) == ("sentinel-2-l2a", "surface")
    assert [str(t)[:19] for t in cube["time"].values] == [
        "2021-08-01T10:30:00", "2022-08-05T10:30:00", "2023-08-03T10:30:00",
    ]  # fmt: skip
    assert lazy["time"].dtype == "datetime64[ns]"


@pytest.mark.parametrize("band", NAMES)
@pytest.mark.parametrize("day", [0, 1, 2])
def test_reflectance_is_the_truth_whatever_the_offset(cube, band, day):
    """Day 0 is a mosaic of two items with different offsets; 20 m bands are interpolated."""
    values = cube["reflectance"].sel(band=band)[day].values
    inner = (slice(1, -1), slice(1, -1))
    error = np.abs(values - plane(band, day=day))
    if day == 0 and band not in FINE:
        # Beside the edge of a swath, bilinear resampling has pixels on one side only.
        error[:, [23, 24, 39, 40]] = 0
    assert np.nanmax(error[inner]) < STEP
    expected = np.zeros((64, 64), bool)
    expected[24:32, 48:] = day == 0  # the defect of the scene classification
    np.testing.assert_array_equal(np.isnan(values), expected)


def test_valid_knows_nothing_of_clouds(cube):
    cloud = np.zeros((64, 64), bool)
    cloud[:16, 48:] = True
    np.testing.assert_array_equal(cube["cloud"][0], cloud)
    np.testing.assert_array_equal(cube["cloud_shadow"][0].values.nonzero()[0][[0, -1]], [16, 23])
    assert cube["valid"].values[0][cloud].all()
    assert not cube["valid"][0, 24:32, 48:].any()
    assert not cube["snow"].any()


def test_provenance_has_every_item_and_decision(cube):
    first, second, third = json.loads(cube.attrs["provenance"])
    assert first["offset_used"] is None
    assert {s["id"]: s["offset_used"] for s in first["sources"]} == {"old": 0, "new": -1000}
    assert second["offset_used"] == -1000
    assert third["sources"][0]["offset_declared"] == 0
    assert third["sources"][0]["offset_observed"] == 0


def test_repeated_items_are_left_out_and_recorded(catalog, cube):
    every = list(pystac.Catalog.from_file(str(catalog)).get_items(recursive=True))
    scenes = [i for i in every if i.collection_id != "cop-dem-glo-30" and i.id != "mislabelled"]
    full = load(scenes, geobox(), chunk=32)
    assert json.loads(full.attrs["provenance"])[1]["dropped"] == ["first"]
    np.testing.assert_array_equal(full["reflectance"], cube["reflectance"])


def test_sun_positions_are_coordinates(cube, items):
    assert cube["sun_azimuth"].values.tolist() == [150, 150, 150]
    assert cube["sun_elevation"].dtype == np.float32
    dark = [item.clone() for item in items]
    del dark[0].properties["view:sun_azimuth"]
    assert "sun_azimuth" not in load(dark, geobox(), check=False).coords


def test_nothing_is_computed_while_building(items, no_compute):
    with no_compute:
        cube = load(items, geobox(), check=False)
    assert all(dask.is_dask_collection(variable.data) for variable in cube.data_vars.values())


def test_without_a_check_no_file_is_needed(items):
    moved = [item.clone() for item in items]
    for item in moved:
        for asset in item.assets.values():
            asset.href = asset.href.replace(".tif", "-gone.tif")
    assert load(moved, geobox(), check=False).sizes["time"] == 3
    with pytest.raises(AcquireError, match="cannot read .*swir22-gone.tif.*check=False"):
        load(moved, geobox(), on_read_error="raise")
    with pytest.warns(
        GlacierCubeWarning, match=r"offset of 4 of 4 scenes is taken from their metadata.*gone.tif"
    ):
        assert load(moved, geobox()).sizes["time"] == 3


@pytest.mark.parametrize("chunk", [16, 24, 1024])
def test_chunks_do_not_change_the_numbers(items, cube, chunk):
    other = load(items, geobox(), chunk=chunk).compute()
    for name in cube.data_vars:
        np.testing.assert_array_equal(other[name], cube[name])


def test_the_order_of_items_changes_neither_numbers_nor_names(items, cube):
    one, two = load(items, geobox()), load(items[::-1], geobox())
    for name in cube.data_vars:
        assert one[name].data.name == two[name].data.name
    np.testing.assert_array_equal(two["reflectance"], cube["reflectance"])


NAME_OF = """
import sys
from odc.geo.geobox import GeoBox
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.scenes import load
box = GeoBox.from_bbox((600_000, 5_000_000, 600_640, 5_000_640), "EPSG:32632", resolution=10)
cube = load(search(sys.argv[1], period="2021/2023-08-05"), box, dem="cop-dem-glo-30")
print(*[variable.data.name for variable in cube.data_vars.values()])
"""


def test_names_are_the_same_in_another_process(items, catalog):
    command = [sys.executable, "-c", NAME_OF, str(catalog)]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    cube = load(items, geobox(), dem="cop-dem-glo-30")
    assert other == [variable.data.name for variable in cube.data_vars.values()]


def test_names_change_with_what_they_hold(items):
    def name(area=None, **options):
        cube = load(items, area or geobox(), check=False, **options)
        return cube["reflectance"].data.name

    before = name()
    assert name(bands=["green"]) != before
    assert name(chunk=32) != before
    assert name(geobox().pad(1)) != before
    assert name() == before


def test_signatures_do_not_change_names(items):
    def name(signature):
        signed = [item.clone() for item in items]
        for item in signed:
            for asset in item.assets.values():
                asset.href = f"https://a.blob.core.windows.net/b/{item.id}.tif?sig={signature}"
        cube = load(signed, geobox(), check=False)
        assert signature not in cube.attrs["provenance"]
        return cube["reflectance"].data.name

    assert name("one-signature") == name("another")


def test_a_wrong_declaration_is_found(catalog):
    items = search(catalog, period="2023")
    with pytest.warns(GlacierCubeWarning, match=r"1 of 2 .*2023-08-13 \(declared -1000, pixels 0,"):
        cube = load(items, geobox(), bands=["green"])
    error = cube["reflectance"][1, 0] - plane("green", day=3)
    assert float(abs(error).max()) < STEP
    with pytest.raises(SensorError, match="2023-08-13"):
        load(items, geobox(), check="raise")
    trusting = load(items, geobox(), bands=["green"], check="trust-metadata")
    shifted = trusting["reflectance"][1, 0] - plane("green", day=3)
    assert float(shifted.mean()) == pytest.approx(-0.1, abs=1e-4)


def test_a_coarser_grid_takes_the_mean(items):
    coarse = GeoBox.from_bbox((600_000, 5_000_000, 600_640, 5_000_640), "EPSG:32632", resolution=40)
    cube = load(items, coarse)
    assert cube.sizes["y"] == 16
    for band in ("green", "swir16"):
        values = cube["reflectance"].sel(band=band)[1].values
        mean = plane(band, day=1).reshape(16, 4, 16, 4).mean(axis=(1, 3))
        np.testing.assert_allclose(values, mean, atol=2 * STEP)


def test_the_grid_lies_on_multiples_of_the_resolution(items):
    area = (10.271, 45.149, 10.275, 45.152)
    box = grid.grid_of(load(items, area, resolution=20, check=False))
    assert box == grid.grid_around(area, 20)
    assert box.affine.c % 20 == 0
    whole = grid.grid_of(load(items, check=False))
    assert whole.extent.contains(geobox().extent.buffer(-30))


def test_another_crs(items):
    area = tuple(geobox().extent.to_crs("EPSG:4326").boundingbox.bbox)
    box = grid.grid_of(load(items, area, crs="EPSG:3035", check=False))
    assert box.crs.to_epsg() == 3035


def test_days_are_solar_days(tmp_path):
    """Near the date line an orbit's scenes straddle midnight UTC, yet are of one solar day."""
    scenes = [
        Scene(name="late", time="2021-08-01T23:59:50Z", properties=told("03.01"), columns=(0, 32)),
        Scene(
            name="early",
            time="2021-08-02T00:00:05Z",
            properties=told("03.01", "60CWS"),
            columns=(32, 64),
        ),
    ]
    items = search(make_catalog(tmp_path, scenes, dem=False))
    cube = load(items, geobox(), check=False)
    # At 10 degrees east, midnight UTC is 00:40 solar time: one day.
    assert cube.sizes["time"] == 1
    assert cube["valid"].values.all()
    assert str(cube["time"].values[0])[:19] == "2021-08-01T23:59:50"


def test_items_elsewhere_are_refused_and_left_out(items):
    with pytest.raises(AcquireError, match="a cube needs items over EPSG:32631.*none of the 4"):
        load(items, (0.0, 45.0, 0.1, 45.1))
    with pytest.raises(AcquireError, match="at least one item, found none"):
        load([])


def test_lacking_bands_are_named(items):
    poor = [item.clone() for item in items]
    del poor[0].assets["nir"]
    with pytest.raises(SensorError, match=r"old lacks \['nir'\]; it has the assets"):
        load(poor, geobox(), bands=["green", "nir"])
    assert "nir" not in load(poor, geobox(), check=False)["band"]
    for item in poor:
        item.assets = {"thumbnail": pystac.Asset("a.png")}
    with pytest.raises(SensorError, match=r"need a band .* in common, .*old has \['thumbnail'\]"):
        load(poor, geobox())
    with pytest.raises(SensorError, match="no band 'thermal'"):
        load(items, geobox(), bands=["thermal"])


def test_without_a_quality_layer_in_all_items_there_are_no_flags(items):
    poor = [item.clone() for item in items]
    del poor[0].assets["scl"]
    held = set(load(poor, geobox(), check=False).data_vars)
    assert held == {"reflectance", "valid", "read_failed"}


def test_an_unknown_check_is_refused_first(items):
    with pytest.raises(SensorError, match="check is one of"):
        load(items, geobox(), check="sometimes")


def test_an_asset_that_was_moved_is_named_when_it_is_read(items):
    moved = items[0].clone()
    moved.assets["nir"].href += "f"
    cube = load(iter([moved]), geobox(), check=False, on_read_error="raise")
    with pytest.raises(AcquireError, match=r"cannot read .*nir.tiff.*EPSG:32632, 10 x 10, 64 rows"):
        cube["valid"].compute()


def test_an_asset_that_was_moved_is_a_recorded_hole(items):
    moved = [item.clone() for item in items]
    moved[0].assets["nir"].href += "f"
    cube = load(moved, geobox(), check=False)
    with failures.collected() as found:
        cube = cube.compute()
    first = cube.isel(time=0)
    # The other item of the day covers the right part; the left one has nothing else.
    np.testing.assert_array_equal(first["read_failed"][0], np.arange(64) < 24)
    np.testing.assert_array_equal(first["valid"], ~first["read_failed"] & ~DEFECT)
    assert not cube["read_failed"][1:].any()
    assert {(failure.item, failure.band) for failure in found} == {("old", "nir")}
    with pytest.raises(SchemaError, match=r"on_read_error is one of .*found 'ignore'"):
        load(items, geobox(), on_read_error="ignore")


def test_a_simulated_archive_is_loaded_like_a_real_one(tmp_path):
    archive = simulate(tmp_path / "archive", size=128, dates=("2021-08-04", "2022-08-04"))
    cube = load(search(archive.catalog), read_outlines(archive.outlines), dem="cop-dem-glo-30")
    flags = ("cloud", "cloud_shadow", "snow", "water", "read_failed", "elevation")
    more = {name: schema.CUBE_MORE[name] for name in flags}
    schema.check(cube, {**schema.CUBE, **more}, "the cube")
    assert cube.attrs["simulated"] == 1
    entries = json.loads(cube.attrs["provenance"])
    assert [entry["offset_used"] for entry in entries] == [0, -1000]
    assert [entry["sources"][0]["offset_observed"] for entry in entries] == [0, -1000]
    cube = cube.compute()
    assert -0.02 < float(cube["reflectance"].min()) < 0.1
    assert 0.5 < float(cube["reflectance"].max()) < 1.9
    assert 1000 < float(cube["elevation"].min()) < float(cube["elevation"].max()) < 5000


def test_elevation_comes_with_the_cube(items):
    cube = load(items, geobox(), dem="cop-dem-glo-30", chunk=32, check=False)
    assert cube["elevation"].dims == ("y", "x")
    assert cube["elevation"].attrs["vertical_datum"] == "EGM2008"
    assert cube["elevation"].encoding["grid_mapping"] == "spatial_ref"
    schema.check(cube, {"elevation": schema.CUBE_MORE["elevation"]}, "the cube")


def test_terrain_and_glaciers_come_with_the_cube_on_request(items):
    inside = gpd.GeoDataFrame(geometry=[box(600_105, 5_000_105, 600_405, 5_000_405)], crs=CRS)
    cube = load(
        items, geobox(), dem="cop-dem-glo-30", check=False, outlines=inside,
        terrain=("slope", "aspect", "hillshade", "cast_shadow"),
    )  # fmt: skip
    names = (
        "elevation", "slope", "aspect", "hillshade", "cast_shadow", "glacier", "glacier_fraction",
        "glacier_distance",
    )  # fmt: skip
    schema.check(cube, {name: schema.CUBE_MORE[name] for name in names}, "the cube")
    assert all(dask.is_dask_collection(cube[name].data) for name in names)
    assert all(cube[name].encoding["grid_mapping"] == "spatial_ref" for name in names)
    cube = cube.compute()
    assert float(cube["glacier_fraction"].sum()) * 100 == pytest.approx(300 * 300, rel=1e-4)
    assert float(cube["glacier_distance"].min()) == 0
    assert 0 < float(cube["hillshade"].min()) <= float(cube["hillshade"].max()) <= 1


def test_terrain_needs_a_dem(items):
    with pytest.raises(AcquireError, match=r"terrain=\['slope'\] needs dem=.*found None"):
        load(items, geobox(), terrain=["slope"])


def test_outlines_elsewhere_are_refused(items):
    far = gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326")
    with pytest.raises(GridError, match="so none covers it"):
        load(items, geobox(), outlines=far, check=False)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:3413", "EPSG:4326"])
def test_chunks_do_not_change_a_pixel_in_another_crs(items, crs):
    resolution = 1e-4 if crs == "EPSG:4326" else 11
    options = {"crs": crs, "resolution": resolution, "check": False, "bands": ["green", "swir16"]}
    area = geobox().extent.geom
    area = gpd.GeoDataFrame(geometry=[area], crs=CRS)
    whole = load(items, area, **options).compute()
    assert whole["valid"].any()
    other = load(items, area, chunk=37, **options).compute()
    for name in whole.data_vars:
        np.testing.assert_array_equal(other[name], whole[name])


def test_a_block_is_read_by_one_task_and_each_variable_is_one_more(items, monkeypatch):
    reads = []
    real = blocks.read_piece
    monkeypatch.setattr(blocks, "read_piece", lambda *given: reads.append(1) or real(*given))
    one_day = [item for item in items if item.id == "harmonised"]
    cube = load(one_day, geobox(), chunk=16, check=False)
    arrays = [variable.data for variable in cube.data_vars.values()]
    tasks = {key for array in arrays for key in array.__dask_graph__()}
    shared = 1 + 4 + 4  # what blocks of one time, row and column have in common
    assert len(tasks) == 16 * (1 + len(arrays)) + shared
    dask.compute(*arrays)
    assert len(reads) == 16


def test_a_task_is_small_whatever_the_size_of_the_cube(items):
    cube = load(items, geobox(), chunk=16, check=False)
    size = len(cloudpickle.dumps(cube["valid"].data.__dask_graph__()))
    assert size < 60_000
