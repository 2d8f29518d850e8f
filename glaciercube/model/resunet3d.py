"""A residual U-Net over several dates: convolutions along time and places, then one map."""

import itertools

import torch
from torch import nn
from torch.nn import functional

from glaciercube.model.series import neighbours, shares, summed, taken_apart
from glaciercube.model.unet import Residual, halo_of, repeat

POOLINGS = ("max", "weighted")
"""How dates become one: the highest of each filter, or a mean whose weights are learned."""


class ResUNet3D(nn.Module):
    """Category scores of every pixel from its surroundings in space and time.

    Parameters
    ----------
    bands : int
        Number of input channels: those of all dates, with a mask and perhaps a day each.
    categories : int
        Number of output channels.
    count : int
        Dates.
    mask, day : bool
        Whether each date has a mask, which it needs, and a day.
    width : int
        Number of filters at full resolution; doubled at each pooling.
    depth : int
        Number of poolings by 2, of places alone.
    pooling : {"max", "weighted"}
        How the dates become one, at each level.

    Attributes
    ----------
    stride, halo : int
        Pixels, as of `UNet`: 16 and 96 at depth 4.

    Raises
    ------
    ValueError
        If a date has no mask, the pooling is not known, or the depth is below 1.

    Notes
    -----
    3D U-Net: Cicek et al. 2016, https://doi.org/10.1007/978-3-319-46723-8_49; over satellite
    image series: Rustowicz et al. 2019 (CVPR Workshops, semantic segmentation of crop type in
    Africa); residual blocks as of `ResUNet`. On the way down convolutions are of 3 dates x 3 x 3
    pixels; the dates are pooled into one where a level is handed over, so that the way up is
    that of `ResUNet`. A convolution of 3 dates is written as a two-dimensional one of each date
    beside its neighbours: the same numbers as `torch.nn.Conv3d`, and as fast as other networks
    run (batch normalisation within convolutions, channels last).

    Where a date was not measured its input and all its filters are 0, as beyond the first and the
    last date, and it is left out of the pooling. So what a padded date holds changes nothing, and
    neither does how many are padded. In training batch statistics count padded dates as well.

    Pooling does not know which of the dates is reported, unless the card declares `day`. Without
    it the map is one of the period that is seen.

    Examples
    --------
    >>> network = ResUNet3D(bands=3 * (4 + 1), categories=5, count=3, width=4).eval()
    >>> network.stride, network.halo
    (16, 96)
    >>> network(torch.zeros(1, 15, 21, 30)).shape
    torch.Size([1, 5, 21, 30])
    """

    def __init__(  # noqa: PLR0913 - what a card says of the input, and three sizes
        self,
        bands: int,
        categories: int,
        count: int,
        mask: bool = True,
        day: bool = False,
        width: int = 16,
        depth: int = 4,
        pooling: str = "max",
    ):
        super().__init__()
        _require(mask, depth, pooling)
        self.count, self.day = count, day
        self.stride = 2**depth
        self.halo = halo_of(depth)
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _Block(before, after, count)
            for before, after in itertools.pairwise([bands // count, *widths])
        )
        pool = _Highest if pooling == "max" else _Weighted
        self.over = nn.ModuleList(pool(each, count) for each in widths)
        self.enlarge = nn.ModuleList(repeat(2 * each, each) for each in widths[-2::-1])
        self.up = nn.ModuleList(Residual(2 * each, each) for each in widths[-2::-1])
        self.scores = nn.Conv2d(width, categories, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, count * (bands + 1 or 2), y, x), float32
            Of each date its bands, normalised as the card says, its mask, and its day if there
            is one.
        """
        rows, columns = image.shape[-2], image.shape[-1]
        image = functional.pad(image, (0, -columns % self.stride, 0, -rows % self.stride))
        values, measured, _ = taken_apart(image, self.count, self.day)
        dates = self.down[0](values, measured)
        levels = [self.over[0](dates, measured)]
        for down, over in zip(self.down[1:], self.over[1:], strict=True):
            measured = functional.max_pool2d(measured, 2)
            dates = down(functional.max_pool2d(dates, 2), measured)
            levels.append(over(dates, measured))
        found = levels.pop()
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            found = up(torch.cat([levels.pop(), enlarge(found)], dim=1))
        return self.scores(found)[..., :rows, :columns]


class _Block(nn.Module):
    """Two convolutions of 3 dates x 3 x 3 pixels beside a 1 x 1 x 1 convolution of the input."""

    def __init__(self, before: int, after: int, count: int):
        super().__init__()
        self.count = count
        self.first = nn.Sequential(*_convolution(3 * before, after), nn.ReLU())
        self.second = nn.Sequential(*_convolution(3 * after, after))
        self.short = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, dates: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        first = self.first(neighbours(dates, self.count)) * measured
        second = self.second(neighbours(first, self.count))
        return torch.relu(second + self.short(dates)) * measured


class _Highest(nn.Module):
    """The highest of the dates that were measured, filters being 0 or more; else 0."""

    def __init__(self, channels: int, count: int):
        super().__init__()
        self.count = count

    def forward(self, dates: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        return dates.unflatten(0, (-1, self.count)).amax(dim=1)


class _Weighted(nn.Module):
    """The mean of the dates that were measured, by weights that are made of them."""

    def __init__(self, channels: int, count: int):
        super().__init__()
        self.count = count
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, dates: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
        weights = shares(self.score(dates), measured, self.count)
        return summed(dates, weights, self.count, heads=1)


def _convolution(before, after):
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)


def _require(mask, depth, pooling):
    if not mask:
        raise ValueError("a ResUNet3D needs the mask of each date, found mask=False")
    if depth < 1:
        raise ValueError(f"a ResUNet3D needs a depth of 1 or more, found {depth}")
    if pooling not in POOLINGS:
        raise ValueError(f"'pooling' must be one of {list(POOLINGS)}, found {pooling!r}")
