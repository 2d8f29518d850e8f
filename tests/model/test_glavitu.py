"""GlaViTU: several sources, a transformer and a U-Net."""

import pytest
import torch
from keras_files import seeded

from glaciercube.model.glavitu import GlaViTU, Transformer


def make(**more):
    return seeded(GlaViTU(bands=5, categories=2, sources=(3, 2), window=32, **more))


def image_of(channels=5, side=32):
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_each_source_has_its_channels():
    network, seen = make(), []
    for source in network.fusion:
        source.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = image_of()
    network(image)
    assert torch.equal(seen[0], image[:, :3])
    assert torch.equal(seen[1], image[:, 3:])


@torch.inference_mode()
def test_sources_are_summed():
    network, image = make(), image_of()
    fused = sum(
        each(part) for each, part in zip(network.fusion, image.split((3, 2), 1), strict=True)
    )
    whole = fused + network.transformer(fused)
    torch.testing.assert_close(network(image), network.scores(whole + network.unet(whole)))


@torch.inference_mode()
def test_patches_stand_in_rows_and_have_their_channels_last():
    transformer, seen = Transformer(side=2).eval(), []
    transformer.embed.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image = torch.arange(64 * 32 * 32.0).reshape(1, 64, 32, 32)
    transformer(image)
    patches = seen[0]
    assert patches.shape == (1, 4, 16 * 16 * 64)
    expected = image[0, :, 16:32, 0:16].permute(1, 2, 0).flatten()
    assert torch.equal(patches[0, 2], expected)


@torch.inference_mode()
def test_every_patch_is_seen_by_all_others():
    network, image = make().double(), image_of().double()
    changed = image.clone()
    changed[..., :4, :4] = 1
    assert (network(image) != network(changed)).all()


@torch.inference_mode()
def test_the_location_is_added_everywhere():
    here, there = make(location=[1.0, 0, 0]), make(location=[0.0, 0, 1])
    there.load_state_dict(here.state_dict())
    assert not torch.allclose(here(image_of()), there(image_of()), atol=1e-4)
    assert here.place().shape == (1, 64, 1, 1)


@torch.inference_mode()
def test_the_second_head_is_of_what_the_transformer_gives():
    network = make(deep_supervision=True)
    assert network.early_scores(image_of()).shape == (1, 2, 32, 32)
    assert not torch.allclose(network.early_scores(image_of()), network(image_of()))


def test_no_second_head_is_said():
    with pytest.raises(ValueError, match="no second head; build it with deep_supervision=True"):
        make().early_scores(image_of())


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"images of 32 x 32 pixels, found \(32, 48\)"):
        make()(torch.zeros(1, 5, 32, 48))


def test_sources_that_are_not_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"sources \(3, 1\) are not the 5 channels"):
        GlaViTU(bands=5, categories=2, sources=(3, 1))


def test_a_window_that_does_not_hold_patches_is_refused():
    with pytest.raises(ValueError, match="multiple of 16 pixels, found 40"):
        GlaViTU(bands=8, categories=2, window=40)


def test_it_has_the_published_size():
    """That of the authors' variant for regions, eleven and an unknown one, without second head."""
    network = GlaViTU(bands=8, categories=2, location=[0.0] * 12)
    count = sum(each.numel() for each in network.state_dict().values() if each.ndim)
    assert count == 10_037_442
