"""Items, elevation, outlines and grids as JSON and back."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pystac
import pytest
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from acquire.scenery import CRS, NORTH, SCENES, WEST, geobox, make_catalog
from glaciercube import grid
from glaciercube.acquire.access import FROM_AFAR, came_from_afar
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.elevation import source_of
from glaciercube.acquire.items import sensor_of_item, sun_of
from glaciercube.acquire.records import (
    dem_of_record,
    dem_record,
    geobox_of_record,
    glaciers_on,
    grid_record,
    item_record,
    items_of_records,
    local_files,
    on_grid,
    outlines_of_record,
    outlines_record,
    plain_dates,
    require_files,
)
from glaciercube.acquire.scenes import _entries
from glaciercube.errors import AcquireError


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return search(make_catalog(tmp_path_factory.mktemp("tiny"), SCENES))


def through_json(record):
    return json.loads(json.dumps(record))


def entry_of(item, names=("green", "swir16")):
    return _entries([item], list(names), geobox(), False, True)[0]


def test_a_grid_comes_back_the_same():
    for one in (geobox(), GeoBox.from_bbox((8, 46, 9, 47), "EPSG:4326", resolution=0.0001)):
        assert geobox_of_record(through_json(grid_record(one))) == one


def test_outlines_come_back_to_the_bit():
    generator = np.random.default_rng(0)
    shapes = [shapely.Point(*xy).buffer(0.01) for xy in generator.uniform(7, 8, (5, 2))]
    shapes[2] = shapely.MultiPolygon([shapes[2], shapes[3]])
    frame = gpd.GeoDataFrame({"name": list("abcde")}, geometry=[*shapes[:4], None], crs=4326)
    back = outlines_of_record(through_json(outlines_record(frame)))
    assert shapely.to_wkb(back.geometry.to_numpy()).tolist() == (
        shapely.to_wkb(frame.geometry.to_numpy()[:4]).tolist()
    )
    assert back.crs == frame.crs


def test_only_outlines_that_matter_count_in_whatever_order():
    def frame(*corners):
        shapes = [box(WEST + x, NORTH - y - 50, WEST + x + 50, NORTH - y) for x, y in corners]
        return gpd.GeoDataFrame(geometry=shapes, crs=CRS)

    some, told = on_grid(frame((100, 100), (300, 300), (3000, 0), (9000, 0)), geobox())
    assert len(some) == 2
    assert on_grid(frame((300, 300), (100, 100)), geobox())[1] == told
    assert on_grid(frame((300, 300)), geobox())[1] != told
    # as far as 5 km beyond the grid, which is 640 m wide, a distance is told
    wide = glaciers_on(frame((100, 100), (3000, 0), (5600, 0), (9000, 0)), geobox())
    assert len(wide[0]) == 3
    again, same = glaciers_on(wide[0], geobox())
    assert (len(again), same) == (3, wide[1])


def test_an_item_comes_back_with_what_reading_needs(items):
    entry = entry_of(items[1])
    record = through_json(item_record(entry))
    (back,) = items_of_records([record], None)
    assert back.id == items[1].id
    assert back.datetime == items[1].datetime
    assert sensor_of_item(back) is entry.sensor
    assert sun_of(back) == sun_of(items[1])
    # the bands that are read, their quality layer, and the dark bands in which offsets show
    assert {"B03", "B11", "SCL"} <= set(back.assets) <= {"B03", "B11", "B12", "SCL"}
    assert back.assets["B03"].href == items[1].assets["B03"].get_absolute_href()
    assert record["links"] == []
    assert FROM_AFAR not in record


def test_an_item_from_afar_stays_one(items):
    far = items[0].clone()
    far.extra_fields[FROM_AFAR] = True
    (back,) = items_of_records([item_record(entry_of(far))], None)
    assert came_from_afar(back)


def test_odd_values_become_text(items):
    odd = items[0].clone()
    odd.properties["made"] = np.datetime64("2021-08-01")
    assert through_json(item_record(entry_of(odd)))["properties"]["made"] == "2021-08-01"


def test_a_collection_of_elevation_comes_back_as_a_catalogue(items):
    source = source_of(geobox(), "cop-dem-glo-30", items)
    record = through_json(dem_record("cop-dem-glo-30", source))
    back = items_of_records([item_record(entry_of(items[0]))], record)
    again = source_of(geobox(), dem_of_record(record), back)
    assert (again.files, again.datum, again.identity) == (
        source.files, source.datum, source.identity,
    )  # fmt: skip
    assert np.allclose(again.boxes, source.boxes, rtol=0, atol=1e-9)
    assert again.near(geobox()) == source.near(geobox())


def test_elevation_across_the_antimeridian_comes_back(tmp_path):
    west, east = box(179.5, 66, 180, 67), box(-180, 66, -179.5, 67)
    shape = shapely.MultiPolygon([west, east])
    one = {
        "id": "a", "address": "https://example.org/a.tif", "version": "1220ab",
        "boxes": [list(west.bounds), list(east.bounds)],
    }  # fmt: skip
    record = {"collection": "arctic", "vertical_datum": "WGS84", "files": [one]}
    (item,) = items_of_records([_item(tmp_path)], record)
    there = GeoBox.from_bbox((179.9, 66.4, 179.99, 66.5), "EPSG:4326", resolution=0.01)
    source = source_of(there, "arctic", [item])
    assert source.identity == (("a", ("https://example.org/a.tif",), "1220ab"),)
    assert grid.geographic(shape).iloc[0].equals(shape)
    assert sorted(source.boxes[0]) == sorted(map(tuple, one["boxes"]))


def _item(folder):
    item = pystac.Item("b", None, None, pystac.utils.str_to_datetime("2021-08-01"), {})
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def test_a_raster_of_elevation_is_kept_by_its_path(tmp_path, items):
    path = items[0].assets["green"].get_absolute_href()
    record = dem_record(path, source_of(geobox(), path, items))
    assert dem_of_record(through_json(record)) == path
    assert dem_of_record(None) is None


def test_files_that_are_gone_or_changed_are_named(tmp_path):
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path in paths:
        path.write_bytes(b"0" * 100)
    files = through_json(local_files([*paths, "https://example.org/d.tif", tmp_path / "none.tif"]))
    assert sorted(files) == sorted(map(str, paths))
    require_files(files)
    paths[0].unlink()
    paths[2].write_bytes(b"1" * 100)
    with pytest.raises(
        AcquireError, match=r"its 3 files.*1 gone: .*a\.tif; 1 changed: .*c\.tif; put them back"
    ):
        require_files(files)


def test_many_files_are_counted(tmp_path):
    files = {str(tmp_path / f"{number}.tif"): "x" for number in range(9)}
    with pytest.raises(AcquireError, match=r"9 gone: (\S+0\.tif), .*4\.tif; put"):
        require_files(files)


def test_dates_are_text_that_means_the_same():
    given = [np.datetime64("2021-08-01T10:30"), 2022, datetime(2023, 8, 1, tzinfo=UTC)]
    assert plain_dates(given) == ["2021-08-01T10:30", "2022", "2023-08-01 00:00:00+00:00"]
    assert plain_dates(None) is None
