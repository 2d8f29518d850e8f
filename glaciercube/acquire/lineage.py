"""Of what each block of a loaded cube is made: items, files, elevation, as they are now."""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox

from glaciercube import cover, grid
from glaciercube.acquire.elevation import part_of
from glaciercube.acquire.ground import Ground
from glaciercube.acquire.heights import HIGHEST_M, Source
from glaciercube.acquire.identities import identity_of_source, version_of
from glaciercube.acquire.margins import towards
from glaciercube.acquire.plans import Entry, Moment, Piece
from glaciercube.acquire.wanted import Wanted
from glaciercube.store.lineage import Inputs, Lineage, fingerprint, lineage_of, with_lineage
from glaciercube.windows import Window

UNWANTED = "unwanted"
"""Fingerprint of a block that is not read."""

AROUND = 0.02
"""A file of elevation counts for blocks this far beyond what its catalogue says it covers
(degree): twice the margin with which it is read."""


class Known:
    """Fingerprints that were made, until they are asked for anew."""

    def __init__(self) -> None:
        self._known: dict[Any, str] = {}

    def refresh(self) -> None:
        """Forget what sources were like: a write looks at them anew."""
        self._known = {}

    def identity(self, address: str, version: str) -> str:
        """Return the fingerprint of a source."""
        key = (address, version)
        if key not in self._known:
            self._known[key] = identity_of_source(address, version)
        return self._known[key]


class Steady:
    """Inputs of an array whose parameters say it all."""

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the same for every block."""
        return ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One item of a time, or one file: what tells it, and where it reaches."""

    told: str
    """All but its sources: how they become values."""

    sources: tuple[tuple[str, str], ...]
    """Address and version of each."""

    reach: shapely.Geometry | None = None
    """In pixels of the grid; None reaches everywhere."""


class SceneInputs(Known):
    """What the blocks of each time read, the first laid on top.

    Parameters
    ----------
    parts : mapping of datetime64 to sequence of Part
    wanted : Wanted, optional
        Which blocks are read.
    """

    def __init__(self, parts: Mapping[Any, Sequence[Part]], wanted: Wanted | None = None) -> None:
        super().__init__()
        self.parts = {_stamp(time): tuple(own) for time, own in parts.items()}
        self.wanted = wanted

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of the items that may have pixels in a block.

        Parameters
        ----------
        time : datetime64[ns]
        window : Window
        """
        asked = _asked(self.wanted, window)
        if asked == UNWANTED:
            return UNWANTED
        box = _box(window)
        found = [
            self._made(part)
            for part in self.parts[_stamp(time)]
            if part.reach is None or part.reach.intersects(box)
        ]
        return fingerprint(asked, *found)

    def _made(self, part):
        key = (part.told, part.sources)
        if key not in self._known:
            identities = [self.identity(*source) for source in part.sources]
            self._known[key] = fingerprint(part.told, *identities)
        return self._known[key]


def scene_parts(groups: Sequence[Sequence[Entry]], moments: Iterable[Moment]) -> list[list[Part]]:
    """Return the parts of each time of a cube of items.

    Parameters
    ----------
    groups : sequence of sequence of Entry
        What is read, by time.
    moments : iterable of Moment
        That were made of them.
    """
    return [
        [_part(entry, piece) for entry, piece in zip(own, moment.pieces, strict=True)]
        for own, moment in zip(groups, moments, strict=True)
    ]


def _part(entry: Entry, piece: Piece) -> Part:
    reading = [[one.key, one.resampling, repr(one.nodata), one.floats] for one in piece.sources]
    return Part(
        told=json.dumps([piece.item, reading, repr(piece.conversion)]),
        sources=tuple((one.address, version_of(entry.item, one.key)) for one in piece.sources),
        reach=shapely.from_wkb(piece.reach),
    )


class HeightInputs(Known):
    """The files of elevation that a block reads.

    Parameters
    ----------
    source : Source
    geobox : GeoBox
        Of the cube.
    margin : int
        Pixels read around a block.
    wanted : Wanted, optional
        Which blocks are read.
    """

    def __init__(
        self, source: Source, geobox: GeoBox, margin: int = 0, wanted: Wanted | None = None
    ) -> None:
        super().__init__()
        self.source, self.geobox, self.margin, self.wanted = source, geobox, margin, wanted
        self.reaches = _reaches(source, geobox)

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of the files that may have heights in a block, in order.

        Parameters
        ----------
        time : datetime64[ns] or None
            Does not matter.
        window : Window
        """
        asked = _asked(self.wanted, window)
        if asked == UNWANTED:
            return UNWANTED
        wide = self.margin
        spans = (window.y0 - wide, window.y1 + wide), (window.x0 - wide, window.x1 + wide)
        return fingerprint(asked, self.within(*spans))

    def within(self, rows: tuple[int, int], columns: tuple[int, int]) -> str:
        """Return the fingerprint of the files within some rows and columns, beyond the grid too."""
        box = shapely.box(columns[0], rows[0], columns[1], rows[1])
        found = [
            self.identity(address, json.dumps(version))
            for address, version, reach in zip(
                self.source.files, self.source.identity, self.reaches, strict=True
            )
            if reach is None or reach.intersects(box)
        ]
        return fingerprint(*found)


def _reaches(source, geobox):
    """Return what each file may cover, in pixels of a grid; None for everything."""
    if len(source.files) == 1:
        return [None]
    shapes = [
        shapely.union_all(
            [
                shapely.box(
                    max(-180.0, west - AROUND),
                    max(-90.0, south - AROUND),
                    min(180.0, east + AROUND),
                    min(90.0, north + AROUND),
                )
                for west, south, east, north in boxes
            ]
        )
        for boxes in source.boxes
    ]
    return list(cover.in_pixels(gpd.GeoSeries(shapes, crs=grid.WGS84), geobox))


class SunInputs:
    """Elevation and the sun of each date.

    Parameters
    ----------
    heights : HeightInputs
    suns : mapping of datetime64 to (float, float)
        Azimuth and elevation (degree).
    """

    def __init__(self, heights: HeightInputs, suns: Mapping[Any, tuple[float, float]]) -> None:
        self.heights = heights
        self.suns = {_stamp(time): sun for time, sun in suns.items()}

    def refresh(self) -> None:
        """Forget what sources were like."""
        self.heights.refresh()

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of the elevation of a block and the sun of a date.

        Parameters
        ----------
        time : datetime64[ns]
        window : Window
        """
        heights = self.heights.of(None, window)
        if heights == UNWANTED:
            return UNWANTED
        return fingerprint(heights, repr(self.suns[_stamp(time)]))


class ShadowInputs(SunInputs):
    """Elevation as far towards the sun of each date as it can cast on a block.

    Parameters
    ----------
    heights : HeightInputs
    suns : mapping of datetime64 to (float, float)
    ground : Ground
        Of the grid.
    max_margin_m : float
    """

    def __init__(
        self,
        heights: HeightInputs,
        suns: Mapping[Any, tuple[float, float]],
        ground: Ground,
        max_margin_m: float,
    ) -> None:
        super().__init__(heights, suns)
        self.ground, self.max_margin_m = ground, max_margin_m

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of the elevation that may shade a block, and of the sun.

        Parameters
        ----------
        time : datetime64[ns]
        window : Window
        """
        own = super().of(time, window)
        azimuth, elevation = self.suns[_stamp(time)]
        if elevation <= 0 or own == UNWANTED:
            return own
        # Not the margin that was looked up for all dates together: a date more would change it.
        reach = min(self.max_margin_m, HIGHEST_M / math.tan(math.radians(elevation)))
        rows, columns = (window.y0, window.y1), (window.x0, window.x1)
        bands = self.ground.bands(part_of(self.heights.geobox, rows, columns))
        spans = towards(rows, columns, reach, azimuth - self.ground.north, bands)
        return fingerprint(own, self.heights.within(*spans))


def with_inputs(
    dataset: xr.Dataset, names: Iterable[Hashable], parameters: Mapping[str, Any], inputs: Inputs
) -> xr.Dataset:
    """Return a dataset some of whose variables carry of what they are made.

    Parameters
    ----------
    dataset : Dataset
    names : iterable of str
        Variables with the same parameters and inputs.
    parameters : mapping
    inputs : Inputs
    """
    told: dict[Any, xr.DataArray] = {
        name: with_lineage(
            dataset[name],
            Lineage(name=dataset[name].data.name, parameters=parameters, inputs=inputs),
        )
        for name in names
    }
    return dataset.assign(told)


def with_recipe(dataset: xr.Dataset, recipe: Mapping[str, Any]) -> xr.Dataset:
    """Return a dataset whose variables with a lineage say how to make the whole again.

    Parameters
    ----------
    dataset : Dataset
    recipe : mapping
        JSON.
    """
    known = {name: lineage_of(variable) for name, variable in dataset.data_vars.items()}
    return dataset.assign(
        {
            name: with_lineage(dataset[name], replace(lineage, recipe=recipe))
            for name, lineage in known.items()
            if lineage is not None
        }
    )


def _asked(wanted, window):
    """Return "" where all blocks of a window are read, else which of them."""
    if wanted is None:
        return ""
    flags = wanted.of(window)
    if not any(flags):
        return UNWANTED
    return "" if all(flags) else json.dumps(flags)


def _box(window):
    return shapely.box(window.x0, window.y0, window.x1, window.y1)


def _stamp(time):
    return int(np.datetime64(time, "ns").astype(np.int64))
