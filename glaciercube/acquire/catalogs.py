"""Items of a STAC catalogue, remote or on disk, for a place, a period and a season."""

import calendar
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pystac
import requests
import shapely
from pystac_client import Client
from pystac_client.exceptions import APIError

from glaciercube import grid, sensors
from glaciercube.acquire.items import cloud_cover_of, deduplicated, footprint_of, time_of
from glaciercube.errors import AcquireError
from glaciercube.sensors import Sensor

Interval = tuple[datetime | None, datetime | None]

_UNREADABLE = (
    APIError,
    requests.RequestException,
    pystac.STACError,
    pystac.STACTypeError,
    OSError,
    ValueError,
)
"""What a catalogue that is absent, broken or none at all may raise."""

_DAY_OF_YEAR = re.compile(r"(\d{2})-(\d{2})")


def search(
    catalog: str | Path | pystac.Catalog | Iterable[pystac.Item],
    area: Any = None,
    period: str | Sequence[Any] | None = None,
    *,
    sensor: str = "sentinel-2-l2a",
    season: tuple[str, str] | None = None,
    max_cloud: float | None = None,
) -> list[pystac.Item]:
    """Return the scenes of a catalogue over an area, each once, by time.

    Parameters
    ----------
    catalog : address, path, Catalog or items
        A STAC API ("https://earth-search.aws.element84.com/v1"), a static catalogue
        ("archive/catalog.json"), an open one, or items found elsewhere.
    area : GeoDataFrame, GeoBox, geometry or (west, south, east, north), optional
        Scenes must touch it; see `grid.area_frame`.
    period : str or (start, end), optional
        "2021", "2019/2023", "2021-07/2021-09", "2021-07-14/..", or a pair; the end is
        included as far as it is stated: "2023" ends with 2023.
    sensor : str
        See `glaciercube.sensors.SENSORS`.
    season : (str, str), optional
        First and last day "MM-DD" of each year, both included; ("12-15", "03-15") runs
        over the new year.
    max_cloud : float, optional
        The provider's cloud cover of the whole scene (%) at most. Providers take bright snow
        for cloud, so keep it generous; items that state none stay.

    Returns
    -------
    list of Item
        Of a scene that was processed more than once the newest; see `items.deduplicated`.

    Raises
    ------
    AcquireError
        If the catalogue cannot be read, the period or season is not understood, or nothing
        is left; the message counts what each filter left over.
    SensorError
        If the sensor is unknown.
    """
    table = sensors.sensor_of(sensor)
    interval = parse_period(period)
    days = parse_season(season)
    place = None if area is None else grid.area_frame(area).to_crs(grid.WGS84)
    found = _items(catalog, table, place, interval)
    steps = [("in the catalogue", found)]

    def keep(what, condition):
        steps.append((what, [item for item in steps[-1][1] if condition(item)]))

    keep(f"of {' or '.join(table.collections)}", lambda i: i.collection_id in table.collections)
    if place is not None:
        region = shapely.union_all(place.envelope.values)
        keep("over the area", lambda item: footprint_of(item).intersects(region))
    if period is not None:
        keep(f"in {_text(interval)}", lambda item: _within(time_of(item), interval))
    if days is not None:
        keep(f"between {' and '.join(season or ())}", lambda i: _in_season(time_of(i), days))
    if max_cloud is not None:
        keep(f"with at most {max_cloud:g} % cloud", lambda item: _clear(item, max_cloud))
    if not steps[-1][1]:
        _refuse(catalog, steps)
    return deduplicated(steps[-1][1])[0]


def parse_period(period: str | Sequence[Any] | None) -> Interval:
    """Return the first and last moment of a period, UTC; None where it is open.

    Raises
    ------
    AcquireError
        If it is not understood, or ends before it starts.

    Examples
    --------
    >>> start, end = parse_period("2021-07/2021-09")
    >>> start.isoformat(), end.isoformat()
    ('2021-07-01T00:00:00+00:00', '2021-09-30T23:59:59.999999+00:00')
    """
    if period is None:
        return None, None
    parts = period.split("/") if isinstance(period, str) else list(period)
    if len(parts) == 1:
        parts = parts * 2
    if len(parts) != 2:
        raise AcquireError(
            f"a period is such as '2021', '2019/2023' or (start, end), found {period!r}"
        )
    start, end = _moment(parts[0], period), _moment(parts[1], period, last=True)
    if start is not None and end is not None and end < start:
        raise AcquireError(
            f"a period ends after it starts, found {period!r}: {start.date()} to {end.date()}; "
            "swap the two"
        )
    return start, end


def parse_season(season: tuple[str, str] | None) -> tuple[tuple[int, int], ...] | None:
    """Return the first and last (month, day) of a season.

    Raises
    ------
    AcquireError

    Examples
    --------
    >>> parse_season(("07-01", "09-30"))
    ((7, 1), (9, 30))
    """
    if season is None:
        return None
    days = []
    for text in season:
        match = _DAY_OF_YEAR.fullmatch(str(text))
        month, day = (int(match[1]), int(match[2])) if match else (0, 0)
        # A leap year, so that a season may start or end on 29 February.
        if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(2000, month)[1]:
            raise AcquireError(f"a season is two days such as ('07-01', '09-30'), found {season!r}")
        days.append((month, day))
    if len(days) != 2:
        raise AcquireError(f"a season is two days such as ('07-01', '09-30'), found {season!r}")
    return tuple(days)


def _moment(part, period, last=False):
    """Return one end of a period; the last moment of a year, month or day for its end."""
    if part is None or str(part).strip() in ("", ".."):
        return None
    try:
        stamp = _edge(part, last)
    except (ValueError, TypeError) as error:
        raise AcquireError(
            f"a period is such as '2021-07/2021-09', found {part!r} in {period!r}"
        ) from error
    moment = stamp.floor("us").to_pydatetime(warn=False)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _edge(part, last):
    if not isinstance(part, str):
        return pd.Timestamp(part)
    span = pd.Period(part.strip().removesuffix("Z"))
    return span.end_time if last else span.start_time


def _within(time, interval):
    start, end = interval
    return (start is None or time >= start) and (end is None or time <= end)


def _in_season(time, days):
    first, last = days
    day = (time.month, time.day)
    if first <= last:
        return first <= day <= last
    return day >= first or day <= last


def _clear(item, max_cloud):
    cover = cloud_cover_of(item)
    return cover is None or cover <= max_cloud


def _text(interval):
    start, end = (".." if moment is None else moment.date().isoformat() for moment in interval)
    return f"{start}/{end}"


def _items(catalog, sensor, place, interval):
    """Return a catalogue's items; a STAC API filters by collection, place and period itself."""
    if not isinstance(catalog, str | Path | pystac.Catalog):
        return list(catalog)
    try:
        opened = _open(catalog)
        if isinstance(opened, Client) and opened.conforms_to("ITEM_SEARCH"):
            return _ask(opened, sensor, place, interval)
        return list(opened.get_items(recursive=True))
    except AcquireError:
        raise
    except _UNREADABLE as error:
        raise AcquireError(
            f"cannot read the STAC catalogue {_name(catalog)}: {error}; check the address or path"
        ) from error


def _open(catalog):
    if isinstance(catalog, pystac.Catalog):
        return catalog
    address = str(catalog)
    if address.startswith(("http://", "https://")):
        return Client.open(address)
    return pystac.Catalog.from_file(address)


def _ask(client: Client, sensor: Sensor, place, interval: Interval):
    offered = [collection.id for collection in client.get_collections()]
    wanted = [name for name in sensor.collections if name in offered]
    if not wanted:
        raise AcquireError(
            f"{_name(client)} needs a collection of {sensor.name} ({list(sensor.collections)}), "
            f"it offers {sorted(offered)}"
        )
    start, end = interval
    dates = None
    if start is not None or end is not None:
        dates = "/".join(".." if moment is None else _api_time(moment) for moment in interval)
    bbox = None if place is None else [float(edge) for edge in place.total_bounds]
    return list(client.search(collections=wanted, bbox=bbox, datetime=dates).items())


def _api_time(moment):
    return (moment - timedelta(microseconds=moment.microsecond)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(catalog):
    if isinstance(catalog, pystac.Catalog):
        return catalog.get_self_href() or catalog.id
    return catalog


def _refuse(catalog, steps):
    """Raise the error of an empty search, with what each filter left over."""
    where = _name(catalog) if isinstance(catalog, str | Path | pystac.Catalog) else "items given"
    counts = ", ".join(f"{len(left)} {what}" for what, left in steps)
    first_empty = next(n for n, (_, left) in enumerate(steps) if not left)
    if first_empty == 0:
        advice = "check the catalogue"
    elif first_empty == 1:
        held = sorted({str(item.collection_id) for item in steps[0][1]})
        advice = f"the catalogue holds {held}; choose another sensor="
    else:
        advice = f"nothing is left {steps[first_empty][0]}; widen this"
    raise AcquireError(f"a search needs at least one scene, found {counts} ({where}); {advice}")
