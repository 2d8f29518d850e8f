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
        ({"landsat:wrs_path": "21", "landsat:wrs_row": "030"}, "x", "021030"),
        ({}, "LE07_L2SP_021030_20100109_20200911_02_T1", "021030"),
        ({}, "S1A_IW_GRDH_1SDV_20210809T173953_20210809T174018_039156_rtc", "sentinel-2-l2a"),
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


def test_one_family_for_all():
    rows = told.sensors_of_items([item(), item(collection="sentinel-2-c1-l2a")])
    assert rows == [SENTINEL_2_L2A, SENTINEL_2_L2A]
    with pytest.raises(SensorError, match=r"1 of 2 items cannot be loaded: a belongs to no sensor"):
        told.sensors_of_items([item(), item(collection="unheard")])
    with pytest.raises(SensorError, match=r"found \['sentinel-2-l1c', 'sentinel-2-l2a'\]; load"):
        told.sensors_of_items([item(), item(collection="sentinel-2-l1c")])


def test_a_property_may_name_the_sensor():
    one = item(collection="anything", **{told.SENSOR: "sentinel-2-l2a"})
    assert told.sensor_of_item(one) is SENTINEL_2_L2A


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
    linear = told.linear_of(one, SENTINEL_2_L2A, "red")
    assert (None if linear is None else round(linear.offset)) == declared


def test_of_two_versions_the_older_is_listed_with_the_reason():
    old = item("old", **{"s2:processing_baseline": "02.14"})
    new = item("new", "2022-08-05T10:30:00.9Z", **{"s2:processing_baseline": "05.10"})
    for order in ([old, new], [new, old]):
        kept, dropped = told.single(order)
        assert names(kept) == ["new"]
        assert [str(one) for one in dropped] == [
            "old for new: processing baseline 02.14, kept 05.10"
        ]
        assert told.deduplicated(order) == (kept, [old])


@pytest.mark.parametrize(
    "other",
    [
        {"time": "2022-08-05T10:30:10Z"},
        {"s2:mgrs_tile": "32TNS"},
        {"platform": "Sentinel-2B"},
        {"sat:relative_orbit": 22},
        {"box": shapely.box(10.5, 46, 12, 47)},
        {"collection": "sentinel-2-l1c"},
    ],
)
def test_other_scenes_are_kept(other):
    kept, dropped = told.single([item("a", **{"sat:relative_orbit": 21}), item("b", **other)])
    assert sorted(names(kept)) == ["a", "b"]
    assert not dropped


@pytest.mark.parametrize("other", [{"platform": "Sentinel-2A"}, {"sat:relative_orbit": 22}])
def test_what_only_one_states_does_not_part_them(other):
    kept, dropped = told.single([item("a"), item("b", **other)])
    assert names(kept) == ["b"]
    assert [one.item.id for one in dropped] == ["a"]


def test_the_same_item_twice_is_one():
    kept, dropped = told.single([item("a"), item("a")])
    assert names(kept) == ["a"]
    assert [one.reason for one in dropped] == ["the same item twice"]


def test_kept_items_are_sorted_by_time():
    kept, _ = told.deduplicated(
        [item("b", "2023-01-01T00:00:00Z"), item("a", "2022-01-01T00:00:00Z")]
    )
    assert names(kept) == ["a", "b"]


PRODUCT = "S2B_MSIL2A_20250731T131909_N{}_R095_T20EPT_20250731T143919.SAFE"
TAKE = "GS2B_20250731T131909_043879_N05.11"


def test_one_scene_of_two_providers_is_known_by_the_names_of_its_product():
    """Planetary Computer states the datatake's time, Earth Search the tile's."""
    planetary = item(
        "S2B_MSIL2A_20250731T131909_R095_T20EPT_20250731T150000", "2025-07-31T13:19:09.024Z",
        platform="Sentinel-2B",
        **{"s2:product_uri": PRODUCT.format("0511"), "s2:datatake_id": TAKE},
    )  # fmt: skip
    earth = item(
        "S2B_T20EPT_20250731T131905_L2A", "2025-07-31T13:19:22.93Z", platform="sentinel-2b",
        collection="sentinel-2-c1-l2a",
        **{"s2:datatake_id": TAKE, "s2:processing_baseline": "05.11"},
    )  # fmt: skip
    granule = item(
        "S2B_OPER_MSI_L2A_TL_2BPS_20250731T143919_A043879_T20EPT", "2025-07-31T13:19:22.93Z",
        platform="sentinel-2b",
    )  # fmt: skip
    for one in (planetary, earth, granule):
        one.properties["s2:mgrs_tile"] = "20EPT"
    kept, dropped = told.single([planetary, granule, earth])
    assert names(kept) == [planetary.id]  # the product's name says when it was processed
    assert sorted(one.item.id for one in dropped) == sorted([earth.id, granule.id])


def landsat(name, time, collection="landsat-c2-l2", **properties):
    one = item(name, time, collection=collection, platform="LANDSAT_8", **properties)
    del one.properties["s2:mgrs_tile"]
    path, row = name.split("_")[2][:3], name.split("_")[2][3:]
    one.properties |= {"landsat:wrs_path": path, "landsat:wrs_row": row}
    return one


def test_a_landsat_scene_is_known_by_its_day_and_the_best_tier_is_kept():
    whole = landsat("LC08_L2SP_198022_20211123_02_T1", "2021-11-23T10:33:24.389099Z")
    day = landsat("LC08_L2SP_198022_20211123_20211130_02_T2", "2021-11-23", "landsat-c2l2-sr")
    soon = landsat("LC08_L2SP_198022_20211123_20211124_02_RT", "2021-11-23", "landsat-c2l2-sr")
    next_row = landsat("LC08_L2SP_198023_20211123_02_T1", "2021-11-23T10:33:24.389099Z")
    kept, dropped = told.single([day, next_row, soon, whole])
    assert names(kept) == [whole.id, next_row.id]
    assert [one.reason for one in dropped] == ["tier RT, kept T1", "tier T2, kept T1"]


def test_of_two_processings_of_a_landsat_scene_the_later_is_kept():
    early = landsat("LC08_L2SP_198022_20211123_20211130_02_T1", "2021-11-23", "landsat-c2l2-sr")
    late = landsat("LC08_L2SP_198022_20211123_02_T1", "2021-11-23T10:33:24Z")
    late.assets["red"].href = "https://x.org/LC08_L2SP_198022_20211123_20230101_02_T1_SR_B4.TIF"
    kept, (dropped,) = told.single([early, late])
    assert names(kept) == [late.id]
    assert dropped.reason == "processed 20211130, kept 20230101"


@pytest.mark.parametrize(
    ("name", "stated", "platform"),
    [
        ("S2B_20EPT_20250731_0_L2A", None, "sentinel-2b"),
        ("LC08_L2SP_198022_20211123_02_T1", None, "landsat-8"),
        ("x", "LANDSAT_8", "landsat-8"),
        ("x", "Sentinel-2B", "sentinel-2b"),
        ("x", None, ""),
    ],
)
def test_the_platform_is_found_however_it_is_stated(name, stated, platform):
    assert told.platform_of(item(name, platform=stated)) == platform


def test_the_crs_is_found_however_it_is_stated():
    assert told.crs_of(item()) is None
    assert told.crs_of(item(**{"proj:epsg": 32632})) == "EPSG:32632"
    assert told.crs_of(item(**{"proj:code": "EPSG:32632"})) == "EPSG:32632"
    one = item()
    one.assets["red"].extra_fields["proj:epsg"] = 32633
    assert told.crs_of(one) == "EPSG:32633"


def test_a_footprint_over_the_antimeridian_is_cut():
    one = item()
    one.geometry = {
        "type": "Polygon",
        "coordinates": [[[179, 60], [-179, 60.5], [-179, 61], [179, 61.5], [179, 60]]],
    }
    assert [part.bounds for part in shapely.get_parts(told.footprint_of(one))] == [
        (-180, 60.25, -179, 61.25),
        (179, 60, 180, 61.5),
    ]
    one.geometry, one.bbox = None, [179, 60, 0, -179, 61, 4000]
    assert told.footprint_of(one).area == pytest.approx(2)


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


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
def test_real_scenes_in_several_collections_are_found_out(real_data):
    """Four scenes of one pass of Sentinel-2B in two collections of Earth Search, one in three."""
    found = list(real_items(real_data("stac-items") / "pystac-client-cassettes" / "earth-search"))
    two = [one for one in found if "_L2A" in one.id]
    kept, dropped = told.single(two)
    assert [len(two), len(kept), len(dropped)] == [9, 4, 5]
    assert {one.collection_id for one in kept} == {"sentinel-2-c1-l2a"}
    assert {one.reason for one in dropped} == {
        "the same product in sentinel-2-l2a",
        "the same product in sentinel-s2-l2a-cogs",
    }
