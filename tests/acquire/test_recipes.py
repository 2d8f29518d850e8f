"""Cubes made again from what is kept with their variables."""

import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from shapely.geometry import box

from acquire.scenery import CRS, MISLABELLED, NORTH, SCENES, WEST, geobox, make_catalog
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.files import from_files
from glaciercube.acquire.reader import ReadError
from glaciercube.acquire.recipes import loaded_again, of_files_again
from glaciercube.acquire.scenes import load
from glaciercube.errors import AcquireError, GlacierCubeWarning
from glaciercube.store.lineage import lineage_of
from glaciercube.windows import Window

GLACIER = gpd.GeoDataFrame(
    geometry=[box(WEST + 170, NORTH - 300, WEST + 300, NORTH - 170)], crs=CRS
).to_crs("EPSG:4326")


@pytest.fixture
def items(tmp_path):
    return search(make_catalog(tmp_path, SCENES))


def recipe_of(cube):
    """Return the recipe of a cube as a store would give it back."""
    (text,) = {json.dumps(lineage_of(variable).recipe) for variable in cube.data_vars.values()}
    return json.loads(text)


def assert_same_work(first, second, chunk):
    """Say that two cubes have the same parameters, inputs and recipe in each variable."""
    assert list(first.data_vars) == list(second.data_vars)
    for name in first.data_vars:
        one, other = lineage_of(first[name]), lineage_of(second[name])
        assert one.parameters == other.parameters
        assert json.loads(json.dumps(one.recipe)) == other.recipe
        for time in first["time"].values:
            for y in range(0, 64, chunk):
                for x in range(0, 64, chunk):
                    place = time, Window(y, y + chunk, x, x + chunk)
                    assert one.inputs.of(*place) == other.inputs.of(*place)


def test_a_cube_with_everything_is_loaded_again(items, no_compute):
    cube = load(
        items, geobox(), chunk=16, bands=["swir16", "green"], dem="cop-dem-glo-30",
        terrain=("slope", "aspect", "hillshade", "cast_shadow"), outlines=GLACIER, within=GLACIER,
    )  # fmt: skip
    with no_compute:
        again = loaded_again(recipe_of(cube))
    assert_same_work(cube, again, 16)
    xr.testing.assert_equal(again.compute(), cube.compute())
    assert again.attrs["sensor"] == cube.attrs["sensor"]


def test_the_footprint_of_a_file_of_elevation_may_be_stated_by_its_path(items, tmp_path):
    path = tmp_path / "files" / "dem.tif"
    cube = load(items, geobox(), chunk=32, dem=path, check=False)
    again = loaded_again(recipe_of(cube))
    assert_same_work(cube, again, 32)
    path.unlink()
    with pytest.raises(AcquireError, match=r"1 gone: .*dem\.tif"):
        loaded_again(recipe_of(cube))


def test_offsets_are_settled_again_without_the_warning(tmp_path):
    items = search(make_catalog(tmp_path, (MISLABELLED,)))
    with pytest.warns(GlacierCubeWarning, match="contradict the offset"):
        cube = load(items, geobox(), chunk=32)
    again = loaded_again(recipe_of(cube))  # a warning would be an error
    assert_same_work(cube, again, 32)


def test_items_that_are_gone_or_changed_are_named(items):
    cube = load(items, geobox(), chunk=32, check=False)
    recipe = recipe_of(cube)
    path = items[0].assets["green"].get_absolute_href()
    with rasterio.open(path, "r+") as file:
        file.write(file.read(1) + np.uint16(1), 1)
    with pytest.raises(AcquireError, match=r"1 changed: .*old.green\.tif"):
        loaded_again(recipe)
    shutil.move(path, path + ".away")
    with pytest.raises(AcquireError, match=r"1 gone: .*old.green\.tif; put them back"):
        loaded_again(recipe)


def test_what_cannot_be_read_is_no_repair(items):
    cube = load(items, geobox(), chunk=32, check=False, on_read_error="record")
    recipe = recipe_of(cube)
    again = loaded_again(recipe)
    path = items[0].assets["nir"].get_absolute_href()
    shutil.move(path, path + ".away")
    with pytest.raises(ReadError, match=r"cannot read .*nir\.tif"):
        again["valid"].isel(time=0).compute()


NAMES = ("B3", "B8", "B11", "B12")


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    found = []
    for name in ("a.tif", "b.tif"):
        profile = {
            "driver": "GTiff", "count": 4, "dtype": "uint16", "crs": CRS, "height": 64, "width": 64,
            "transform": rasterio.transform.from_origin(WEST, NORTH, 10, 10),
        }  # fmt: skip
        with rasterio.open(tmp_path / name, "w", **profile) as file:
            file.write(generator.integers(50, 9000, (4, 64, 64)).astype(np.uint16))
            file.descriptions = NAMES
        found.append(tmp_path / name)
    return found


@pytest.mark.parametrize("dates", [["2022-08-01", 2021], [np.datetime64("2021-08-01T10:20"), 2020]])
def test_files_are_taken_again(paths, dates, no_compute):
    cube = from_files(
        paths, "sentinel-2-l1c", dates=dates, bands=["nir", "green"], chunk=16, check=False
    )
    with no_compute:
        again = of_files_again(recipe_of(cube))
    assert_same_work(cube, again, 16)
    xr.testing.assert_identical(again.compute(), cube.compute())


def test_files_that_are_gone_or_changed_are_named(paths):
    recipe = recipe_of(
        from_files(paths, "sentinel-2-l1c", dates=["2021", "2022"], chunk=32, check=False)
    )
    paths[0].write_bytes(paths[0].read_bytes() + b"0")
    paths[1].unlink()
    with pytest.raises(AcquireError, match=r"its 2 files.*1 gone: .*b\.tif; 1 changed: .*a\.tif"):
        of_files_again(recipe)


def test_files_of_one_band_each_are_taken_again(items, tmp_path):
    keys = {"green": "B03", "nir": "B08", "swir16": "B11", "swir22": "B12", "scl": "SCL"}
    folder = tmp_path / "bands"
    folder.mkdir()
    item = next(one for one in items if one.id == "harmonised")
    paths = [
        shutil.copy(item.assets[key].get_absolute_href(), folder / f"T32TMS_20230803_{end}.tif")
        for key, end in keys.items()
    ]
    cube = from_files(paths, "sentinel-2-l2a", chunk=16, check="trust-metadata")
    again = of_files_again(recipe_of(cube))
    assert_same_work(cube, again, 16)
    xr.testing.assert_identical(again.compute(), cube.compute())
