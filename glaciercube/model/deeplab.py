"""DeepLabV3+ without the pooling of the whole image: far context, and exact under tiling."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional

from glaciercube.model.inspection_reach import Reach, around

SKIP = 4
"""Pixels of a cell of the level that the decoder takes up."""

STRIDES = (8, 16)


class DeepLab(nn.Module):
    """Category scores of every pixel from its surroundings, looked at through several dilations.

    Parameters
    ----------
    bands : int
        Number of input channels.
    categories : int
        Number of output channels.
    width : int
        Number of filters of the first level; eight times as many at the last.
    stride : {8, 16}
        Pixels of the coarsest cells; the levels beyond are dilated.
    blocks : int
        Residual blocks of each of the four levels.
    rates : sequence of int
        Dilations of the pyramid's 3 x 3 convolutions, in coarsest cells.

    Attributes
    ----------
    stride, halo : int
        Pixels; the halo, a multiple of the stride, is what a tile that starts and ends on
        multiples of the stride needs around it. 560 by default.

    Raises
    ------
    ValueError
        If the stride is neither 8 nor 16, or there are no blocks or rates.

    Notes
    -----
    Chen et al. 2018, https://doi.org/10.1007/978-3-030-01234-2_49, with the rates of its stride
    16 by default. The encoder is a ResNet of basic blocks (He et al. 2016,
    https://doi.org/10.1109/CVPR.2016.90), whose stem is two 3 x 3 convolutions. The pyramid has a
    branch of 1 x 1 and one for each rate, and not the mean of the whole image of the original,
    which would make a result depend on the tile. All else looks a known number of pixels far:
    convolutions of zero padding, normalisation that is fixed in evaluation, and bilinear
    enlargement by whole factors, whose cells lie alike in each tile that starts on a multiple of
    the stride. So a tile with its halo gives what the whole image gives.

    The halo is that of the largest rate above all: rates of (2, 4, 6) at stride 8 need 304
    pixels. An image whose sides are no multiples of the stride is continued with zeros, as by
    `UNet`.

    Examples
    --------
    >>> network = DeepLab(bands=6, categories=3, width=8, rates=(2, 4)).eval()
    >>> network.stride
    16
    >>> network(torch.zeros(1, 6, 21, 30)).shape
    torch.Size([1, 3, 21, 30])
    """

    def __init__(
        self,
        bands: int,
        categories: int,
        width: int = 32,
        stride: int = 16,
        blocks: int = 2,
        rates: Sequence[int] = (6, 12, 18),
    ):
        super().__init__()
        _require(stride, blocks, rates)
        self.stride = stride
        self.halo = _reach(stride, blocks, rates).halo(stride)
        widths = [width * 2**level for level in range(4)]
        inner, skipped = 4 * width, 3 * width // 2
        self.stem = nn.Sequential(*_layer(bands, width, 3, stride=2), *_layer(width, width, 3))
        levels = zip([width, *widths], widths, _levels(stride), strict=False)
        self.near, *rest = (_level(before, after, blocks, *how) for before, after, how in levels)
        self.far = nn.Sequential(*rest)
        self.branches = nn.ModuleList([nn.Sequential(*_layer(widths[-1], inner, 1))])
        for rate in rates:
            self.branches.append(nn.Sequential(*_layer(widths[-1], inner, 3, dilation=rate)))
        self.join = nn.Sequential(*_layer(len(self.branches) * inner, inner, 1))
        self.skip = nn.Sequential(*_layer(width, skipped, 1))
        self.decode = nn.Sequential(*_layer(inner + skipped, inner, 3), *_layer(inner, inner, 3))
        self.scores = nn.Conv2d(inner, categories, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, bands, y, x), float32
            Normalised as the card says; 0 where nothing was measured.
        """
        rows, columns = image.shape[-2], image.shape[-1]
        image = functional.pad(image, (0, -columns % self.stride, 0, -rows % self.stride))
        near = self.near(self.stem(image))
        far = self.far(near)
        found = self.join(torch.cat([branch(far) for branch in self.branches], dim=1))
        found = torch.cat([_enlarged(found, self.stride // SKIP), self.skip(near)], dim=1)
        return _enlarged(self.scores(self.decode(found)), SKIP)[..., :rows, :columns]


class _Basic(nn.Module):
    """Two 3 x 3 convolutions beside their input, or beside a 1 x 1 convolution of it."""

    def __init__(self, before: int, after: int, stride: int, dilation: int):
        super().__init__()
        self.first = nn.Sequential(*_layer(before, after, 3, stride=stride, dilation=dilation))
        self.second = nn.Sequential(*_layer(after, after, 3, dilation=dilation)[:2])
        self.short: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.short = nn.Sequential(*_layer(before, after, 1, stride=stride)[:2])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(self.first(image)) + self.short(image))


def _level(before, after, blocks, stride, dilation):
    first = _Basic(before, after, stride, dilation)
    return nn.Sequential(first, *(_Basic(after, after, 1, dilation) for _ in range(blocks - 1)))


def _layer(before, after, kernel, stride=1, dilation=1):
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(before, after, kernel, stride, padding, dilation, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


def _enlarged(image, factor):
    return functional.interpolate(image, scale_factor=float(factor), mode="bilinear")


def _levels(stride):
    """Return the stride and the dilation (cells) of each level of the encoder."""
    return [(2, 1), (2, 1), (2, 1), (1, 2)] if stride == 16 else [(2, 1), (2, 1), (1, 2), (1, 4)]


def _require(stride, blocks, rates):
    if stride not in STRIDES:
        raise ValueError(f"a DeepLab needs a stride of 8 or 16, found {stride}")
    if blocks < 1 or not rates:
        raise ValueError(f"a DeepLab needs blocks and rates, found {blocks} and {list(rates)}")


def _reach(stride: int, blocks: int, rates: Sequence[int]) -> Reach:
    """Return which pixels each pixel's scores depend on; its own ones are among them."""
    reach = Reach.of_image().gather(3, stride=2, padding=1).gather(3, padding=1)
    passed = []
    for step, dilation in _levels(stride):
        even = {"dilation": dilation, "padding": dilation}
        reach = reach.gather(3, stride=step, **even).gather(3, **even)
        for _ in range(blocks - 1):
            reach = reach.gather(3, **even).gather(3, **even)
        passed.append(reach)
    far = reach.gather(3, dilation=max(rates), padding=max(rates))
    found = far.resize(Fraction(SKIP, stride), around(2)).union(passed[0])
    return found.gather(5, padding=2).resize(Fraction(1, SKIP), around(2))
