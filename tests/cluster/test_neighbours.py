"""Tiles of a plan that overlap: what both see is the same, and each glacier is told by one."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from odc.geo.geobox import GeoBox

from cluster.made import BLOCK, CRS, NORTH, RESOLUTION, WEST, MadePlan, plan_of
from glaciercube.cluster.plans import Tile
from glaciercube.cluster.runs import run
from glaciercube.model.zoo import card_of
from glaciercube.store.reading import read
from glaciercube.windows import Window

HALO = 16
COLUMNS = {"west": (0, 144), "east": (96, 192)}
"""First and last column of each tile in the archive: one block, 48 columns, is of both."""


@dataclass(frozen=True, kw_only=True)
class Neighbours(MadePlan):
    """A plan whose tiles know the outlines of both, as those of a planned region do."""

    def surroundings(self, tile):
        return self.frame.set_geometry(self.frame.buffer(self.options["buffer_m"] + 160))


def tile_of(name, glacier):
    first, last = COLUMNS[name]
    box = (
        WEST + first * RESOLUTION,
        NORTH - 4 * BLOCK * RESOLUTION,
        WEST + last * RESOLUTION,
        NORTH,
    )
    return Tile(
        name=name,
        geobox=GeoBox.from_bbox(box, CRS, resolution=RESOLUTION),
        core=Window(HALO, 4 * BLOCK - HALO, HALO, last - first - HALO),
        glaciers=(glacier,),
        useful=4 * BLOCK * (last - first),
    )


@pytest.fixture(scope="module")
def both(archive, tmp_path_factory, cluster_in_process):
    """Return the folder of a run of two tiles that overlap."""
    plan = plan_of(archive, tiles=2, halo=HALO)
    tiles = {"west": tile_of("west", "G0"), "east": tile_of("east", "G1")}
    fields = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    plan = Neighbours(**fields | {"made": tiles})
    out = tmp_path_factory.mktemp("neighbours") / "out"
    report = run(replace(plan), out, client=cluster_in_process, spread="tiles")
    assert report.failed == ()
    return out


def shared(both, store, margin=0):
    """Return what both tiles hold of the columns that they share, less a margin."""
    start, stop = COLUMNS["east"][0] + margin, COLUMNS["west"][1] - margin
    rows = slice(margin, 4 * BLOCK - margin)
    return [
        read(both / name / store).isel(y=rows, x=slice(start - first, stop - first)).compute()
        for name, (first, _) in COLUMNS.items()
    ]


def require_equal(one, other):
    np.testing.assert_array_equal(one["x"], other["x"])
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


def test_cubes_of_neighbours_are_equal_where_they_overlap(both):
    one, other = shared(both, "cube.zarr")
    assert one["valid"].values.any()
    require_equal(one, other)


def test_layers_of_neighbours_are_equal_beyond_the_halo_of_their_edges(both):
    assert max(card_of(name).halo for name in ("extent", "facies")) <= HALO
    one, other = shared(both, "layers.zarr", margin=HALO)
    assert len(np.unique(one["facies"])) > 2
    require_equal(one, other)


def test_each_glacier_is_told_by_one_tile(both):
    told = {name: pd.read_parquet(both / name / "series.parquet") for name in COLUMNS}
    names = {name: set(table["glacier"]) for name, table in told.items()}
    assert names == {"west": {"G0"}, "east": {"G1"}}
