"""What items say of themselves, and which repeat."""

import json

import pystac
import pytest
import shapely
from shapely.geometry import mapping

from glaciercube.acquire import items as told
from glaciercube.errors import SensorError
from glaciercube.sensors import SENTINEL_2_L2A

SQUARE = shapely.box(10, 46, 11, 47)


def item(
    name="a", time="2022-08-05T10:30:00Z", box=SQUARE, collection="sentinel-2-l2a", **properties
):
    made = pystac.Item(
        name, mapping(box), list(box.bounds), pystac.utils.str_to_datetime(time),
        {"platform": "sentinel-2a", "s2:mgrs_tile": "32TMS", **properties}, collection=collection,
    )  # fmt: skip
    made.add_asset("red", pystac.Asset("red.tif"))
    return made


def names(found):
    return [one.id for one in found]


@pytest.mark.parametrize(
    ("properties", "name", "tile"),
    [
        ({"s2:mgrs_tile": "06VVN"}, "x", "06VVN"),
        ({"grid:code": "MGRS-1CCV"}, "x", "01CCV"),
        ({"mgrs:utm_zone": 6, "mgrs:latitude_band": "V", "mgrs:grid_square": "VN"}, "x", "06VVN"),
        ({}, "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531", "06VVN"),
        ({}, "S2A_28QCH_20200714_0_L2A", "28QCH"),
        ({}, "unnamed", "sentinel-2-l2a"),
    ],
)
def test_the_tile_is_found_however_it_is_stated(properties, name, tile):
    one = item(name)
    del one.properties["s2:mgrs_tile"]
    one.properties.update(properties)
    assert told.tile_of(one) == tile


def test_the_sun_is_found_however_it_is_stated():
    assert told.sun_of(item(**{"view:sun_azimuth": 150, "view:sun_elevation": 50})) == (150, 50)
    planetary = item(**{"s2:mean_solar_azimuth": 150, "s2:mean_solar_zenith": 40})
    assert told.sun_of(planetary) == (150, 50)
    assert told.sun_of(item(**{"view:sun_azimuth": 150})) is None


def test_the_mean_of_azimuths_runs_over_north():
    suns = [
        item(**{"view:sun_azimuth": a, "view:sun_elevation": e}) for a, e in ((350, 10), (10, 20))
    ]
    azimuth, elevation = told.mean_sun(suns)
    assert azimuth == pytest.approx(0, abs=1e-9) or azimuth == pytest.approx(360)
    assert elevation == 15
    assert told.mean_sun([*suns, item()]) is None


def test_one_sensor_for_all():
    assert told.sensor_of_items([item(), item(collection="sentinel-2-c1-l2a")]) is SENTINEL_2_L2A
    with pytest.raises(SensorError, match=r"found \['landsat-c2-l2'\]; there are"):
        told.sensor_of_items([item(collection="landsat-c2-l2")])
    with pytest.raises(SensorError, match=r"found \['sentinel-2-l1c', 'sentinel-2-l2a'\]"):
        told.sensor_of_items([item(), item(collection="sentinel-2-l1c")])


@pytest.mark.parametrize(
    ("properties", "asset", "declared"),
    [
        ({"s2:processing_baseline": "05.09"}, {}, -1000),
        ({"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}, {}, 0),
        (
            {"s2:processing_baseline": "02.14"},
            {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
            0,
        ),
        ({}, {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}, -1000),
        ({}, {"bands": [{"raster:scale": 1e-4, "raster:offset": -0.1}]}, -1000),
        ({}, {"raster:bands": [{"nodata": 0}]}, None),
        ({}, {}, None),
    ],
)
def test_the_baseline_comes_before_the_assets(properties, asset, declared):
    one = item(**properties)
    one.assets["red"].extra_fields.update(asset)
    assert told.declared_offset(one, SENTINEL_2_L2A, "red") == declared


def test_the_newest_baseline_is_kept_then_the_newest_made():
    old = item("old", **{"s2:processing_baseline": "02.14", "created": "2024"})
    new = item(
        "new", "2022-08-05T10:30:00.9Z", **{"s2:processing_baseline": "05.10", "created": "2022"}
    )
    newer = item("newer", **{"s2:processing_baseline": "05.10", "created": "2023"})
    for order in ([old, new, newer], [newer, new, old], [new, newer, old]):
        kept, dropped = told.deduplicated(order)
        assert names(kept) == ["newer"]
        assert sorted(names(dropped)) == ["new", "old"]


@pytest.mark.parametrize(
    "other",
    [
        {"time": "2022-08-05T10:30:10Z"},
        {"s2:mgrs_tile": "32TNS"},
        {"platform": "Sentinel-2B"},
        {"sat:relative_orbit": 22},
        {"box": shapely.box(10.5, 46, 12, 47)},
    ],
)
def test_other_scenes_are_kept(other):
    kept, dropped = told.deduplicated([item("a"), item("b", **other)])
    assert sorted(names(kept)) == ["a", "b"]
    assert not dropped


def test_the_case_of_the_platform_does_not_matter():
    kept, _ = told.deduplicated([item("a"), item("b", platform="Sentinel-2A")])
    assert names(kept) == ["b"]


def test_the_same_item_twice_is_one():
    kept, dropped = told.deduplicated([item("a"), item("a")])
    assert names(kept) == ["a"]
    assert names(dropped) == ["a"]


def test_kept_items_are_sorted_by_time():
    kept, _ = told.deduplicated(
        [item("b", "2023-01-01T00:00:00Z"), item("a", "2022-01-01T00:00:00Z")]
    )
    assert names(kept) == ["a", "b"]


def test_a_footprint_that_crosses_itself_is_mended():
    one = item()
    one.geometry = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    assert told.footprint_of(one).is_valid
    one.geometry = None
    assert told.footprint_of(one).bounds == SQUARE.bounds


def test_identity_of_a_local_file_changes_with_it(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("a")
    before = told.identity_of(str(path))
    path.write_text("ab")
    assert told.identity_of(str(path)) != before
    assert told.identity_of(str(tmp_path / "gone.tif")) == (str(tmp_path / "gone.tif"),)
    assert told.identity_of("https://x.org/a.tif?sig=1") == told.identity_of(
        "https://x.org/a.tif?sig=2"
    )


def real_items(folder):
    for path in sorted(folder.rglob("*.json")):
        document = json.loads(path.read_text())
        if document.get("type") == "Feature":
            yield pystac.Item.from_dict(document)


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
def test_real_items_are_understood(real_data):
    found = [
        one for one in real_items(real_data("stac-items")) if "sentinel-2" in str(one.collection_id)
    ]
    assert len(found) > 30
    for one in found:
        assert len(told.tile_of(one)) == 5, one.id
        assert told.time_of(one).year >= 2015
        assert told.sun_of(one) is not None, one.id
    kept, dropped = told.deduplicated(found)
    assert len(kept) + len(dropped) == len(found)
    # One scene of two collections: the provider's own and its reprocessed one.
    assert {told.tile_of(one) for one in dropped} >= {"20EPT", "24MUA"}
