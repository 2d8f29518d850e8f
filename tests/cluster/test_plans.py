"""A plan: made once, opened by anybody, refused where it no longer holds."""

import json
import pickle

import geopandas as gpd
import pyarrow.parquet as pq
import pytest
import shapely

from cluster import synthetic
from cluster.rounds import glaciers
from glaciercube import grid
from glaciercube.acquire.inventories import read_outlines
from glaciercube.cluster import plan_files, tables
from glaciercube.cluster.plan_files import KEY
from glaciercube.cluster.plans import NAME, TARGET_PIXELS, Plan, plan, read_plan
from glaciercube.errors import AcquireError, SchemaError, StoreError

JOB = {
    "catalog": "https://example.org/v1",
    "period": "2021/2022",
    "season": ("07-01", "09-30"),
    "resolution": 30,
    "block": 256,
    "target_pixels": 500_000,
}


@pytest.fixture
def outlines(tmp_path):
    path = tmp_path / "outlines.gpkg"
    synthetic.world(120, regions="11-01").to_file(path)
    return path


@pytest.fixture
def made(outlines, tmp_path):
    return plan(outlines, tmp_path / "alps.parquet", **JOB)


def test_a_plan_is_read_as_it_was_made(made, outlines):
    found = read_plan(made.path)
    assert found.fingerprint == made.fingerprint
    assert found.options == made.options
    assert len(found) == len(found.names()) == len(made) > 1
    assert found.outlines == str(outlines)
    assert [found.tile(name) for name in found.names()] == [made.tile(n) for n in made.names()]
    assert str(found).startswith("alps.parquet: 120 glaciers in")
    assert found.options["season"] == ["07-01", "09-30"]
    assert found.options["halo"] == 15


def test_tiles_hold_every_glacier_once_with_its_outline(made, outlines):
    frame = read_outlines(outlines).set_index("rgi_id")
    seen = []
    for name in made.names():
        tile = made.tile(name)
        assert NAME.fullmatch(tile.name)
        own = made.glaciers(tile)
        assert tuple(own["rgi_id"]) == tile.glaciers
        assert own.geometry.geom_equals(frame.geometry[list(tile.glaciers)], align=False).all()
        core = tile.geobox[tile.core.slices].extent.geom
        bounds = shapely.box(*own.to_crs(str(tile.geobox.crs)).total_bounds)
        assert core.covers(bounds.buffer(made.options["buffer_m"], join_style="mitre"))
        assert made.surroundings(name).crs == tile.geobox.crs
        seen += tile.glaciers
    assert sorted(seen) == sorted(frame.index)


def test_it_opens_as_geoparquet_with_plain_columns(made):
    tiles = gpd.read_parquet(made.path)
    assert list(tiles.columns) == [*tables.COLUMNS, "geometry"]
    assert tiles.crs == "EPSG:4326"
    assert tiles["glacier_count"].sum() == 120
    first = made.tile(made.names()[0])
    drawn = grid.geographic(first.geobox).iloc[0]
    assert tiles.geometry[0].symmetric_difference(drawn).area < 1e-9
    assert (tiles[["bytes_read", "bytes_written", "core_hours", "scenes"]] > 0).all(axis=None)


def test_the_same_again_is_the_same(made, outlines):
    before = made.path.read_bytes()
    again = plan(outlines, made.path, **JOB)
    assert again.fingerprint == made.fingerprint
    assert made.path.read_bytes() == before


def test_another_plan_is_not_lost(made, outlines):
    for changed in ({"buffer_m": 300}, {"target_pixels": 10**6}, {"period": "2021"}):
        with pytest.raises(StoreError, match=r"alps.parquet is the plan of other outlines or opt"):
            plan(outlines, made.path, **{**JOB, **changed})
    with pytest.raises(StoreError, match="other outlines or options"):
        plan(([made.tile(made.names()[0]).glaciers[0]], outlines), made.path, **JOB)
    assert read_plan(made.path).fingerprint == made.fingerprint
    other = plan(outlines, made.path, **{**JOB, "buffer_m": 300}, overwrite=True)
    assert other.fingerprint != made.fingerprint


def test_something_else_at_the_path_is_not_lost(outlines, tmp_path):
    (tmp_path / "notes.parquet").write_text("mine")
    with pytest.raises(StoreError, match=r"notes.parquet holds something else than a plan"):
        plan(outlines, tmp_path / "notes.parquet", **JOB)
    assert (tmp_path / "notes.parquet").read_text() == "mine"


def test_nothing_is_made_of_what_is_not_of_use(outlines, tmp_path):
    with pytest.raises(SchemaError, match="buffer_m is a length such as 500 m, found -1"):
        plan(outlines, tmp_path / "new" / "p.parquet", **{**JOB, "buffer_m": -1})
    twice = glaciers((10, 46, 500), (10, 46, 500)).assign(rgi_id="A")
    with pytest.raises(AcquireError, match=r"1 identifiers are there twice, \['A'\]"):
        plan(twice, tmp_path / "new" / "p.parquet", **JOB)
    assert not (tmp_path / "new").exists()


def test_changed_outlines_are_refused_by_name(made, outlines):
    frame = read_outlines(outlines)
    glacier = made.tile(made.names()[0]).glaciers[0]
    row = frame.index[frame["rgi_id"] == glacier]
    frame.loc[row, "geometry"] = frame.geometry[row].iloc[0].convex_hull
    frame.to_file(outlines)
    told = rf"alps.parquet was made with other outlines: in .*outlines.gpkg 1 of .*\['{glacier}'\]"
    with pytest.raises(AcquireError, match=told):
        read_plan(made.path)
    with pytest.raises(AcquireError, match=told):
        made.glaciers(made.names()[0])
    unchecked = read_plan(made.path, check=False)
    assert len(unchecked.glaciers(made.names()[1])) > 0


def test_outlines_that_are_gone_are_refused(made, outlines):
    outlines.unlink()
    with pytest.raises(AcquireError, match=r"alps.parquet needs its outlines at .*outlines.gpkg"):
        read_plan(made.path)
    assert len(read_plan(made.path, check=False)) == len(made)


def test_outlines_in_memory_are_kept_beside_the_plan(tmp_path):
    made = plan(glaciers((180, 66, 900), (10, 46, 900)), tmp_path / "two.parquet", **JOB)
    assert made.outlines == str(tmp_path / "two.outlines.parquet")
    (moved := tmp_path / "moved").mkdir()
    for path in (made.path, tmp_path / "two.outlines.parquet"):
        path.rename(moved / path.name)
    found = read_plan(moved / "two.parquet")
    assert sum(len(found.glaciers(name)) for name in found.names()) == 2


def test_an_unknown_tile_is_refused(made):
    with pytest.raises(StoreError, match=r"no tile 'utm99x'; it has \d+ such as \['utm32n"):
        made.tile("utm99x")


def changed_file(made, column, value, **header):
    """Write a plan's file again with another value in its first row."""
    table = pq.read_table(made.path)
    metadata = table.schema.metadata
    tiles = gpd.read_parquet(made.path)
    tiles[column] = [value, *tiles[column][1:]]
    told = {**json.loads(metadata[KEY]), **header}
    if "tiles" in header:
        told["tiles"] = tables.digest(tiles)
    plan_files.write_plan(tiles, told, made.path)


def test_a_changed_plan_is_refused(made):
    changed_file(made, "core_x1", 10**6)
    with pytest.raises(StoreError, match=r"alps.parquet was changed after it was made; make it"):
        read_plan(made.path)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a b", "", "UTM32N", "..", "x/y"])
def test_a_name_that_leaves_the_folder_is_refused(made, name):
    changed_file(made, "name", name, tiles="right")
    with pytest.raises(StoreError, match="was changed after it was made, tiles"):
        read_plan(made.path)


def test_a_table_without_its_columns_is_refused(made):
    header = plan_files.read_header(made.path)
    plan_files.write_plan(made.tiles.drop(columns="glaciers"), header, made.path)
    with pytest.raises(StoreError, match=r"alps.parquet is no plan that can be read: KeyError"):
        read_plan(made.path)


def test_a_plan_travels_to_other_processes(made):
    again = pickle.loads(pickle.dumps(made))
    assert isinstance(again, Plan)
    assert again.tile(made.names()[0]) == made.tile(made.names()[0])
    assert "secret" not in made.path.read_text(errors="ignore")


@pytest.mark.parametrize(
    ("where", "count"),
    [("oggm-glaciers/rgi/rgi_oetztal.shp", 20),
     ("everest-landsat7/15_rgi60_glacier_outlines.gpkg", 86),
     ("french-alps-outlines/glacier_shapefiles/2015/glaciers_2015_05.shp", 91)],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*mended")
@pytest.mark.filterwarnings("ignore:.*crossed themselves, mended")
def test_real_outlines(real_data, tmp_path, where, count):
    folder, rest = where.split("/", 1)
    path = real_data(folder) / rest
    job = {"catalog": "https://example.org/v1", "period": "2021"}
    made = plan(path, tmp_path / "p.parquet", **job)
    ids = [one for name in made.names() for one in made.tile(name).glaciers]
    assert len(ids) == len(set(ids)) == count
    for name in made.names():
        tile = made.tile(name)
        own = made.glaciers(tile).to_crs(str(tile.geobox.crs))
        assert grid.crs_for(made.glaciers(tile).iloc[[0]]) == str(tile.geobox.crs)
        core = tile.geobox[tile.core.slices].extent.geom
        assert core.covers(shapely.box(*own.total_bounds).buffer(500, join_style="mitre"))
        assert own.area.sum() / 100 < tile.useful
        assert tile.useful <= TARGET_PIXELS or len(tile.glaciers) == 1
