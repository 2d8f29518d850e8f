"""The fully convolutional network of this package: dilated, stride 1, exact under tiling."""

from collections.abc import Sequence

import torch
from torch import nn

DARKEST = 2e-3
"""Reflectance (1) below which a logarithm says nothing but noise; about two gray levels of
Landsat 5 and twenty of Sentinel-2."""


class FCN(nn.Module):
    """Category scores of every pixel from its spectrum and its surroundings.

    Parameters
    ----------
    bands : int
        Number of input channels.
    categories : int
        Number of output channels.
    width : int
        Number of filters of each layer.
    dilations : sequence of int
        Dilation (pixels) of each 3 x 3 convolution, in order. With none all convolutions are of
        1 x 1 pixel: each pixel is judged by its spectrum alone.
    spectral : bool
        The input is reflectance itself (a card with mean 0 and standard deviation 1), and
        the network adds logarithms and normalised differences of all pairs of bands.
        Without it the input may be normalised in any way.

    Attributes
    ----------
    halo : int
        Pixels on each side that a result depends on, exactly: the sum of the dilations, 15 by
        default, 0 without any.

    Notes
    -----
    After FCN-DK (Persello & Stein 2017, https://doi.org/10.1109/LGRS.2017.2763738): the
    receptive field grows by dilation instead of pooling, so that the stride is 1 and the
    result keeps the input's resolution. Layers here are residual. Every operation is
    either pointwise or a convolution with zero padding, and batch normalisation is fixed
    in evaluation, so that a tile with its halo gives what the whole image gives.

    A normalised difference of two bands does not change when a slope faces away from the
    sun and all bands darken together, which is why shadowed snow keeps its NDSI. A pixel
    that was not measured arrives as 0 in every band and has a channel of its own.

    Examples
    --------
    >>> network = FCN(bands=6, categories=3, width=8, dilations=(1, 2, 4))
    >>> network.halo
    7
    >>> network(torch.zeros(1, 6, 20, 30)).shape
    torch.Size([1, 3, 20, 30])
    """

    def __init__(
        self,
        bands: int,
        categories: int,
        width: int = 32,
        dilations: Sequence[int] = (1, 2, 4, 8),
        spectral: bool = False,
    ):
        super().__init__()
        self.halo = int(sum(dilations))
        self.features: nn.Module = Spectral(bands) if spectral else nn.Identity()
        channels = self.features.channels if isinstance(self.features, Spectral) else bands
        self.pixel = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(_block(width, dilation) for dilation in dilations)
        self.scores = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, categories, 1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, bands, y, x), float32
            Normalised as the card says; 0 where nothing was measured.
        """
        pixel = self.pixel(self.features(image))
        around = pixel
        for block in self.blocks:
            around = torch.relu(around + block(around))
        return self.scores(torch.cat([pixel, around], dim=1))


class Spectral(nn.Module):
    """Reflectance, its logarithm, normalised differences of all pairs, and what was measured.

    Parameters
    ----------
    bands : int

    Examples
    --------
    >>> Spectral(6).channels
    28
    """

    first: torch.Tensor
    second: torch.Tensor

    def __init__(self, bands: int):
        super().__init__()
        pairs = torch.combinations(torch.arange(bands), 2)
        self.register_buffer("first", pairs[:, 0].clone(), persistent=False)
        self.register_buffer("second", pairs[:, 1].clone(), persistent=False)
        self.channels = 2 * bands + len(pairs) + 1

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the channels (n, channels, y, x) of reflectance (n, bands, y, x)."""
        logarithm = image.clamp(min=DARKEST).log()
        # tanh of half the difference of logarithms is the normalised difference
        difference = torch.tanh((logarithm[:, self.first] - logarithm[:, self.second]) / 2)
        measured = (image != 0).any(dim=1, keepdim=True).to(image.dtype)
        return torch.cat([image, logarithm, difference, measured], dim=1)


def _block(width, dilation):
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(width),
    )
