"""Polygons block by block."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from glaciercube import cover, grid
from glaciercube.errors import GridError
from glaciercube.windows import Window

DISC = shapely.Point(600_403, 5_000_497).buffer(300, quad_segs=64)


@pytest.mark.parametrize(
    "chunks", [{"y": 32, "x": 40}, {"y": 17, "x": 80}, {"y": (90, 6), "x": (1, 79)}]
)
@pytest.mark.parametrize("touched", [False, True])
def test_blocks_do_not_change_the_mask(frame, geobox, chunks, touched, no_compute):
    with no_compute:
        lazy = cover.lazy_inside(frame, geobox, chunks, touched=touched)
    assert lazy.dims == ("y", "x")
    assert lazy.dtype == bool
    assert grid.grid_of(lazy) == geobox
    np.testing.assert_array_equal(lazy.values, cover.inside(frame, geobox, touched=touched))


def test_names_follow_polygons_grid_and_option(frame, geobox):
    chunks = {"y": 32, "x": 40}
    name = cover.lazy_inside(frame, geobox, chunks).data.name
    assert name == cover.lazy_inside(frame.copy(), geobox, chunks).data.name
    others = [
        cover.lazy_inside(frame.iloc[:2], geobox, chunks),
        cover.lazy_inside(frame, geobox, chunks, touched=True),
        cover.lazy_inside(frame, geobox.pad(1), chunks),
    ]
    assert len({name, *(one.data.name for one in others)}) == 4


def test_a_block_carries_only_the_polygons_near_it(frame, geobox):
    pieces, _ = cover.lazy_pieces(frame, geobox, ((32, 32, 32), (40, 40)))
    cells = pieces.compute()
    window, parts = cells[2, 1]
    assert window == Window(64, 96, 40, 80)
    assert [number for number, _ in parts] == [0, 1]
    for _, wkb in parts:
        west, north, east, south = shapely.from_wkb(wkb).bounds
        assert west >= 38
        assert north >= 62
        assert east <= 82
        assert south <= 98


def test_zones_reach_one_pixel_beyond_the_block():
    block = Window(4, 8, 4, 8)
    square = shapely.box(0, 0, 20, 6)
    ((number, window, share),) = cover.zones_of(block, [(3, shapely.to_wkb(square))])
    assert number == 3
    assert window == Window(0, 3, 0, 6)  # rows 3 to 6 of the grid, columns 3 to 9
    assert (share == 1).all()
    ((number, window, share),) = cover.zones_of(block, None)
    assert (number, window) == (0, Window(0, 6, 0, 6))
    assert (share == 1).all()


@pytest.mark.parametrize(
    "chunks", [{"y": 32, "x": 40}, {"y": 17, "x": 80}, {"y": (90, 6), "x": (1, 79)}]
)
def test_blocks_do_not_change_the_share(frame, geobox, chunks, no_compute):
    with no_compute:
        lazy = cover.lazy_fraction(frame, geobox, chunks)
    assert (lazy.name, lazy.dims, lazy.dtype) == ("glacier_fraction", ("y", "x"), np.float32)
    assert lazy.attrs["units"] == "1"
    assert grid.grid_of(lazy) == geobox
    window, share = cover.fraction(frame, geobox)
    whole = np.zeros(geobox.shape, np.float32)
    whole[window.slices] = share
    np.testing.assert_allclose(lazy.values, whole, atol=1e-6)


def test_overlapping_outlines_count_once_in_a_share(geobox):
    twice = gpd.GeoDataFrame(geometry=[DISC, DISC], crs="EPSG:32632")
    share = cover.lazy_fraction(twice, geobox, {"y": 48, "x": 40})
    assert float(share.max()) == 1
    assert float(share.sum(dtype=float)) * 100 == pytest.approx(DISC.area, rel=1e-6)


def test_names_of_shares_follow_polygons_and_grid(frame, geobox):
    chunks = {"y": 32, "x": 40}
    name = cover.lazy_fraction(frame, geobox, chunks).data.name
    assert name == cover.lazy_fraction(frame.copy(), geobox, chunks).data.name
    others = [
        cover.lazy_fraction(frame.iloc[:2], geobox, chunks),
        cover.lazy_fraction(frame, geobox.pad(1), chunks),
        cover.lazy_inside(frame, geobox, chunks),
    ]
    assert len({name, *(one.data.name for one in others)}) == 4


def test_glaciers_as_layers(frame, geobox, no_compute):
    chunks = {"y": 32, "x": 40}
    with no_compute:
        layers = cover.lazy_glaciers(frame, geobox, chunks, fraction=True)
    assert list(layers.data_vars) == ["glacier", "glacier_fraction"]
    assert grid.grid_of(layers) == geobox
    np.testing.assert_array_equal(layers["glacier"], cover.inside(frame, geobox))
    assert list(cover.lazy_glaciers(frame, geobox, chunks).data_vars) == ["glacier"]
    assert layers["glacier"].encoding["grid_mapping"] == "spatial_ref"
    far = gpd.GeoSeries([shapely.box(86.8, 27.9, 86.9, 28.0)], crs=4326)
    with pytest.raises(GridError, match="the outlines lie at longitude 86.80 to 86.90"):
        cover.lazy_glaciers(far, geobox, chunks)
