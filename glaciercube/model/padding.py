"""Images of any size for a network that takes only multiples of some pixels."""

import torch
from torch import nn
from torch.nn import functional


class Padded(nn.Module):
    """A network of some sizes, with the image continued to such a size and the result cut.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to (n, categories, y, x).
    multiple : int
        Pixels that the sides of its images must be multiples of.

    Notes
    -----
    The image is continued with zeros, the value of what was not measured, at the bottom and on
    the right. A tile that starts on a multiple and ends at the image's border is continued as
    the whole image is, so that tiles stay exact.

    Examples
    --------
    >>> halves = nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=4))
    >>> halves(torch.zeros(1, 2, 7, 9)).shape
    torch.Size([1, 2, 4, 8])
    >>> Padded(halves, 4)(torch.zeros(1, 2, 7, 9)).shape
    torch.Size([1, 2, 7, 9])
    """

    def __init__(self, network: nn.Module, multiple: int):
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) of an image (n, channels, y, x)."""
        rows, columns = image.shape[-2], image.shape[-1]
        beyond = (0, -columns % self.multiple, 0, -rows % self.multiple)
        return self.network(functional.pad(image, beyond))[..., :rows, :columns]


def padded(network: nn.Module, multiple: int) -> nn.Module:
    """Return a network that takes images of any size.

    Parameters
    ----------
    network : Module
    multiple : int
        Pixels; of 1 the network is given back.
    """
    return network if multiple == 1 else Padded(network, multiple)
