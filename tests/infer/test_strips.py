"""Strips along the edges of a tile tell what a smaller halo would change in all of it."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from cards import make_card
from conftest import make_cube
from dask.array.core import normalize_chunks

from glaciercube.cover.regions import Region
from glaciercube.infer import block, runtimes, strips
from glaciercube.infer.reads import Read
from glaciercube.infer.samples import wanted_of
from glaciercube.infer.work import TILE, Work
from glaciercube.model.unet import UNet
from glaciercube.windows import Window


def unet_card(folder, depth=2, seed=0, **changes):
    """Return the card of a small U-Net; halo 24 at depth 2, 48 at depth 3."""
    arguments = {"width": 4, "depth": depth}
    halo = UNet(bands=4, categories=5, **arguments).halo
    more = {"architecture": "unet", "arguments": arguments, "halo": halo, "stride": 2**depth}
    return make_card(folder, seed=seed, **more, **changes)


def work_on(cube, cards, size, **changes):
    """Return the work of cards with their exact halo, and what is read of the first date."""
    names = [str(name) for name in cube["band"].values]
    rows, columns = cube.sizes["y"], cube.sizes["x"]
    work = Work(
        refs=tuple(runtimes.ref_for(card) for card in cards),
        bands=tuple(names),
        planes=tuple(card.task for card in cards),
        halo=max(card.halo for card in cards),
        stride=max(card.stride for card in cards),
        chunks=((1,), *(normalize_chunks(size, (one,))[0] for one in (rows, columns))),
        times=("2021-08-01",),
        positions=tuple(range(len(names))),
        **changes,
    )
    values, valid = cube["reflectance"].values[0], cube["valid"].values[0]
    whole = Window(0, rows, 0, columns)
    return work, Read(values, valid & np.isfinite(values).all(axis=0), whole)


def by_whole_tiles(read, reported, work, tile):
    """Return the class layers of a tile as a block of the operator computes them."""
    found = block.predict_block(read, reported, work=work, target=tile)
    return found.astype(np.uint8)


@pytest.fixture
def large(geobox):
    """Return a cube of 288 x 240 pixels; a corner was not measured."""
    return make_cube(geobox.pad(80, 96), dates=("2021-08-01",))


@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize("halo", [0, 4, 12, 20])
def test_strips_find_what_whole_tiles_show(large, tmp_path, halo, views):
    odd = large.isel(y=slice(0, 287), x=slice(0, 238))  # no multiples of the stride
    cards = [unet_card(tmp_path), make_card(tmp_path, task="extent", dilations=(1, 4))]
    work, read = work_on(odd, cards, 80, views=views)
    differ = 0
    for tile in (Window(80, 160, 80, 160), Window(0, 80, 80, 160), Window(75, 180, 90, 178)):
        reported = read.measured[tile.inside(read.window)]
        exact = strips.classes_of(read, reported, work, tile)
        np.testing.assert_array_equal(exact, by_whole_tiles(read, reported, work, tile))
        other = by_whole_tiles(read, reported, replace(work, halo=halo), tile)
        expected = (other != exact).sum(axis=(1, 2))
        found = strips.differing(read, reported, exact, work, tile, halo)
        np.testing.assert_array_equal(found, expected)
        differ += found[0]
    assert differ > 0


def test_a_tile_cut_into_parts_has_their_edges(large, tmp_path):
    corners = [shapely.box(40, 2, 60, 20), shapely.box(200, 270, 215, 285)]
    region = Region(tuple(shapely.to_wkb(one) for one in corners))
    work, read = work_on(large, [unet_card(tmp_path)], 288, region=region)
    tile = Window(0, 288, 0, 240)
    reported = read.measured & wanted_of(work, tile)
    assert tile.shape[0] > TILE  # so that it is cut
    small = replace(work, halo=0)
    assert len(list(strips.parts(reported, small, tile))) > 1
    exact = strips.classes_of(read, reported, work, tile)
    other = by_whole_tiles(read, reported, small, tile)
    expected = (other != exact).sum(axis=(1, 2))
    assert expected[0] > 0
    found = strips.differing(read, reported, exact, work, tile, 0)
    np.testing.assert_array_equal(found, expected)


def test_what_was_not_measured_does_not_count(large, tmp_path):
    work, read = work_on(large, [unet_card(tmp_path)], 80)
    tile = Window(80, 160, 80, 160)
    reported = np.zeros(tile.shape, bool)
    reported[:, :2] = True  # at one edge
    exact = strips.classes_of(read, reported, work, tile)
    assert set(np.unique(exact[0][~reported])) == {255}
    other = by_whole_tiles(read, reported, replace(work, halo=0), tile)
    found = strips.differing(read, reported, exact, work, tile, 0)
    assert 0 < found[0] == (other != exact).sum() <= reported.sum()


def test_at_the_borders_of_the_image_there_is_no_edge(large, tmp_path, forwards):
    work, read = work_on(large, [unet_card(tmp_path)], 288)
    whole = Window(0, 288, 0, 240)
    assert strips.strips(whole, work, replace(work, halo=0)) == []
    exact = strips.classes_of(read, read.measured, work, whole)
    assert len(forwards) == 1
    assert strips.differing(read, read.measured, exact, work, whole, 0).tolist() == [0]
    assert len(forwards) == 1


def test_only_strips_go_through_the_network(large, tmp_path, forwards):
    work, read = work_on(large, [make_card(tmp_path)], 80)
    tile = Window(80, 160, 80, 160)
    reported = read.measured[tile.inside(read.window)]
    exact = strips.classes_of(read, reported, work, tile)
    assert [shape[2:] for shape in forwards] == [(86, 86)]
    strips.differing(read, reported, exact, work, tile, 1)
    # Two pixels of each edge differ at most; they look as far as the tile reads, and three in.
    assert [shape[2:] for shape in forwards[1:]] == [(6, 82), (6, 82), (82, 6), (82, 6)]


def test_small_tiles_are_computed_as_a_whole(large, tmp_path):
    work, _ = work_on(large, [unet_card(tmp_path, depth=3)], 80)
    tile = Window(80, 160, 80, 160)
    assert strips.strips(tile, work, replace(work, halo=0)) == [tile]
