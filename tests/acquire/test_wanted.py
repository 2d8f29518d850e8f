"""Blocks that no outline touches are not read."""

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from acquire.scenery import CRS, NORTH, SCENES, WEST, geobox, make_catalog
from glaciercube.acquire import blocks, elevation, relief
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.scenes import load
from glaciercube.acquire.wanted import wanted_of
from glaciercube.cover import lazy_inside
from glaciercube.errors import GridError
from glaciercube.windows import Window

INNER = gpd.GeoDataFrame(
    geometry=[box(WEST + 170, NORTH - 300, WEST + 300, NORTH - 170)], crs=CRS
).to_crs("EPSG:4326")
"""In the block of 16 x 16 pixels of row 1 and column 1, and no other."""

TERRAIN = ("slope", "aspect", "hillshade", "cast_shadow")


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return search(make_catalog(tmp_path_factory.mktemp("tiny"), SCENES))


def counted(monkeypatch, module, name):
    """Count the calls of a function of a module."""
    calls, original = [], getattr(module, name)

    def counting(*args):
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_only_blocks_that_outlines_touch_are_read(items, monkeypatch):
    whole = load(items, geobox(), chunk=16, check=False).compute()
    reads = counted(monkeypatch, blocks, "read_piece")
    lazy = load(items, geobox(), chunk=16, check=False, within=INNER)
    assert not reads
    with dask.config.set(scheduler="synchronous"):
        cube = lazy.compute()
    # One block of three dates, the first of which has two items; its first covers the block.
    assert len(reads) == 3
    block = {"y": slice(16, 32), "x": slice(16, 32)}
    for name in whole.data_vars:
        np.testing.assert_array_equal(cube[name].isel(block), whole[name].isel(block))
    outside = np.ones((64, 64), bool)
    outside[16:32, 16:32] = False
    assert not cube["valid"].values[:, outside].any()
    assert not cube["read_failed"].any()
    assert np.isnan(cube["reflectance"].values[..., outside]).all()
    assert cube["valid"].values[:, ~outside].all()


def test_elevation_and_terrain_are_void_there_and_not_read_either(items, monkeypatch):
    options = {"dem": "cop-dem-glo-30", "terrain": TERRAIN, "chunk": 16, "check": False}
    whole = load(items, geobox(), **options).compute()
    lazy = load(items, geobox(), **options, within=INNER)
    reads = counted(monkeypatch, elevation, "read_heights")
    reads_of_terrain = counted(monkeypatch, relief, "read_heights")
    with dask.config.set(scheduler="synchronous"):
        cube = lazy[["elevation", *TERRAIN]].compute()
    assert len(reads) == 1
    assert len(reads_of_terrain) == 1 + 3  # slope and aspect; the shadows of three dates
    block = {"y": slice(16, 32), "x": slice(16, 32)}
    for name in cube.data_vars:
        np.testing.assert_array_equal(cube[name].isel(block), whole[name].isel(block))
    assert int(np.isfinite(cube["elevation"]).sum()) == 16 * 16
    assert int(np.isfinite(cube["slope"]).sum()) == 16 * 16
    assert not cube["cast_shadow"][:, :, 32:].any()


def test_every_pixel_that_an_outline_touches_is_in_a_wanted_block():
    generator = np.random.default_rng(3)
    corner = generator.uniform(0, 600, (20, 2))
    shapes = [
        box(WEST + x, NORTH - y - size, WEST + x + size, NORTH - y)
        for (x, y), size in zip(corner, generator.uniform(1, 120, 20), strict=True)
    ]
    for shape in shapes:
        outline = gpd.GeoSeries([shape], crs=CRS)
        wanted = wanted_of(outline, geobox(), 10)
        touched = lazy_inside(outline, geobox(), {"y": 10, "x": 10}, touched=True).values
        for row, column in np.argwhere(touched):
            assert wanted.has(int(row), int(column))
        assert sum(wanted.of(Window(0, 64, 0, 64))) <= 9  # 120 m at most, blocks of 100 m


def test_blocks_are_told_by_any_of_their_pixels_and_by_windows():
    box_of = GeoBox.from_bbox((0, 0, 250, 130), "EPSG:32632", resolution=10)
    wanted = wanted_of(gpd.GeoSeries([shapely.box(205, 5, 245, 25)], crs=32632), box_of, 10)
    assert [wanted.has(row, column) for row, column in ((12, 24), (10, 20), (9, 24), (12, 19))] == [
        True, True, False, False,
    ]  # fmt: skip
    assert wanted.of(Window(0, 13, 0, 25)) == [False] * 5 + [True]
    assert wanted.of(Window(10, 13, 20, 25)) == [True]


def test_names_differ_where_other_blocks_are_read(items):
    options = {"chunk": 16, "check": False, "dem": "cop-dem-glo-30"}
    whole, part = load(items, geobox(), **options), load(items, geobox(), within=INNER, **options)
    for name in ("reflectance", "valid", "elevation"):
        assert whole[name].data.name != part[name].data.name


def test_outlines_elsewhere_are_refused_before_anything_is_read(items):
    far = gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs="EPSG:4326")
    with pytest.raises(GridError, match=r"the outlines of within= lie at longitude 0.00.*so none"):
        load(items, geobox(), within=far)
