"""Attention over the dates of each place alone: a tile gives what the whole image gives."""

import torch
from torch import nn

from glaciercube.model.dates import YEAR
from glaciercube.model.series import shares, summed

PERIOD = 1000.0
"""Days: longest period of the encoding of days, over 2 pi; Garnot & Landrieu 2021."""


class TemporalAttention(nn.Module):
    """The dates of each pixel as one, and the weights that they had.

    Parameters
    ----------
    channels : int
        Of each date, a multiple of the number of heads.
    count : int
        Dates.
    heads : int
        Groups of channels that weigh the dates each in its own way.
    keys : int
        Numbers of a key.

    Notes
    -----
    L-TAE (lightweight temporal attention encoder), Garnot & Landrieu 2020,
    https://doi.org/10.1007/978-3-030-65742-0_12: each head has one query, which is learned and
    not made of the image; keys are linear in the dates. Here batch normalisation stands in place
    of group normalisation, and there is no dropout.

    Days are encoded as sines and cosines of the number of days, of periods from 2 pi days to
    nearly 2 pi 1000 days. They are rounded to whole days and encoded in float32 whatever the
    precision: an image in bfloat16 still tells the day of dates up to half a year away.
    """

    def __init__(self, channels: int, count: int, heads: int = 16, keys: int = 4):
        super().__init__()
        inner = 2 * channels
        size = inner // heads
        self.count, self.heads, self.scale = count, heads, keys**-0.5
        self.periods = [PERIOD ** (place / size) for place in range(0, size, 2)]
        self.enter = nn.Sequential(nn.BatchNorm2d(channels), nn.Conv2d(channels, inner, 1))
        self.keys = nn.Conv2d(inner, heads * keys, 1)
        self.query = nn.Conv2d(heads * keys, heads, 1, groups=heads, bias=False)
        self.leave = nn.Sequential(
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
        )

    def forward(
        self, dates: torch.Tensor, measured: torch.Tensor, days: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the dates as one (n, channels, y, x) and weights (n * count, heads, y, x).

        Parameters
        ----------
        dates : tensor (n * count, channels, y, x)
        measured, days : tensor (n * count, 1, y, x)
            As of `series.Series`.
        """
        code = self.encoded(days).to(dates.dtype).unsqueeze(1)
        values = (self.enter(dates).unflatten(1, (self.heads, -1)) + code).flatten(1, 2)
        weights = shares(self.query(self.keys(values)) * self.scale, measured, self.count)
        return self.leave(summed(values, weights, self.count, self.heads)), weights

    def encoded(self, days: torch.Tensor) -> torch.Tensor:
        """Return the code (n * count, size, y, x), float32, of days (n * count, 1, y, x)."""
        whole = (days.float() * YEAR).round()
        angles = [whole / period for period in self.periods]
        return torch.cat([wave(each) for each in angles for wave in (torch.sin, torch.cos)], dim=1)
