"""Outlines of a plan: each once, valid, and the same ones later."""

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from cluster.rounds import glaciers
from glaciercube.cluster.outline_sources import (
    Record,
    checked,
    digests_of,
    outlines_of,
    require_unchanged,
    source_of,
    stamp_of,
)
from glaciercube.errors import AcquireError, GridError

THREE = [(10.7, 46.8, 900), (10.9, 46.8, 700), (11.2, 46.9, 500)]


@pytest.fixture
def frame():
    return glaciers(*THREE)


@pytest.fixture
def kept(frame, tmp_path):
    """Return the record and the digests of a file of three glaciers."""
    path = tmp_path / "three.gpkg"
    frame.to_file(path)
    source = source_of(path, tmp_path / "plan.parquet")
    expected = dict(zip(source.frame["rgi_id"], source.digests.tolist(), strict=True))
    record = Record(plan=tmp_path / "plan.parquet", address=source.address, stamp=source.saved())
    return record, expected


def test_order_and_container_do_not_matter(frame, tmp_path):
    turned = frame.iloc[::-1]
    for name in ("a.gpkg", "b.parquet", "c.geojson"):
        turned.to_parquet(tmp_path / name) if "parquet" in name else turned.to_file(tmp_path / name)
    files = [tmp_path / one for one in ("a.gpkg", "b.parquet", "c.geojson")]
    sources = [source_of(one, tmp_path / "p.parquet") for one in (*files, frame)]
    assert len({one.digest for one in sources}) == 1
    assert list(sources[0].frame["rgi_id"]) == ["G0", "G1", "G2"]


def test_digests_tell_each_outline(frame):
    first = digests_of(frame)
    other = frame.copy()
    other.loc[1, "geometry"] = shapely.affinity.translate(other.geometry[1], 1e-9)
    assert (digests_of(other) != first).tolist() == [False, True, False]
    assert (digests_of(frame.assign(rgi_id=["G0", "G1", "X"])) != first).tolist() == [0, 0, 1]
    assert (digests_of(frame.to_crs(32632)) != first).all()


def test_outlines_in_memory_get_a_file(frame, tmp_path):
    source = source_of(frame, tmp_path / "sub" / "alps.parquet")
    assert not (tmp_path / "sub").exists()
    stamp = source.saved()
    assert source.address == str(tmp_path / "sub" / "alps.outlines.parquet")
    assert stamp == stamp_of(source.address)
    assert [one.name for one in (tmp_path / "sub").iterdir()] == ["alps.outlines.parquet"]


def test_some_glaciers_of_a_file(frame, tmp_path):
    frame.to_file(tmp_path / "three.gpkg")
    source = source_of((["G2", "G0"], tmp_path / "three.gpkg"), tmp_path / "p.parquet")
    assert list(source.frame["rgi_id"]) == ["G0", "G2"]


@pytest.mark.parametrize("outlines", ["none.gpkg", 3, (10, 46, 11, 47)])
def test_what_is_no_file_is_refused(outlines, tmp_path):
    with pytest.raises(AcquireError, match="a plan needs outlines in a local file"):
        source_of(outlines, tmp_path / "p.parquet")


def test_all_that_is_wrong_is_named(frame):
    crossing = shapely.Polygon([(10, 46), (10.1, 46.1), (10.1, 46), (10, 46.1)])
    more = gpd.GeoDataFrame(
        {"rgi_id": ["G1", "empty", "missing", "point", "crossing"]},
        geometry=[frame.geometry[0], shapely.Polygon(), None, shapely.Point(10, 46), crossing],
        crs=4326,
    )
    with pytest.raises(AcquireError) as told:
        checked(gpd.GeoDataFrame(pd.concat([frame, more])), "mine")
    assert told.match(r"^mine: a plan takes each glacier once; 1 identifiers .* \['G1'\]")
    assert told.match(r"3 have no polygon, \['empty', 'missing', 'point'\]")
    assert told.match(r"1 cross themselves, \['crossing'\]")


def test_rows_that_reading_left_out_are_named(frame, tmp_path):
    lost = gpd.GeoDataFrame({"rgi_id": ["E"]}, geometry=[None], crs=4326)
    gpd.GeoDataFrame(pd.concat([frame, lost, frame.iloc[:1]])).to_parquet(tmp_path / "o.parquet")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(AcquireError, match=r"twice, \['G0'\].*no polygon, \['E'\]"),
    ):
        source_of(tmp_path / "o.parquet", tmp_path / "p.parquet")


def test_frames_need_identifiers_and_a_crs(frame):
    with pytest.raises(AcquireError, match="needs a column 'rgi_id', found"):
        checked(frame.drop(columns="rgi_id"), "mine")
    with pytest.raises(GridError, match="mine: outlines need a coordinate reference system"):
        checked(frame.set_crs(None, allow_override=True), "mine")
    with pytest.raises(AcquireError, match="mine: a plan needs outlines, there are none"):
        checked(frame.iloc[:0], "mine")


def test_outlines_are_found_again(kept, frame):
    record, expected = kept
    require_unchanged(record, expected)
    found = outlines_of(record, {name: expected[name] for name in ("G2", "G0")})
    assert list(found["rgi_id"]) == ["G2", "G0"]
    assert found.geometry[1].equals(frame.geometry[0])


def test_a_changed_outline_is_named(kept, frame):
    record, expected = kept
    assert len(outlines_of(record, expected)) == 3  # and is now in memory
    frame.loc[1, "geometry"] = shapely.buffer(frame.geometry[1], 1e-4)
    frame.to_file(record.address)
    for refused in (require_unchanged, outlines_of):
        with pytest.raises(AcquireError, match=r"three.gpkg 1 of 3 glaciers changed, \['G1'\]"):
            refused(record, expected)
    assert len(outlines_of(record, {"G0": expected["G0"]})) == 1


def test_an_outline_that_is_gone_is_named(kept, frame):
    record, expected = kept
    frame.iloc[:2].to_file(record.address)
    with pytest.raises(AcquireError, match=r"no longer has 1 of 3 glaciers once each, \['G2'\]"):
        require_unchanged(record, expected)


def test_other_rows_may_change(kept, frame):
    record, expected = kept
    more = glaciers(*THREE, (12, 47, 300))
    more.to_file(record.address)
    require_unchanged(record, expected)
    assert len(outlines_of(record, expected)) == 3
    assert stamp_of(record.address) != record.stamp


def test_outlines_may_move_with_their_plan(kept, tmp_path):
    record, expected = kept
    (tmp_path / "new").mkdir()
    (tmp_path / "three.gpkg").rename(tmp_path / "new" / "three.gpkg")
    with pytest.raises(AcquireError, match="needs its outlines at .*three.gpkg, and there is no"):
        require_unchanged(record, expected)
    moved = Record(plan=tmp_path / "new/plan.parquet", address=record.address, stamp=record.stamp)
    require_unchanged(moved, expected)


def test_the_stamp_of_a_shapefile_is_of_all_its_files(frame, tmp_path):
    frame.to_file(tmp_path / "a.shp")
    before = stamp_of(str(tmp_path / "a.shp"))
    assert stamp_of(str(tmp_path / "a.shp")) == before
    frame.assign(rgi_id=["G0", "G1", "other"]).to_file(tmp_path / "a.shp")
    assert stamp_of(str(tmp_path / "a.shp")) != before
    folder = stamp_of(str(tmp_path))
    (tmp_path / "notes.txt").write_text("nothing of outlines")
    assert stamp_of(str(tmp_path)) == folder
