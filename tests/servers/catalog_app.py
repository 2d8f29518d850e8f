"""A STAC API (stac-fastapi-geoparquet) in a process of its own.

Serves the item collections of a folder, "<collection>.json"; prints its port, ends with its
standard input.
"""

import asyncio
import json
import socket
import sys
import tempfile
import threading
from importlib.resources import files
from pathlib import Path

import duckdb
import rustac
import uvicorn
from stac_fastapi.geoparquet.api import GEOPARQUET_MEDIA_TYPE, create
from stac_fastapi.geoparquet.settings import Settings

EXTENSIONS = ("icu", "parquet", "spatial")
"""Of DuckDB, which would fetch them from the network; packages of them are installed."""


def database(folder):
    """Return a DuckDB client that has its extensions from installed packages."""
    (system,) = duckdb.sql("PRAGMA platform").fetchone()
    for name in EXTENSIONS:
        (version,) = (files(f"duckdb_extension_{name}") / "extensions").iterdir()
        target = Path(folder) / version.name / system / f"{name}.duckdb_extension"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(version / target.name)
    return rustac.DuckdbClient(
        extension_directory=str(folder), install_extensions=False, extensions=list(EXTENSIONS)
    )


async def tables(source, folder):
    """Write each item collection as stac-geoparquet; return the address of their list."""
    collections = []
    for file in sorted(Path(source).glob("*.json")):
        items = json.loads(file.read_text())["features"]
        table = Path(folder) / f"{file.stem}.parquet"
        await rustac.write(str(table), items)
        collections.append(
            {
                "type": "Collection", "stac_version": "1.0.0", "id": file.stem,
                "description": file.stem, "license": "other", "links": [],
                "extent": {
                    "spatial": {"bbox": [[-180, -90, 180, 90]]},
                    "temporal": {"interval": [[None, None]]},
                },
                "assets": {"data": {"href": str(table), "type": GEOPARQUET_MEDIA_TYPE}},
            }
        )  # fmt: skip
    listed = Path(folder) / "collections.json"
    listed.write_text(json.dumps(collections))
    return str(listed)


def main(source):
    """Serve until the standard input is closed."""
    with tempfile.TemporaryDirectory() as folder:
        listed = asyncio.run(tables(source, folder))
        api = create(Settings(stac_fastapi_collections_href=listed), database(folder))
        door = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api.app, log_level="warning"))

        def end():
            sys.stdin.read()
            server.should_exit = True

        threading.Thread(target=end, daemon=True).start()
        sys.stdout.write(f"{door.getsockname()[1]}\n")
        sys.stdout.flush()
        server.run(sockets=[door])


if __name__ == "__main__":
    main(sys.argv[1])
