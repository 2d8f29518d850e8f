"""Residual blocks, and the way up of their U-Nets."""

import torch
from keras_files import seeded

from glaciercube.model.residual import Decoder, Pair, Residual


def test_a_residual_is_a_pair_and_a_projection():
    block = seeded(Residual(3, 5, slope=0.2))
    image = torch.randn(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(image), block.pair(image) + block.short(image))
    assert block.short.bias is None


def test_a_pair_takes_volumes():
    assert Pair(2, 4, slope=0.3, dims=3)(torch.zeros(1, 2, 5, 6, 7)).shape == (1, 4, 5, 6, 7)


def test_negative_values_have_their_slope():
    pair = Pair(1, 1, slope=0.3).eval()
    with torch.no_grad():
        for at in (0, 3):
            pair.layers[at].weight.zero_()[..., 1, 1] = 1
            pair.layers[at].bias.zero_()
    scale = 1 / 1.001**0.5
    found = pair(torch.tensor([[[[-1.0]]]]))
    torch.testing.assert_close(found, torch.tensor([[[[-((0.3 * scale) ** 2)]]]]))


def test_a_decoder_ends_with_the_finest():
    decoder = seeded(Decoder((4, 8, 16), slope=0.3))
    sizes = [(4, 8), (8, 4), (16, 2)]
    images = [torch.rand(1, width, side, side) for width, side in sizes]
    assert decoder(images[-1], images[:-1]).shape == (1, 4, 8, 8)


def test_what_is_enlarged_stands_before_the_skip():
    decoder = seeded(Decoder((4, 8), slope=0.3))
    image, skip = torch.rand(1, 8, 2, 2), torch.rand(1, 4, 4, 4)
    expected = decoder.blocks[0](torch.cat([decoder.enlarge[0](image), skip], dim=1))
    torch.testing.assert_close(decoder(image, [skip]), expected)
