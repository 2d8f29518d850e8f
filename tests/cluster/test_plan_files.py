"""The file of a plan: whole or not at all, and what is none is refused."""

import io
import json

import geopandas as gpd
import pyarrow.parquet as pq
import pytest
import shapely

from glaciercube.cluster.plan_files import FIELDS, KEY, VERSION, canonical, read_header, write_plan
from glaciercube.errors import StoreError

HEADER = {"options": {"block": 64}, "outlines": {}, "fingerprint": "f", "tiles": "t"}


@pytest.fixture
def tiles():
    return gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)


def with_metadata(path, **changed):
    """Write a plan's file again with another header."""
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    header = {**json.loads(metadata[KEY]), **changed}
    metadata[KEY] = json.dumps({k: v for k, v in header.items() if v is not None}).encode()
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_it_is_a_geoparquet_file_with_a_header(tiles, tmp_path):
    write_plan(tiles, HEADER, tmp_path / "sub" / "p.parquet")
    read = gpd.read_parquet(tmp_path / "sub" / "p.parquet")
    assert read.crs == tiles.crs
    assert read.geometry[0].equals(tiles.geometry[0])
    assert read_header(tmp_path / "sub" / "p.parquet") == {**HEADER, "version": VERSION}
    assert b"geo" in pq.read_schema(tmp_path / "sub" / "p.parquet").metadata
    assert [one.name for one in (tmp_path / "sub").iterdir()] == ["p.parquet"]


def test_a_failed_write_leaves_the_old_plan(tiles, tmp_path, monkeypatch):
    write_plan(tiles, HEADER, tmp_path / "p.parquet")

    to_memory = pq.write_table

    def full(table, file, **options):
        if isinstance(file, io.BytesIO):
            return to_memory(table, file, **options)
        file.write(b"PAR1 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StoreError, match=r"cannot be written to .*p.parquet: .*No space left"):
        write_plan(tiles, {**HEADER, "fingerprint": "g"}, tmp_path / "p.parquet")
    assert read_header(tmp_path / "p.parquet")["fingerprint"] == "f"
    assert [one.name for one in tmp_path.iterdir()] == ["p.parquet"]


def test_what_is_no_plan_is_refused(tiles, tmp_path):
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(StoreError, match=r"text.parquet is no plan: a GeoParquet file"):
        read_header(tmp_path / "text.parquet")
    with pytest.raises(StoreError, match=r"none.parquet is no plan"):
        read_header(tmp_path / "none.parquet")
    tiles.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(StoreError, match=r"other.parquet is no plan: its metadata lacks 'glacier"):
        read_header(tmp_path / "other.parquet")


def test_a_newer_plan_is_refused(tiles, tmp_path):
    write_plan(tiles, HEADER, tmp_path / "p.parquet")
    with_metadata(tmp_path / "p.parquet", version=VERSION + 1)
    with pytest.raises(StoreError, match=f"plan of version {VERSION + 1}, .* up to {VERSION}"):
        read_header(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"version": None}, "metadata is broken"), ({"version": "new"}, "metadata is broken"),
     ({FIELDS[0]: None}, rf"lacks \['{FIELDS[0]}'\]")],
)  # fmt: skip
def test_a_broken_header_is_refused(tiles, tmp_path, changed, told):
    write_plan(tiles, HEADER, tmp_path / "p.parquet")
    with_metadata(tmp_path / "p.parquet", **changed)
    with pytest.raises(StoreError, match=told):
        read_header(tmp_path / "p.parquet")


def test_options_are_text_whatever_their_order():
    assert canonical({"b": 1, "a": None}) == canonical({"a": None, "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": float("nan")})
