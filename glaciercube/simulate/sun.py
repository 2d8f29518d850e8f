"""Where the sun stands: enough for light and shadow, not for almanacs."""

import math
from datetime import datetime


def sun_position(longitude: float, latitude: float, time: datetime) -> tuple[float, float]:
    """Return azimuth and elevation of the sun.

    Parameters
    ----------
    longitude, latitude : float
        Degrees.
    time : datetime
        UTC.

    Returns
    -------
    azimuth, elevation : float
        Degrees clockwise from north, degrees above the horizon (no refraction).

    Notes
    -----
    Declination and equation of time as the Fourier series of Spencer (1971); good to some
    tenths of a degree.

    Examples
    --------
    >>> [round(angle) for angle in sun_position(8.0, 46.5, datetime(2021, 8, 5, 10, 20))]
    [146, 57]
    """
    day = time.timetuple().tm_yday
    hours = time.hour + time.minute / 60 + time.second / 3600
    year = 2 * math.pi / 365 * (day - 1 + (hours - 12) / 24)
    declination = (
        0.006918
        - 0.399912 * math.cos(year)
        + 0.070257 * math.sin(year)
        - 0.006758 * math.cos(2 * year)
        + 0.000907 * math.sin(2 * year)
        - 0.002697 * math.cos(3 * year)
        + 0.00148 * math.sin(3 * year)
    )
    equation_of_time = 229.18 * (  # minutes
        0.000075
        + 0.001868 * math.cos(year)
        - 0.032077 * math.sin(year)
        - 0.014615 * math.cos(2 * year)
        - 0.040849 * math.sin(2 * year)
    )
    solar_hours = hours + longitude / 15 + equation_of_time / 60
    turn = math.radians(15 * (solar_hours - 12))
    north = math.radians(latitude)
    sine = math.sin(north) * math.sin(declination)
    sine += math.cos(north) * math.cos(declination) * math.cos(turn)
    east = -math.cos(declination) * math.sin(turn)
    northward = math.cos(north) * math.sin(declination)
    northward -= math.sin(north) * math.cos(declination) * math.cos(turn)
    azimuth = math.degrees(math.atan2(east, northward)) % 360
    return azimuth, math.degrees(math.asin(sine))
