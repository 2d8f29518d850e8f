"""What a tile will cost, before anything is read: scenes, bytes, core-hours. Estimates."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from glaciercube import sensors
from glaciercube.cluster.orbits import days_of, missions_of, passes_per_day
from glaciercube.sensors import Sensor

# Measured with `python benchmarks/plan.py --constants` on simulated Sentinel-2 scenes, one
# thread of a shared AMD EPYC; see docs/planning.md. Other machines and networks differ.
INGEST_S = 0.76
"""Core seconds for a million pixels of a date: reading local files, writing the cube."""

PREDICT_S = 5.7
"""Core seconds for a million pixels of a date and each network, the mean of the bundled two."""

BYTES_PER_BAND = 1.58
"""Of a pixel on disk, compressed."""

BYTES_OF_MASKS = 0.05
BYTES_OF_LAYERS = 1.27
"""Of a pixel of a date on disk: `valid` and the flags; extent, facies and what goes with them."""

ESTIMATES = ("scenes", "bytes_read", "bytes_written", "core_hours")
"""Columns of a plan that are estimates."""


def estimated(tiles: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return what each tile will cost.

    Parameters
    ----------
    tiles : DataFrame
        `latitude` (degree), `width_km` and `blocks`, those that will be read.
    options : mapping
        Of a plan.

    Returns
    -------
    DataFrame
        Of the same index: `scenes`, dates of the tile's cube; `bytes_read`, before
        compression; `bytes_written`, compressed; `core_hours`.

    Notes
    -----
    A satellite sees a point on d = days * passes a day dates, and some of a tile on more; see
    `orbits.passes_per_day`. Sensors add up; there is one date a day at most (of radar two).
    With P the pixels of the blocks that glaciers touch:

    - bytes read: P * d * pixel area * bytes of a number / square of its band's pixel size,
      added up over bands and the first quality layer;
    - bytes written: P * d * (bands * `BYTES_PER_BAND` + `BYTES_OF_MASKS` +
      `BYTES_OF_LAYERS` where networks run);
    - core-hours: P * d * (`INGEST_S` + networks * `PREDICT_S`) / 1e6 / 3600.

    Clouds, nights of the polar winter and scenes that were never taken are not known here, so
    the figures are upper bounds of a kind.
    """
    latitude = tiles["latitude"].to_numpy()
    width = tiles["width_km"].to_numpy()
    found = missions_of(sensors.rows_of(options["sensor"]))
    season = tuple(options["season"]) if options["season"] else None
    scenes, depth, read = (np.zeros(len(tiles)) for _ in range(3))
    limit = 0
    for row, mission in found:
        days = days_of(mission, options["period"], season)
        limit = max(limit, days * mission.looks)
        scenes += days * passes_per_day(mission, latitude, width)
        point = days * passes_per_day(mission, latitude)
        depth += point
        read += point * _bytes_per_area(row, options["resolution"])
    seen = np.minimum(depth, limit)
    share = np.divide(seen, depth, out=np.zeros_like(depth), where=depth > 0)
    pixels = tiles["blocks"].to_numpy() * float(options["block"]) ** 2
    bands = max(len(row.bands) for row, _ in found)
    networks = len(options["cards"])
    stored = bands * BYTES_PER_BAND + BYTES_OF_MASKS + (BYTES_OF_LAYERS if networks else 0)
    seconds = INGEST_S + networks * PREDICT_S
    return pd.DataFrame(
        {
            "scenes": np.ceil(np.minimum(scenes, limit)).astype(int),
            "bytes_read": (pixels * share * read * options["resolution"] ** 2).astype(np.int64),
            "bytes_written": (pixels * seen * stored).astype(np.int64),
            "core_hours": (pixels * seen * seconds / 1e6 / 3600).round(4),
        },
        index=tiles.index,
    )


def _bytes_per_area(row: Sensor, resolution: float) -> float:
    """Return bytes before compression per square metre of a scene, at a resolution or coarser."""
    sizes = [band.resolution for band in row.bands]
    total = sum(np.dtype(row.dtype).itemsize / max(size, resolution) ** 2 for size in sizes)
    layers: Sequence[Any] = row.quality[:1]
    usual = max(median(sizes), resolution)
    return float(total + sum(np.dtype(layer.dtype).itemsize / usual**2 for layer in layers))
