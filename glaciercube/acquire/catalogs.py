"""Scenes of any catalogue, remote or on disk, for a place, a period and a season."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import geopandas as gpd
import pystac
import shapely

from glaciercube import grid, sensors
from glaciercube.acquire.archives import Catalog, items_from, name_of
from glaciercube.acquire.findings import Found
from glaciercube.acquire.intervals import (
    in_season,
    interval_text,
    parse_period,
    parse_season,
    within,
)
from glaciercube.acquire.inventories import area_of
from glaciercube.acquire.items import (
    cloud_cover_of,
    footprint_of,
    sensor_of_item,
    single,
    stated_footprint,
    time_of,
)
from glaciercube.errors import AcquireError, SensorError
from glaciercube.sensors import Sensor

MANY = 4
"""Kinds of scenes shown in a message at most."""


def search(
    catalog: Catalog,
    area: Any = None,
    period: Any = None,
    *,
    sensor: str = "sentinel-2-l2a",
    season: tuple[str, str] | None = None,
    max_cloud: float | None = None,
) -> Found:
    """Return the scenes of a catalogue over an area, each once, by time.

    Parameters
    ----------
    catalog : address, path, pystac object or items
        A STAC API ("https://earth-search.aws.element84.com/v1"), a static catalogue or
        collection ("archive/catalog.json", also an address), a file of items (GeoJSON, or
        stac-geoparquet), an open catalogue, or items found elsewhere, also as JSON.
    area : GeoDataFrame, GeoBox, geometry, (west, south, east, north) or outlines file, optional
        Scenes must touch it. ("RGI60-11.01450", "rgi.gpkg") is a glacier of a file; see
        `inventories.area_of`. (179, -17, -179, -16) crosses the antimeridian.
    period : str, date or (start, end), optional
        "2021", "2019/2023", "2021-07/2021-09", "2021-07-14/..", or a pair; the end is
        included as far as it is stated: "2023" ends with 2023. See `intervals.parse_period`.
    sensor : str
        A row ("landsat-oli-c2-l2") or a family ("landsat-c2-l2", "hls") of
        `glaciercube.sensors.SENSORS`.
    season : (str, str), optional
        First and last day "MM-DD" of each year, both included; ("12-15", "03-15") runs
        over the new year.
    max_cloud : float, optional
        The provider's cloud cover of the whole scene (%) at most. Providers take bright snow
        for cloud, so keep it generous; items that state none stay.

    Returns
    -------
    Found
        A list of items by time, with `dropped`: versions that were left out, and why. Of a
        scene that was processed or published more than once the newest stays; see
        `items.single`.

    Raises
    ------
    AcquireError
        If the catalogue cannot be read, the period or season is not understood, or nothing
        is left; the message counts what each filter left over.
    SensorError
        If the sensor is unknown.

    Notes
    -----
    An API is asked for every collection that may hold the sensor (Earth Search has the same
    scenes in several), the bounding boxes of the area (two at the antimeridian) and the period;
    everything is then filtered here again. The cloud cover is filtered here only: servers leave
    out items that state none.
    """
    rows = sensors.rows_of(sensor)
    interval = parse_period(period)
    days = parse_season(season)
    place = None if area is None else area_of(area)
    found = items_from(catalog, rows, place, interval)
    steps = [("in the catalogue", found)]

    def keep(what, chosen):
        steps.append((what, chosen(steps[-1][1])))

    keep(f"of {sensor}", lambda items: [item for item in items if _is_of(item, rows)])
    if place is not None:
        keep("over the area", lambda items: _over(items, place))
    if period is not None:
        what = f"in {interval_text(interval)}"
        keep(what, _where(lambda item: within(time_of(item), interval)))
    if days is not None:
        what = f"between {' and '.join(season or ())}"
        keep(what, _where(lambda item: in_season(time_of(item), days)))
    if max_cloud is not None:
        what = f"with at most {max_cloud:g} % cloud"
        keep(what, _where(lambda item: _clear(item, max_cloud)))
    if not steps[-1][1]:
        _refuse(catalog, steps, place)
    kept, dropped = single(steps[-1][1])
    return Found(kept, dropped=dropped, steps=[(what, len(left)) for what, left in steps])


def _is_of(item: pystac.Item, rows: Sequence[Sensor]) -> bool:
    try:
        return sensor_of_item(item) in rows
    except SensorError:
        return False


def _where(condition: Callable[[pystac.Item], bool]) -> Callable[[list], list]:
    return lambda items: [item for item in items if condition(item)]


def _over(items: list[pystac.Item], place: gpd.GeoDataFrame) -> list[pystac.Item]:
    touched = grid.touching([stated_footprint(item) for item in items], place)
    return [item for item, near in zip(items, touched, strict=True) if near]


def _clear(item, max_cloud):
    cover = cloud_cover_of(item)
    return cover is None or cover <= max_cloud


def _refuse(catalog, steps, place):
    """Raise the error of an empty search, with what each filter left over."""
    counts = ", ".join(f"{len(left)} {what}" for what, left in steps)
    first_empty = next(n for n, (_, left) in enumerate(steps) if not left)
    raise AcquireError(
        f"a search needs at least one scene, found {counts} ({name_of(catalog)}); "
        f"{_advice(steps, first_empty, place)}"
    )


def _advice(steps, first_empty, place):
    """Return what to do about a search that is empty from some step on."""
    if first_empty == 0:
        return "check the catalogue, and the area and period if it is an API"
    what, before = steps[first_empty][0], steps[first_empty - 1][1]
    if first_empty == 1:
        return f"the catalogue holds {_kinds(before)}; choose another sensor="
    advice = f"nothing is left {what}; widen this"
    if what == "over the area":
        return f"{advice}: the scenes lie in {_boxes(before)}, the area in {_boxes_of(place)}"
    covers = [cover for item in before if (cover := cloud_cover_of(item)) is not None]
    if "% cloud" in what:
        return f"{advice}: the clearest has {min(covers):g} %"
    times = sorted(time_of(item) for item in before)
    return f"{advice}: the scenes are of {times[0].date()} to {times[-1].date()}"


def _kinds(items):
    """Return how many items there are of each sensor, and why others are refused."""
    counts: Counter[str] = Counter()
    for item in items:
        try:
            counts[sensor_of_item(item).name] += 1
        except SensorError as error:
            counts[_reason(str(error), item.id)] += 1
    shown = [f"{count} of {what}" for what, count in sorted(counts.items())[:MANY]]
    more = [f"{len(counts) - MANY} more kinds"] if len(counts) > MANY else []
    return ", ".join(shown + more)


def _reason(text, name):
    """Return why an item is refused, without its name, so that equal reasons can be counted."""
    return text.removeprefix(name).strip().replace(" is not taken:", ":").lstrip("(")


def _boxes(items):
    shapes = [footprint_of(item) for item in items]
    return _boxes_of(gpd.GeoDataFrame(geometry=[shapely.union_all(shapes)], crs=grid.WGS84))


def _boxes_of(place):
    boxes = grid.geographic_boxes(place)
    return " and ".join(f"({', '.join(f'{edge:.5g}' for edge in box)})" for box in boxes)
