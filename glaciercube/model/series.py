"""The dates of an image side by side: taken apart, joined with their neighbours, and summed up.

For networks that see several dates at once. In all functions the dates stand within the batch,
(n * count, channels, y, x), those of one image in a row, ascending in time, so that each layer
over places is an ordinary two-dimensional one.
"""

from typing import NamedTuple

import torch
from torch.nn import functional

UNSEEN = -1e4
"""Score of a date that was not measured: after a softmax beside others nothing is left of it."""


class Series(NamedTuple):
    """Dates of images, taken apart."""

    values: torch.Tensor
    """(n * count, planes, y, x): all of a date, 0 where it was not measured."""

    measured: torch.Tensor
    """(n * count, 1, y, x): 1 where it was measured, else 0."""

    days: torch.Tensor
    """(n * count, 1, y, x): its last plane, how many years after the date reported it is."""


def taken_apart(image: torch.Tensor, count: int, day: bool) -> Series:
    """Return the dates of an image.

    Parameters
    ----------
    image : tensor (n, count * planes, y, x)
        Of each date its bands, its mask, and its day if there is one.
    count : int
    day : bool

    Examples
    --------
    >>> image = torch.tensor([5.0, 1, 0.1, 7, 0, 0.2]).reshape(1, 6, 1, 1)
    >>> series = taken_apart(image, count=2, day=True)
    >>> series.values.flatten(1).tolist()[1], series.measured.flatten().tolist()
    ([0.0, 0.0, 0.0], [1.0, 0.0])
    """
    dates = image.unflatten(1, (count, -1)).flatten(0, 1)
    mask = dates[:, -2:-1] if day else dates[:, -1:]
    values = torch.where(mask > 0, dates, 0.0)
    return Series(values, (mask > 0).to(image.dtype), dates[:, -1:])


def neighbours(dates: torch.Tensor, count: int) -> torch.Tensor:
    """Return each date with the one before and the one after it, 0 beyond the first and last.

    Parameters
    ----------
    dates : tensor (n * count, channels, y, x)
    count : int

    Returns
    -------
    tensor (n * count, 3 * channels, y, x)

    Notes
    -----
    A convolution of k x k pixels of it is one of 3 dates x k x k pixels of the dates, with
    padding.

    Examples
    --------
    >>> neighbours(torch.tensor([1.0, 2, 3]).reshape(3, 1, 1, 1), 3).flatten(1).tolist()
    [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 0.0]]
    """
    series = functional.pad(dates.unflatten(0, (-1, count)), (0, 0, 0, 0, 0, 0, 1, 1))
    return torch.cat([series[:, :-2], series[:, 1:-1], series[:, 2:]], dim=2).flatten(0, 1)


def shares(scores: torch.Tensor, measured: torch.Tensor, count: int) -> torch.Tensor:
    """Return the weights of dates: a softmax over those that were measured, 0 for the others.

    Parameters
    ----------
    scores : tensor (n * count, heads, y, x)
    measured : tensor (n * count, 1, y, x)
        1 or 0. Where no date was measured all weights are 0.
    count : int

    Returns
    -------
    tensor (n * count, heads, y, x)

    Examples
    --------
    >>> scores = torch.tensor([1.0, 1, 9]).reshape(3, 1, 1, 1)
    >>> shares(scores, torch.tensor([1.0, 1, 0]).reshape(3, 1, 1, 1), 3).flatten().tolist()
    [0.5, 0.5, 0.0]
    """
    seen = torch.where(measured > 0, scores, UNSEEN).unflatten(0, (-1, count))
    return seen.softmax(dim=1).flatten(0, 1) * measured


def summed(dates: torch.Tensor, weights: torch.Tensor, count: int, heads: int) -> torch.Tensor:
    """Return the weighted sum over the dates of each image.

    Parameters
    ----------
    dates : tensor (n * count, channels, y, x)
    weights : tensor (n * count, heads, y, x)
        Each head's are those of one of so many groups of channels.
    count, heads : int

    Returns
    -------
    tensor (n, channels, y, x)

    Examples
    --------
    >>> dates = torch.tensor([[1.0, 2], [3, 4]])[:, :, None, None]
    >>> weights = torch.tensor([[0.5, 1], [0.5, 0]])[:, :, None, None]
    >>> summed(dates, weights, count=2, heads=2).flatten().tolist()
    [2.0, 2.0]
    """
    weighted = dates.unflatten(1, (heads, -1)) * weights.unsqueeze(2)
    return weighted.flatten(1, 2).unflatten(0, (-1, count)).sum(dim=1)
