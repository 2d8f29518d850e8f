"""The patch network of glacier facies: a patch for every pixel, all patches of an image at once."""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from glaciercube.model.patch_zones import AllPatches
from glaciercube.model.residual import EPSILON

SIDE = 33
"""Of a patch (pixels); its centre is what is classified."""

POOL = 3
"""Pixels that are pooled to a cell, and the step from one to the next."""

WIDTH, HIDDEN = 64, 32
"""Filters of the convolutions, and units of the dense layers."""

REACH = SIDE // 2
"""Pixels from the centre of a patch to its edge."""


class PatchCNN(nn.Module):
    """Category scores of every pixel from the patch around it.

    Parameters
    ----------
    bands : int
        Number of input channels.
    categories : int
        Number of output channels.
    mode : {"exact", "convolutional"}
        How an image is seen. "exact": what every patch gives by itself, the zeros around it
        included. "convolutional": by convolutions of the image, as if no patch ended: another
        function at a fraction of the cost.

    Attributes
    ----------
    halo : int
        Pixels that a result depends on, to each side: 16, or 28 in convolutions.

    Raises
    ------
    ValueError
        If the mode is unknown.

    Notes
    -----
    After Maslov et al. 2026 (github.com/konstantin-a-maslov/glacier_facies_classification),
    written anew from its description; `published.import_keras` reads the authors' weights. Three
    convolutions, of which the centre is kept; pooling of 33 x 33 pixels to 11 x 11 cells; three
    more, of which the centre and the largest of all cells are kept; three dense layers.

    To train it, take `of_patches`: all patches at once have no gradients, and their batch
    normalisation is fixed. Both ways are exact under tiling. What lies beyond the image is 0, as
    where nothing was measured. `patch_zones` says how all patches are computed at once.

    Examples
    --------
    >>> network = PatchCNN(bands=6, categories=8)
    >>> network.halo, network(torch.zeros(1, 6, 5, 7)).shape
    (16, torch.Size([1, 8, 5, 7]))
    """

    def __init__(
        self,
        bands: int,
        categories: int,
        mode: Literal["exact", "convolutional"] = "exact",
    ):
        super().__init__()
        if mode not in ("exact", "convolutional"):
            raise ValueError(f"mode must be 'exact' or 'convolutional', found {mode!r}")
        self.mode = mode
        cells = SIDE // POOL
        beyond = POOL * (cells // 2 + 3) + POOL // 2 + 3
        self.halo = REACH if mode == "exact" else beyond
        self.near = nn.ModuleList(Layer(each, WIDTH) for each in (bands, WIDTH, WIDTH))
        step = POOL if mode == "convolutional" else 1
        self.far = nn.ModuleList(Layer(WIDTH, WIDTH, step) for _ in range(3))
        self.dense = nn.Sequential(
            nn.Conv2d(3 * WIDTH, HIDDEN, 1),
            nn.ELU(),
            nn.Conv2d(HIDDEN, HIDDEN, 1),
            nn.ELU(),
            nn.Conv2d(HIDDEN, categories, 1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, bands, y, x), float32
            Normalised as the card says; 0 where nothing was measured.
        """
        if self.mode == "convolutional":
            return self.dense(torch.cat(self._convolved(image), dim=1))
        patches = AllPatches(_folded(self.near), _folded(self.far), SIDE, POOL)
        wide = functional.pad(image, (REACH,) * 4)
        return self.dense(torch.stack([patches.of(each) for each in wide]))

    def of_patches(self, patches: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories) of patches one by one, as the authors run it.

        Parameters
        ----------
        patches : tensor (n, bands, 33, 33), float32
        """
        near = _through(self.near, patches)
        far = functional.max_pool2d(near, POOL)
        for layer in _layers(self.far):
            far = layer.of_cells(far)
        centre, cell = SIDE // 2, SIDE // POOL // 2
        parts = [near[..., centre, centre], far[..., cell, cell], far.amax(dim=(2, 3))]
        return self.dense(torch.cat(parts, dim=1)[..., None, None])[..., 0, 0]

    def _convolved(self, image):
        near = _through(self.near, image)
        far = _through(self.far, functional.max_pool2d(near, POOL, stride=1, padding=POOL // 2))
        return near, far, _largest_around(far, SIDE // POOL, POOL)


class Layer(nn.Module):
    """A 3 x 3 convolution with zeros around, batch normalisation, exponential linear unit.

    Parameters
    ----------
    before, after : int
        Numbers of channels.
    step : int
        Pixels from one neighbour to the next.
    """

    def __init__(self, before: int, after: int, step: int = 1):
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, padding=step, dilation=step)
        self.normalisation = nn.BatchNorm2d(after, EPSILON)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image (n, after, y, x) of an image (n, before, y, x)."""
        return functional.elu(self.normalisation(self.convolution(image)))

    def of_cells(self, cells: torch.Tensor) -> torch.Tensor:
        """Return the same where neighbours are next to one another."""
        layer = self.convolution
        found = functional.conv2d(cells, layer.weight, layer.bias, padding=1)
        return functional.elu(self.normalisation(found))

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the kernel (3, 3, before, after) and bias (after,) of both layers in one."""
        norm, layer = self.normalisation, self.convolution
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        weight, bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, mean, variance, norm.eps, norm.weight, norm.bias
        )
        return weight.permute(2, 3, 1, 0).contiguous(), bias


def _layers(stage: nn.ModuleList) -> list[Layer]:
    return [layer for layer in stage if isinstance(layer, Layer)]


def _folded(stage):
    return [layer.folded() for layer in _layers(stage)]


def _through(stage, image):
    for layer in _layers(stage):
        image = layer(image)
    return image


def _largest_around(image, count, step):
    """Return the largest of `count` x `count` places around each, `step` pixels apart."""
    reach = step * (count // 2)
    image = functional.pad(image, (reach,) * 4, value=-torch.inf)
    rows = functional.max_pool2d(image, (count, 1), stride=1, dilation=(step, 1))
    return functional.max_pool2d(rows, (1, count), stride=1, dilation=(1, step))
