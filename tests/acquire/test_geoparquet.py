"""Items of stac-geoparquet files, written by the reference implementation."""

import json
import re

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
import shapely
import stac_geoparquet.arrow
from shapely.geometry import mapping

from glaciercube import grid
from glaciercube.acquire.geoparquet import document_of, is_geoparquet, read_items
from glaciercube.acquire.intervals import parse_period
from glaciercube.errors import AcquireError

WORLD = shapely.box(10, 46, 11, 47)


def document(name, time="2022-08-05T10:30:00.123456Z", box=WORLD, assets=None, **properties):
    made = pystac.Item(
        name, mapping(box), list(box.bounds), pystac.utils.str_to_datetime(time),
        {"platform": "sentinel-2a", **properties}, collection="sentinel-2-l2a",
    )  # fmt: skip
    for key, fields in (assets or {"red": {}}).items():
        made.add_asset(key, pystac.Asset(f"https://x.org/{name}/{key}.tif", extra_fields=fields))
    return made.to_dict()


def write(path, documents):
    stac_geoparquet.arrow.to_parquet(
        stac_geoparquet.arrow.parse_stac_items_to_arrow(documents), path
    )
    return path


def normalised(item):
    """Return an item's JSON with times of one form and without what is empty."""
    document = item.to_dict(include_self_link=False, transform_hrefs=False)
    properties = document["properties"]
    for key in ("datetime", "created", "updated"):
        if properties.get(key):
            time = pystac.utils.str_to_datetime(properties[key])
            properties[key] = pystac.utils.datetime_to_str(time)
    return without_none(json.loads(json.dumps(document)))


def without_none(value):
    if isinstance(value, dict):
        return {key: without_none(one) for key, one in value.items() if one is not None}
    return [without_none(one) for one in value] if isinstance(value, list) else value


def test_items_come_back_as_they_were(tmp_path):
    fields = {"proj:shape": [10, 20], "raster:bands": [{"scale": 1e-4, "nodata": 0}]}
    box = shapely.geometry.mapping(shapely.box(0, 0, 1, 1))
    first = document("a", **{"eo:cloud_cover": 3.5, "s2:mgrs_tile": "32TMS"})
    second = document("b", assets={"green": fields, "scl": {}}, **{"proj:geometry": box})
    found = read_items(write(tmp_path / "a.parquet", [first, second]))
    assert [list(item.assets) for item in found] == [["red"], ["green", "scl"]]
    for item, source in zip(found, (first, second), strict=True):
        assert normalised(item) == normalised(pystac.Item.from_dict(source))
    assert found[0].datetime.microsecond == 123456
    assert "s2:mgrs_tile" not in found[1].properties


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
def test_real_items_come_back_as_they_were(real_data, tmp_path):
    folder = real_data("stac-items") / "pystac-client-cassettes" / "earth-search"
    paths = sorted((folder / "sentinel-2-c1-l2a").glob("*.json"))
    documents = [json.loads(path.read_text()) for path in paths]
    found = read_items(write(tmp_path / "a.parquet", documents))
    assert len(found) == 4
    for item, source in zip(found, documents, strict=True):
        assert normalised(item) == normalised(pystac.Item.from_dict(source))


def test_rows_elsewhere_and_of_other_times_are_left_out(tmp_path):
    path = write(
        tmp_path / "a.parquet",
        [
            document("here"),
            document("there", box=shapely.box(20, 46, 21, 47)),
            document("then", "2020-08-05T10:30:00Z"),
        ],
    )
    place, period = grid.area_frame((10.1, 46.1, 10.2, 46.2)), parse_period("2022")
    assert [item.id for item in read_items(path, place, period)] == ["here"]
    assert [item.id for item in read_items(path, place)] == ["here", "then"]
    assert [item.id for item in read_items(path, None, parse_period("2022/.."))] == [
        "here",
        "there",
    ]
    assert [item.id for item in read_items(path, None, parse_period("../2021"))] == ["then"]


def test_a_folder_of_files_is_one(tmp_path):
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts" / "a.parquet", [document("a")])
    write(tmp_path / "parts" / "b.parquet", [document("b")])
    assert is_geoparquet(tmp_path / "parts")
    assert sorted(item.id for item in read_items(tmp_path / "parts")) == ["a", "b"]


def test_rows_without_footprint_or_instant_stay(tmp_path):
    one = document("a")
    one["properties"] |= {
        "datetime": None,
        "start_datetime": "2022-08-05T00:00:00Z",
        "end_datetime": "2022-08-06T00:00:00Z",
    }
    path = write(tmp_path / "a.parquet", [one, document("b")])
    table = pq.read_table(path)
    shapes = pa.array([None, table["geometry"][1].as_py()], pa.binary())
    pq.write_table(
        table.set_column(table.schema.get_field_index("geometry"), "geometry", shapes), path
    )
    found = read_items(path, grid.area_frame((0, 0, 1, 1)), parse_period("2022"))
    assert [item.id for item in found] == ["a"]
    assert found[0].datetime is None
    assert found[0].common_metadata.start_datetime.year == 2022


def test_assets_may_be_text():
    row = {
        "id": "a",
        "assets": '{"red": {"href": "a.tif"}}',
        "bbox": {"xmin": 1.0, "ymin": 2.0, "zmin": None, "xmax": 3.0, "ymax": 4.0, "zmax": None},
    }
    assert document_of(row)["assets"] == {"red": {"href": "a.tif"}}
    assert document_of(row)["bbox"] == [1.0, 2.0, 3.0, 4.0]


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "glaciers.parquet"
    gpd.GeoDataFrame({"rgi_id": ["a"]}, geometry=[WORLD], crs=4326).to_parquet(path)
    with pytest.raises(AcquireError, match=r"glaciers.parquet lacks \['id', 'assets'\]; it has"):
        read_items(path)
    path.write_text("no parquet")
    with pytest.raises(AcquireError, match=f"{re.escape(str(path))} is no Parquet file"):
        read_items(path)
    with pytest.raises(AcquireError, match=r"gone.parquet is no Parquet file that can be read"):
        read_items(tmp_path / "gone.parquet")
