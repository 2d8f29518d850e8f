"""U-TAE: a U-Net whose coarsest level weighs the dates of each pixel, exact under tiling."""

from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional

from glaciercube.model.attention import TemporalAttention
from glaciercube.model.inspection_reach import Reach, around
from glaciercube.model.series import summed, taken_apart


class UTAE(nn.Module):
    """Category scores of every pixel from its surroundings on several dates, weighed by attention.

    Parameters
    ----------
    bands : int
        Number of input channels: those of all dates, with a mask and a day each.
    categories : int
        Number of output channels.
    count : int
        Dates.
    mask, day : bool
        Whether each date has a mask and a day; it needs both.
    width : int
        Number of filters at full resolution, even and a multiple of the number of heads.
    depth : int
        Number of times the resolution is halved.
    heads : int
        Of the attention.

    Attributes
    ----------
    stride : int
        Pixels: 2 to the power of `depth`.
    halo : int
        Pixels, a multiple of the stride: what a tile that starts and ends on multiples of the
        stride needs around it. 64 at depth 3.

    Raises
    ------
    ValueError
        If a date has no mask or no day, the width is odd or no multiple of the number of heads, or
        the depth is below 1.

    Notes
    -----
    Garnot & Landrieu 2021, https://doi.org/10.1109/ICCV48922.2021.00483, with their sizes: each
    date is encoded alone, by the same filters; at the coarsest level `TemporalAttention` weighs
    the dates of each pixel, and its weights, enlarged bilinearly, weigh those of the finer
    levels. Attention looks along time and not along places, and bilinear enlargement by whole
    factors looks one coarse pixel further, so that a tile with its halo gives what the whole
    image gives. For that, batch normalisation, fixed in evaluation, stands in place of the group
    normalisation of the original, and zeros in place of reflected borders. The last convolution
    has no normalisation.

    What a date holds where it was not measured is not looked at, whatever the card's fill: the
    network sees 0 there and the mask, and at the coarsest level weighs only dates that were
    measured somewhere in the pixel. So a padded date changes nothing, and a network may be run
    with more or fewer dates than it was trained with. In training batch statistics count padded
    dates as well.

    Examples
    --------
    >>> network = UTAE(bands=3 * (4 + 2), categories=5, count=3, width=16).eval()
    >>> network.stride, network.halo
    (8, 64)
    >>> network(torch.zeros(1, 18, 21, 30)).shape
    torch.Size([1, 5, 21, 30])
    """

    def __init__(  # noqa: PLR0913 - what a card says of the input, and four sizes
        self,
        bands: int,
        categories: int,
        count: int,
        mask: bool = True,
        day: bool = True,
        width: int = 64,
        depth: int = 3,
        heads: int = 16,
    ):
        super().__init__()
        _require(mask and day, width, depth, heads)
        self.count, self.heads = count, heads
        self.stride = 2**depth
        self.halo = _reach(depth).halo(self.stride)
        coarse, fine = _widths(width, depth)
        self.first = nn.Sequential(*_layer(bands // count - 1, width), *_layer(width, width))
        self.down = nn.ModuleList(_Down(coarse[at], coarse[at + 1]) for at in range(depth))
        self.attend = TemporalAttention(coarse[-1], count, heads)
        self.up = nn.ModuleList(
            _Up(fine[at + 1], coarse[at], fine[at]) for at in reversed(range(depth))
        )
        self.scores = nn.Sequential(
            *_layer(fine[0], width // 2), nn.Conv2d(width // 2, categories, 3, padding=1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, count * (bands + 2), y, x), float32
            Of each date its bands, normalised as the card says, its mask and its day.
        """
        rows, columns = image.shape[-2], image.shape[-1]
        image = functional.pad(image, (0, -columns % self.stride, 0, -rows % self.stride))
        values, measured, days = taken_apart(image, self.count, day=True)
        dates = self.first(values[:, :-1])
        skips = []
        for down in self.down:
            skips.append(dates)
            dates = down(dates)
        near = days[..., :: self.stride, :: self.stride]
        found, weights = self.attend(dates, functional.max_pool2d(measured, self.stride), near)
        for number, up in enumerate(self.up, start=1):
            finer = functional.interpolate(weights, scale_factor=2.0**number, mode="bilinear")
            found = up(found, summed(skips.pop(), finer, self.count, self.heads))
        return self.scores(found)[..., :rows, :columns]


class _Down(nn.Module):
    """Half the resolution, then two convolutions, the second beside its input."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.halve = nn.Sequential(*_layer(before, before, kernel=4, stride=2))
        self.one = nn.Sequential(*_layer(before, after))
        self.two = nn.Sequential(*_layer(after, after))

    def forward(self, dates: torch.Tensor) -> torch.Tensor:
        found = self.one(self.halve(dates))
        return found + self.two(found)


class _Up(nn.Module):
    """Twice the resolution, then two convolutions of it and a skip, the second beside its input."""

    def __init__(self, before: int, skipped: int, after: int):
        super().__init__()
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )
        self.skip = nn.Sequential(*_layer(skipped, skipped, kernel=1))
        self.one = nn.Sequential(*_layer(after + skipped, after))
        self.two = nn.Sequential(*_layer(after, after))

    def forward(self, image: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        found = self.one(torch.cat([self.enlarge(image), self.skip(skip)], dim=1))
        return found + self.two(found)


def _layer(before, after, kernel=3, stride=1):
    padding = (kernel - 1) // 2
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


def _widths(width, depth):
    """Return the number of filters of each level on the way down and on the way up."""
    middle = [width] * max(0, depth - 2)
    return [width] * depth + [2 * width], [width // 2] * min(2, depth) + middle + [2 * width]


def _require(told, width, depth, heads):
    if not told:
        raise ValueError("a U-TAE needs the mask and the day of each date, found one of them False")
    if width < 1 or width % heads or width % 2:
        raise ValueError(
            f"a U-TAE needs an even width that is a multiple of {heads} heads, found {width}"
        )
    if depth < 1:
        raise ValueError(f"a U-TAE needs a depth of 1 or more, found {depth}")


def _reach(depth: int) -> Reach:
    """Return which pixels each pixel's scores depend on."""
    level = _pair(Reach.of_image())
    skips = []
    for _ in range(depth):
        skips.append(level)
        level = _pair(level.gather(4, stride=2, padding=1))
    weights = level
    for number, skip in enumerate(reversed(skips), start=1):
        skip = skip.union(weights.resize(Fraction(1, 2**number), around(2)))
        level = _pair(skip.union(level.scatter(4, stride=2, dilation=1, padding=1)))
    return _pair(level)


def _pair(reach):
    """Return the reach after two convolutions of 3 x 3 pixels."""
    return reach.gather(5, padding=2)
