"""Harmonized Landsat Sentinel-2 (HLS) version 2: L30 and S30."""

from types import MappingProxyType

from glaciercube.sensors.rows import Band, Quality, Sensor

SOURCE = "NASA LP DAAC, HLS User Guide V2 (Masek et al. 2021)"


def _band(name, key, wavelength):
    assets = MappingProxyType({"planetary-computer": key, "lp-daac": key})
    return Band(name=name, assets=assets, wavelength=wavelength, resolution=30)


_FMASK = Quality(
    # Bit 0 cirrus (reserved), 1 cloud, 2 beside cloud or shadow, 3 cloud shadow, 4 snow or ice,
    # 5 water, 6-7 aerosol; 255 not measured (HLS User Guide V2, table 9).
    name="fmask",
    assets=MappingProxyType({"planetary-computer": "Fmask", "lp-daac": "Fmask"}),
    kind="bits",
    dtype="uint8",
    nodata=255,
    flags=MappingProxyType({"cloud": (1,), "cloud_shadow": (3,), "snow": (4,), "water": (5,)}),
)

_L30 = (
    _band("blue", "B02", 0.482),
    _band("green", "B03", 0.561),
    _band("red", "B04", 0.655),
    _band("nir08", "B05", 0.865),
    _band("swir16", "B06", 1.609),
    _band("swir22", "B07", 2.201),
)

_S30 = (
    _band("blue", "B02", 0.492),
    _band("green", "B03", 0.560),
    _band("red", "B04", 0.665),
    _band("rededge071", "B05", 0.704),
    _band("rededge075", "B06", 0.741),
    _band("rededge078", "B07", 0.783),
    _band("nir", "B08", 0.833),
    _band("nir08", "B8A", 0.865),
    _band("swir16", "B11", 1.614),
    _band("swir22", "B12", 2.202),
)


_COASTAL = _band("coastal", "B01", 0.443)
_L30_MORE = (_COASTAL, _band("cirrus", "B09", 1.373))
_S30_MORE = (_COASTAL, _band("nir09", "B09", 0.945), _band("cirrus", "B10", 1.374))


def _row(letter, bands, more, collections):
    return Sensor(
        name=f"hls-{letter}30",
        family="hls",
        title=f"Harmonized Landsat Sentinel-2 {letter.upper()}30",
        collections=collections,
        ids=rf"HLS\.{letter.upper()}30\.",
        source=SOURCE,
        level="surface",
        dtype="int16",
        nodata=(-9999,),
        scale=1e-4,
        bands=bands,
        more=more,
        quality=(_FMASK,),
        dark=("swir22", "swir16"),
    )


ROWS = (
    _row("l", _L30, _L30_MORE, ("hls2-l30", "HLSL30", "HLSL30.v2.0", "HLSL30_2.0")),
    _row("s", _S30, _S30_MORE, ("hls2-s30", "HLSS30", "HLSS30.v2.0", "HLSS30_2.0")),
)
