"""Items of an API, of static catalogues, of files and of lists."""

import functools
import json
import threading
import traceback
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pystac
import pytest
import shapely

from acquire.scenery import SCENES, geobox, make_catalog
from acquire.stac_api import Api, served
from glaciercube import grid, sensors
from glaciercube.acquire import archives
from glaciercube.acquire.access import came_from_afar
from glaciercube.acquire.archives import items_from, name_of
from glaciercube.acquire.intervals import parse_period
from glaciercube.errors import AcquireError

ROWS = sensors.rows_of("sentinel-2-l2a")
SECRET = "sv=2026&sig=abcSECRETxyz"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return make_catalog(tmp_path_factory.mktemp("tiny"), SCENES)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(archives, "PAUSE_S", 0.0)


@pytest.fixture
def documents(catalog):
    found = pystac.Catalog.from_file(str(catalog)).get_items(recursive=True)
    return [{**item.to_dict(), "links": []} for item in found]


def names(items):
    return sorted(item.id for item in items)


EVERY = ["again", "dem", "first", "harmonised", "new", "old"]


# Files and lists


def test_a_catalogue_its_folder_a_collection_and_an_open_one(catalog):
    assert names(items_from(catalog, ROWS)) == EVERY
    assert names(items_from(str(catalog), ROWS)) == EVERY
    assert names(items_from(catalog.parent, ROWS)) == EVERY
    part = catalog.parent / "sentinel-2-l2a" / "collection.json"
    assert names(items_from(part, ROWS)) == [name for name in EVERY if name != "dem"]
    assert names(items_from(pystac.Catalog.from_file(str(catalog)), ROWS)) == EVERY


def test_a_file_of_items_and_one_of_an_item(documents, tmp_path):
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": documents}))
    assert names(items_from(path, ROWS)) == EVERY
    path.write_text(json.dumps(documents[0]))
    assert names(items_from(path, ROWS)) == [documents[0]["id"]]


def test_relative_addresses_of_a_file_of_items_start_at_the_file(documents, tmp_path):
    document = {**documents[0], "assets": {"red": {"href": "./red.tif"}}}
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [document]}))
    (item,) = items_from(path, ROWS)
    assert item.assets["red"].get_absolute_href() == str(tmp_path / "red.tif")


def test_lists_of_items_and_documents(documents):
    items = [pystac.Item.from_dict(one) for one in documents]
    assert items_from(iter(items), ROWS) == items
    assert names(items_from(documents, ROWS)) == EVERY
    assert names(items_from(pystac.ItemCollection(items), ROWS)) == EVERY
    assert names(items_from({"type": "FeatureCollection", "features": documents}, ROWS)) == EVERY
    assert items_from(items[0], ROWS) == [items[0]]


def test_a_list_of_something_else():
    with pytest.raises(AcquireError, match="a list of STAC items, found a list with str"):
        items_from(["catalog.json"], ROWS)
    with pytest.raises(AcquireError, match="found a list with dict"):
        items_from([{"type": "Collection"}], ROWS)


@pytest.mark.parametrize(
    ("text", "what"),
    [("{}", "JSON"), ("no json", "line 1 column 1"), ('{"type": "FeatureCollection"}', "features")],
)
def test_a_file_that_holds_no_items(tmp_path, text, what):
    (tmp_path / "catalog.json").write_text(text)
    with pytest.raises(AcquireError, match=f"cannot read the STAC .*catalog.json: .*{what}.*; che"):
        items_from(tmp_path / "catalog.json", ROWS)


def test_a_file_that_is_not_there():
    with pytest.raises(AcquireError, match="gone.json: there is no file gone.json; check"):
        items_from("gone.json", ROWS)


def test_a_broken_link_of_a_catalogue_is_named(catalog, tmp_path):
    document = json.loads(catalog.read_text())
    document["links"] = [{"rel": "child", "href": "./nowhere/collection.json"}]
    (tmp_path / "catalog.json").write_text(json.dumps(document))
    with pytest.raises(AcquireError, match="nowhere/collection.json"):
        items_from(tmp_path / "catalog.json", ROWS)


# Over HTTP


@pytest.fixture
def web(catalog):
    """Return the address under which the static catalogue is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(catalog.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_static_catalogue_on_the_web(web):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(items_from(f"{web}/catalog.json", ROWS)) == EVERY
    items = items_from(f"{web}/catalog.json?{SECRET}", ROWS)
    assert names(items) == EVERY
    assert not any("SECRET" in (item.get_self_href() or "") for item in items)
    assert all((item.get_self_href() or "").startswith(web) for item in items)


def test_an_api_is_asked_for_collections_boxes_and_period(documents):
    place = grid.area_frame(geobox())
    with served(Api(documents)) as api:
        found = items_from(api.address, ROWS, place, parse_period("2021/2022"))
    assert names(found) == [name for name in EVERY if name != "dem"]
    (query,) = api.asked
    assert query["collections"] == ["sentinel-2-l2a"]
    # Whole seconds, wider than the period: no scene of its last second is lost.
    assert query["datetime"] == "2021-01-01T00:00:00Z/2023-01-01T00:00:00Z"
    (box,) = grid.geographic_boxes(place)
    assert query["bbox"] == pytest.approx(box)
    assert query["limit"] == archives.PAGE


def test_an_open_api_does_too(documents):
    with served(Api(documents)) as api:
        opened = archives.Client.open(api.address)
        assert len(items_from(opened, ROWS, None, parse_period("2022/.."))) == 5
    assert api.asked[0]["datetime"] == "2022-01-01T00:00:00Z/.."


def test_an_api_that_does_not_say_that_it_searches(documents):
    with served(Api(documents, conforms=False)) as api, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(items_from(api.address, ROWS)) == 5


def test_every_collection_that_may_hold_the_sensor_is_asked_for(documents):
    held = ["landsat-c2-l2", "sentinel-2-c1-l2a", "sentinel-2-l2a"]
    with served(Api(documents, collections=held)) as api:
        items_from(api.address, ROWS)
    assert api.asked[0]["collections"] == ["sentinel-2-l2a", "sentinel-2-c1-l2a"]


def test_at_the_antimeridian_each_side_is_asked_and_each_item_given_once(documents):
    both = shapely.MultiPolygon([shapely.box(179, 60, 180, 61), shapely.box(-180, 60, -179, 61)])
    crossing = {**documents[0], "id": "both", "geometry": shapely.geometry.mapping(both)}
    east = {**crossing, "id": "east", "geometry": shapely.geometry.mapping(both.geoms[0])}
    far = {**crossing, "id": "far", "geometry": shapely.geometry.mapping(shapely.box(0, 60, 1, 61))}
    for one in (crossing, east, far):
        one["collection"] = "sentinel-2-l2a"
    place = grid.area_frame((179.5, 60.2, -179.5, 60.4))
    with served(Api([crossing, east, far])) as api:
        assert [item.id for item in items_from(api.address, ROWS, place)] == ["both", "east"]
    assert [query["bbox"] for query in api.asked] == [
        [179.5, 60.2, 180.0, 60.4],
        [-180.0, 60.2, -179.5, 60.4],
    ]


def test_items_that_pages_repeat_are_given_once(documents):
    with served(Api(documents, page=3, overlap=2)) as api:
        found = items_from(api.address, ROWS)
    assert len(api.asked) > 2
    assert [item.id for item in found] == list(dict.fromkeys(item.id for item in found))
    assert len(found) == 5


def test_an_api_that_gives_a_page_again_and_again(documents):
    with (
        served(Api(documents, page=2, loops=True)) as api,
        pytest.raises(AcquireError, match="gives the page with .* again and again"),
    ):
        items_from(api.address, ROWS)


def test_failures_that_pass_are_asked_again(documents):
    with served(Api(documents, failures=[503, 429, 500])) as api:
        assert len(items_from(api.address, ROWS)) == 5
    assert len(api.asked) == 4


def test_failures_that_do_not_pass_are_told(documents):
    with (
        served(Api(documents, failures=[400])) as api,
        pytest.raises(AcquireError, match=r"cannot read the STAC catalogue http://127.*busy"),
    ):
        items_from(api.address, ROWS)
    with (
        served(Api(documents, failures=[503] * 9)) as api,
        pytest.raises(AcquireError, match="busy"),
    ):
        items_from(api.address, ROWS)
    assert len(api.asked) == archives.RETRIES + 1


def test_an_api_without_the_sensor_says_what_it_offers(documents):
    with served(Api(documents)) as api:
        with pytest.raises(
            AcquireError, match=r"a collection of hls .*offers \['sentinel-2-l2a'\]$"
        ):
            items_from(api.address, sensors.rows_of("hls"))
        assert api.asked == []


def test_an_api_with_a_refused_kind_of_the_mission_says_why(documents):
    held = ["sentinel-1-grd", "landsat-c2l2-st", *(f"other-{n:02d}" for n in range(20))]
    with (
        served(Api(documents, collections=held)) as api,
        pytest.raises(AcquireError) as raised,
    ):
        items_from(api.address, sensors.rows_of("sentinel-1-rtc"))
    text = str(raised.value)
    assert "'sentinel-1-grd' is not taken: ground range detected scenes are not geocoded" in text
    assert "surface temperature" not in text
    assert "and 10 more" in text


# Credentials


def test_the_query_of_an_address_goes_with_each_request_and_into_nothing_else(documents):
    with served(Api(documents, secret="abcSECRETxyz")) as api:
        found = items_from(f"{api.address}?token=abcSECRETxyz", ROWS)
        assert len(found) == 5
        assert not any("SECRET" in json.dumps(item.to_dict()) for item in found)
        links = [link.get_absolute_href() or "" for item in found for link in item.links]
        assert not any("SECRET" in href for href in links)
        wrong = f"{api.address}?token=wrong{SECRET}"
        with pytest.raises(AcquireError, match="no access") as raised:
            items_from(wrong, ROWS)
    assert_no_secret(raised)


@pytest.mark.parametrize(
    "address",
    [
        f"http://127.0.0.1:9/stac?{SECRET}",
        "http://me:abcSECRETxyz@127.0.0.1:9/stac",
        f"http://127.0.0.1:9/items.parquet?{SECRET}",
        f"s3://bucket/catalog.json?{SECRET}",
    ],
)
def test_no_error_shows_a_credential(address):
    with pytest.raises(AcquireError) as raised:
        items_from(address, ROWS)
    assert_no_secret(raised)


def assert_no_secret(raised):
    shown = "".join(traceback.format_exception(raised.value))
    assert "SECRET" not in shown
    assert "SECRET" not in repr(raised.value)


def test_names_of_catalogues_hold_no_credential(documents):
    item = pystac.Item.from_dict(documents[0])
    assert name_of(f"https://x.org/stac?{SECRET}") == "https://x.org/stac"
    assert name_of([item]) == "items given"
    item.set_self_href(f"https://x.org/a.json?{SECRET}")
    assert name_of(item) == "https://x.org/a.json"


def test_what_came_over_a_network_says_so_whatever_its_links_say(documents, catalog):
    """An API may leave links out, or have them point into this machine."""
    for document in documents:
        document["links"] = [
            {"rel": "self", "href": "/etc/items/a.json", "type": "application/json"}
        ]
    with served(Api(documents)) as api:
        found = items_from(api.address, ROWS)
    assert found
    assert all(came_from_afar(item) for item in found)
    assert not any(came_from_afar(item) for item in items_from(catalog, ROWS))
