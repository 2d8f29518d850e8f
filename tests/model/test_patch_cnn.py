"""The facies network: per patch, all patches at once, and by convolutions of the image."""

import pytest
import torch
from keras_files import seeded
from torch.nn import functional

from glaciercube.model.patch_cnn import PatchCNN
from glaciercube.windows import Window, expand

MODES = ("exact", "convolutional")


@pytest.fixture(scope="module")
def networks():
    return {mode: seeded(PatchCNN(bands=3, categories=4, mode=mode)) for mode in MODES}


def image_of(rows, columns, seed=3):
    return torch.rand(1, 3, rows, columns, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_an_image_gives_what_the_patch_around_each_pixel_gives(networks):
    image = image_of(13, 19)
    wide = functional.pad(image, (16, 16, 16, 16))
    patches = wide[0].unfold(1, 33, 1).unfold(2, 33, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    expected = networks["exact"].of_patches(patches).T.reshape(1, 4, 13, 19)
    found = networks["exact"](image)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


@torch.inference_mode()
def test_patches_do_not_depend_on_the_mode(networks):
    patches = torch.rand(5, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    one, other = (networks[mode].of_patches(patches) for mode in MODES)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_convolutions_give_what_a_patch_gives_that_does_not_end(networks):
    """Layer by layer in a loop over the pixels of the last one, with plain torch."""
    network, image = networks["convolutional"], image_of(70, 75)
    near = image
    for layer in network.near:
        near = layer(near)
    # the cells of the patch around row 33, column 36, and three more on each side
    cells = near[..., 33 - 25 : 33 + 26, 36 - 25 : 36 + 26].unfold(2, 3, 3).unfold(3, 3, 3)
    far = cells.amax(dim=(4, 5))
    for layer in network.far:
        far = layer.of_cells(far)[..., 1:-1, 1:-1]
    parts = [near[..., 33, 36], far[..., 5, 5], far.amax(dim=(2, 3))]
    expected = network.dense(torch.cat(parts, dim=1)[..., None, None])[..., 0, 0]
    torch.testing.assert_close(network(image)[..., 33, 36], expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_modes_are_not_the_same_function(networks):
    image = image_of(64, 64)
    one, other = (networks[mode](image)[..., 28:-28, 28:-28] for mode in MODES)
    assert 1e-4 < float((one - other).abs().max()) < 1


@pytest.mark.parametrize(("mode", "halo"), [("exact", 16), ("convolutional", 28)])
@torch.inference_mode()
def test_tiles_with_their_halo_give_the_whole_image(networks, mode, halo):
    network, image = networks[mode], image_of(60, 45)
    assert network.halo == halo
    whole = network(image)
    found = torch.full_like(whole, torch.nan)
    for y, x in [(0, 0), (0, 23), (37, 0), (37, 23)]:
        inner = Window(y, 37 if y == 0 else 60, x, 23 if x == 0 else 45)
        wide = expand(inner, halo, (60, 45), 1)
        scores = network(image[(..., *wide.slices)])
        found[(..., *inner.slices)] = scores[(..., *inner.inside(wide))]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("mode", "halo"), [("exact", 16), ("convolutional", 28)])
@torch.inference_mode()
def test_a_pixel_is_felt_as_far_as_the_halo(networks, mode, halo):
    image = image_of(64, 64)
    changed = image.clone()
    changed[..., 32, 32] = torch.nan
    felt = networks[mode](changed).isnan().any(dim=1)[0].nonzero()
    assert (felt.amin(dim=0).tolist(), felt.amax(dim=0).tolist()) == (
        [32 - halo, 32 - halo],
        [32 + halo, 32 + halo],
    )


@pytest.mark.parametrize("mode", MODES)
@torch.inference_mode()
def test_images_of_a_batch_do_not_touch(networks, mode):
    one, other = image_of(9, 12, seed=1), image_of(9, 12, seed=2)
    found = networks[mode](torch.cat([one, other]))
    expected = torch.cat([networks[mode](one), networks[mode](other)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_it_has_the_published_number_of_parameters():
    count = sum(each.numel() for each in PatchCNN(bands=6, categories=8).parameters())
    assert count == 196_424


def test_it_can_be_trained_on_patches():
    network = PatchCNN(bands=3, categories=4)
    network.of_patches(torch.rand(6, 3, 33, 33)).square().sum().backward()
    assert all(float(each.grad.abs().sum()) > 0 for each in network.dense.parameters())


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'exact' or 'convolutional', found 'fast'"):
        PatchCNN(bands=3, categories=4, mode="fast")
