"""Of what each block of a loaded cube is made: exactly the blocks change whose sources do."""

import copy
import json
import os
import pickle
import shutil
from dataclasses import replace

import cloudpickle
import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr
from affine import Affine
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from shapely.geometry import box

import glaciercube as gcube
from acquire.hills import mountains, sampled, write_dem
from acquire.scenery import (
    CRS,
    NORTH,
    WEST,
    Scene,
    elevation,
    geobox,
    make_catalog,
    make_elevation,
    make_item,
    told,
    write_raster,
)
from glaciercube import grid
from glaciercube.acquire import identities
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.files import from_files
from glaciercube.acquire.lineage import with_recipe
from glaciercube.acquire.relief import terrain_on
from glaciercube.acquire.scenes import load
from glaciercube.store.lineage import LINEAGE, lineage_of
from glaciercube.windows import Window

CHUNK, SIZE = 16, 64
LEFT = Scene(name="left", time="2021-08-01T10:30:00Z", properties=told("03.01"))
RIGHT = Scene(name="right", time="2021-08-01T10:30:10Z", properties=told("03.01", "32TNS"))
NEXT = Scene(name="next", time="2022-08-05T10:30:00Z", properties=told("05.00"), day=1, shift=1000)
LATER = Scene(
    name="later", time="2023-08-05T10:30:00Z", properties=told("05.00"), day=2, shift=1000
)
ALL = {(row, column) for row in range(4) for column in range(4)}
FIRST, SECOND = "2021-08-01", "2022-08-05"


def cut(item, left, right):
    """Return an item whose rasters reach from one column (of 64) to another only."""
    for asset in item.assets.values():
        with rasterio.open(asset.href) as file:
            numbers, nodata, step = file.read(1), file.nodata, int(file.res[0])
        part = slice(left * 10 // step, right * 10 // step)
        west = WEST + left * 10
        numbers = np.ascontiguousarray(numbers[:, part])
        write_raster(
            asset.href, numbers, step, nodata, transform=from_origin(west, NORTH, step, step)
        )
        asset.extra_fields["proj:shape"] = list(numbers.shape)
        asset.extra_fields["proj:transform"] = [step, 0, west, 0, -step, NORTH]
    part = geobox()[:, left:right]
    item.geometry = grid.area_frame(part).to_crs(grid.WGS84).geometry.iloc[0].__geo_interface__
    item.bbox = list(box(*item.bbox).bounds)
    return item


@pytest.fixture
def items(tmp_path):
    """Return three items: two halves of one day, which overlap, and a whole of another."""
    left = cut(make_item(LEFT, tmp_path), 0, 40)
    right = cut(make_item(RIGHT, tmp_path), 24, SIZE)
    return [left, right, make_item(NEXT, tmp_path)]


def cube_of(items, **more):
    return load(items, geobox(), **{"chunk": CHUNK, "check": False, **more})


def told_of(cube, name="reflectance", chunk=CHUNK):
    """Return the fingerprint of the inputs of each block, by date, row and column."""
    inputs = lineage_of(cube[name]).inputs
    if hasattr(inputs, "refresh"):
        inputs.refresh()
    times = cube["time"].values if "time" in cube[name].dims else [None]
    rows, columns = cube[name].shape[-2:]
    return {
        (str(time)[:10], y // chunk, x // chunk): inputs.of(
            time, Window(y, min(y + chunk, rows), x, min(x + chunk, columns))
        )
        for time in times
        for y in range(0, rows, chunk)
        for x in range(0, columns, chunk)
    }


def changes(before, after):
    """Return where two fingerprints differ, by date, of the blocks that both have."""
    found = {}
    for (time, *place), told_before in before.items():
        if (time, *place) in after and after[(time, *place)] != told_before:
            found.setdefault(time, set()).add(tuple(place))
    return found


def columns(*wanted):
    return {place for place in ALL if place[1] in wanted}


def rewrite(item, key="green", by=50):
    """Write other numbers to a file of an item."""
    with rasterio.open(item.assets[key].href, "r+") as file:
        numbers = file.read(1)
        file.write(np.where(numbers > 0, numbers + by, 0).astype(numbers.dtype), 1)


def equal_where(first, second, same):
    """Say whether two arrays (time, ..., y, x) are equal in some blocks."""
    dates = [str(time)[:10] for time in first["time"].values]
    for time, row, column in same:
        where = {
            "time": dates.index(time),
            "y": slice(row * CHUNK, (row + 1) * CHUNK),
            "x": slice(column * CHUNK, (column + 1) * CHUNK),
        }
        np.testing.assert_array_equal(first.isel(where), second.isel(where))


def test_every_variable_is_told_of(items, tmp_path):
    glacier = gpd.GeoDataFrame(geometry=[box(600_105, 5_000_105, 600_405, 5_000_405)], crs=CRS)
    make_elevation(tmp_path)
    cube = cube_of(
        items, dem=tmp_path / "dem.tif", outlines=glacier,
        terrain=("slope", "aspect", "hillshade", "cast_shadow"),
    )  # fmt: skip
    assert {"cloud", "read_failed", "cast_shadow", "glacier_distance"} < set(cube.data_vars)
    lineages = {name: lineage_of(variable) for name, variable in cube.data_vars.items()}
    assert all(lineages.values())
    assert lineages["valid"].parameters["made_by"] == "load"
    assert lineages["valid"].inputs is lineages["reflectance"].inputs
    assert lineages["elevation"].parameters["dem"] == "dem.tif"
    assert len({json.dumps(one.recipe) for one in lineages.values()}) == 1
    assert json.loads(json.dumps(lineages["valid"].parameters)) == lineages["valid"].parameters


def test_another_content_changes_the_blocks_that_the_item_reaches(items):
    before, first = told_of(cube_of(items)), cube_of(items).compute()
    rewrite(items[0])
    after, second = told_of(cube_of(items)), cube_of(items).compute()
    # columns 0 to 40, and a pixel that is added for safety
    assert changes(before, after) == {FIRST: columns(0, 1, 2)}
    same = [place for place in before if before[place] == after[place]]
    equal_where(first["reflectance"], second["reflectance"], same)
    differs = (first["reflectance"] != second["reflectance"]).any("band") & first["valid"]
    assert differs[0, :, :40].all()
    assert not differs[0, :, 40:].any()


def test_exactly_these_blocks_are_computed_again(items, tmp_path):
    store = tmp_path / "cube.zarr"
    assert gcube.write(cube_of(items), store).written == 32
    assert gcube.write(cube_of(items), store).written == 0
    rewrite(items[1], "nir")
    report = gcube.write(cube_of(items), store)
    assert (report.written, report.skipped) == (12, 20)
    gcube.write(cube_of(items), tmp_path / "fresh.zarr")
    fresh, mended = gcube.read(tmp_path / "fresh.zarr"), gcube.read(store)
    xr.testing.assert_equal(fresh.compute(), mended.compute())


def test_an_item_that_is_published_again_changes_its_blocks(items, tmp_path):
    before = told_of(cube_of(items))
    again = replace(RIGHT, name="right-again", properties=told("05.00", "32TNS"), shift=1000)
    published = [items[0], cut(make_item(again, tmp_path), 24, SIZE), items[2]]
    assert changes(before, told_of(cube_of(published))) == {FIRST: columns(1, 2, 3)}


def test_neither_order_nor_another_date_changes_a_block(items, tmp_path):
    before, parameters = told_of(cube_of(items)), lineage_of(cube_of(items).valid).parameters
    assert told_of(cube_of(items[::-1])) == before
    more = cube_of([*items, make_item(LATER, tmp_path)])
    assert changes(before, told_of(more)) == {}
    assert len(told_of(more)) == len(before) + 16
    assert lineage_of(more.valid).parameters == parameters
    assert lineage_of(cube_of(items[2:]).valid).parameters == parameters


def test_another_offset_changes_the_blocks(items):
    before = told_of(cube_of(items))
    items[2].properties["s2:processing_baseline"] = "03.01"
    assert changes(before, told_of(cube_of(items))) == {SECOND: ALL}


def test_an_archive_may_be_moved(items, tmp_path):
    make_elevation(tmp_path)
    before = cube_of(items, dem=tmp_path / "dem.tif")
    moved = [item.clone() for item in items]
    elsewhere = tmp_path / "elsewhere"
    for item in moved:
        shutil.copytree(tmp_path / item.id, elsewhere / item.id)
        for asset in item.assets.values():
            asset.href = asset.href.replace(str(tmp_path), str(elsewhere))
    shutil.copy(tmp_path / "dem.tif", elsewhere / "dem.tif")
    after = cube_of(moved, dem=elsewhere / "dem.tif")
    assert lineage_of(after.valid).name != lineage_of(before.valid).name
    for name in ("reflectance", "elevation"):
        assert told_of(after, name) == told_of(before, name)
        assert lineage_of(after[name]).parameters == lineage_of(before[name]).parameters


def signed(items, token, **stated):
    """Return items of a cloud, their addresses signed."""
    out = [item.clone() for item in items]
    for item in out:
        for key, asset in item.assets.items():
            asset.href = f"https://eo.blob.core.windows.net/c/{item.id}/{key}.tif?sig={token}&se=9"
            asset.extra_fields |= stated
    return out


def test_another_token_changes_nothing_and_is_nowhere(items):
    before, after = (cube_of(signed(items, token)) for token in ("SECRET1", "SECRET2"))
    assert told_of(before) == told_of(after)
    lineage = lineage_of(before.valid)
    assert b"SECRET" not in pickle.dumps(lineage)
    assert "SECRET" not in json.dumps(lineage.recipe)
    assert "sig=" not in json.dumps(lineage.recipe)


def test_a_credential_in_other_fields_stays_out_of_the_recipe(items):
    items[0].properties["preview"] = "https://me:word@example.org/a?token=SECRET"
    items[0].assets["green"].extra_fields["raster:note"] = "https://example.org/?sig=SECRET"
    text = json.dumps(lineage_of(cube_of(items).valid).recipe)
    assert "SECRET" not in text
    assert "word" not in text
    assert "https://example.org/a" in text


def test_what_a_catalogue_states_of_a_remote_file_tells_versions_apart(items):
    remote = signed(items, "t")
    before = told_of(cube_of(remote))
    remote[2].properties["updated"] = "2024-01-01T00:00:00Z"
    updated = told_of(cube_of(remote))
    assert changes(before, updated) == {SECOND: ALL}
    stated = signed(items, "t", **{"file:checksum": "1220ab"})
    summed = told_of(cube_of(stated))
    stated[2].properties["updated"] = "2025-01-01T00:00:00Z"
    assert told_of(cube_of(stated)) == summed
    stated[2].assets["nir"].extra_fields["file:checksum"] = "1220cd"
    assert changes(summed, told_of(cube_of(stated))) == {SECOND: ALL}


def test_a_write_looks_at_files_anew(items):
    inputs = lineage_of(cube_of(items).valid).inputs
    place = np.datetime64(items[2].datetime.replace(tzinfo=None), "ns"), Window(0, 16, 0, 16)
    before = inputs.of(*place)
    rewrite(items[2])
    assert inputs.of(*place) == before
    inputs.refresh()
    assert inputs.of(*place) != before


def test_lineage_is_in_no_graph_and_in_no_token(items):
    cube = cube_of(items)
    bare = cube.copy()
    for variable in bare.variables.values():
        variable.encoding = {k: v for k, v in variable.encoding.items() if k != LINEAGE}
    assert tokenize(bare) == tokenize(cube)
    graph = cloudpickle.dumps(dict(cube["valid"].__dask_graph__()))
    assert b"SceneInputs" not in graph
    assert b"SceneInputs" in cloudpickle.dumps(cube)


def test_a_copy_and_a_process_have_the_same_lineage(items):
    cube = cube_of(items)
    for other in (cube.copy(deep=True), pickle.loads(pickle.dumps(cube)), copy.deepcopy(cube)):
        assert told_of(other) == told_of(cube)
    assert lineage_of(cube["reflectance"] * 2) is None
    assert lineage_of(cube.isel(time=[0])["valid"]) is None


# Elevation and terrain.


WIDE = GeoBox((SIZE, SIZE), Affine(200, 0, WEST, 0, -200, NORTH), CRS)
"""64 x 64 pixels of 200 m: a file of elevation counts 0.02 degree, some 8 pixels, beyond."""


@pytest.fixture
def halves(tmp_path):
    """Return an item of a catalogue with two files of elevation, west and east of the middle."""
    middle = 10.272 + 6400 / (111_320 * np.cos(np.radians(45.12)))
    step = 0.0005
    catalog = pystac.Catalog("tiles", "Two files of elevation", href=str(tmp_path / "catalog.json"))
    extent = pystac.Extent(
        pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]])
    )
    collection = pystac.Collection("cop-dem-glo-30", "Elevation", extent)
    catalog.add_child(collection)
    for name, west in (("east", middle), ("west", middle - 400 * step)):
        corner = (west, 45.17)
        heights = sampled(lambda x, y: elevation(x, y) + 0 * x, corner, step, (300, 400))
        path = write_dem(tmp_path / f"{name}.tif", heights, corner, step, "EPSG:4326")
        shape = box(west, corner[1] - 300 * step, west + 400 * step, corner[1])
        item = pystac.Item(
            name, shape.__geo_interface__, list(shape.bounds),
            pystac.utils.str_to_datetime("2015-01-01T00:00:00Z"), {},
        )  # fmt: skip
        item.add_asset("data", pystac.Asset(str(path), roles=["data"]))
        collection.add_item(item)
    scene = pystac.Item("scene", None, None, pystac.utils.str_to_datetime("2021-08-01"), {})
    scene.set_root(catalog)
    return scene


def suns(*pairs):
    times = np.array([f"2021-08-0{day}" for day in range(1, len(pairs) + 1)], "datetime64[ns]")
    azimuth, height = zip(*pairs, strict=True)
    return xr.Dataset(
        {"sun_azimuth": ("time", list(azimuth)), "sun_elevation": ("time", list(height))},
        coords={"time": times},
    )


def terrain(item, sun, **more):
    return terrain_on(WIDE, "cop-dem-glo-30", suns=sun, items=[item], chunk=CHUNK, **more)


def lift(path, by=30):
    with rasterio.open(path, "r+") as file:
        file.write(file.read(1) + np.float32(by), 1)


def test_a_file_of_elevation_changes_the_blocks_that_it_touches(halves, tmp_path):
    sun = suns((90, 60))
    before = terrain(halves, sun)
    was = {name: told_of(before, name) for name in before.data_vars}
    values = before.compute()
    lift(tmp_path / "west.tif")
    after = terrain(halves, sun)
    now = {name: told_of(after, name) for name in after.data_vars}
    for name in ("elevation", "slope", "aspect"):
        assert changes(was[name], now[name]) == {"None": columns(0, 1, 2)}
    assert changes(was["hillshade"], now["hillshade"]) == {FIRST: columns(0, 1, 2)}
    # With the sun in the east no terrain in the west casts a shadow on the last column.
    assert changes(was["cast_shadow"], now["cast_shadow"]) == {FIRST: columns(0, 1, 2)}
    lifted = after["elevation"].compute()
    np.testing.assert_array_equal(lifted[:, 48:], values["elevation"][:, 48:])
    assert (lifted[:, :28] > values["elevation"][:, :28] + 29).all()


def test_terrain_towards_the_sun_counts_for_shadows_only(halves, tmp_path):
    sun = suns((90, 60), (270, 60))
    before = terrain(halves, sun)
    was = {name: told_of(before, name) for name in before.data_vars}
    lift(tmp_path / "east.tif")
    after = terrain(halves, sun)
    found = changes(was["cast_shadow"], told_of(after, "cast_shadow"))
    # 9 km of relief with the sun at 60 degrees reach 26 pixels; the file's margin 8 more.
    assert found == {"2021-08-01": ALL, "2021-08-02": columns(1, 2, 3)}
    assert changes(was["slope"], told_of(after, "slope")) == {"None": columns(1, 2, 3)}


def test_a_date_with_a_lower_sun_changes_no_other(halves):
    high, both = terrain(halves, suns((150, 60))), terrain(halves, suns((150, 60), (150, 25)))
    for name in ("hillshade", "cast_shadow"):
        assert changes(told_of(high, name), told_of(both, name)) == {}
        assert lineage_of(high[name]).parameters == lineage_of(both[name]).parameters
    np.testing.assert_array_equal(high["cast_shadow"][0], both["cast_shadow"][0])
    other = terrain(halves, suns((151, 60)))
    assert changes(told_of(high, "hillshade"), told_of(other, "hillshade")) == {FIRST: ALL}


def test_the_sun_below_the_horizon_needs_no_terrain_around(halves, tmp_path):
    before = told_of(terrain(halves, suns((90, -5))), "cast_shadow")
    lift(tmp_path / "east.tif")
    after = told_of(terrain(halves, suns((90, -5))), "cast_shadow")
    assert changes(before, after) == {FIRST: columns(1, 2, 3)}


def test_margin_and_datum_are_parameters(halves):
    one = terrain(halves, suns((150, 60)))
    near = terrain(halves, suns((150, 60)), max_margin_m=20_000.0)
    assert lineage_of(one.cast_shadow).parameters != lineage_of(near.cast_shadow).parameters
    assert lineage_of(one.slope).parameters == lineage_of(near.slope).parameters
    assert lineage_of(one.elevation).parameters["vertical_datum"] == "EGM2008"


# Outlines.


def outlines(*edges):
    return gpd.GeoDataFrame(geometry=[box(*one) for one in edges], crs=CRS)


INNER = (WEST + 170, NORTH - 300, WEST + 300, NORTH - 170)
"""In the block of row 1, column 1, and no other."""

FAR = (WEST + 60_000, NORTH, WEST + 61_000, NORTH + 1000)


def test_outlines_are_parameters_of_their_layers_and_only_those_near_count(items):
    cube = cube_of(items, outlines=outlines(INNER))
    names = ("glacier", "glacier_fraction", "glacier_distance")
    for others in (outlines(FAR, INNER), outlines(INNER).to_crs(CRS)):
        other = cube_of(items, outlines=others)
        for name in names:
            assert lineage_of(other[name]).parameters == lineage_of(cube[name]).parameters
            assert told_of(other, name) == told_of(cube, name)
    moved = cube_of(items, outlines=outlines((INNER[0] + 10, *INNER[1:])))
    for name in names:
        assert lineage_of(moved[name]).parameters != lineage_of(cube[name]).parameters
    assert lineage_of(moved.valid).parameters == lineage_of(cube.valid).parameters


def test_blocks_within_no_outline_are_other_blocks(items, tmp_path):
    make_elevation(tmp_path)
    dem = tmp_path / "dem.tif"
    whole, part = cube_of(items, dem=dem), cube_of(items, dem=dem, within=outlines(INNER))
    for name, dates in (("reflectance", (FIRST, SECOND)), ("elevation", ("None",))):
        found = changes(told_of(whole, name), told_of(part, name))
        assert found == {date: ALL - {(1, 1)} for date in dates}
    before = told_of(part)
    rewrite(items[2])
    after = told_of(cube_of(items, dem=dem, within=outlines(INNER)))
    assert changes(before, after) == {SECOND: {(1, 1)}}
    wider = outlines((*INNER[:2], INNER[2] + 100, INNER[3]))
    found = changes(after, told_of(cube_of(items, dem=dem, within=wider)))
    assert found == {date: {(1, 2)} for date in (FIRST, SECOND)}


# Files.


def write_file(path, numbers):
    profile = {
        "driver": "GTiff", "count": len(numbers), "dtype": numbers.dtype, "crs": CRS,
        "height": numbers.shape[1], "width": numbers.shape[2],
        "transform": from_origin(WEST, NORTH, 10, 10),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(numbers)
        file.descriptions = ("B3", "B8", "B11", "B12")
    return path


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    return [
        write_file(
            tmp_path / f"s2_{year}0801.tif",
            generator.integers(50, 9000, (4, SIZE, SIZE)).astype(np.uint16),
        )
        for year in (2021, 2022)
    ]


def of_files(paths, **more):
    return from_files(paths, "sentinel-2-l1c", check=False, chunk=CHUNK, **more)


def test_a_file_that_changed_changes_its_date(paths):
    before = told_of(of_files(paths))
    with rasterio.open(paths[1], "r+") as file:
        file.write(file.read(2) + np.uint16(7), 2)
    assert changes(before, told_of(of_files(paths))) == {"2022-08-01": ALL}
    assert changes(before, told_of(of_files(paths[:1]))) == {}


def test_the_same_file_elsewhere_is_the_same(paths, tmp_path):
    before = of_files(paths)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copies = [shutil.copyfile(path, elsewhere / path.name) for path in paths]
    after = of_files(copies)
    assert lineage_of(after.valid).name != lineage_of(before.valid).name
    assert told_of(after) == told_of(before)
    assert lineage_of(after.valid).parameters == lineage_of(before.valid).parameters


def test_of_a_large_file_samples_and_the_time_of_change_count(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(identities, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(identities, "SAMPLE_BYTES", 16)
    before = told_of(of_files(paths))
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    kept.mkdir()
    fresh.mkdir()
    assert told_of(of_files([shutil.copy2(path, kept / path.name) for path in paths])) == before
    for path in paths:
        copied = shutil.copyfile(path, fresh / path.name)
        os.utime(copied, ns=(1, 1))
    assert set(changes(before, told_of(of_files(sorted(fresh.iterdir()))))) == {
        "2021-08-01", "2022-08-01",
    }  # fmt: skip


def test_numbers_and_reflectance_are_other_parameters(paths, tmp_path):
    with rasterio.open(paths[0]) as file:
        values = file.read().astype(np.float32) * np.float32(1e-4)
    floats = of_files([write_file(tmp_path / "f_20210801.tif", values)])
    found = lineage_of(of_files(paths).valid).parameters, lineage_of(floats.valid).parameters
    assert [one.pop("kind") for one in map(dict, found)] == ["digital numbers", "reflectance"]


def test_files_of_one_band_each_are_told_apart_too(items, tmp_path):
    keys = {"green": "B03", "nir": "B08", "swir16": "B11", "swir22": "B12", "scl": "SCL"}
    folder = tmp_path / "bands"
    folder.mkdir()
    paths = [
        shutil.copy(item.assets[key].href, folder / f"T32TMS_{day}T103000_{end}.tif")
        for item, day in ((items[2], "20220805"),)
        for key, end in keys.items()
    ]
    cube = from_files(paths, "sentinel-2-l2a", check=False, chunk=CHUNK)
    assert lineage_of(cube.valid).recipe["verb"] == "from_files"
    before = told_of(cube)
    with rasterio.open(paths[1], "r+") as file:
        file.write(file.read(1) + np.uint16(7), 1)
    after = told_of(from_files(paths, "sentinel-2-l2a", check=False, chunk=CHUNK))
    assert changes(before, after) == {SECOND: ALL}


def test_only_what_is_known_gets_a_recipe(items):
    cube = cube_of(items)
    doubled = cube.assign(twice=cube["reflectance"] * 2)
    out = with_recipe(doubled, {"verb": "other"})
    assert lineage_of(out["valid"]).recipe == {"verb": "other"}
    assert lineage_of(out["twice"]) is None
    assert lineage_of(cube["valid"]).recipe["verb"] == "load"


def test_a_rough_landscape_far_away_is_told_by_its_file_too(items, tmp_path):
    """One raster of the user's counts for every block, wherever it ends."""
    corner = (WEST - 2000, NORTH + 2000)
    heights = sampled(mountains, corner, 20, (300, 300))
    path = write_dem(tmp_path / "own.tif", heights, corner, 20)
    before = told_of(cube_of(items, dem=path), "elevation")
    lift(path)
    assert changes(before, told_of(cube_of(items, dem=path), "elevation")) == {"None": ALL}


def test_a_catalogue_on_disk_is_known_by_its_files(tmp_path):
    found = search(make_catalog(tmp_path, (NEXT, LATER), dem=False))
    before = told_of(cube_of(found))
    rewrite(found[0], "swir16")
    assert changes(before, told_of(cube_of(found))) == {SECOND: ALL}
