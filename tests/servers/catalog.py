"""A STAC API (stac-fastapi-geoparquet) on the loopback address."""

import json
import os
import sys
from pathlib import Path

from servers.processes import Process

APP = Path(__file__).with_name("catalog_app.py")


class CatalogServer(Process):
    """A STAC API of items, from `with` to its end.

    Parameters
    ----------
    items : sequence of Item
    folder : Path
        Empty; their documents are put there.
    """

    def __init__(self, items, folder):
        by_name = {}
        for item in items:
            document = item.to_dict(include_self_link=False, transform_hrefs=False)
            by_name.setdefault(item.collection_id, []).append({**document, "links": []})
        for name, documents in by_name.items():
            collection = {"type": "FeatureCollection", "features": documents}
            (Path(folder) / f"{name}.json").write_text(json.dumps(collection))
        super().__init__([sys.executable, str(APP), str(folder)], dict(os.environ))

    @property
    def address(self):
        return f"http://{self.host}"
