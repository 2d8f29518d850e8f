"""A STAC API as small as one can be, with the faults that real ones have."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import shapely
from shapely.geometry import shape

GEOJSON = "application/geo+json"
SPEC, PARTS = "https://api.stacspec.org/v1.0.0", ("core", "item-search", "collections")


@dataclass
class Api:
    """What the server holds, how it behaves, and what it was asked."""

    items: list[dict]
    collections: list[str] = field(default_factory=lambda: ["sentinel-2-l2a"])
    page: int = 1000
    """Items of a page at most."""

    overlap: int = 0
    """Items that a page repeats of the one before."""

    loops: bool = False
    """Whether the second page comes again and again."""

    failures: list[int] = field(default_factory=list)
    """Status of the next answers to searches."""

    secret: str = ""
    """Without it in the query nothing is answered."""

    conforms: bool = True
    asked: list[dict] = field(default_factory=list)
    address: str = ""


@contextmanager
def served(api):
    """Serve an API on this machine; its `address` is then known."""
    handler = type("Own", (Handler,), {"api": api})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    api.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers landing page, collections and search."""

    api: Api

    def do_GET(self):
        if self.refused():
            return
        path = urlsplit(self.path).path
        if path.startswith("/collections"):
            found = [collection(name) for name in self.api.collections]
            self.answer({"collections": found, "links": []})
        else:
            self.answer(landing(self.api))

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refused():
            return
        self.api.asked.append(query)
        if self.api.failures:
            self.answer({"description": "busy"}, self.api.failures.pop(0))
            return
        found = [item for item in self.api.items if matches(item, query)]
        start = query.get("start", 0)
        end = start + min(self.api.page, query.get("limit", 1000))
        links = []
        if end < len(found):
            following = end - self.api.overlap if not (self.api.loops and start) else start
            body = {**query, "start": following}
            link = {"rel": "next", "method": "POST", "href": f"{self.api.address}/search"}
            links = [{**link, "body": body}]
        self.answer({"type": "FeatureCollection", "features": found[start:end], "links": links})

    def refused(self):
        """Refuse what comes without the secret."""
        if not self.api.secret or self.api.secret in parse_qs(urlsplit(self.path).query).get(
            "token", []
        ):
            return False
        self.answer({"description": f"no access to {self.path}"}, 403)
        return True

    def answer(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def matches(item, query):
    """Say whether an item is what was asked for."""
    if item["collection"] not in query.get("collections", [item["collection"]]):
        return False
    if "bbox" not in query:
        return True
    return shapely.box(*query["bbox"]).intersects(shape(item["geometry"]))


def collection(name):
    return {
        "type": "Collection", "stac_version": "1.0.0", "id": name, "links": [],
        "description": "-", "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None, None]]},
        },
    }  # fmt: skip


def landing(api):
    links = [
        {"rel": "self", "href": api.address}, {"rel": "root", "href": api.address},
        {"rel": "data", "href": f"{api.address}/collections"},
        {"rel": "search", "href": f"{api.address}/search", "method": "POST", "type": GEOJSON},
    ]  # fmt: skip
    document = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "-", "links": links,
    }  # fmt: skip
    if api.conforms:
        document["conformsTo"] = [f"{SPEC}/{part}" for part in PARTS]
    return document
