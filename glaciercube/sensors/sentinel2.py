"""Sentinel-2, Level-2A (surface) and Level-1C (top of atmosphere)."""

from types import MappingProxyType

from glaciercube.sensors.rows import Band, Quality, Sensor

SENTINEL_2_OFFSET = -1000
"""To be added (DN) since processing baseline 04.00 (ESA: RADIO_ADD_OFFSET, BOA_ADD_OFFSET)."""


def _band(name, key, earth_search, wavelength, resolution):
    """Return a band by ESA's key ("B03") and the word that Earth Search has for it."""
    return Band(
        name=name,
        assets=MappingProxyType(
            {
                "earth-search-v1": earth_search,
                "earth-search-c1": earth_search,
                "stactools": earth_search,
                "planetary-computer": key,
                "earth-search-v0": key,
                "cdse": f"{key}_{resolution}m",
                "file": key.replace("B0", "B"),
            }
        ),
        wavelength=wavelength,
        resolution=resolution,
    )


# Wavelengths and resolutions: ESA, Sentinel-2 MSI User Guide, table of spectral bands (S2A).
_BANDS = (
    _band("blue", "B02", "blue", 0.492, 10),
    _band("green", "B03", "green", 0.560, 10),
    _band("red", "B04", "red", 0.665, 10),
    _band("rededge071", "B05", "rededge1", 0.704, 20),
    _band("rededge075", "B06", "rededge2", 0.741, 20),
    _band("rededge078", "B07", "rededge3", 0.783, 20),
    _band("nir", "B08", "nir", 0.833, 10),
    _band("nir08", "B8A", "nir08", 0.865, 20),
    _band("swir16", "B11", "swir16", 1.614, 20),
    _band("swir22", "B12", "swir22", 2.202, 20),
)

_MORE = (
    _band("coastal", "B01", "coastal", 0.443, 60),
    _band("nir09", "B09", "nir09", 0.945, 60),
)
_CIRRUS = _band("cirrus", "B10", "cirrus", 1.374, 60)

_SCL = Quality(
    # Sen2Cor scene classification: 0 nodata, 1 saturated or defective, 3 cloud shadow, 6 water,
    # 8 cloud medium, 9 cloud high probability, 10 thin cirrus, 11 snow (ESA, Level-2A ATBD).
    name="scl",
    assets=MappingProxyType(
        {
            "earth-search-v1": "scl",
            "earth-search-c1": "scl",
            "stactools": "scl",
            "planetary-computer": "SCL",
            "earth-search-v0": "SCL",
            "cdse": "SCL_20m",
        }
    ),
    kind="classes",
    dtype="uint8",
    nodata=0,
    flags=MappingProxyType(
        {"defect": (0, 1), "cloud": (8, 9, 10), "cloud_shadow": (3,), "snow": (11,), "water": (6,)}
    ),
)

_QA60 = Quality(
    # Level-1C cloud mask at 60 m: bit 10 opaque clouds, bit 11 cirrus (ESA). Empty in products
    # of 2022 to 2024.
    name="qa60",
    assets=MappingProxyType({"file": "QA60"}),
    kind="bits",
    dtype="uint16",
    nodata=0,
    flags=MappingProxyType({"cloud": (10, 11)}),
)

SENTINEL_2_L2A = Sensor(
    name="sentinel-2-l2a",
    family="sentinel-2-l2a",
    title="Sentinel-2 Level-2A",
    collections=(
        "sentinel-2-l2a",
        "sentinel-2-c1-l2a",
        "sentinel-2-pre-c1-l2a",
        "sentinel-s2-l2a-cogs",
        "sentinel-s2-l2a",
    ),
    ids=r"S2[A-D]_.*L2A",
    source="ESA, Sentinel-2 Products Specification; STAC documents of the providers",
    level="surface",
    dtype="uint16",
    nodata=(0,),
    scale=1e-4,
    rule="sentinel-2-baseline",
    bands=_BANDS,
    more=_MORE,
    quality=(_SCL,),
    dark=("swir22", "swir16"),
)

SENTINEL_2_L1C = Sensor(
    name="sentinel-2-l1c",
    family="sentinel-2-l1c",
    title="Sentinel-2 Level-1C",
    collections=("sentinel-2-l1c", "sentinel-s2-l1c"),
    ids=r"S2[A-D]_.*L1C",
    source="ESA, Sentinel-2 Products Specification; STAC documents of the providers",
    level="top-of-atmosphere",
    dtype="uint16",
    nodata=(0,),
    scale=1e-4,
    rule="sentinel-2-baseline",
    bands=_BANDS,
    more=(*_MORE, _CIRRUS),
    quality=(_QA60,),
    dark=("swir22", "swir16"),
)

ROWS = (SENTINEL_2_L2A, SENTINEL_2_L1C)
