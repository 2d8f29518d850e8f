"""A small plan on a simulated archive, made by hand: as many tiles as asked for, side by side."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox

from glaciercube.cluster.plans import Plan, Tile
from glaciercube.model.zoo import card_of
from glaciercube.simulate.archive import simulate
from glaciercube.windows import Window

BLOCK, ACROSS, RESOLUTION = 48, 2, 10
WEST, NORTH, CRS = 423_000, 5_152_560, "EPSG:32632"
"""Corner of the simulated archive, here also of the tiles."""

DATES = ("2021-08-20", "2022-08-20")


@dataclass(frozen=True, kw_only=True)
class MadePlan(Plan):
    """A plan whose tiles and outlines are in memory."""

    made: dict
    frame: gpd.GeoDataFrame

    def __len__(self):
        return len(self.made)

    def names(self):
        return list(self.made)

    def tile(self, name):
        return self.made[name]

    def glaciers(self, tile):
        return self.frame[self.frame["rgi_id"].isin(tile.glaciers)]

    def surroundings(self, tile):
        around = self.glaciers(tile)
        return around.set_geometry(around.buffer(self.options["buffer_m"] + 160))


def archive_of(folder, size=192, dates=DATES):
    return simulate(Path(folder) / "archive", size=size, dates=dates)


def plan_of(archive, tiles=4, block=BLOCK, **options):
    """Return a plan of tiles of 2 x 2 blocks on the archive, with a round glacier each."""
    side = 2 * block
    made, rows = {}, []
    for number in range(tiles):
        row, column = divmod(number, ACROSS)
        left = WEST + column * side * RESOLUTION
        top = NORTH - row * side * RESOLUTION
        box = (left, top - side * RESOLUTION, left + side * RESOLUTION, top)
        tile = Tile(
            name=f"t{row}_{column}",
            geobox=GeoBox.from_bbox(box, CRS, resolution=RESOLUTION),
            core=Window(8, side - 8, 8, side - 8),
            glaciers=(f"G{number}",),
            useful=side**2,
        )
        made[tile.name] = tile
        middle = shapely.Point(left + side * 5, top - side * 5)
        rows.append(
            {
                "rgi_id": f"G{number}",
                "glac_name": f"glacier {number}",
                "geometry": middle.buffer(side * 2.5),
            }
        )
    options = {
        "catalog": str(archive.catalog),
        "period": "2021-01-01/2022-12-31",
        "season": None,
        "sensor": "sentinel-2-l2a",
        "resolution": RESOLUTION,
        "dem": "cop-dem-glo-30",
        "cards": ["extent", "facies"],
        "weights": [card_of(name).sha256 for name in options.get("cards", ("extent", "facies"))],
        "buffer_m": 500,
        "block": block,
        "halo": 16,
        **options,
    }
    outlines = gpd.GeoDataFrame(rows, crs=CRS)
    text = json.dumps([options, [repr(tile) for tile in made.values()]], sort_keys=True)
    return MadePlan(
        path=Path("made.parquet"),
        tiles=outlines,
        options=options,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        made=made,
        frame=outlines,
    )


def same_stores(first, second, tiles, names=("cube.zarr", "layers.zarr")):
    """Assert that the stores of two runs hold the same bytes, records apart."""
    for tile in tiles:
        for name in names:
            one, other = chunks(first / tile / name), chunks(second / tile / name)
            assert one.keys() == other.keys()
            assert len(one) > 5
            different = [key for key in one if one[key] != other[key]]
            assert not different, (tile, name, different)


def chunks(store):
    """Return the bytes of a store's arrays and metadata, without the package's own records."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and "_glaciercube" not in path.parts
    }


def record_times(out):
    """Return when each record of a block was written, by its path (ns)."""
    return {
        path.relative_to(out).as_posix(): path.stat().st_mtime_ns
        for path in Path(out).glob("*/*.zarr/_glaciercube/ledger/*.json")
    }


def same_tables(first, second, tile):
    """Assert that series and outlines of two runs are equal."""
    for name in ("series.parquet", "outlines.parquet"):
        one, other = (pd.read_parquet(out / tile / name) for out in (first, second))
        assert len(one) > 0 or name == "outlines.parquet"  # no glacier may be seen
        pd.testing.assert_frame_equal(one, other)
