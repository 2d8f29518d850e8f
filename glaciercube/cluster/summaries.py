"""A plan in a few lines: what is done, how even the tiles are, what it will cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from glaciercube.cluster.estimates import ESTIMATES

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def balance(tiles: gpd.GeoDataFrame, target: int) -> dict[str, float]:
    """Return how evenly useful pixels are spread over tiles.

    Parameters
    ----------
    tiles : GeoDataFrame
        Of a plan.
    target : int
        Useful pixels of a tile at most, one with a single glacier apart.

    Returns
    -------
    dict
        `p10`, `median`, `p90`, `largest`: useful pixels of tiles as a share of the target;
        `above`: tiles beyond it; `in_full`: share of all useful pixels that lie in tiles which
        are at least half full; `read`: pixels read for one that is useful.
    """
    useful = tiles["useful"].to_numpy() / target
    low, middle, high = np.quantile(useful, (0.1, 0.5, 0.9))
    return {
        "p10": float(low),
        "median": float(middle),
        "p90": float(high),
        "largest": float(useful.max()),
        "above": int((useful > 1).sum()),
        "in_full": float(useful[useful >= 0.5].sum() / useful.sum()),
    }


def text(path: Path, tiles: gpd.GeoDataFrame, options: Mapping[str, Any]) -> str:
    """Return a plan in a few lines.

    Parameters
    ----------
    path : Path
    tiles : GeoDataFrame
    options : mapping
    """
    found = balance(tiles, options["target_pixels"])
    planes = sorted(set(tiles["crs"]))
    read = tiles["blocks"].sum() * options["block"] ** 2 / max(1, tiles["useful"].sum())
    season = " to ".join(options["season"]) if options["season"] else "all year"
    sums = {name: float(tiles[name].sum()) for name in ESTIMATES}
    low, middle, high = np.quantile(tiles["scenes"], (0, 0.5, 1)).astype(int)
    some = ", ".join(planes[:4]) + (", ..." if len(planes) > 4 else "")
    return "\n".join(
        [
            f"{path.name}: {tiles['glacier_count'].sum()} glaciers in {len(tiles)} tiles on "
            f"{len(planes)} planes ({some})",
            f"  job: {options['sensor']}, {options['period']}, {season}, "
            f"{options['resolution']:g} m, networks {', '.join(options['cards']) or 'none'}",
            f"  useful: {tiles['useful'].sum() / 1e6:.1f} million pixels within "
            f"{options['buffer_m']:g} m of glaciers; {read:.1f} pixels are read for each, in "
            f"blocks of {options['block']}",
            f"  balance: target {options['target_pixels'] / 1e6:.1f} million a tile; 10 % of tiles "
            f"below {found['p10']:.0%} of it, median {found['median']:.0%}, 10 % above "
            f"{found['p90']:.0%}, largest {found['largest']:.0%}; {found['above']} single glaciers "
            f"above it; {found['in_full']:.0%} of the work in tiles at least half full",
            f"  estimates: {low} to {high} scenes a tile, median {middle}; "
            f"{size(sums['bytes_read'])} read, {size(sums['bytes_written'])} written, "
            f"{sums['core_hours']:,.0f} core-hours",
        ]
    )


def size(number: float) -> str:
    """Return bytes for people.

    Examples
    --------
    >>> size(2_340_000), size(12)
    ('2.3 MB', '12 B')
    """
    step = min(len(UNITS) - 1, max(0, int(np.log10(max(number, 1)) // 3)))
    return f"{number / 1000**step:.1f} {UNITS[step]}" if step else f"{number:.0f} B"
