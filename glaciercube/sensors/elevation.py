"""Elevation models, with the datum that their heights refer to."""

from types import MappingProxyType

from glaciercube.sensors.rows import Band, Sensor


def _row(name, title, ids, resolution, datum, dtype, source):
    key = "elevation" if name == "nasadem" else "data"
    band = Band(
        name="elevation",
        assets=MappingProxyType({"planetary-computer": key, "earth-search-v1": key}),
        resolution=resolution,
    )
    return Sensor(
        name=name,
        family=name,
        title=title,
        collections=(name,),
        ids=ids,
        source=source,
        level="elevation",
        dtype=dtype,
        nodata=(-32768.0, -9999.0),
        bands=(band,),
        vertical_datum=datum,
    )


ROWS = (
    _row(
        "cop-dem-glo-30", "Copernicus DEM GLO-30", r"Copernicus_DSM_COG_10_", 30, "EGM2008",
        "float32", "ESA, Copernicus DEM Product Handbook: a surface model of 2011 to 2015",
    ),
    _row(
        "cop-dem-glo-90", "Copernicus DEM GLO-90", r"Copernicus_DSM_COG_30_", 90, "EGM2008",
        "float32", "ESA, Copernicus DEM Product Handbook: a surface model of 2011 to 2015",
    ),
    _row(
        "nasadem", "NASADEM", r"NASADEM_HGT_", 30, "EGM96",
        "int16", "NASA LP DAAC, NASADEM User Guide: SRTM of February 2000 processed again",
    ),
)  # fmt: skip
