"""How often satellites pass: which flew when, how wide they see, and so scenes of a period."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from glaciercube.acquire.intervals import parse_period, parse_season
from glaciercube.errors import SensorError
from glaciercube.sensors import Sensor

EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True, kw_only=True)
class Mission:
    """One satellite: when it worked and what ground it covers."""

    name: str
    first: str
    last: str
    """Days of work; "" if it still does."""

    swath_km: float
    repeat_days: int
    orbits: int
    """In a repeat cycle."""

    inclination: float
    """Degrees."""

    looks: int = 1
    """Times that it sees a place in one orbit's track pattern: by day only, or by night too."""


def _sentinel_2(name, first, last=""):
    return Mission(
        name=name, first=first, last=last, swath_km=290, repeat_days=10, orbits=143,
        inclination=98.62,
    )  # fmt: skip


def _landsat(name, first, last=""):
    return Mission(
        name=name, first=first, last=last, swath_km=185, repeat_days=16, orbits=233,
        inclination=98.2,
    )  # fmt: skip


def _sentinel_1(name, first, last=""):
    return Mission(
        name=name, first=first, last=last, swath_km=250, repeat_days=12, orbits=175,
        inclination=98.18, looks=2,
    )  # fmt: skip


# Orbits: Sentinel-2 98.62 degrees, 290 km (ESA, "Orbit" and "Overview" of the mission), 143 in 10
# days; Sentinel-1 175 in 12 days (ESA, "Revisit and coverage"); Landsat 233 in 16 days, 98.2
# degrees. From memory and unchecked: swaths of Landsat and Sentinel-1, the inclination of
# Sentinel-1, all days of work. Sentinel-2C and -1C take the place of another satellite.
_S2 = (
    _sentinel_2("Sentinel-2A", "2015-07-04"),
    _sentinel_2("Sentinel-2B", "2017-03-15"),
)
_TM = (
    _landsat("Landsat 4", "1982-08-22", "1993-12-14"),
    _landsat("Landsat 5", "1984-03-16", "2011-11-18"),
)
_ETM = (_landsat("Landsat 7", "1999-05-28", "2022-04-06"),)
_OLI = (_landsat("Landsat 8", "2013-03-18"), _landsat("Landsat 9", "2021-10-31"))
_S1 = (
    _sentinel_1("Sentinel-1A", "2014-10-03"),
    _sentinel_1("Sentinel-1B", "2016-09-26", "2021-12-23"),
)

MISSIONS = MappingProxyType(
    {
        "sentinel-2-l2a": _S2,
        "sentinel-2-l1c": _S2,
        "hls-s30": _S2,
        "landsat-tm-c2-l2": _TM,
        "landsat-tm-c2-l1": _TM,
        "landsat-etm-c2-l2": _ETM,
        "landsat-etm-c2-l1": _ETM,
        "landsat-oli-c2-l2": _OLI,
        "landsat-oli-c2-l1": _OLI,
        "hls-l30": _OLI,
        "sentinel-1-rtc": _S1,
    }
)
"""Satellites by row of `sensors.SENSORS`."""


def missions_of(rows: Sequence[Sensor]) -> list[tuple[Sensor, Mission]]:
    """Return the satellites that deliver rows of the sensor table.

    Raises
    ------
    SensorError
        If a row has no dates, as an elevation model.
    """
    lacking = [row.name for row in rows if row.name not in MISSIONS]
    if lacking:
        raise SensorError(
            f"a plan needs a sensor with dates, {lacking} have none; choose one of "
            f"{sorted(MISSIONS)}"
        )
    return [(row, mission) for row in rows for mission in MISSIONS[row.name]]


def days_of(mission: Mission, period: Any, season: tuple[str, str] | None) -> int:
    """Return how many days of a period and season a satellite worked.

    Parameters
    ----------
    mission : Mission
    period : str
        With two ends; see `intervals.parse_period`.
    season : (str, str), optional

    Examples
    --------
    >>> days_of(MISSIONS["sentinel-2-l2a"][0], "2020/2021", ("08-01", "08-31"))
    62
    """
    ends = parse_period(period)
    start, end = (pd.Timestamp(str(edge)).tz_localize(None) for edge in ends)
    first = max(start.normalize(), pd.Timestamp(mission.first))
    last = min(end, pd.Timestamp(mission.last or end))
    days = pd.date_range(first, last, freq="D")
    limits = parse_season(season)
    if limits is None:
        return len(days)
    (low, high), day = (100 * m + d for m, d in limits), 100 * days.month + days.day
    inside = (day >= low) & (day <= high) if low <= high else (day >= low) | (day <= high)
    return int(inside.sum())


def passes_per_day(mission: Mission, latitude: np.ndarray, width_km: Any = 0.0) -> np.ndarray:
    """Return how often a day a satellite sees some of a place.

    Parameters
    ----------
    mission : Mission
    latitude : array
        Degrees.
    width_km : array or float
        Of the place; 0 is a point.

    Notes
    -----
    (swath + width) / (distance of neighbouring tracks) / repeat days. Tracks of one direction
    are 2 pi R / orbits apart along the equator, and (2 pi R / orbits) sqrt(cos2 latitude -
    cos2 inclination) across at a latitude, by spherical geometry without the Earth's turning;
    near the orbits' turning point no less than half a swath's worth. Our derivation: it gives
    the nominal 10 days of Sentinel-2 at the equator, other latitudes are unchecked.

    Examples
    --------
    >>> two = passes_per_day(MISSIONS["sentinel-2-l2a"][0], np.array([0.0, 46.0]))
    >>> (1 / two).round(1)
    array([9.5, 6.5])
    """
    slope = np.cos(np.radians(latitude)) ** 2 - np.cos(np.radians(mission.inclination)) ** 2
    least = mission.swath_km / 2 / EARTH_RADIUS_KM
    shrink = np.sqrt(np.maximum(slope, least**2))
    apart = 2 * np.pi * EARTH_RADIUS_KM / mission.orbits * shrink
    return mission.looks * (mission.swath_km + width_km) / apart / mission.repeat_days
