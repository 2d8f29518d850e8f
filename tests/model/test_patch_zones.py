"""Every patch by itself is the oracle: with its own zeros around it, layer by layer."""

import pytest
import torch
from torch.nn import functional

from glaciercube.model import patch_zones
from glaciercube.model.patch_zones import MIDDLE, AllPatches, Grid


def kernels(channels, count, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = list(zip(channels, channels[1:], strict=False))[:count]
    return [
        (
            torch.randn(3, 3, before, after, generator=generator) / (3 * before**0.5),
            torch.randn(after, generator=generator) / 10,
        )
        for before, after in sizes
    ]


def through(layers, values):
    for weights, bias in layers:
        values = functional.conv2d(values, weights.permute(3, 2, 0, 1), bias, padding=1)
        values = functional.elu(values)
    return values


def one_by_one(image, near, far, side, pool):
    """Return what is kept of each patch, cut out and computed alone."""
    patches = image.unfold(1, side, 1).unfold(2, side, 1)
    rows, columns = patches.shape[1:3]
    patches = patches.permute(1, 2, 0, 3, 4).reshape(-1, len(image), side, side)
    first = through(near, patches)
    last = through(far, functional.max_pool2d(first, pool))
    centre, cell = side // 2, side // pool // 2
    parts = [first[..., centre, centre], last[..., cell, cell], last.amax(dim=(2, 3))]
    return torch.cat(parts, dim=1).T.reshape(-1, rows, columns)


NEAR, FAR = kernels((2, 5, 5, 5), 3, seed=1), kernels((5, 5, 5, 5), 3, seed=2)


def image_of(rows, columns, seed=3):
    return torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(33, 33), (33, 36), (41, 33), (42, 51), (50, 35)])
def test_all_patches_at_once_are_what_each_is_alone(shape):
    image = image_of(*shape)
    found = AllPatches(NEAR, FAR, side=33, pool=3).of(image)
    assert found.shape == (15, shape[0] - 32, shape[1] - 32)
    expected = one_by_one(image, NEAR, FAR, 33, 3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_in_double_precision_only_rounding_is_left():
    near, far = ([(w.double(), b.double()) for w, b in each] for each in (NEAR, FAR))
    image = image_of(40, 38).double()
    found = AllPatches(near, far, side=33, pool=3).of(image)
    torch.testing.assert_close(found, one_by_one(image, near, far, 33, 3), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("pixels", "edges", "chunk"), [(1, 99, 64), (1, 1, 1000), (2**12, 200, 7)])
def test_the_parts_that_it_is_computed_in_do_not_matter(monkeypatch, pixels, edges, chunk):
    image = image_of(47, 39)
    expected = AllPatches(NEAR, FAR, side=33, pool=3).of(image)
    monkeypatch.setattr(patch_zones, "PIXELS", pixels)
    monkeypatch.setattr(patch_zones, "EDGES", edges)
    monkeypatch.setattr(patch_zones, "CHUNK", chunk)
    found = AllPatches(NEAR, FAR, side=33, pool=3).of(image)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_what_was_not_measured_stays_within_the_patches_that_hold_it():
    image = image_of(60, 70)
    image[:, 20, 30] = torch.nan
    found = AllPatches(NEAR, FAR, side=33, pool=3).of(image).isnan().any(dim=0)
    expected = torch.zeros(28, 38, dtype=torch.bool)
    expected[:21, :31] = True
    assert torch.equal(found, expected)


def test_an_edge_is_felt_where_it_is_felt():
    """The zones of a grid are those cells whose value changes when the patch is cut out."""
    image, grid = image_of(60, 60), Grid(33, 1, 3)
    whole = through(NEAR, image[None])[0, :, 10:43, 10:43]
    patch = through(NEAR, image[None, :, 10:43, 10:43])[0]
    differs = ((whole - patch).abs() > 1e-6).any(dim=0)
    middle = [cell for cell in range(33) if grid.place(cell)[0] is MIDDLE]
    assert torch.equal(differs.any(dim=1).nonzero().flatten(), torch.arange(33))
    assert torch.equal((~differs[16]).nonzero().flatten(), torch.tensor(middle))


def test_one_product_in_eighteen_is_left():
    """Products of 64 x 64 for each pixel, against those of a patch."""
    network = AllPatches(NEAR, FAR, side=33, pool=3)
    count, alone = 0, 0
    for step in network.steps:
        if step.kernel is None:
            continue
        after = step.after(3)
        seen = {zone: len(list(step.grid.around(zone))) for zone in after.zones}
        count += sum(seen.values()) ** 2
        alone += 9 * step.grid.cells**2
    assert (count, alone) == (1734, 32670)
    assert len(_all_cells(network.last)) == 121


@pytest.mark.parametrize("side", [34, 66])
def test_a_side_that_does_not_fit_is_refused(side):
    with pytest.raises(ValueError, match=f"multiple of 3 pixels up to 64, found {side}"):
        AllPatches(NEAR, FAR, side=side, pool=3)


def _all_cells(grid):
    return [place for places in patch_zones._cells(grid).values() for place in places]
