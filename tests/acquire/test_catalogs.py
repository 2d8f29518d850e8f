"""Searching catalogues on disk, over HTTP, and lists of items."""

import json
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import geopandas as gpd
import pystac
import pytest
import shapely
from shapely.geometry import shape

from acquire.scenery import SCENES, geobox, make_catalog
from glaciercube.acquire.catalogs import parse_period, parse_season, search
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
    assert "5 of sentinel-2-l2a or" in text
    assert "5 over the area" in text
    assert "4 in 2021-01-01/2022-12-31" in text
    assert "0 between 01-01 and 02-01" in text
    assert "nothing is left between 01-01 and 02-01; widen this" in text
    assert str(catalog) in text


def test_another_sensor_says_what_is_there(catalog):
    with pytest.raises(AcquireError, match=r"holds \['cop-dem-glo-30', 'sentinel-2-l2a'\]"):
        search(catalog, sensor="sentinel-2-l1c")
    with pytest.raises(SensorError, match="unknown sensor 'sentinel-3'"):
        search(catalog, sensor="sentinel-3")


def test_no_items_at_all():
    with pytest.raises(AcquireError, match=r"found 0 in the catalogue.*\(items given\); check"):
        search([])


@pytest.mark.parametrize("address", ["gone/catalog.json", "http://127.0.0.1:9/"])
def test_a_catalogue_that_cannot_be_read(address):
    with pytest.raises(AcquireError, match=f"cannot read the STAC catalogue {re.escape(address)}"):
        search(address)


def test_a_file_that_is_no_catalogue(tmp_path):
    (tmp_path / "catalog.json").write_text("{}")
    with pytest.raises(AcquireError, match="cannot read the STAC catalogue .*catalog.json"):
        search(tmp_path / "catalog.json")


@pytest.mark.parametrize(
    ("period", "text"),
    [
        ("2023/2021", "a period ends after it starts, found '2023/2021': 2023-01-01 to 2021-12-31"),
        ("summer", "found 'summer' in 'summer'"),
        ("2021/2022/2023", "found '2021/2022/2023'"),
        (("2021", "2022", "2023"), "a period is such as '2021'"),
        ((object(), "2022"), "a period is such as '2021-07/2021-09', found <object"),
    ],
)
def test_a_period_that_is_not_understood(period, text):
    with pytest.raises(AcquireError, match=re.escape(text)):
        parse_period(period)


def test_a_period_may_be_open():
    assert parse_period(None) == (None, None)
    assert parse_period("../..") == (None, None)


@pytest.mark.parametrize(
    "season", [("07-01", "13-01"), ("July", "09-01"), ("02-30", "03-01"), ("07-01",)]
)
def test_a_season_that_is_not_understood(season):
    with pytest.raises(
        AcquireError, match=r"a season is two days such as \('07-01', '09-30'\), found"
    ):
        parse_season(season)


# A STAC API, as small as one can be


GEOJSON = "application/geo+json"
SPEC, PARTS = "https://api.stacspec.org/v1.0.0", ("core", "item-search", "collections")


class Api(BaseHTTPRequestHandler):
    """Answers landing page, collections and search; remembers what was asked."""

    items: list = []
    asked: list = []

    def do_GET(self):
        home = f"http://127.0.0.1:{self.server.server_port}"
        collection = {
            "type": "Collection", "stac_version": "1.0.0", "id": "sentinel-2-l2a", "links": [],
            "description": "-", "license": "other",
            "extent": {
                "spatial": {"bbox": [[-180, -90, 180, 90]]},
                "temporal": {"interval": [[None, None]]},
            },
        }  # fmt: skip
        links = [
            {"rel": "self", "href": home}, {"rel": "root", "href": home},
            {"rel": "data", "href": f"{home}/collections"},
            {"rel": "search", "href": f"{home}/search", "method": "POST", "type": GEOJSON},
        ]  # fmt: skip
        landing = {
            "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "-",
            "links": links, "conformsTo": [f"{SPEC}/{part}" for part in PARTS],
        }  # fmt: skip
        if self.path.startswith("/collections"):
            self.answer({"collections": [collection], "links": []})
        else:
            self.answer(landing)

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(query)
        box = shapely.box(*query["bbox"]) if "bbox" in query else None
        found = [i for i in self.items if box is None or box.intersects(shape(i["geometry"]))]
        self.answer({"type": "FeatureCollection", "features": found, "links": []})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def api(catalog):
    """Return the address of an API with the same scenes."""
    Api.items = [{**item.to_dict(), "links": []} for item in search(catalog)]
    Api.asked = []
    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_api_is_asked_for_place_and_period(api):
    items = search(api, geobox(), "2021/2022", season=("07-01", "08-03"))
    assert names(items) == ["old", "new"]
    (query,) = Api.asked
    assert query["collections"] == ["sentinel-2-l2a"]
    assert query["datetime"] == "2021-01-01T00:00:00Z/2022-12-31T23:59:59Z"
    assert len(query["bbox"]) == 4


def test_an_api_without_the_sensor_says_what_it_offers(api):
    with pytest.raises(
        AcquireError, match=r"a collection of sentinel-2-l1c.*offers \['sentinel-2-l2a'\]"
    ):
        search(api, sensor="sentinel-2-l1c")


def test_an_api_with_nothing_over_the_area(api):
    with pytest.raises(AcquireError, match=r"found 0 in the catalogue"):
        search(api, (0, 0, 1, 1))
