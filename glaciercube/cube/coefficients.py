"""Published lines between the reflectances of two sensors, each with its source."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from glaciercube.sensors.rows import Level

Instrument = Literal["etm", "msi", "oli"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """target = intercept + slope * origin, of one band."""

    band: str
    """Of the origin, by this package's name."""

    slope: float
    intercept: float
    """Reflectance (1)."""

    @property
    def inverse(self) -> "Line":
        """The line the other way, for fits that treat both sensors alike.

        >>> Line(band="red", slope=2.0, intercept=0.5).inverse
        Line(band='red', slope=0.5, intercept=-0.25)
        """
        return Line(band=self.band, slope=1 / self.slope, intercept=-self.intercept / self.slope)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The lines from one instrument to another that one study fitted."""

    origin: Instrument
    target: Instrument
    lines: tuple[Line, ...]
    platforms: tuple[str, ...] = ()
    """Satellites of the origin that it holds for; any if empty."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What one study gives, and how far its numbers were checked."""

    name: str
    source: str
    level: Level
    method: str
    over: str
    """Which surfaces it was fitted over."""

    symmetric: bool
    """Whether the lines may be turned round: true of major-axis fits."""

    checked: str
    """Where the numbers were compared, and with what result."""

    fits: tuple[Fit, ...]


_SIX = ("blue", "green", "red", "nir08", "swir16", "swir22")
_MSI_BROAD = ("blue", "green", "red", "nir", "swir16", "swir22")


def _lines(bands, slopes, intercepts):
    return tuple(
        Line(band=band, slope=slope, intercept=intercept)
        for band, slope, intercept in zip(bands, slopes, intercepts, strict=True)
    )


_HLS_BANDS = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")

HLS = Study(
    name="hls",
    source="Claverie et al. 2018, RSE 219, 145-161, doi:10.1016/j.rse.2018.09.002, in the version "
    "of hls.gsfc.nasa.gov/algorithms/bandpass-adjustment",
    level="surface",
    method="ordinary least squares on bands computed from spectra",
    over="500 Hyperion spectra of 160 scenes around the globe, mostly land",
    symmetric=False,
    checked="equal to NASA's page, all digits; not checked against the paper",
    fits=(
        Fit(
            origin="msi",
            target="oli",
            platforms=("sentinel-2a",),
            lines=_lines(
                _HLS_BANDS,
                (0.9959, 0.9778, 1.0053, 0.9765, 0.9983, 0.9987, 1.0030),
                (-0.0002, -0.0040, -0.0009, 0.0009, -0.0001, -0.0011, -0.0012),
            ),
        ),
        Fit(
            origin="msi",
            target="oli",
            platforms=("sentinel-2b",),
            lines=_lines(
                _HLS_BANDS,
                (0.9959, 0.9778, 1.0075, 0.9761, 0.9966, 1.0000, 0.9867),
                (-0.0002, -0.0040, -0.0008, 0.0010, 0.0000, -0.0003, 0.0004),
            ),
        ),
    ),
)

_ROY = "Roy et al. 2016, RSE 185, 57-70, doi:10.1016/j.rse.2015.12.024"
_ROY_OVER = "the conterminous United States, winter and summer"

ROY_OLS = Study(
    name="roy-2016-ols",
    source=_ROY,
    level="surface",
    method="ordinary least squares",
    over=_ROY_OVER,
    symmetric=False,
    checked="equal in several public programs and in a table of PMC8113344, and consistent with "
    "the reduced major axis (slope = root of the ratio of both regressions); not checked against "
    "the paper",
    fits=(
        Fit(
            origin="etm",
            target="oli",
            lines=_lines(
                _SIX,
                (0.8474, 0.8483, 0.9047, 0.8462, 0.8937, 0.9071),
                (0.0003, 0.0088, 0.0061, 0.0412, 0.0254, 0.0172),
            ),
        ),
    ),
)

ROY_RMA = Study(
    name="roy-2016-rma",
    source=_ROY,
    level="surface",
    method="reduced major axis",
    over=_ROY_OVER,
    symmetric=True,
    checked="equal in several public programs, and the slopes follow from both least-squares "
    "regressions to 1e-4; not checked against the paper",
    fits=(
        Fit(
            origin="etm",
            target="oli",
            lines=_lines(
                _SIX,
                (0.9785, 0.9542, 0.9825, 1.0073, 1.0171, 0.9949),
                (-0.0095, -0.0016, -0.0022, -0.0021, -0.0030, 0.0029),
            ),
        ),
    ),
)

CHASTAIN = Study(
    name="chastain-2019",
    source="Chastain et al. 2019, RSE 221, 274-285, doi:10.1016/j.rse.2018.11.012, tables 4 to 6",
    level="top-of-atmosphere",
    method="major axis",
    over="the conterminous United States",
    symmetric=True,
    checked="equal to the program of a co-author (geeViz), less a fifth digit 1 of slopes and "
    "intercepts there, which stems from a footnote; not checked against the paper",
    fits=(
        Fit(
            origin="oli",
            target="msi",
            lines=_lines(
                _SIX,
                (1.0946, 1.0043, 1.0524, 0.8954, 1.0049, 1.0002),
                (-0.0107, 0.0026, -0.0015, 0.0033, 0.0065, 0.0046),
            ),
        ),
        Fit(
            origin="etm",
            target="msi",
            lines=_lines(
                _SIX,
                (1.1060, 0.9909, 1.0568, 1.0045, 1.0361, 1.0401),
                (-0.0139, 0.0041, -0.0024, -0.0076, 0.0041, 0.0086),
            ),
        ),
        Fit(
            origin="etm",
            target="oli",
            lines=_lines(
                _SIX,
                (1.0350, 1.0092, 1.0199, 1.1406, 1.0435, 1.0527),
                (-0.0055, -0.0008, -0.0021, -0.0163, -0.0045, 0.0026),
            ),
        ),
    ),
)

FENG = Study(
    name="feng-2023-greenland",
    source="Feng et al. 2023, International Journal of Remote Sensing (albedo of ice from "
    "harmonised Landsat and Sentinel-2), program harmonizationTutorial.js of the authors",
    level="surface",
    method="reduced major axis",
    over="snow and ice of Greenland",
    symmetric=True,
    checked="equal in several programs of the authors; not checked against the paper",
    fits=(
        Fit(
            origin="etm",
            target="oli",
            lines=_lines(
                _SIX,
                (1.1017, 1.0840, 1.0610, 1.2100, 1.2039, 1.2402),
                (-0.0084, -0.0065, 0.0022, -0.0768, -0.0314, -0.0022),
            ),
        ),
        Fit(
            origin="msi",
            target="oli",
            lines=_lines(
                _MSI_BROAD,
                (1.0849, 1.0590, 1.0759, 1.1583, 1.0479, 1.0148),
                (0.0210, 0.0167, 0.0155, -0.0693, -0.0039, -0.0112),
            ),
        ),
    ),
)

STUDIES: Mapping[str, Study] = MappingProxyType(
    {study.name: study for study in (HLS, ROY_RMA, ROY_OLS, CHASTAIN, FENG)}
)
"""By name."""

PAIRS: Mapping[str, str] = MappingProxyType({"nir": "nir08", "nir08": "nir"})
"""MSI's broad near infrared stands for the narrow one of the other instruments."""


def lines_between(
    study: Study, origin: str, target: str, platform: str | None
) -> dict[str, Line] | None:
    """Return the lines from one instrument to another, by the origin's bands.

    Parameters
    ----------
    study : Study
    origin, target : str
        Instruments: "etm", "msi", "oli".
    platform : str or None
        Satellite of the origin, "sentinel-2a", where it is known.

    Returns
    -------
    dict or None
        None where the study has no such lines, nor some that may be turned round.

    Examples
    --------
    >>> lines_between(ROY_RMA, "etm", "oli", None)["red"].slope
    0.9825
    >>> lines_between(HLS, "oli", "msi", None) is None
    True
    """
    for fit in study.fits:
        fits_platform = not fit.platforms or platform in fit.platforms
        if (fit.origin, fit.target) == (origin, target) and fits_platform:
            return {line.band: line for line in fit.lines}
        if study.symmetric and (fit.target, fit.origin) == (origin, target):
            turned = [replace(line.inverse, band=_partner(line.band, fit)) for line in fit.lines]
            return {line.band: line for line in turned}
    return None


def _partner(band, fit):
    """Return what the target of a fit calls a band of its origin."""
    return PAIRS.get(band, band) if "msi" in (fit.origin, fit.target) else band
