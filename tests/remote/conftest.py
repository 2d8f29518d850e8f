"""Archives behind real servers: items of an API, files over HTTP or S3."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from acquire.scenery import EARTH_SEARCH, SCENES, make_item
from servers.catalog import CatalogServer
from servers.files import RangeServer
from servers.objects import ObjectServer

import glaciercube
from glaciercube.acquire import access
from glaciercube.acquire.access import Access
from glaciercube.acquire.patience import PREFIX
from glaciercube.acquire.reader import KNOWN
from glaciercube.acquire.tokens import Tokens

ONE_PROVIDER = [replace(scene, keys=EARTH_SEARCH) for scene in SCENES]
"""Two tiles of one day, a scene processed twice, a harmonised one: three times. Named by one
provider, as the API's DuckDB takes "SCL" and "scl" for the same column."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait little between tries, and know nothing of other tests' files."""
    for name, value in {"PAUSE_S": 0.01, "TIMEOUT_S": 0.5, "CONNECT_S": 1, "TRIES": 12}.items():
        monkeypatch.setenv(PREFIX + name, str(value))
    KNOWN.clear()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return a folder of files, and their items."""
    folder = tmp_path_factory.mktemp("archive")
    return folder, [make_item(scene, folder / "files") for scene in ONE_PROVIDER]


@pytest.fixture
def files(archive):
    """Return a server of the archive's files."""
    with RangeServer(archive[0]) as server:
        yield server


@pytest.fixture
def at(archive, tmp_path):
    """Return a function: the same items with each address changed, behind an API."""
    opened = []

    def serve(address):
        items = [item.clone() for item in archive[1]]
        for item in items:
            for asset in item.assets.values():
                asset.href = address(asset.href)
        documents = tmp_path / f"documents{len(opened)}"
        documents.mkdir()
        server = CatalogServer(items, documents)
        server.__enter__()
        opened.append(server)
        return server.address

    yield serve
    for server in opened:
        server.__exit__()


@pytest.fixture(scope="module")
def truth(archive):
    """Return the cube of the same items read from disk."""
    items = glaciercube.search(archive[1], period="2021/2023")
    return glaciercube.load(items, resolution=10).compute()


@pytest.fixture
def signing(monkeypatch):
    """Return a function that lets a server ask for its token, as the Planetary Computer does."""

    def sign(server):
        def fetch(account, container):
            fetched.append(container)
            return f"token={server.token}", datetime.now(UTC) + timedelta(minutes=45)

        fetched = []
        row = Access(name="test", scheme="https", hosts=("127.0.0.1",), token=True)
        monkeypatch.setattr(access, "ROWS", (row, *access.ROWS))
        monkeypatch.setattr(access, "TOKENS", Tokens(fetch))
        server.tokens = True
        return fetched

    return sign


@pytest.fixture
def objects(monkeypatch):
    """Return an S3 endpoint that GDAL reads from."""
    with ObjectServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
