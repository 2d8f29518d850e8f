import json

import geopandas as gpd
import numpy as np
import odc.stac
import pandas as pd
import pystac
import pytest
import rasterio
from shapely.geometry import shape

from glaciercube.errors import SchemaError, StoreError
from glaciercube.schema import FACIES, NODATA
from glaciercube.simulate import archive as module
from glaciercube.simulate.archive import Archive, grid_of_size, simulate

SIZE = 192
CODES = {category.code for category in FACIES}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("simulated") / "glacier.demo", size=SIZE, seed=1)


@pytest.fixture(scope="module")
def scenes(archive):
    catalog = pystac.Catalog.from_file(str(archive.catalog))
    items = catalog.get_child("sentinel-2-l2a").get_items()
    return sorted(items, key=lambda item: item.datetime)


@pytest.fixture(scope="module")
def truth(archive):
    return pd.read_csv(archive.truth / "truth.csv")


def read(path):
    with rasterio.open(path) as source:
        return source.read(1)


def test_nine_dates_over_three_summers(archive, scenes, truth):
    assert archive.dates == module.DATES
    assert [f"{item.datetime:%Y-%m-%d}" for item in scenes] == list(archive.dates)
    assert truth.date.tolist() == list(archive.dates)
    assert len({date[:4] for date in archive.dates}) == 3


def test_nothing_is_left_beside_the_archive(archive):
    folder = archive.catalog.parent
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "catalog.json", "simulation.json", "outlines.gpkg", "truth", "sentinel-2-l2a",
        "cop-dem-glo-30",
    }  # fmt: skip


def test_the_catalogue_says_it_is_simulated(archive, scenes):
    catalog = pystac.Catalog.from_file(str(archive.catalog))
    for child in catalog.get_children():
        assert "simulated" in child.title
    for item in catalog.get_items(recursive=True):
        assert item.properties["glaciercube:simulated"] is True
    with rasterio.open(scenes[0].assets["blue"].get_absolute_href()) as source:
        assert source.tags()["glaciercube_simulated"] == "true"


def test_assets_are_cogs_on_the_grid_the_items_state(scenes):
    for item in scenes[:2]:
        for name, asset in item.assets.items():
            with rasterio.open(asset.get_absolute_href()) as source:
                assert source.profile["tiled"], name
                assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert list(source.shape) == asset.extra_fields["proj:shape"]
                assert list(source.transform)[:6] == asset.extra_fields["proj:transform"]
                assert source.crs.to_string() == item.properties["proj:code"]
                assert source.nodata == 0
                assert source.dtypes[0] == ("uint8" if name == "scl" else "uint16")
    with rasterio.open(scenes[0].assets["blue"].get_absolute_href()) as source:
        assert source.overviews(1)


def test_the_offset_is_in_the_pixels_from_2022_on(scenes):
    for item in scenes:
        numbers = read(item.assets["swir22"].get_absolute_href())
        floor = np.percentile(numbers[numbers > 0], 1)
        shifted = float(item.properties["s2:processing_baseline"]) >= 4
        assert shifted == (item.datetime.year >= 2022)
        assert (900 < floor < 1300) if shifted else (floor < 300)


def test_odc_stac_loads_the_digital_numbers(scenes, no_compute):
    with no_compute:
        lazy = odc.stac.load(
            scenes[:2], bands=["blue", "swir16", "scl"], crs="EPSG:32632", resolution=10, chunks={}
        )
    assert lazy.odc.geobox == grid_of_size(SIZE)
    loaded = lazy.compute(scheduler="synchronous")
    for number, item in enumerate(scenes[:2]):
        blue = read(item.assets["blue"].get_absolute_href())
        np.testing.assert_array_equal(loaded["blue"][number].values, blue)
        swir = read(item.assets["swir16"].get_absolute_href())
        np.testing.assert_array_equal(loaded["swir16"][number].values[::2, ::2], swir)


def test_the_glacier_retreats(archive, truth):
    extents = [read(archive.truth / f"extent_{date}.tif") == 1 for date in archive.dates]
    for earlier, later in zip(extents, extents[1:], strict=False):
        assert not (later & ~earlier).any()
    areas = [extent.sum() / 1e4 for extent in extents]
    np.testing.assert_allclose(truth.glacier_area_km2, areas, atol=1e-6)
    assert areas[-1] < 0.95 * areas[0]


def test_the_snowline_climbs_through_every_summer(truth):
    for _, summer in truth.groupby(truth.date.str[:4]):
        assert (np.diff(summer.snowline_m.dropna()) > 0).all()
        assert (np.diff(summer.aar) < 0).all()
    assert truth.snowline_m.notna().sum() >= 7


def test_truth_facies_hold_codes_and_nodata_where_not_measured(archive, scenes):
    for item, date in zip(scenes, archive.dates, strict=True):
        facies = read(archive.truth / f"facies_{date}.tif")
        assert set(np.unique(facies)) <= CODES | {NODATA}
        blue = read(item.assets["blue"].get_absolute_href())
        np.testing.assert_array_equal(facies == NODATA, blue == 0)


def test_one_date_is_cloudy_and_one_cut_by_the_swath(scenes, truth):
    assert (truth.cloud_fraction > 0.2).sum() == 1
    missing = [item.properties["s2:nodata_pixel_percentage"] for item in scenes]
    assert sum(share > 5 for share in missing) == 1
    cut = scenes[int(np.argmax(missing))]
    whole = scenes[0]
    part, all_of_it = (shape(item.geometry).area for item in (cut, whole))
    assert part / all_of_it == pytest.approx(1 - max(missing) / 100, abs=0.02)


def test_elevation_covers_every_scene_in_metres(archive):
    catalog = pystac.Catalog.from_file(str(archive.catalog))
    items = list(catalog.get_child("cop-dem-glo-30").get_items())
    assert len(items) == 1
    grid = grid_of_size(SIZE)
    loaded = odc.stac.load(items, bands=["data"], geobox=grid, resampling="bilinear")["data"][0]
    assert loaded.dtype == np.float32
    assert np.isfinite(loaded.values).all()
    landscape = module.demo_landscape(1, SIZE).without_border(module.BORDER)
    error = loaded.values - landscape.elevation
    assert abs(np.median(error)) < 2  # a pixel of 30 m smooths 10 m relief
    assert np.abs(error).mean() < 12
    with rasterio.open(items[0].assets["data"].get_absolute_href()) as source:
        assert source.crs.to_epsg() == 4326
        assert source.tags()["vertical_datum"] == "EGM2008"


def test_outlines_are_the_glaciers_of_the_first_date(archive, truth):
    frame = gpd.read_file(archive.outlines)
    assert frame.crs.to_epsg() == 4326
    assert {"rgi_id", "glac_name", "src_date", "area_km2", "cenlon", "cenlat", "zmin_m"} <= set(
        frame
    )
    assert frame.area_km2.sum() == pytest.approx(truth.glacier_area_km2[0], rel=0.02)
    assert frame.rgi_id.str.startswith("RGI2000-v7.0-G-11-SIM").all()


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_second_call_rewrites_nothing(archive):
    folder = archive.catalog.parent
    before = files_of(folder)
    assert simulate(folder, size=SIZE, seed=1) == archive
    assert files_of(folder) == before


def test_other_parameters_are_refused(archive):
    folder = archive.catalog.parent
    with pytest.raises(StoreError, match=r"other \['seed'\]: \{'seed': 1\} there, \{'seed': 2\}"):
        simulate(folder, size=SIZE, seed=2)


SMALL = {"size": 64, "dates": ["2021-08-04", "2022-08-04"]}


def test_overwrite_takes_the_place_of_other_parameters(tmp_path):
    simulate(tmp_path / "a", seed=1, **SMALL)
    first = read(tmp_path / "a/truth/facies_2021-08-04.tif")
    done = simulate(tmp_path / "a", seed=2, overwrite=True, **SMALL)
    assert not np.array_equal(read(done.truth / "facies_2021-08-04.tif"), first)
    assert json.loads((tmp_path / "a/simulation.json").read_text())["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_overwrite_leaves_an_archive_of_the_same_parameters(tmp_path):
    simulate(tmp_path / "a", **SMALL)
    before = files_of(tmp_path)
    simulate(tmp_path / "a", overwrite=True, **SMALL)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="holds something that is no simulated archive"):
        simulate(tmp_path, overwrite=overwrite, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_will_do(tmp_path):
    assert isinstance(simulate(tmp_path, **SMALL), Archive)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(module, "write_cog", fail)
    with pytest.raises(OSError, match="the disk is full"):
        simulate(tmp_path / "a", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_pixels(tmp_path):
    for name in ("a", "b"):
        simulate(tmp_path / name, **SMALL)
    ours = sorted((tmp_path / "a").rglob("*.tif"))
    assert len(ours) == 2 * 11 + 2 * 2 + 1
    for path in ours:
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        np.testing.assert_array_equal(read(path), read(twin))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 63}, "even and at least 64 pixels, found 63"),
        ({"size": 32}, "even and at least 64 pixels, found 32"),
        ({"dates": ["soon"]}, r"days such as '2021-08-05', found \['soon'\]"),
        ({"dates": []}, r"at least one, in order and without doubles; found \[\]"),
        ({"dates": ["2022-08-01", "2021-08-01"]}, "in order and without doubles"),
        ({"dates": ["2021-08-01", "2021-08-01"]}, "in order and without doubles"),
    ],
)
def test_arguments_of_no_use_are_refused(tmp_path, arguments, message):
    with pytest.raises(SchemaError, match=message):
        simulate(tmp_path / "a", **arguments)


def test_the_bar_shows_dates(tmp_path, capsys):
    simulate(tmp_path / "a", progress=True, **SMALL)
    assert "2/2" in capsys.readouterr().err
