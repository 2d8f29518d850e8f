"""The table of a plan: from outlines and options to a row for each tile."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glaciercube import grid
from glaciercube.acquire.outline_columns import RGI_ID
from glaciercube.cluster.assignment import Limits, assigned
from glaciercube.cluster.coverage import blocks_near, reaches, united
from glaciercube.cluster.estimates import estimated
from glaciercube.cluster.tiling import geobox_of, joined, names_of, spans_of, windows_of
from glaciercube.cluster.zones import drawn, zones_of
from glaciercube.store.lineage import fingerprint

MAX_SIDE_M = 100_000
"""Sides of a tile at most, unless one glacier is longer: about that of a Sentinel-2 granule, so
that a tile needs few scenes of a date."""

SIMPLER = 0.05
"""Outlines are drawn more simply by this share of the buffer, or a pixel if that is more, before
they are widened: ten times faster for detailed ones, and the area of the buffered glaciers of the
French Alps (2015) or at Everest comes out half a percent smaller."""

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "name": "of the tile, and of its folder",
        "crs": "of its grid",
        "glacier_count": "glaciers that it reports",
        "useful": "pixels within the buffer of its glaciers",
        "blocks": "blocks that are read: those near the buffer",
        "scenes": "estimate: dates with an image of some of the tile",
        "bytes_read": "estimate: of all scenes, before compression",
        "bytes_written": "estimate: cube and layers, compressed",
        "core_hours": "estimate: of one core, reading to layers",
        "block_top": "first row of blocks of its grid, counted downwards from coordinate 0",
        "block_bottom": "last row of blocks + 1",
        "block_left": "first column of blocks",
        "block_right": "last column of blocks + 1",
        "core_y0": "first row of what is reported, in pixels of its grid",
        "core_y1": "last row + 1",
        "core_x0": "first column",
        "core_x1": "last column + 1",
        "glaciers": "identifiers",
        "digests": "of each glacier's outline, to see whether it changed",
    }
)
"""Columns of a plan and what they hold; `geometry` is the ground that the tile ingests."""


def tiles_of(
    frame: gpd.GeoDataFrame, digests: np.ndarray, options: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """Return a row for each tile.

    Parameters
    ----------
    frame : GeoDataFrame
        Outlines sorted by `rgi_id`, each once.
    digests : array (outline,), int64
    options : mapping
        See `options.Options`.

    Returns
    -------
    GeoDataFrame
        With `COLUMNS`, EPSG:4326, the most work first.
    """
    places = grid.geographic(frame).set_axis(frame[RGI_ID])
    zones = zones_of(places)
    tables = []
    for crs in sorted(set(zones)):
        rows = np.flatnonzero(zones == crs)
        tables.append(_tiles_on(crs, places.iloc[rows], rows, options))
    table = pd.concat(tables, ignore_index=True)
    ids = frame[RGI_ID].to_numpy(object)
    table["glaciers"] = [[str(one) for one in ids[rows]] for rows in table["rows"]]
    table["digests"] = [[int(one) for one in digests[rows]] for rows in table["rows"]]
    table["glacier_count"] = [len(rows) for rows in table["rows"]]
    table = pd.concat([table, estimated(table, options)], axis=1)
    table = table.sort_values(["core_hours", "name"], ascending=[False, True], ignore_index=True)
    return gpd.GeoDataFrame(table[[*COLUMNS, "geometry"]], geometry="geometry", crs=grid.WGS84)


def surroundings(
    outlines: gpd.GeoDataFrame, crs: str, options: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """Return outlines on a plane, widened by the buffer and the halo of a plan.

    Parameters
    ----------
    outlines : GeoDataFrame
        With `rgi_id`.
    crs : str
    options : mapping
    """
    shapes = drawn(grid.geographic(outlines).set_axis(outlines[RGI_ID]), crs)
    tolerance = _tolerance(options)
    wide = options["buffer_m"] + _diagonal(options) + tolerance
    return gpd.GeoDataFrame(
        {RGI_ID: outlines[RGI_ID].to_numpy()}, geometry=reaches(shapes, wide, tolerance), crs=crs
    )


def digests(tiles: gpd.GeoDataFrame) -> dict[str, int]:
    """Return the digest of each glacier of a plan."""
    ids, numbers = tiles["glaciers"].explode(), tiles["digests"].explode()
    return dict(zip(ids, numbers, strict=True))


def digest(tiles: gpd.GeoDataFrame) -> str:
    """Return a fingerprint of what a job takes from the table of a plan."""
    exact = [name for name in COLUMNS if name not in ("glaciers", "digests")]
    text = tiles[exact].to_csv(index=False, float_format="%.4f")
    lists = [
        "\n".join(",".join(map(str, one)) for one in tiles[n]) for n in ("glaciers", "digests")
    ]
    return fingerprint(text, *lists)


def _tiles_on(crs, places, rows, options):
    """Return the tiles of glaciers on one plane; `rows` counts them in all outlines."""
    size = options["block"] * options["resolution"]
    limits = Limits(work=options["target_pixels"], side=max(1, int(MAX_SIDE_M // size)))
    shapes = drawn(places, crs)
    bounds = shapely.bounds(shapes)
    windows = windows_of(bounds, options["resolution"], options["buffer_m"])
    reach = reaches(shapes, options["buffer_m"], _tolerance(options))
    labels = _labels(windows, reach, options, limits)
    count = int(labels.max()) + 1
    ground = united(reach, labels, count)
    cores = joined(windows, labels, count)
    spans = spans_of(cores, options["block"], options["halo"])
    order = np.lexsort((spans[:, 3], spans[:, 1], spans[:, 2], spans[:, 0]))
    names = np.empty(count, object)
    names[order] = names_of(crs, spans[order])
    corner = spans[:, [0, 0, 2, 2]] * options["block"]
    table = pd.DataFrame({"name": names, "crs": crs})
    table["useful"] = np.rint(shapely.area(ground) / options["resolution"] ** 2).astype(np.int64)
    near = _diagonal(options)
    table["blocks"] = [blocks_near(*one, size, near) for one in zip(ground, spans, strict=True)]
    table[["block_top", "block_bottom", "block_left", "block_right"]] = spans
    table[["core_y0", "core_y1", "core_x0", "core_x1"]] = cores - corner
    table["rows"] = [rows[labels == label] for label in range(count)]
    table["width_km"] = (spans[:, 3] - spans[:, 2]) * size / 1000
    table["geometry"] = _footprints(crs, spans, options)
    table["latitude"] = shapely.get_y(shapely.centroid(table["geometry"].to_numpy()))
    return table


def _labels(windows, reach, options, limits):
    """Return the tile of each glacier of a plane."""
    work = shapely.area(reach) / options["resolution"] ** 2
    spans = spans_of(windows, options["block"], options["halo"])
    middle = (windows[:, [0, 2]] + windows[:, [1, 3]]) // 2
    large = (work > limits.work) | ((spans[:, [1, 3]] - spans[:, [0, 2]]).max(axis=1) > limits.side)
    cells = np.empty(len(work), np.int64)
    small = ~large
    homes = np.floor_divide(middle, options["block"])
    cells[small] = np.unique(homes[small], axis=0, return_inverse=True)[1].ravel()
    many = int(cells[small].max()) + 1 if small.any() else 0
    cells[large] = many + np.arange(large.sum())
    cells = _cut(cells, work, middle, spans, reach, limits)
    count = int(cells.max()) + 1
    shared = united(reach, cells, count)
    amount = shapely.area(shared) / options["resolution"] ** 2
    first = np.unique(cells, return_index=True)[1]
    return assigned(homes[first], joined(spans, cells, count), amount, limits)[cells]


def _cut(cells, work, middle, spans, reach, limits):
    """Return cells of which those with more than a tile's worth are cut between glaciers."""
    count = int(cells.max()) + 1
    total = np.bincount(cells, work, count)
    out, last = cells.copy(), count
    for cell in np.flatnonzero(total > limits.work):
        members = np.flatnonzero(cells == cell)
        alone = len(members) == 1
        if alone or shapely.area(shapely.union_all(reach[members])) * total[cell] <= (
            limits.work * shapely.area(reach[members]).sum()
        ):
            continue
        parts = assigned(middle[members], spans[members], work[members], limits)
        out[members] = np.where(parts == 0, cell, last + parts - 1)
        last += int(parts.max())
    return out


def _tolerance(options):
    """Return how simply outlines are drawn before they are widened (m)."""
    return max(options["resolution"], options["buffer_m"] * SIMPLER)


def _diagonal(options):
    """Return how far the corner of a halo lies from its pixel (m)."""
    return math.sqrt(2) * options["halo"] * options["resolution"]


def _footprints(crs, spans, options):
    boxes = [
        geobox_of(crs, span, options["block"], options["resolution"]).extent.geom for span in spans
    ]
    return grid.geographic(gpd.GeoDataFrame(geometry=boxes, crs=crs)).to_numpy()
