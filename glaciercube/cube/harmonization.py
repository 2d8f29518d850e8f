"""Bring the reflectance of one sensor to the bands of another, by published lines."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from glaciercube import schema
from glaciercube.cube.coefficients import STUDIES, Line, Study, lines_between
from glaciercube.errors import SchemaError, SensorError

INSTRUMENTS = {
    "landsat-4": "tm",
    "landsat-5": "tm",
    "landsat-7": "etm",
    "landsat-8": "oli",
    "landsat-9": "oli",
    "sentinel-2a": "msi",
    "sentinel-2b": "msi",
    "sentinel-2c": "msi",
    "sentinel-2d": "msi",
}
"""Which instrument a satellite carries."""

SENSOR_INSTRUMENTS = {
    "landsat-tm": "tm",
    "landsat-etm": "etm",
    "landsat-oli": "oli",
    "sentinel-2": "msi",
}
"""Which instrument a cube is from by the beginning of its `sensor`."""


def harmonize(
    cube: xr.Dataset,
    *,
    to: Literal["oli", "msi"],
    coefficients: str,
    bands: Sequence[str] | None = None,
    platform: str | None = None,
    tm_as_etm: bool = False,
) -> xr.Dataset:
    """Return a cube with reflectance as another instrument would see it.

    Parameters
    ----------
    cube : Dataset
        Of Landsat 4 to 9 or Sentinel-2, with `sensor` and `level` among its attributes.
    to : "oli" or "msi"
        Landsat 8 and 9, or Sentinel-2. Dates of that instrument stay as they are.
    coefficients : str
        Which study: "hls", "roy-2016-rma", "roy-2016-ols", "chastain-2019" (top of
        atmosphere) or "feng-2023-greenland". See `coefficients.STUDIES` for source, method,
        surfaces and what was checked.
    bands : sequence of str, optional
        Bands to keep; all of the cube's by default. Each needs a line.
    platform : str, optional
        Satellite of all dates, "sentinel-2b", where the cube has no `platform` (time).
    tm_as_etm : bool
        Take the lines of ETM+ for TM (Landsat 4 and 5), whose bands are nearly the same; no
        study here fitted TM itself.

    Returns
    -------
    Dataset, as lazy as the cube
        `reflectance` (time, band, y, x), float32, not clipped, NaN where it was NaN. Bands keep
        their names: MSI's broad `nir`, brought to OLI, stays `nir`. The attribute
        `harmonization` (JSON) says what was done.

    Raises
    ------
    SensorError
        If the sensor is unknown or already harmonised, or the study does not know it.
    SchemaError
        If a band has no line, or the cube is at another level than the study.

    Notes
    -----
    target = intercept + slope * origin. All but "feng-2023-greenland" were fitted over land
    with little snow, at reflectances below 0.5, and snow lies beyond. There they disagree: of
    an ETM+ red of 0.90 "roy-2016-ols" makes 0.82, "roy-2016-rma" 0.88 and "feng-2023-greenland"
    0.96. Compare over your own snow before you read a trend from a series of two sensors.
    """
    study = _study(coefficients)
    schema.check(cube, {"reflectance": schema.CUBE["reflectance"]}, "harmonize: the cube")
    _check_cube(cube, study, to)
    names = [str(name) for name in (cube["band"].values if bands is None else bands)]
    satellites = _satellites(cube, platform)
    lines = [_lines_of_date(study, some, to, tm_as_etm) for some in satellites]
    _check_bands(cube, names, lines, study)
    out = cube.sel(band=names)
    labels = {"time": cube["time"], "band": out["band"]}
    slope, intercept = (
        xr.DataArray(
            np.array([[_number(one, name, key) for name in names] for one in lines], np.float32),
            dims=("time", "band"),
            coords=labels,
        )
        for key in ("slope", "intercept")
    )
    before = out["reflectance"]
    values = (before * slope.variable + intercept.variable).transpose(*before.dims)
    record = {"to": to, "coefficients": study.name, "source": study.source, "tm_as_etm": tm_as_etm}
    out["reflectance"] = values.assign_attrs(before.attrs, harmonized_to=to)
    out["reflectance"].encoding = dict(before.encoding)
    out.attrs["harmonization"] = json.dumps(record)
    return out


def _study(name):
    if name not in STUDIES:
        raise SensorError(f"coefficients are one of {list(STUDIES)}, found {name!r}")
    return STUDIES[name]


def _check_cube(cube, study: Study, to):
    if to not in {"oli", "msi"}:
        raise SensorError(f"harmonize brings reflectance to 'oli' or 'msi', found {to!r}")
    sensor = str(cube.attrs.get("sensor"))
    if "harmonization" in cube.attrs or sensor.startswith("hls"):
        done = cube.attrs.get("harmonization", sensor)
        raise SensorError(f"the cube is harmonised already ({done}); a second line would spoil it")
    level = cube.attrs.get("level")
    if level != study.level:
        fitting = [one.name for one in STUDIES.values() if one.level == level]
        raise SchemaError(
            f"{study.name} holds for {study.level} reflectance, the cube is {level!r}; "
            f"for this level there are {fitting}"
        )


def _satellites(cube, platform) -> list[list[tuple[str, str | None]]]:
    """Return the instruments and satellites of each date."""
    count = cube.sizes["time"]
    sensor = str(cube.attrs.get("sensor"))
    if platform is not None:
        return [[_satellite(platform)]] * count
    if "platform" in cube.coords:
        return [
            [_satellite(one.strip()) for one in str(names).split(",")]
            for names in np.broadcast_to(cube["platform"].values, count)
        ]
    for start, instrument in SENSOR_INSTRUMENTS.items():
        if sensor.startswith(start):
            return [[(instrument, None)]] * count
    raise SensorError(
        f"harmonize must know the satellites: the cube's sensor is {sensor!r} and it has no "
        "coordinate platform (time); give platform="
    )


def _satellite(name):
    plain = name.lower().replace("_", "-")
    if plain not in INSTRUMENTS:
        raise SensorError(f"harmonize knows the satellites {list(INSTRUMENTS)}, found {name!r}")
    return INSTRUMENTS[plain], plain


def _lines_of_date(study, satellites, to, tm_as_etm) -> dict[str, Line] | None:
    """Return the lines of one date by band; None where nothing has to be done."""
    found = [_lines_of(study, one, to, tm_as_etm) for one in satellites]
    if any(one != found[0] for one in found):
        names = sorted({str(platform) for _, platform in satellites})
        raise SensorError(
            f"{study.name} has different lines for {names}, which were joined on one date; "
            "load them apart"
        )
    return found[0]


def _lines_of(study, satellite, to, tm_as_etm):
    instrument, platform = satellite
    if instrument == to:
        return None
    origin = "etm" if instrument == "tm" and tm_as_etm else instrument
    lines = lines_between(study, origin, to, platform)
    if lines is not None:
        return lines
    known = [
        f"{fit.origin} to {fit.target}" + "".join(f" ({name})" for name in fit.platforms)
        for fit in study.fits
    ]
    advice = "; tm_as_etm=True takes those of etm" if instrument == "tm" else ""
    if instrument == "msi" and platform is None:
        advice = "; say which satellite with platform="
    raise SensorError(
        f"{study.name} has no lines from {instrument} ({platform or 'satellite not known'}) to "
        f"{to}, it has {known}{advice}"
    )


def _check_bands(cube, names, lines, study):
    held = [str(name) for name in cube["band"].values]
    absent = [name for name in names if name not in held]
    if absent or not names:
        raise SchemaError(f"harmonize keeps bands of {held}, found {absent or names}")
    without = sorted(
        {name for one in lines if one is not None for name in names if name not in one}
    )
    if without:
        left = [name for name in names if name not in without]
        raise SchemaError(
            f"{study.name} has no line for {without}; choose bands that it knows, bands={left}"
        )


def _number(lines, name, key):
    if lines is None:
        return 1.0 if key == "slope" else 0.0
    return getattr(lines[name], key)
