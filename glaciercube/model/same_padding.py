"""Padding as TensorFlow's "same" does it: what does not fit is padded at the end of an axis."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class EndPadded(nn.Conv2d):
    """A convolution of an even kernel that keeps the size: zeros on the right and at the bottom.

    Parameters
    ----------
    before, after : int
        Numbers of channels.
    side : int
        Of the kernel (pixels).

    Examples
    --------
    >>> EndPadded(3, 5, 2)(torch.zeros(1, 3, 6, 7)).shape
    torch.Size([1, 5, 6, 7])
    """

    def __init__(self, before: int, after: int, side: int):
        super().__init__(before, after, side, bias=False)
        self._beyond = (0, side - 1, 0, side - 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image (n, after, y, x) of an image (n, before, y, x)."""
        return super().forward(functional.pad(image, self._beyond))


def max_pool(volume: torch.Tensor, window: tuple[int, int, int]) -> torch.Tensor:
    """Return the largest value of each window; the last ones are of what they have.

    Parameters
    ----------
    volume : tensor (n, channel, time, y, x)
    window : tuple of int
        Steps in time, y and x; windows do not overlap.

    Examples
    --------
    >>> max_pool(torch.zeros(1, 2, 15, 8, 6), (2, 2, 2)).shape
    torch.Size([1, 2, 8, 4, 3])
    """
    if window[1:] != (1, 1):
        times = volume.shape[2]
        flat = functional.max_pool2d(volume.flatten(1, 2), window[1:], ceil_mode=True)
        volume = flat.unflatten(1, (-1, times))
    return _over_time(volume, window[0], torch.amax)


def mean_over_time(volume: torch.Tensor, window: int) -> torch.Tensor:
    """Return the mean of each window of time; the last one is of what it has.

    Parameters
    ----------
    volume : tensor (n, channel, time, y, x)
    window : int
        Steps in time; windows do not overlap.

    Examples
    --------
    >>> mean_over_time(torch.arange(5.0).reshape(1, 1, 5, 1, 1), 2).flatten()
    tensor([0.5000, 2.5000, 4.0000])
    """
    return _over_time(volume, window, torch.mean)


def _over_time(volume: torch.Tensor, window: int, what: Callable) -> torch.Tensor:
    if window == 1:
        return volume
    return torch.stack([what(part, dim=2) for part in volume.split(window, dim=2)], dim=2)
