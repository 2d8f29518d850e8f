"""What each satellite measures: the one table of band keys, quality and conversion rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from glaciercube.errors import SensorError

SENTINEL_2_OFFSET = -1000
"""To be added (DN) since processing baseline 04.00 (ESA: RADIO_ADD_OFFSET, BOA_ADD_OFFSET)."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """One spectral band as providers deliver it."""

    name: str
    """This package's name, the same for every sensor: "green", "nir", "swir16"."""

    keys: tuple[str, ...]
    """Asset keys and file band names that providers use for it, the most specific first."""

    wavelength: float
    """Centre wavelength (um)."""

    resolution: float
    """Ground sampling distance (m)."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A provider's quality layer and what its values mean."""

    keys: tuple[str, ...]
    """Asset keys and file band names."""

    kind: Literal["classes", "bits"]
    """Whether the layer holds class codes or bit flags."""

    flags: Mapping[str, tuple[int, ...]]
    """Class codes or bit numbers by what they mean: defect, cloud, cloud_shadow, snow, water."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One satellite product: where it is found and how its numbers become reflectance."""

    name: str
    collections: tuple[str, ...]
    """STAC collections that hold it."""

    level: Literal["surface", "top-of-atmosphere"]
    scale: float
    """Reflectance per digital number (1)."""

    nodata: int
    """Digital number of a pixel that was not measured."""

    offset_rule: Literal["sentinel-2-baseline", "none"]
    """How the offset (DN) follows from an item's properties; see `declared_offset`."""

    bands: tuple[Band, ...]
    quality: Quality | None
    dark: tuple[str, ...]
    """Bands in which snow, ice, water or shadow is darkest, for the check of the offset."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands, in order.

        >>> SENSORS["sentinel-2-l2a"].names[:3]
        ('blue', 'green', 'red')
        """
        return tuple(band.name for band in self.bands)

    def band(self, name: str) -> Band:
        """Return the band of a name.

        >>> SENSORS["sentinel-2-l2a"].band("green").keys[0]
        'green'
        """
        for band in self.bands:
            if band.name == name:
                return band
        raise SensorError(f"{self.name} has no band {name!r}; it has {list(self.names)}")


def _s2(name, key, *more, wavelength, resolution):
    return Band(name=name, keys=(*more, key), wavelength=wavelength, resolution=resolution)


# Wavelengths and resolutions: ESA, Sentinel-2 MSI User Guide, table of spectral bands (S2A).
_SENTINEL_2_BANDS = (
    _s2("blue", "B02", "blue", "B2", wavelength=0.492, resolution=10),
    _s2("green", "B03", "green", "B3", wavelength=0.560, resolution=10),
    _s2("red", "B04", "red", "B4", wavelength=0.665, resolution=10),
    _s2("rededge071", "B05", "rededge071", "rededge1", "B5", wavelength=0.704, resolution=20),
    _s2("rededge075", "B06", "rededge075", "rededge2", "B6", wavelength=0.741, resolution=20),
    _s2("rededge078", "B07", "rededge078", "rededge3", "B7", wavelength=0.783, resolution=20),
    _s2("nir", "B08", "nir", "B8", wavelength=0.833, resolution=10),
    _s2("nir08", "B8A", "nir08", wavelength=0.865, resolution=20),
    _s2("swir16", "B11", "swir16", wavelength=1.614, resolution=20),
    _s2("swir22", "B12", "swir22", wavelength=2.202, resolution=20),
)

_SCL = Quality(
    # Sen2Cor scene classification: 0 nodata, 1 saturated or defective, 3 cloud shadow, 6 water,
    # 8 cloud medium, 9 cloud high probability, 10 thin cirrus, 11 snow (ESA, Level-2A ATBD).
    keys=("scl", "SCL"),
    kind="classes",
    flags=MappingProxyType(
        {"defect": (0, 1), "cloud": (8, 9, 10), "cloud_shadow": (3,), "snow": (11,), "water": (6,)}
    ),
)

_QA60 = Quality(
    # Level-1C cloud mask at 60 m: bit 10 opaque clouds, bit 11 cirrus (ESA).
    keys=("QA60",),
    kind="bits",
    flags=MappingProxyType({"cloud": (10, 11)}),
)

SENTINEL_2_L2A = Sensor(
    name="sentinel-2-l2a",
    collections=("sentinel-2-l2a", "sentinel-2-c1-l2a", "sentinel-s2-l2a-cogs"),
    level="surface",
    scale=1e-4,
    nodata=0,
    offset_rule="sentinel-2-baseline",
    bands=_SENTINEL_2_BANDS,
    quality=_SCL,
    dark=("swir22", "swir16"),
)

SENTINEL_2_L1C = Sensor(
    name="sentinel-2-l1c",
    collections=("sentinel-2-l1c", "sentinel-s2-l1c"),
    level="top-of-atmosphere",
    scale=1e-4,
    nodata=0,
    offset_rule="sentinel-2-baseline",
    bands=_SENTINEL_2_BANDS,
    quality=_QA60,
    dark=("swir22", "swir16"),
)

SENSORS: Mapping[str, Sensor] = MappingProxyType(
    {sensor.name: sensor for sensor in (SENTINEL_2_L2A, SENTINEL_2_L1C)}
)


def sensor_of(name: str) -> Sensor:
    """Return the sensor of a name.

    Raises
    ------
    SensorError
        If there is none; the message lists the names.

    Examples
    --------
    >>> sensor_of("sentinel-2-l1c").level
    'top-of-atmosphere'
    """
    if name not in SENSORS:
        raise SensorError(f"unknown sensor {name!r}; there are {sorted(SENSORS)}")
    return SENSORS[name]


def declared_offset(sensor: Sensor, properties: Mapping[str, Any]) -> int | None:
    """Return the offset (DN) that an item's properties declare, None if they say nothing.

    Parameters
    ----------
    sensor : Sensor
    properties : mapping
        STAC item properties, or tags of a file.

    Returns
    -------
    int or None
        To be added before scaling. Sentinel-2: -1000 from processing baseline 04.00 on,
        unless the provider says that it has been applied already; 0 before.

    Notes
    -----
    ESA added 1000 to all numbers with baseline 04.00 (January 2022). Earth Search states
    `earthsearch:boa_offset_applied` (v1) or `sentinel:boa_offset_applied` (v0) where it
    has taken the shift away again.

    Examples
    --------
    >>> declared_offset(SENTINEL_2_L2A, {"s2:processing_baseline": "05.09"})
    -1000
    >>> declared_offset(SENTINEL_2_L2A, {"s2:processing_baseline": "02.12"})
    0
    """
    if sensor.offset_rule == "none":
        return 0
    if any(properties.get(key) is True for key in _OFFSET_APPLIED):
        return 0
    baseline = processing_baseline(properties)
    if baseline is None:
        return None
    return SENTINEL_2_OFFSET if baseline >= 4.0 else 0


def processing_baseline(properties: Mapping[str, Any]) -> float | None:
    """Return the processing baseline in an item's properties, None if they state none.

    Raises
    ------
    SensorError
        If it is no number.

    Examples
    --------
    >>> processing_baseline({"s2:processing_baseline": "05.09"})
    5.09
    """
    baseline = next((properties[key] for key in _BASELINE if properties.get(key)), None)
    try:
        return None if baseline is None else float(baseline)
    except ValueError:
        raise SensorError(
            f"a processing baseline is a number such as '04.00', found {baseline!r}"
        ) from None


_OFFSET_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE = (
    "s2:processing_baseline",
    "sentinel:processing_baseline",
    "processing:version",
    "PROCESSING_BASELINE",
)
