"""Searching catalogues of any kind: what is found, what is left out, what an error says."""

import json
import traceback
from collections import Counter
from datetime import UTC, datetime

import geopandas as gpd
import pystac
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from acquire.scenery import SCENES, geobox, make_catalog
from acquire.stac_api import Api, served
from glaciercube.acquire.catalogs import search
from glaciercube.errors import AcquireError, GridError, SensorError


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return make_catalog(tmp_path_factory.mktemp("tiny"), SCENES)


def names(items):
    return [item.id for item in items]


def test_scenes_are_found_once_and_by_time(catalog):
    assert names(search(catalog)) == ["old", "new", "again", "harmonised"]
    assert names(search(str(catalog), geobox())) == ["old", "new", "again", "harmonised"]


def test_an_open_catalogue_and_a_list_do_too(catalog):
    opened = pystac.Catalog.from_file(str(catalog))
    assert names(search(opened)) == names(search(catalog))
    assert names(search(iter(search(catalog)), period="2021")) == ["old", "new"]


@pytest.mark.parametrize(
    ("period", "found"),
    [
        ("2021", ["old", "new"]),
        ("2022/2023", ["again", "harmonised"]),
        ("2021-08", ["old", "new"]),
        ("2021-08-01", ["old", "new"]),
        ("2022-09/..", ["harmonised"]),
        ("../2021", ["old", "new"]),
        (("2022-08-05", "2022-08-05"), ["again"]),
        (("2022", None), ["again", "harmonised"]),
        ((datetime(2022, 8, 5), datetime(2022, 8, 6, tzinfo=UTC)), ["again"]),
        ("2021-08-01T10:30:05Z/2021-08-01", ["new"]),
    ],
)
def test_periods(catalog, period, found):
    assert names(search(catalog, period=period)) == found


@pytest.mark.parametrize(
    ("season", "count"),
    [
        (("07-01", "09-30"), 4),
        (("08-05", "08-05"), 1),
        (("08-04", "08-02"), 3),
        (("08-02", "02-29"), 2),
    ],
)
def test_seasons_include_their_ends_and_run_over_new_year(catalog, season, count):
    assert len(search(catalog, season=season)) == count


def test_clouds_are_the_providers_and_items_without_stay(catalog):
    assert names(search(catalog, max_cloud=50)) == ["old", "new", "again"]
    assert names(search(catalog, max_cloud=30)) == ["old", "new", "again"]


def test_areas_in_any_form(catalog):
    frame = gpd.GeoDataFrame(
        geometry=[shapely.box(600_100, 5_000_100, 600_200, 5_000_200)], crs=32632
    )
    assert len(search(catalog, frame)) == 4
    assert len(search(catalog, frame.to_crs(4326).geometry.iloc[0])) == 4
    assert len(search(catalog, tuple(frame.to_crs(4326).total_bounds))) == 4
    with pytest.raises(GridError, match="coordinate reference system"):
        search(catalog, frame.set_crs(None, allow_override=True))


def test_an_empty_search_counts_what_each_filter_left(catalog):
    with pytest.raises(AcquireError) as raised:
        search(catalog, geobox(), "2021/2022", season=("01-01", "02-01"), max_cloud=10)
    text = str(raised.value)
    assert "6 in the catalogue" in text
    assert "5 of sentinel-2-l2a" in text
    assert "5 over the area" in text
    assert "4 in 2021-01-01/2022-12-31" in text
    assert "0 between 01-01 and 02-01" in text
    assert "nothing is left between 01-01 and 02-01; widen this: the scenes are of 2021-" in text
    assert str(catalog) in text


def test_another_sensor_says_what_is_there(catalog):
    with pytest.raises(
        AcquireError, match="holds 1 of cop-dem-glo-30, 5 of sentinel-2-l2a; choose"
    ):
        search(catalog, sensor="sentinel-2-l1c")
    with pytest.raises(SensorError, match="unknown sensor 'sentinel-3'"):
        search(catalog, sensor="sentinel-3")


def test_no_items_at_all():
    with pytest.raises(AcquireError, match=r"found 0 in the catalogue.*\(items given\); check"):
        search([])


def test_what_is_nowhere_says_where_the_scenes_are(catalog):
    with pytest.raises(AcquireError) as raised:
        search(catalog, (0, 0, 1, 1))
    assert "5 of sentinel-2-l2a, 0 over the area" in str(raised.value)
    assert (
        "widen this: the scenes lie in (10.272, 45.146, 10.28, 45.152), the area in (0, 0, 1, 1)"
        in str(raised.value)
    )
    with pytest.raises(
        AcquireError, match=r"0 in 1999-01-01/1999-12-31 .*are of 2021-08-01 to 2023"
    ):
        search(catalog, period="1999")
    with pytest.raises(AcquireError, match=r"0 with at most 1 % cloud .*: the clearest has 80 %"):
        search(catalog, period="2023", max_cloud=1)


def test_an_area_without_anything_in_it(catalog):
    with pytest.raises(GridError, match="the area is empty"):
        search(catalog, shapely.Polygon())
    with pytest.raises(
        AcquireError, match=r"there is no file 'RGI60-11.01450'; a glacier of a file"
    ):
        search(catalog, "RGI60-11.01450")


def test_a_period_that_ends_before_it_starts_asks_nothing():
    with pytest.raises(AcquireError, match="a period ends after it starts, found '2023/2021'"):
        search("http://127.0.0.1:9/", period="2023/2021")


def test_the_area_may_be_a_glacier_of_a_file(catalog, tmp_path):
    boxes = [shapely.box(600_100, 5_000_100, 600_200, 5_000_200), shapely.box(0, 0, 100, 100)]
    frame = gpd.GeoDataFrame(
        {"RGIId": ["RGI60-11.00001", "RGI60-11.00002"]}, geometry=boxes, crs=32632
    )
    frame.to_crs(4326).to_file(tmp_path / "rgi.gpkg")
    path = str(tmp_path / "rgi.gpkg")
    assert len(search(catalog, ("RGI60-11.00001", path))) == 4
    assert len(search(catalog, path)) == 4
    with pytest.raises(AcquireError, match="0 over the area"):
        search(catalog, ("RGI60-11.00002", path))
    with pytest.raises(AcquireError, match=r"no outline \['RGI60-11.00003'\] in"):
        search(catalog, ("RGI60-11.00003", path))


def test_what_was_dropped_is_listed(catalog):
    found = search(catalog)
    assert [str(one) for one in found.dropped] == [
        "first for again: processing baseline 04.00, kept 05.10"
    ]
    assert found.steps == (("in the catalogue", 6), ("of sentinel-2-l2a", 5))


def test_an_api_gives_what_the_files_do(catalog):
    documents = [{**item.to_dict(), "links": []} for item in search(catalog)]
    with served(Api(documents)) as api:
        items = search(api.address, geobox(), "2021/2022", season=("07-01", "08-03"), max_cloud=90)
        assert names(items) == ["old", "new"]
        # Servers leave out items without cloud cover, so that they are not asked for it.
        assert set(api.asked[0]) == {"collections", "bbox", "datetime", "limit"}
        with pytest.raises(AcquireError, match=r"found 0 in the catalogue, .* if it is an API$"):
            search(api.address, (0, 0, 1, 1))


SECRET = "sv=2026&sig=abcSECRETxyz"


def test_nothing_shows_the_signature_of_an_asset(catalog):
    items = list(search(catalog))
    for item in items:
        for asset in item.assets.values():
            asset.href = f"https://x.blob.core.windows.net/a/{item.id}.tif?{SECRET}"
        item.set_self_href(f"https://x.org/{item.id}.json?{SECRET}")
    found = search([*items, *items])
    shown = [repr(found), found._repr_html_(), repr(found.dropped), str(found.steps)]
    assert not any("SECRET" in text for text in shown)
    for options in (
        {"period": "1999"},
        {"sensor": "hls"},
        {"area": (0, 0, 1, 1)},
        {"max_cloud": -1},
    ):
        with pytest.raises(AcquireError) as raised:
            search(items[-1:], **options)
        assert "SECRET" not in "".join(traceback.format_exception(raised.value))


# Real documents


COUNTS = {
    "sentinel-2-l2a": (42, 36),
    "sentinel-2-l1c": (5, 5),
    "landsat-oli-c2-l2": (18, 18),
    "landsat-etm-c2-l2": (1, 1),
    "landsat-tm-c2-l2": (4, 3),
    "landsat-c2-l2": (23, 22),
    "sentinel-1-rtc": (1, 1),
    "cop-dem-glo-30": (2, 2),
}
"""Real items of each sensor, counted by their names, and those that repeat no other."""


@pytest.fixture
def documents(real_data):
    found = [
        json.loads(path.read_text()) for path in sorted(real_data("stac-items").rglob("*.json"))
    ]
    return [one for one in found if one.get("type") == "Feature"]


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
@pytest.mark.parametrize("sensor", COUNTS)
def test_real_items_of_any_stac_version_are_found_by_sensor(documents, sensor):
    found = search(documents, sensor=sensor)
    every, once = COUNTS[sensor]
    assert dict(found.steps)[f"of {sensor}"] == every
    assert (len(found), len(found.dropped)) == (once, every - once)


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
def test_a_catalogue_of_refused_kinds_says_why(documents):
    radar = [one for one in documents if "GRD" in one["id"]]
    with pytest.raises(AcquireError) as raised:
        search(radar, sensor="sentinel-1-rtc")
    assert f"holds {len(radar)} of sentinel-1-grd): ground range detected" in str(raised.value)


L1C, L2A, LANDSAT = "sentinel-2-l1c", "sentinel-2-l2a", "landsat-c2-l2"
PLACES = {
    # Boxes on the scene: on either side of the antimeridian, and over it.
    "S2A_T01LAC": (L1C, (179.8, -16, 179.9, -15.9), (-179.9, -16, -179.8, -15.9)),
    "S2A_T01WCP": (L2A, (179.5, 66, 179.6, 66.1), (-179.4, 66, -179.3, 66.1)),
    "T60CWS": (L2A, (178, -80, 178.1, -79.9), (-179.5, -80, -179.4, -79.9)),
    "S2A_T01KAB": (L2A, (179.9, -16.8, -179.9, -16.7)),
    "S2B_T01CCV": (L2A, (177.5, -72.5, 177.6, -72.4)),
    "S2B_T33XWJ": (L2A, (16, 80.12, 16.1, 80.15)),
    "LC08_L2SR_081119": (LANDSAT, (104, -81, 104.1, -80.9)),
    "LC08_L2SR_084024": (LANDSAT, (-179, 51.5, -178.9, 51.6), (179.99, 51.5, -179.9, 51.6)),
    "LT05_L2SR_087017": (LANDSAT, (179.97, 60.98, 179.98, 61), (-179.5, 61.4, -179.4, 61.5)),
}
FAR = [(0, -16, 1, -15), (90, 66, 91, 67), (0, -80, 1, -79), (-90, 51, -89, 52), (10, 46, 11, 47)]


@pytest.mark.filterwarnings("ignore:Could not parse bucket")
@pytest.mark.parametrize("name", PLACES)
def test_scenes_at_the_antimeridian_and_the_poles_are_found_from_both_sides(documents, name):
    items = [one for one in documents if name in one["id"]]
    sensor, *boxes = PLACES[name]
    for box in boxes:
        assert len(search(items, box, sensor=sensor)) == 1, box
    for box in FAR:
        with pytest.raises(AcquireError, match="0 over the area"):
            search(items, box, sensor=sensor)


@given(st.permutations(range(8)))
def test_the_order_of_the_catalogue_does_not_matter(order):
    documents = [
        scene("a", "2022-08-05T10:30:00Z", "02.14"), scene("b", "2022-08-05T10:30:00.5Z", "05.10"),
        scene("c", "2022-08-05T10:30:00Z", "05.10"), scene("c", "2022-08-05T10:30:00Z", "05.10"),
        scene("d", "2021-08-05T10:30:00Z", "05.10"), scene("e", "2021-08-05T10:30:00Z", "05.10"),
        scene("f", "2021-08-05T10:30:00Z", "05.10", tile="32TNS"), scene("g", "2023", "05.10"),
    ]  # fmt: skip
    found = search([documents[number] for number in order])
    assert names(found) == ["e", "f", "c", "g"]
    assert Counter(one.item.id for one in found.dropped) == Counter("abcd")


def scene(name, time, baseline, tile="32TMS"):
    box = shapely.box(10, 46, 11, 47)
    properties = {
        "platform": "sentinel-2a",
        "s2:mgrs_tile": tile,
        "s2:processing_baseline": baseline,
    }
    stamp = f"{time}-01-01T00:00:00Z" if len(time) == 4 else time
    return pystac.Item(
        name, mapping(box), list(box.bounds), pystac.utils.str_to_datetime(stamp), properties,
        collection="sentinel-2-l2a",
    )  # fmt: skip
