"""What a row of the sensor table says: bands, quality, conversion and who publishes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from glaciercube.errors import SensorError

Level = Literal["surface", "top-of-atmosphere", "backscatter", "elevation"]

Rule = Literal["fixed", "sentinel-2-baseline", "landsat-toa"]
"""How the numbers of an item become values; see `conversion.linear_of`."""

FLAGS = ("cloud", "cloud_shadow", "snow", "water", "saturated")
"""What a provider's quality layers may tell, beside fill and defects; a cube's variables."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """One band as providers deliver it."""

    name: str
    """This package's name, the same for every sensor: "green", "nir", "swir16", "vv"."""

    assets: Mapping[str, str]
    """Asset key, or band name in a file, by provider."""

    resolution: float
    """Ground sampling distance (m)."""

    wavelength: float | None = None
    """Centre wavelength (um); None for radar and elevation."""

    resampling: Literal["bilinear", "nearest"] = "bilinear"
    """On grids about as fine as the band; coarser grids take the mean of its pixels."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all providers and this package's name, the most specific first."""
        return tuple(dict.fromkeys((*self.assets.values(), self.name)))


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A provider's quality layer and what its values mean."""

    name: str
    assets: Mapping[str, str]
    """Asset key, or band name in a file, by provider."""

    kind: Literal["classes", "bits"]
    """Whether the layer holds class codes or bit flags."""

    dtype: str
    """Type of its numbers as delivered."""

    nodata: int
    """Its number where nothing was measured."""

    flags: Mapping[str, tuple[int, ...]]
    """Class codes or bit numbers by what they mean: `defect` (not measured properly) and those
    of `FLAGS`."""

    resampling: Literal["nearest"] = "nearest"

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all providers, each once."""
        return tuple(dict.fromkeys(self.assets.values()))


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One satellite product: where it is found and how its numbers become values."""

    name: str
    family: str
    """Rows of one family may share a cube: "landsat-c2-l2" for three instruments."""

    title: str
    collections: tuple[str, ...]
    """STAC collections that hold it."""

    ids: str
    """Regular expression that its item identifiers begin with; parts a collection that several
    rows share, and tells items of unknown collections."""

    source: str
    """Where the numbers of this row are published."""

    level: Level
    dtype: str
    """Type of the numbers as delivered."""

    nodata: tuple[float, ...]
    """Numbers of a pixel that was not measured."""

    scale: float = 1.0
    """Value per digital number."""

    offset: float = 0.0
    """To be added to the digital number before scaling (DN), where the rule does not tell."""

    rule: Rule = "fixed"
    bands: tuple[Band, ...]
    more: tuple[Band, ...] = ()
    """Bands that are loaded on request only."""

    quality: tuple[Quality, ...] = ()
    """The most telling first."""

    dark: tuple[str, ...] = ()
    """Bands in which snow, ice, water or shadow is darkest, for the check of the offset."""

    vertical_datum: str | None = None
    """Of an elevation model."""

    notes: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands that are loaded when nobody says which, in order.

        >>> from glaciercube.sensors import SENSORS
        >>> SENSORS["sentinel-2-l2a"].names[:3]
        ('blue', 'green', 'red')
        """
        return tuple(band.name for band in self.bands)

    @property
    def every_name(self) -> tuple[str, ...]:
        """Names of all bands, those that are loaded on request last.

        >>> from glaciercube.sensors import SENSORS
        >>> SENSORS["sentinel-2-l2a"].every_name[-2:]
        ('coastal', 'nir09')
        """
        return tuple(band.name for band in (*self.bands, *self.more))

    @property
    def variable(self) -> str:
        """Name of the cube's variable that holds the bands."""
        return {"backscatter": "backscatter", "elevation": "elevation"}.get(
            self.level, "reflectance"
        )

    def band(self, name: str) -> Band:
        """Return the band of a name.

        >>> from glaciercube.sensors import SENSORS
        >>> SENSORS["sentinel-2-l2a"].band("green").keys[0]
        'green'
        """
        for band in (*self.bands, *self.more):
            if band.name == name:
                return band
        raise SensorError(f"{self.name} has no band {name!r}; it has {list(self.every_name)}")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A kind of STAC document that is known and not taken, and why."""

    name: str
    collections: tuple[str, ...] = ()
    ids: str | None = None
    """Regular expression that item identifiers begin with; None: the collection alone tells."""

    reason: str
    """Why, and what to take instead."""
