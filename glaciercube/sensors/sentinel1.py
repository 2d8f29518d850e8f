"""Sentinel-1: terrain-corrected gamma nought; what is not geocoded is refused."""

from types import MappingProxyType

from glaciercube.sensors.rows import Band, Refusal, Sensor


def _band(name, resolution=10.0):
    return Band(
        name=name,
        assets=MappingProxyType({"planetary-computer": name, "stactools": f"gamma0_{name}"}),
        resolution=resolution,
    )


SENTINEL_1_RTC = Sensor(
    name="sentinel-1-rtc",
    family="sentinel-1-rtc",
    title="Sentinel-1 radiometrically terrain-corrected gamma nought",
    collections=("sentinel-1-rtc", "sentinel1-rtc-aws"),
    ids=r"S1[A-D]_.*(_rtc$|_(ASC|DSC)$)",
    source="Planetary Computer sentinel-1-rtc (Catalyst), AWS sentinel-s1-rtc-indigo (Indigo Ag)",
    level="backscatter",
    dtype="float32",
    nodata=(-32768.0, 0.0),
    bands=(_band("vv"), _band("vh")),
    more=(_band("hh"), _band("hv")),
    notes="linear power; each orbit is a time of its own",
)

ROWS = (SENTINEL_1_RTC,)

REFUSALS = (
    Refusal(
        name="sentinel-1-grd",
        collections=("sentinel-1-grd", "sentinel1-grd"),
        ids=r"S1[A-D]_(IW|EW|SM|WV)_GRD._.*(?<!_rtc)$",
        reason="ground range detected scenes are not geocoded: without terrain correction their "
        "pixels lie up to kilometres away from the ground in mountains; take 'sentinel-1-rtc'",
    ),
    Refusal(
        name="sentinel-1-slc",
        collections=("sentinel-1-slc", "sentinel1-slc"),
        ids=r"S1[A-D]_(IW|EW|S[1-6]|WV)_SLC_",
        reason="single look complex scenes are in radar geometry; take 'sentinel-1-rtc'",
    ),
)
