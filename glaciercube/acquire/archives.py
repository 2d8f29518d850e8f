"""Where items come from: a STAC API, a static catalogue, a file of items, or a list."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import geopandas as gpd
import pystac
import requests
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import FallbackToPystac, NoConformsTo
from urllib3.util import Retry

from glaciercube import grid, sensors
from glaciercube.acquire.access import FROM_AFAR, is_remote, plain, without_query
from glaciercube.acquire.geoparquet import is_geoparquet, read_items
from glaciercube.acquire.intervals import Interval
from glaciercube.errors import AcquireError
from glaciercube.sensors import Sensor

Catalog = str | Path | pystac.Catalog | pystac.Item | Mapping[str, Any] | Iterable[Any]
"""What holds items."""

PAGE = 100
"""Items asked for at once; pages of more are refused by some servers, as documents are large."""

TIMEOUT_S = (10.0, 60.0)
"""To connect, and between two packets of an answer."""

RETRIES = 5
"""More requests at most, after one that failed in a way that may pass."""

PAUSE_S = 0.5
"""Before the second retry (s), twice as long before each more."""

PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that may be another in a moment."""

MANY = 12
"""Collections shown in a message at most."""

_UNREADABLE = (
    APIError,
    requests.RequestException,
    pystac.STACError,
    pystac.STACTypeError,
    OSError,
    KeyError,
    TypeError,
    ValueError,
    NotImplementedError,
)
"""What a catalogue that is absent, broken or none at all may raise."""


def items_from(
    catalog: Catalog,
    rows: Sequence[Sensor],
    place: gpd.GeoDataFrame | None = None,
    interval: Interval = (None, None),
) -> list[pystac.Item]:
    """Return the items of a catalogue.

    Parameters
    ----------
    catalog : address, path, pystac object, document or items
        See `catalogs.search`. A repeated item is given once by an API, else as often as it is
        there.
    rows : sequence of Sensor
        What an API is asked for.
    place : GeoDataFrame, optional
        Where; an API and a stac-geoparquet file leave other items out, the rest may hold them.
    interval : (datetime, datetime)
        When, likewise.

    Raises
    ------
    AcquireError
        If it cannot be read; without the query of its address, which may hold a credential.
    """
    try:
        found = _read(catalog, rows, place, interval)
        return _marked(found) if is_remote(_address_of(catalog)) else found
    except AcquireError:
        raise
    except _UNREADABLE as error:
        told = f"cannot read the STAC catalogue {name_of(catalog)}: {plain(str(error))}"
    # Outside the handler, so that no traceback shows an address with its query.
    raise AcquireError(f"{told}; check the address or path")


def _address_of(catalog):
    if isinstance(catalog, pystac.Catalog | pystac.Item):
        return catalog.get_self_href() or ""
    return str(catalog) if isinstance(catalog, str | Path) else ""


def _marked(items):
    """Return items with a note that they came over a network, whatever their own links say."""
    for item in items:
        item.extra_fields[FROM_AFAR] = True
    return items


def name_of(catalog: Catalog) -> str:
    """Return what a message calls a catalogue, without a credential.

    Examples
    --------
    >>> name_of("https://me:word@example.org/stac?token=secret")
    'https://example.org/stac'
    """
    if isinstance(catalog, pystac.Catalog | pystac.Item):
        return plain(catalog.get_self_href() or catalog.id)
    if isinstance(catalog, str | Path):
        return plain(str(catalog))
    return "items given"


def _read(catalog, rows, place, interval):
    if isinstance(catalog, str | Path):
        return _of_address(str(catalog), rows, place, interval)
    if isinstance(catalog, pystac.Item):
        return [catalog]
    if isinstance(catalog, pystac.Catalog):
        return _of_catalog(catalog, rows, place, interval)
    if isinstance(catalog, Mapping):
        return _of_document(dict(catalog), None, None)
    return [_item(one) for one in catalog]


def _of_address(address, rows, place, interval):
    if not address.startswith(("http://", "https://")):
        if is_geoparquet(address):
            return read_items(address, place, interval)
        if not is_remote(address) and not Path(address).exists():
            raise FileNotFoundError(f"there is no file {address}")
        address = _catalog_in(address)
        return _of_document(pystac.StacIO.default().read_json(address), address, None)
    if is_geoparquet(without_query(address)):
        raise AcquireError(
            f"a stac-geoparquet file is read from a path or an object store (s3://, gs://), found "
            f"{plain(address)}; download it first"
        )
    # The query stays out of the links: it goes with each request instead.
    bare, query = without_query(address), dict(parse_qsl(urlsplit(address).query))
    io = StacApiIO(parameters=query, timeout=TIMEOUT_S, max_retries=_retry())
    document = io.read_json(bare)
    with warnings.catch_warnings():
        # What a server does not say of itself is found out; that a catalogue is static is fine.
        warnings.simplefilter("ignore", NoConformsTo)
        warnings.simplefilter("ignore", FallbackToPystac)
        if _is_api(document):
            client = Client.open(bare, stac_io=io, parameters=query, timeout=TIMEOUT_S)
            return _of_catalog(client, rows, place, interval)
        return _of_document(document, bare, io)


def _catalog_in(address):
    """Return the catalogue of a folder, else the address as it is."""
    inside = [Path(address) / name for name in ("catalog.json", "collection.json")]
    return next((str(path) for path in inside if path.is_file()), address)


def _retry():
    return Retry(
        total=RETRIES,
        connect=1,  # a wrong address does not pass
        backoff_factor=PAUSE_S,
        status_forcelist=PASSING,
        allowed_methods=None,  # a search is a POST that changes nothing
        raise_on_status=False,
    )


def _is_api(document):
    links = document.get("links") or []
    return "conformsTo" in document or any(link.get("rel") == "search" for link in links)


def _of_document(document, address, io):
    """Return the items of a JSON document: a catalogue, a collection, items or an item."""
    if document.get("type") == "FeatureCollection":
        found = [_item(one) for one in document["features"]]
    elif document.get("type") == "Feature":
        found = [_item(document)]
    else:
        opened = pystac.read_dict(document, href=address, stac_io=io)
        return list(opened.get_items(recursive=True))  # type: ignore[attr-defined]
    for item in found:
        if item.get_self_href() is None and address is not None:
            item.set_self_href(address)
    return found


def _item(one):
    if isinstance(one, pystac.Item):
        return one
    if isinstance(one, Mapping) and one.get("type") == "Feature":
        return pystac.Item.from_dict(dict(one))
    raise AcquireError(
        "a catalogue is an address, a path, a pystac object or a list of STAC items, found a list "
        f"with {type(one).__name__}"
    )


def _of_catalog(opened, rows, place, interval):
    if isinstance(opened, Client):
        if opened.get_search_link() is not None and not opened.conforms_to("ITEM_SEARCH"):
            opened.add_conforms_to("ITEM_SEARCH")
            opened.add_conforms_to("COLLECTIONS")
        if opened.conforms_to("ITEM_SEARCH"):
            return _ask(opened, rows, place, interval)
    return list(opened.get_items(recursive=True))


def _ask(client: Client, rows, place, interval: Interval):
    """Return what an API finds, asked once for each box of the place."""
    wanted = _offered(client, rows)
    start, end = interval
    dates = None
    if start is not None or end is not None:
        dates = f"{_api_time(start)}/{_api_time(end, last=True)}"
    boxes = [None] if place is None else grid.geographic_boxes(place)
    found: dict[tuple[str | None, str], pystac.Item] = {}
    for box in boxes:
        asked = client.search(collections=wanted, bbox=box, datetime=dates, limit=PAGE)
        for item in _paged(asked):
            found.setdefault((item.collection_id, item.id), item)
    return list(found.values())


def _paged(asked):
    """Give the items of all pages; an error if the server gives the same page again and again."""
    seen = set()
    for page in asked.pages():
        names = tuple((item.collection_id, item.id) for item in page)
        if names in seen:
            raise AcquireError(
                f"the API gives the page with {names[0][1]} again and again, so that its other "
                "items cannot be had; ask for a shorter period"
            )
        seen.add(names)
        yield from page


def _offered(client, rows):
    """Return which collections to ask for."""
    offered = {collection.id for collection in client.get_collections()}
    known = list(dict.fromkeys(name for row in rows for name in row.collections))
    wanted = [name for name in known if name in offered]
    if not wanted:
        raise AcquireError(
            f"{name_of(client)} needs a collection of {rows[0].family} ({known}), it offers "
            f"{_shown(sorted(offered))}{_reasons(offered, rows[0])}"
        )
    return wanted


def _shown(names):
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return f"{names[:MANY]}{more}"


def _reasons(offered, row):
    """Return why collections of the same mission are not taken."""
    mission = "-".join(row.family.split("-")[: 2 if row.family.startswith("sentinel") else 1])
    told = [
        f"; {name!r} is not taken: {refusal.reason}"
        for refusal in sensors.REFUSALS
        for name in refusal.collections
        if name in offered and refusal.name.startswith(mission) and not _taken(name)
    ]
    return "".join(dict.fromkeys(told))


def _taken(collection):
    return any(collection in row.collections for row in sensors.SENSORS.values())


def _api_time(moment: datetime | None, last: bool = False) -> str:
    if moment is None:
        return ".."
    if last and moment.microsecond:
        moment += timedelta(seconds=1)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
