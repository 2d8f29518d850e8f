"""Landsat 4 to 9, Collection 2: Level-2 surface reflectance and Level-1 top of atmosphere."""

from types import MappingProxyType

from glaciercube.sensors.rows import Band, Quality, Refusal, Sensor

SCALE, OFFSET = 2.75e-5, -0.2 / 2.75e-5
"""Level-2: reflectance per DN, and DN to add (USGS, Landsat 8-9 Collection 2 Level 2 Science
Product Guide, LSDS-1619: 0.0000275 x DN - 0.2)."""

TOA_SCALE, TOA_OFFSET = 2e-5, -0.1 / 2e-5
"""Level-1 OLI: reflectance per DN and DN to add, before the division by the sine of the sun's
elevation (USGS, Landsat 8 Data Users Handbook, LSDS-1574: REFLECTANCE_MULT, REFLECTANCE_ADD).
TM and ETM+ state their own in each scene's metadata."""


def _assets(word, key):
    """Return the keys of a layer: a word, or in older items what the file's name ends with."""
    return MappingProxyType(
        {
            "earth-search-v1": word,
            "planetary-computer": word,
            "stactools": word,
            "landsatlook": word,
            "landsatlook-2020": f"{key}.TIF",
            "planetary-computer-2021": key,
        }
    )


def _band(name, number, wavelength, level):
    key = f"SR_B{number}" if level == 2 else f"B{number}"
    return Band(name=name, assets=_assets(name, key), wavelength=wavelength, resolution=30)


def _tm(level):
    # Wavelengths: USGS, band designations for the Landsat satellites (centres).
    return (
        _band("blue", 1, 0.485, level),
        _band("green", 2, 0.560, level),
        _band("red", 3, 0.660, level),
        _band("nir08", 4, 0.830, level),
        _band("swir16", 5, 1.650, level),
        _band("swir22", 7, 2.215, level),
    )


def _oli(level):
    return (
        _band("blue", 2, 0.482, level),
        _band("green", 3, 0.561, level),
        _band("red", 4, 0.655, level),
        _band("nir08", 5, 0.865, level),
        _band("swir16", 6, 1.609, level),
        _band("swir22", 7, 2.201, level),
    )


def _oli_more(level):
    coastal, cirrus = _band("coastal", 1, 0.443, level), _band("cirrus", 9, 1.373, level)
    return (coastal,) if level == 2 else (coastal, cirrus)


def _qa(name, flags):
    return Quality(
        name=name,
        assets=_assets(name, name.upper()),
        kind="bits",
        dtype="uint16",
        nodata=1 if name == "qa_pixel" else 0,
        flags=MappingProxyType(flags),
    )


# CFMask, USGS LSDS-1619: bit 0 fill, 1 dilated cloud, 2 cirrus (OLI), 3 cloud, 4 cloud shadow,
# 5 snow, 6 clear, 7 water.
_QA_PIXEL = _qa(
    "qa_pixel",
    {"defect": (0,), "cloud": (1, 2, 3), "cloud_shadow": (4,), "snow": (5,), "water": (7,)},
)
# Bit n - 1 is the saturation of band n, 9 a dropped pixel (TM, ETM+), 11 terrain occlusion (OLI).
_RADSAT_TM = _qa("qa_radsat", {"defect": (9,), "saturated": (0, 1, 2, 3, 4, 6)})
_RADSAT_OLI = _qa("qa_radsat", {"defect": (11,), "saturated": (1, 2, 3, 4, 5, 6)})

_L2_COLLECTIONS = ("landsat-c2-l2", "landsat-c2l2-sr", "landsat-8-c2-l2")
_L1_COLLECTIONS = ("landsat-c2-l1", "landsat-c2l1")


def _row(instrument, ids, level, bands, radsat):
    second = level == 2
    return Sensor(
        name=f"landsat-{instrument}-c2-l{level}",
        family=f"landsat-c2-l{level}",
        title=f"Landsat {instrument.upper().replace('ETM', 'ETM+')} Collection 2 Level-{level}",
        collections=_L2_COLLECTIONS if second else _L1_COLLECTIONS,
        ids=rf"{ids}_{'L2S[PR]' if second else 'L1(TP|GT|GS)'}",
        source="USGS LSDS-1619" if second else "USGS LSDS-1574, MTL of each scene",
        level="surface" if second else "top-of-atmosphere",
        dtype="uint16",
        nodata=(0,),
        scale=SCALE if second else TOA_SCALE,
        offset=OFFSET if second else TOA_OFFSET,
        rule="fixed" if second else "landsat-toa",
        bands=bands(level),
        more=_oli_more(level) if instrument == "oli" else (),
        quality=(_QA_PIXEL, radsat),
        dark=("swir22", "swir16"),
        notes="SLC-off gaps since 2003-05-31 are nodata" if instrument == "etm" else "",
    )


_INSTRUMENTS = (
    ("tm", "LT0[45]", _tm, _RADSAT_TM),
    ("etm", "LE07", _tm, _RADSAT_TM),
    ("oli", "L[CO]0[89]", _oli, _RADSAT_OLI),
)

ROWS = tuple(
    _row(name, ids, level, bands, radsat)
    for level in (2, 1)
    for name, ids, bands, radsat in _INSTRUMENTS
)

REFUSALS = (
    Refusal(
        name="landsat-st",
        collections=("landsat-c2l2-st",),
        reason="it holds surface temperature and no reflectance; take the item of the same scene "
        "in 'landsat-c2l2-sr'",
    ),
    Refusal(
        name="landsat-mss",
        collections=_L1_COLLECTIONS,
        ids=r"LM0[1-5]_",
        reason="the Multispectral Scanner (Landsat 1-5) has no short-wave infrared, which tells "
        "snow from cloud; take Landsat 4-9 (TM, ETM+, OLI)",
    ),
    Refusal(
        name="landsat-tirs",
        collections=(*_L1_COLLECTIONS, *_L2_COLLECTIONS),
        ids=r"LT0[89]_",
        reason="it was taken by the thermal sensor alone and holds no reflectance",
    ),
)
