"""U-Nets: pooling and upsampling with skips, exact under tiling on the lattice of their stride."""

import itertools

import torch
from torch import nn
from torch.nn import functional


class UNet(nn.Module):
    """Category scores of every pixel from its surroundings at several scales.

    Parameters
    ----------
    bands : int
        Number of input channels.
    categories : int
        Number of output channels.
    width : int
        Number of filters at full resolution; doubled at each pooling.
    depth : int
        Number of poolings by 2.
    residual : bool
        Add each pair of convolutions to a 1 x 1 convolution of its input.
    nearest : bool
        Enlarge by repeating pixels and a 1 x 1 convolution, not by a transposed convolution.

    Attributes
    ----------
    stride : int
        Pixels: a shift of the image by it shifts the result. 2 to the power of `depth`.
    halo : int
        Pixels, a multiple of the stride: what a tile that starts and ends on multiples of the
        stride needs around it. 96 at depth 4.

    Raises
    ------
    ValueError
        If the depth is below 1.

    Notes
    -----
    U-Net: Ronneberger et al. 2015, https://doi.org/10.1007/978-3-319-24574-4_28; with residual
    blocks: Zhang et al. 2018, https://doi.org/10.1109/LGRS.2018.2802944. Unlike those,
    convolutions keep the size (zero padding) and are followed by batch normalisation, which is
    fixed in evaluation, and each 2 x 2 cell is enlarged from its own coarse pixel alone, so that
    a tile with its halo gives what the whole image gives.

    An image whose sides are no multiples of the stride is continued with zeros at the bottom
    and on the right, and the result is cut: the same for a tile that ends at the image's border.

    Examples
    --------
    >>> network = UNet(bands=6, categories=3, width=4, depth=2).eval()
    >>> network.stride, network.halo
    (4, 24)
    >>> network(torch.zeros(1, 6, 21, 30)).shape
    torch.Size([1, 3, 21, 30])
    """

    def __init__(
        self,
        bands: int,
        categories: int,
        width: int = 32,
        depth: int = 4,
        residual: bool = False,
        nearest: bool = False,
    ):
        super().__init__()
        if depth < 1:
            raise ValueError(f"a U-Net needs a depth of 1 or more, found {depth}")
        self.stride = 2**depth
        self.halo = halo_of(depth)
        block = Residual if residual else _pair
        enlarge = repeat if nearest else _transpose
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            block(before, after) for before, after in itertools.pairwise([bands, *widths])
        )
        self.pool = nn.MaxPool2d(2)
        self.enlarge = nn.ModuleList(enlarge(2 * each, each) for each in widths[-2::-1])
        self.up = nn.ModuleList(block(2 * each, each) for each in widths[-2::-1])
        self.scores = nn.Conv2d(width, categories, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, bands, y, x), float32
            Normalised as the card says; 0 where nothing was measured.
        """
        rows, columns = image.shape[-2], image.shape[-1]
        image = functional.pad(image, (0, -columns % self.stride, 0, -rows % self.stride))
        image = self.down[0](image)
        skips = []
        for down in self.down[1:]:
            skips.append(image)
            image = down(self.pool(image))
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            image = up(torch.cat([skips.pop(), enlarge(image)], dim=1))
        return self.scores(image)[..., :rows, :columns]


class ResUNet(UNet):
    """A U-Net of residual blocks that enlarges by repeating pixels.

    Parameters
    ----------
    bands, categories, width, depth : int
        As of `UNet`.

    Examples
    --------
    >>> ResUNet(bands=6, categories=3, width=4).halo
    96
    """

    def __init__(self, bands: int, categories: int, width: int = 32, depth: int = 4):
        super().__init__(bands, categories, width, depth, residual=True, nearest=True)


class Residual(nn.Module):
    """Two convolutions beside a 1 x 1 convolution of the same input.

    Parameters
    ----------
    before, after : int
        Number of channels of its input and of its result.
    """

    def __init__(self, before: int, after: int):
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(before, after), nn.ReLU(), *_convolution(after, after)
        )
        self.short = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image (n, after, y, x) of one (n, before, y, x)."""
        return torch.relu(self.body(image) + self.short(image))


def repeat(before: int, after: int) -> nn.Module:
    """Return what makes an image twice as large by a 1 x 1 convolution and repeating its pixels.

    Parameters
    ----------
    before, after : int
        Number of channels of its input and of its result.
    """
    return nn.Sequential(nn.Conv2d(before, after, 1), nn.Upsample(scale_factor=2))


def halo_of(depth: int) -> int:
    """Return how far before pixel 0 the pixels 0 to stride - 1 look, up to a whole stride.

    Each level has two 3 x 3 convolutions (2 pixels) on the way down and on the way up.

    Parameters
    ----------
    depth : int
        Number of poolings by 2.

    Examples
    --------
    >>> halo_of(3), halo_of(4)
    (48, 96)
    """
    first = -2
    for _ in range(depth):
        first = first // 2 - 2
    for _ in range(depth):
        first = first * 2 - 2
    stride = 2**depth
    return -(first // stride) * stride


def _pair(before, after):
    first, second = _convolution(before, after), _convolution(after, after)
    return nn.Sequential(*first, nn.ReLU(inplace=True), *second, nn.ReLU(inplace=True))


def _convolution(before, after):
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)


def _transpose(before, after):
    return nn.ConvTranspose2d(before, after, 2, stride=2)
