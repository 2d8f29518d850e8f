"""Residual blocks as the published glacier networks have them, and the decoder of their U-Nets."""

from collections.abc import Sequence

import torch
from torch import nn

from glaciercube.model.same_padding import EndPadded

EPSILON = 1e-3
"""Added to the variance in batch and layer normalisation: the default of Keras."""


class Pair(nn.Module):
    """Two convolutions of three pixels, each with batch normalisation and leaky ReLU.

    Parameters
    ----------
    before, after : int
        Numbers of channels.
    slope : float
        Of negative values.
    dims : int
        2 for images, 3 for volumes with time.
    """

    def __init__(self, before: int, after: int, slope: float, dims: int = 2):
        super().__init__()
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        normalisation = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
        self.layers = nn.Sequential(
            convolution(before, after, 3, padding=1),
            normalisation(after, EPSILON),
            nn.LeakyReLU(slope),
            convolution(after, after, 3, padding=1),
            normalisation(after, EPSILON),
            nn.LeakyReLU(slope),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image or volume of the same size."""
        return self.layers(image)


class Residual(nn.Module):
    """A pair of convolutions beside a projection of the same input, without bias.

    Parameters
    ----------
    before, after, slope, dims
        As of `Pair`.
    """

    def __init__(self, before: int, after: int, slope: float, dims: int = 2):
        super().__init__()
        self.pair = Pair(before, after, slope, dims)
        projection = nn.Conv2d if dims == 2 else nn.Conv3d
        self.short = projection(before, after, 1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image or volume of the same size."""
        return self.pair(image) + self.short(image)


class Decoder(nn.Module):
    """The way up of a residual U-Net.

    Parameters
    ----------
    widths : sequence of int
        Filters of each level, the finest first.
    slope : float
        Of negative values in leaky ReLU.

    Notes
    -----
    Each step repeats pixels, convolves 2 x 2 without bias and normalises; its result stands
    before the skip's channels.
    """

    def __init__(self, widths: Sequence[int], slope: float):
        super().__init__()
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(_enlarge(coarse, fine) for coarse, fine in steps)
        self.blocks = nn.ModuleList(Residual(2 * fine, fine, slope) for _, fine in steps)

    def forward(self, image: torch.Tensor, skips: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the finest image.

        Parameters
        ----------
        image : tensor (n, channel, y, x)
            The coarsest.
        skips : sequence of tensor
            Of the finer levels, the finest first.
        """
        for enlarge, block, skip in zip(self.enlarge, self.blocks, skips[::-1], strict=True):
            image = block(torch.cat([enlarge(image), skip], dim=1))
        return image


def _enlarge(before, after):
    return nn.Sequential(
        nn.Upsample(scale_factor=2), EndPadded(before, after, 2), nn.BatchNorm2d(after, EPSILON)
    )
