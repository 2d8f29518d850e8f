"""A plan: which tiles of the globe are worked on, for which glaciers, at what cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
from odc.geo.geobox import GeoBox

from glaciercube.windows import Window


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One piece of the job: a grid to ingest, and the part of it that is reported."""

    name: str
    """Of its CRS and its place on the lattice of blocks, [a-z0-9_-] only: a folder's name."""

    geobox: GeoBox
    """What is ingested: whole blocks of the lattice anchored at (0, 0) of the CRS."""

    core: Window
    """What is reported, in pixels of `geobox`: the glaciers with their buffer. At least a halo
    lies between it and the edges of `geobox`."""

    glaciers: tuple[str, ...]
    """Identifiers; each glacier of a plan is in exactly one tile."""

    useful: int
    """Pixels within the buffer of its glaciers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The tiles of a job and what is to be done with each."""

    path: Path
    """The GeoParquet file."""

    tiles: gpd.GeoDataFrame
    """A row for each tile."""

    options: Mapping[str, Any]
    """What the job does, as JSON has it."""

    fingerprint: str
    """Of the outlines and the options."""
