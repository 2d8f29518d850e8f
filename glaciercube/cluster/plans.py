"""A plan: which tiles of the globe are worked on, for which glaciers, at what cost."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
from odc.geo.geobox import GeoBox

from glaciercube.cluster import outline_sources, plan_files, summaries, tables
from glaciercube.cluster.options import options_of
from glaciercube.cluster.outline_sources import Record, source_of
from glaciercube.cluster.tiling import geobox_of
from glaciercube.errors import StoreError
from glaciercube.model.card import ModelCard
from glaciercube.store.lineage import fingerprint
from glaciercube.windows import Window

ALGORITHM_VERSION = 1
"""Raised whenever the same outlines and options would give other tiles."""

TARGET_PIXELS = 8 * 1024 * 1024
"""Useful pixels of a tile at most, by default: eight blocks' worth. Some minutes of work for each
date, so that a tile that is lost costs little and what a tile costs beside its pixels (a search,
two stores) is little too."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""What a tile's name may be, as it becomes a folder's."""


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
    """A row for each tile, the most work first; see `tables.COLUMNS`. `geometry` is the ground
    that it ingests, EPSG:4326, cut at the antimeridian."""

    options: Mapping[str, Any]
    """What the job does, as JSON has it; see `options.Options`."""

    fingerprint: str
    """Of the outlines and the options."""

    outlines: str = ""
    """Absolute path of the outlines."""

    stamp: str = ""
    """Fingerprint of the bytes of that file when the plan was made."""

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return len(self.tiles)

    def __str__(self) -> str:
        """Return the plan in a few lines."""
        return summaries.text(self.path, self.tiles, self.options)

    def names(self) -> list[str]:
        """Return the names of the tiles, the most work first."""
        return list(self.tiles["name"])

    def tile(self, name: str) -> Tile:
        """Return a tile.

        Parameters
        ----------
        name : str

        Raises
        ------
        StoreError
            If the plan has none of this name.
        """
        row = self._row(name)
        return Tile(
            name=name,
            geobox=geobox_of(
                row["crs"],
                row[["block_top", "block_bottom", "block_left", "block_right"]].to_numpy(int),
                int(self.options["block"]),
                float(self.options["resolution"]),
            ),
            core=Window(*(int(row[f"core_{edge}"]) for edge in ("y0", "y1", "x0", "x1"))),
            glaciers=tuple(row["glaciers"]),
            useful=int(row["useful"]),
        )

    def glaciers(self, tile: Tile | str) -> gpd.GeoDataFrame:
        """Return the outlines of a tile's glaciers.

        Parameters
        ----------
        tile : Tile or str
            Or its name.

        Returns
        -------
        GeoDataFrame
            As `read_outlines` gives them, in the file's CRS.

        Raises
        ------
        AcquireError
            If the outlines file is not there, or a glacier of the tile changed in it.
        """
        row = self._row(tile if isinstance(tile, str) else tile.name)
        expected = dict(zip(row["glaciers"], row["digests"], strict=True))
        return outline_sources.outlines_of(self._record, expected)

    def surroundings(self, tile: Tile | str) -> gpd.GeoDataFrame:
        """Return the ground that has to be read for a tile, for `load(..., within=)`.

        Parameters
        ----------
        tile : Tile or str
            Or its name.

        Returns
        -------
        GeoDataFrame
            Its glaciers with `rgi_id`, widened by the buffer and the halo, in its CRS.
        """
        crs = self._row(tile if isinstance(tile, str) else tile.name)["crs"]
        return tables.surroundings(self.glaciers(tile), crs, self.options)

    def require_outlines(self) -> None:
        """Raise an error if the outlines are no longer there, or are others.

        Raises
        ------
        AcquireError
            That names the glaciers of the plan that changed.
        """
        outline_sources.require_unchanged(self._record, tables.digests(self.tiles))

    @cached_property
    def _rows(self):
        return {name: row for row, name in enumerate(self.tiles["name"])}

    @property
    def _record(self):
        return Record(plan=self.path, address=self.outlines, stamp=self.stamp)

    def _row(self, name):
        if name not in self._rows:
            raise StoreError(
                f"{self.path} has no tile {name!r}; it has {len(self)} such as {self.names()[:3]}"
            )
        return self.tiles.iloc[self._rows[name]]


def plan(  # noqa: PLR0913 - what is saved with the plan
    outlines: Any,
    path: str | Path,
    *,
    catalog: str | Path,
    period: Any,
    season: tuple[str, str] | None = None,
    sensor: str = "sentinel-2-l2a",
    resolution: float = 10,
    dem: str | Path | None = None,
    cards: str | Path | Sequence[str | Path | ModelCard] = ("extent", "facies"),
    buffer_m: float = 500,
    block: int = 1024,
    halo: int | None = None,
    target_pixels: int = TARGET_PIXELS,
    overwrite: bool = False,
) -> Plan:
    """Return the tiles in which glaciers are worked on, and write them to a file.

    Parameters
    ----------
    outlines : path, (identifiers, path) or GeoDataFrame
        A local file or folder that `read_outlines` reads, or some glaciers of one. Outlines in
        memory, with `rgi_id`, are saved beside the plan.
    path : path
        Of the plan, such as "alps.parquet".
    catalog : address or path
        Where scenes are searched; see `search`.
    period : str, date or (start, end)
        With two ends; see `search`.
    season : (str, str), optional
        First and last day "MM-DD" of each year.
    sensor : str
        See `search`.
    resolution : float
        Pixel size (m).
    dem : str or path, optional
        Elevation, as `load` takes it.
    cards : str, path or ModelCard, or several of them
        Networks, as `predict` takes them; () for none.
    buffer_m : float
        How far around its glaciers a tile reports (m of its plane).
    block : int
        Rows and columns of the blocks whose lattice, anchored at coordinate (0, 0) of the CRS,
        tiles lie on (pixels).
    halo : int, optional
        Pixels ingested around what is reported at least; what the networks need by default.
    target_pixels : int
        Useful pixels, those in the buffer of its glaciers, that a tile has at most. One that
        has more holds a single glacier.
    overwrite : bool
        Replace another plan at this path.

    Returns
    -------
    Plan

    Raises
    ------
    AcquireError
        If outlines cannot be read, are there twice, have no polygon or one that crosses itself;
        the message names them. If the period has an open end, or an address a credential.
    GridError
        If outlines have no CRS or no place on a plane, or halo or block do not fit the networks.
    SchemaError, SensorError, WeightsError
        If an option is not of use.
    StoreError
        If there is something else at `path`.

    Notes
    -----
    Glaciers lie on the plane of their UTM zone, as `grid.crs_for` says, beyond 84 degrees north
    and 80 south on EPSG:3413 and EPSG:3031. Glaciers whose middles share a block are kept
    together unless they are more than a tile's worth; see `assignment.assigned` for the rest.
    Estimates are explained in `estimates.estimated`.
    """
    options = options_of(
        catalog=catalog,
        period=period,
        season=season,
        sensor=sensor,
        resolution=resolution,
        dem=dem,
        cards=cards,
        buffer_m=buffer_m,
        block=block,
        halo=halo,
        target_pixels=target_pixels,
    ).as_json()
    target = Path(path).absolute()
    source = source_of(outlines, target)
    own = fingerprint(str(ALGORITHM_VERSION), plan_files.canonical(options), source.digest)
    if target.exists() and not overwrite:
        _require_same(target, own)
    tiles = tables.tiles_of(source.frame, source.digests, options)
    header = {
        "options": options,
        "outlines": {"address": source.address, "stamp": source.saved()},
        "fingerprint": own,
        "tiles": tables.digest(tiles),
    }
    plan_files.write_plan(tiles, header, target)
    return read_plan(target)


def read_plan(path: str | Path, *, check: bool = True) -> Plan:
    """Return the plan of a file.

    Parameters
    ----------
    path : path
    check : bool
        Whether its outlines must be there, unchanged.

    Returns
    -------
    Plan

    Raises
    ------
    StoreError
        If it is no plan, one of a newer version, or was changed.
    AcquireError
        If the outlines are not there or changed; the message names the glaciers.
    """
    target = Path(path).absolute()
    header = plan_files.read_header(target)
    try:
        tiles = gpd.read_parquet(target)
        changed = tables.digest(tiles) != header["tiles"]
    except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise StoreError(f"{target} is no plan that can be read: {error!r}") from error
    strange = [str(name) for name in tiles["name"] if not NAME.fullmatch(str(name))]
    if changed or strange or tiles["name"].duplicated().any():
        raise StoreError(
            f"{target} was changed after it was made{f', tiles {strange[:3]}' if strange else ''}; "
            "make it again with plan"
        )
    found = Plan(
        path=target,
        tiles=tiles,
        options=header["options"],
        fingerprint=str(header["fingerprint"]),
        outlines=str(header["outlines"]["address"]),
        stamp=str(header["outlines"]["stamp"]),
    )
    if check:
        found.require_outlines()
    return found


def _require_same(path, own):
    """Raise an error if what is at a path is not this plan."""
    try:
        other = plan_files.read_header(path)["fingerprint"]
    except StoreError as error:
        raise StoreError(
            f"{path} holds something else than a plan ({error}); choose another path"
        ) from error
    if other != own:
        raise StoreError(
            f"{path} is the plan of other outlines or options; choose another path, or replace "
            "it with overwrite=True"
        )
