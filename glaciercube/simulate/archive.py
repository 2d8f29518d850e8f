"""An archive of simulated scenes on disk: catalogue, COGs, elevation, outlines and the truth."""

import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac
from odc.geo.geobox import GeoBox
from rasterio import features, warp
from shapely.geometry import shape as geometry_of
from shapely.geometry.base import BaseGeometry
from tqdm import tqdm

from glaciercube.errors import SchemaError, StoreError
from glaciercube.grid import WGS84
from glaciercube.schema import NODATA
from glaciercube.simulate import catalog
from glaciercube.simulate.inventory import inventory
from glaciercube.simulate.landscape import Landscape, make_landscape
from glaciercube.simulate.materials import TYPICAL
from glaciercube.simulate.provider import Delivery, deliver
from glaciercube.simulate.rasters import write_cog
from glaciercube.simulate.scene import Scene, render
from glaciercube.simulate.sun import sun_position

ALGORITHM_VERSION = 1
"""Raised when the same parameters give other numbers."""

DATES = tuple(f"{year}-{day}" for year in (2021, 2022, 2023) for day in ("07-05", "08-04", "09-06"))
"""Dates of the default archive: early, middle and end of three summers."""

RESOLUTION = 10.0
WEST, NORTH, CRS = 423_000.0, 5_152_560.0, "EPSG:32632"
"""Upper left corner (m, UTM zone 32 north), near 46.5 N 8.0 E."""

OVERPASS = time(10, 20, 31)
"""Sentinel-2 passes this longitude at about 10:20 UTC, 10:50 local solar time."""

BORDER = 24
"""Pixels by which elevation reaches beyond the scenes."""

RETREAT_PER_YEAR = 0.3
"""Faster than any glacier, so that three summers show it."""

CLOUDS = (0.0, 0.04, 0.0, 0.0, 0.3, 0.0, 0.05, 0.0, 0.0)
"""Cloud fraction of the first, second, ... date, over and over."""

SWATH_EDGE = 6
"""Of every nine dates, the one (from 0) whose swath ends within the scene."""

LEAST_SIZE = 64
PARAMETERS = "simulation.json"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where a simulated archive's parts are."""

    catalog: Path
    """Static STAC catalogue: catalog.json."""

    outlines: Path
    """GeoPackage of the glaciers at the first date, with columns of RGI 7."""

    truth: Path
    """Folder of truth.csv and, per date, facies_<date>.tif and extent_<date>.tif."""

    dates: tuple[str, ...]


def simulate(
    directory: str | os.PathLike,
    *,
    seed: int = 0,
    size: int = 512,
    dates: Iterable[str] | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Archive:
    """Write an archive of simulated Sentinel-2 scenes of a retreating glacier.

    Parameters
    ----------
    directory : path
        Where to; written beside it first and moved there when complete.
    seed : int
        Of the landscape, the weather and the noise.
    size : int
        Rows and columns at 10 m, even, at least 64.
    dates : iterable of str, optional
        Days as "YYYY-MM-DD"; `DATES` if None.
    overwrite : bool
        Whether to replace an archive of other parameters.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Archive
        An archive of the same parameters that is there already is left as it is.

    Raises
    ------
    SchemaError
        If size or dates are not of use.
    StoreError
        If there is something else at `directory`.

    Notes
    -----
    Everything is simulated and says so: the catalogue, the items, the files. The layout is
    that of Earth Search: Sentinel-2 Level-2A numbers with the +1000 of processing baseline
    04.00 from 2022 on, scene classification with typical mistakes, one date with clouds,
    one at the edge of a swath. Elevation lies on one arc second in "cop-dem-glo-30".
    """
    days = _days(DATES if dates is None else dates)
    if size < LEAST_SIZE or size % 2:
        raise SchemaError(f"size must be even and at least {LEAST_SIZE} pixels, found {size}")
    target = Path(directory).absolute()
    wanted: dict[str, Any] = {
        "simulated": True,
        "algorithm_version": ALGORITHM_VERSION,
        "seed": seed,
        "size": size,
        "dates": [day.isoformat() for day in days],
    }
    if not _done(target, wanted, overwrite):
        _replace(target, lambda partial: _write(partial, wanted, days, progress))
    return Archive(
        catalog=target / "catalog.json",
        outlines=target / "outlines.gpkg",
        truth=target / "truth",
        dates=tuple(wanted["dates"]),
    )


def _days(dates):
    texts = [str(text)[:10] for text in dates]
    try:
        days = [date.fromisoformat(text) for text in texts]
    except ValueError:
        raise SchemaError(f"dates are days such as '2021-08-05', found {texts}") from None
    if not days or days != sorted(set(days)):
        raise SchemaError(
            f"dates must be at least one, in order and without doubles; found {texts}"
        )
    return days


def _done(target, wanted, overwrite):
    """Say whether the wanted archive is there; raise if something else is."""
    if not target.exists() or overwrite and (target / PARAMETERS).exists():
        return target.exists() and _parameters(target) == wanted
    if target.is_dir() and not any(target.iterdir()):
        return False
    if not (target / PARAMETERS).exists():
        raise StoreError(
            f"simulate needs an empty or new folder, but {target} holds something that is no "
            "simulated archive; choose another"
        )
    found = _parameters(target)
    if found != wanted:
        differing = sorted(key for key in wanted if found.get(key) != wanted[key])
        raise StoreError(
            f"{target} holds an archive simulated with other {differing}: "
            f"{ {key: found.get(key) for key in differing} } there, "
            f"{ {key: wanted[key] for key in differing} } wanted; choose another folder, or "
            "overwrite=True"
        )
    return True


def _parameters(target):
    return json.loads((target / PARAMETERS).read_text())


def _replace(target, fill):
    """Fill a folder beside the target, then let it take the target's place."""
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial)
        if target.exists():
            old = target.with_name(f".{target.name}.old-{os.getpid()}")
            target.rename(old)
            partial.rename(target)
            shutil.rmtree(old)
        else:
            partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(root, wanted, days, progress):
    seed, size = wanted["seed"], wanted["size"]
    wide = demo_landscape(seed, size)
    landscape = wide.without_border(BORDER)
    grid = grid_of_size(size)
    grids = {10.0: grid, 20.0: grid.zoom_out(2)}
    (root / "truth").mkdir()
    items, rows = [], []
    for number, day in enumerate(tqdm(days, desc="simulate", unit="date", disable=not progress)):
        rng = np.random.default_rng([seed, 1, number])
        scene, sun = _scene(landscape, days, number, rng)
        edge = number % len(CLOUDS) == SWATH_EDGE
        delivery = deliver(scene, day, RESOLUTION, edge=edge, rng=rng)
        items.append(_write_scene(root, delivery, _moment(day), number, grids, sun))
        _write_truth(root / "truth", scene, delivery.measured, day, grid)
        rows.append(_truth(scene, delivery.measured, day))
    pd.DataFrame(rows).to_csv(root / "truth" / "truth.csv", index=False)
    elevation = _write_elevation(root, wide, grid, _moment(days[0]))
    glaciers = inventory(
        landscape.glacier(0.0), landscape.elevation, landscape.slope, grid, days[0]
    )
    glaciers.to_file(root / "outlines.gpkg", driver="GPKG", layer="glaciers")
    catalog.save_catalog(root, items, elevation)
    (root / PARAMETERS).write_text(json.dumps(wanted, indent=2) + "\n")


def grid_of_size(size: int) -> GeoBox:
    """Return the 10 m grid of an archive of a size in pixels."""
    edge = size * RESOLUTION
    return GeoBox.from_bbox((WEST, NORTH - edge, WEST + edge, NORTH), CRS, resolution=RESOLUTION)


def demo_landscape(seed: int, size: int) -> Landscape:
    """Return the landscape of an archive, with a border around its scenes.

    Parameters
    ----------
    seed : int
    size : int
        Rows and columns of the scenes.

    Notes
    -----
    A valley glacier that flows north, with tributaries and a lake at its end. Relief, lake
    and least glacier shrink with the size, so that small archives for tests look alike.
    """
    span_m = size * RESOLUTION
    part = min(span_m / 5120, 1.0)
    relief_m = 1600 * part
    return make_landscape(
        (size + 2 * BORDER,) * 2,
        RESOLUTION,
        np.random.default_rng([seed, 0]),
        bottom_m=2150.0,
        top_m=2150.0 + relief_m,
        extent_m=span_m + 2 * BORDER * RESOLUTION,
        valleys=3,
        azimuth=15.0,
        head=0.7,
        start=0.25,
        tilt=0.45,
        ice_share=0.4,
        focus_m=0.5 * relief_m,
        flow_steps=1600,
        debris=0.3,
        lake_m=240 * part,
        tarns=3,
        treeline_m=2150.0 + 0.12 * relief_m,
        thinning_m=230 * max(part, 0.35),
        least_km2=max(0.15 * part**2, 0.01),
        cells=96,
        centre_y=0.5,
        centre_x=0.5,
    )


def _moment(day):
    return datetime.combine(day, OVERPASS, tzinfo=UTC)


def _scene(landscape, days, number, rng) -> tuple[Scene, tuple[float, float]]:
    day = days[number]
    centre = grid_of_size(len(landscape.elevation)).extent.to_crs(WGS84).centroid.coords[0]
    sun = sun_position(*centre, _moment(day))
    scene = render(
        landscape,
        TYPICAL,
        rng=rng,
        retreat=min(RETREAT_PER_YEAR * (day - days[0]).days / 365.25, 1.0),
        snowline_m=snowline_of(landscape, day),
        sun_azimuth=sun[0],
        sun_elevation=sun[1],
        haze=float(rng.uniform(0.02, 0.15)),
        cloud_fraction=CLOUDS[number % len(CLOUDS)],
        correction=0.4,
        level="surface",
    )
    return scene, sun


def snowline_of(landscape: Landscape, day: date) -> float:
    """Return the snowline of a date (m): it climbs through summer, and higher in some years.

    Parameters
    ----------
    landscape : Landscape
    day : date
    """
    relief_m = landscape.knobs.top_m - landscape.knobs.bottom_m
    summer = np.clip((day.timetuple().tm_yday - 172) / 85, 0, 1)
    warmth = math.sin(2.4 * day.year)  # a fixed sequence of warmer and cooler years
    return float(landscape.ela_m + relief_m * (-0.10 + 0.26 * summer + 0.04 * warmth))


def _write_scene(root, delivery: Delivery, moment, number, grids, sun) -> pystac.Item:
    platform = ("sentinel-2a", "sentinel-2b")[number % 2]
    item = catalog.scene_item(
        delivery,
        moment,
        platform,
        grids=grids,
        footprint=_footprint(delivery.measured, grids[10.0]),
        sun=sun,
    )
    folder = root / "sentinel-2-l2a" / item.id
    folder.mkdir(parents=True)
    for name, numbers in delivery.numbers.items():
        resolution = item.assets[catalog.asset_key(name)].extra_fields["gsd"]
        path = folder / f"{catalog.asset_key(name)}.tif"
        write_cog(path, numbers, grids[float(resolution)], nodata=0)
    write_cog(folder / "scl.tif", delivery.classes, grids[20.0], nodata=0, overviews="nearest")
    return item


def _footprint(measured, grid) -> BaseGeometry:
    if measured.all():
        return grid.extent.to_crs(WGS84).geom
    parts = features.shapes(
        measured.astype(np.uint8), mask=measured, connectivity=8, transform=grid.affine
    )
    largest = max((geometry_of(geometry) for geometry, _ in parts), key=lambda part: part.area)
    outline: dict[str, Any] = warp.transform_geom(
        str(grid.crs), WGS84, largest.simplify(2 * RESOLUTION)
    )
    return geometry_of(outline)


def _write_truth(folder, scene: Scene, measured, day, grid):
    facies = np.where(measured, scene.facies, np.uint8(NODATA))
    for name, codes in (("facies", facies), ("extent", scene.extent.astype(np.uint8))):
        path = folder / f"{name}_{day.isoformat()}.tif"
        write_cog(path, codes, grid, nodata=NODATA, overviews="nearest")


def _truth(scene: Scene, measured, day) -> dict[str, Any]:
    return {
        "date": day.isoformat(),
        "glacier_area_km2": round(float(scene.extent.sum()) * RESOLUTION**2 / 1e6, 6),
        "snowline_m": round(scene.snowline_m, 2),
        "aar": round(scene.aar, 6),
        "cloud_fraction": round(float(scene.cloud[measured].mean()), 6),
    }


def _write_elevation(root, landscape: Landscape, grid, moment) -> pystac.Item:
    second = 1 / 3600
    wide = grid.pad(BORDER)
    box = grid.pad(BORDER // 3).extent.to_crs(WGS84).boundingbox
    edges = (
        math.floor(box.left / second), math.floor(box.bottom / second),
        math.ceil(box.right / second), math.ceil(box.top / second),
    )  # fmt: skip
    target = GeoBox.from_bbox(tuple(edge * second for edge in edges), WGS84, resolution=second)
    elevation = np.full(tuple(target.shape), np.nan, np.float32)
    warp.reproject(
        landscape.elevation,
        elevation,
        src_transform=wide.affine,
        src_crs=str(wide.crs),
        dst_transform=target.affine,
        dst_crs=WGS84,
        dst_nodata=np.nan,
        resampling=warp.Resampling.average,
    )
    item = catalog.elevation_item(target, moment)
    folder = root / catalog.DEM_COLLECTION / item.id
    folder.mkdir(parents=True)
    tags = {"vertical_datum": catalog.VERTICAL_DATUM}
    write_cog(folder / "data.tif", elevation, target, nodata=None, tags=tags)
    return item
