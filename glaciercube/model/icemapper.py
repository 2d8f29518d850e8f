"""ICEmapper: glacier extent from a series of radar scenes, by a 3-D encoder and a 2-D decoder."""

import math
from typing import Literal

import torch
from torch import nn

from glaciercube.model.residual import Decoder, Residual
from glaciercube.model.same_padding import max_pool, mean_over_time

WIDTHS = (32, 64, 128, 256)
"""Filters of each level."""

SLOPE = 0.3
"""Of leaky ReLU: the default of the Keras layer."""


HALO, STRIDE = 56, 8
"""Pixels that a result depends on to each side, and a shift of the image that shifts the result,
where the pooling is "max"."""


class ICEmapper(nn.Module):
    """Category scores of every pixel from several dates.

    Parameters
    ----------
    bands : int
        Number of input channels: those of all dates.
    categories : int
        Number of output channels.
    dates : int
        Number of dates; `bands` is a multiple of it.
    pooling : {"max", "weighted"}
        Over time: the largest value (version 1), or a mean of values that a gate weighs by
        their date (version 2).

    Attributes
    ----------
    halo, stride : int
        Of the pooling "max" (pixels); else 0 and 8, as the result depends on the whole tile.

    Raises
    ------
    ValueError
        If the channels cannot be shared out among the dates, or the pooling is unknown.

    Notes
    -----
    After the networks of Maslov et al. (github.com/konstantin-a-maslov/icemapper), written anew
    from their description; `published.import_keras` reads the authors' weights. The input is
    date after date, all channels of each. The sides of an image are multiples of 8 pixels.

    With `pooling="max"` every operation is local: tiles are exact. The weighted pooling takes
    its weights from the mean over the whole tile, so that its result depends on the tile; it
    was trained on tiles of 384 pixels.

    Examples
    --------
    >>> network = ICEmapper(bands=30, categories=2)
    >>> network(torch.zeros(1, 30, 16, 24)).shape
    torch.Size([1, 2, 16, 24])
    """

    def __init__(
        self,
        bands: int,
        categories: int,
        dates: int = 15,
        pooling: Literal["max", "weighted"] = "max",
    ):
        super().__init__()
        if dates < 1 or bands % dates:
            raise ValueError(f"{bands} channels are no multiple of {dates} dates")
        if pooling not in ("max", "weighted"):
            raise ValueError(f"pooling must be 'max' or 'weighted', found {pooling!r}")
        self.dates, self.stride = dates, STRIDE
        self.halo = HALO if pooling == "max" else 0
        befores = (bands // dates, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            Residual(before, after, SLOPE, dims=3)
            for before, after in zip(befores, WIDTHS, strict=True)
        )
        kind = MaxPooling if pooling == "max" else WeightedPooling
        lengths = [dates]
        for _ in WIDTHS[1:]:
            lengths.append(math.ceil(lengths[-1] / 2))
        self.pool = nn.ModuleList(kind(width, (2, 2, 2)) for width in WIDTHS[:-1])
        self.whole = nn.ModuleList(
            kind(width, (length, 1, 1)) for width, length in zip(WIDTHS, lengths, strict=True)
        )
        self.decoder = Decoder(WIDTHS, SLOPE)
        self.scores = nn.Conv2d(WIDTHS[0], categories, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, dates x channels, y, x), float32
            The channels of the first date, then those of the second.
        """
        volume = image.unflatten(1, (self.dates, -1)).transpose(1, 2)
        flat = []
        for level, (down, whole) in enumerate(zip(self.down, self.whole, strict=True)):
            volume = down(volume)
            flat.append(whole(volume).squeeze(2))
            if level < len(self.pool):
                volume = self.pool[level](volume)
        return self.scores(self.decoder(flat[-1], flat[:-1]))


class MaxPooling(nn.Module):
    """The largest value of each window.

    Parameters
    ----------
    width : int
        Number of channels; any.
    window : tuple of int
        Steps in time, y and x.
    """

    def __init__(self, width: int, window: tuple[int, int, int]):
        super().__init__()
        self.window = window

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Return (n, channel, fewer times, y, x) of a volume (n, channel, time, y, x)."""
        return max_pool(volume, self.window)


class WeightedPooling(nn.Module):
    """The mean over time of values that a gate has weighed, after the largest of each y and x.

    Parameters
    ----------
    width : int
        Number of channels.
    window : tuple of int
        Steps in time, y and x.

    Notes
    -----
    The gate is squeeze and excitation (Hu et al. 2018, https://doi.org/10.1109/CVPR.2018.00745)
    for each date: means over the tile through two convolutions along time.
    """

    def __init__(self, width: int, window: tuple[int, int, int]):
        super().__init__()
        self.window = window
        self.gate = nn.Sequential(
            nn.Conv1d(width, width // 2, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(width // 2, width, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Return (n, channel, fewer times, y, x) of a volume (n, channel, time, y, x)."""
        volume = max_pool(volume, (1, *self.window[1:]))
        gate = self.gate(volume.mean(dim=(3, 4)))
        return mean_over_time(volume * gate[..., None, None], self.window[0])
