"""GlaViTU: glacier extent from several sources, by a transformer and a residual U-Net."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from glaciercube.model.residual import EPSILON, Decoder, Pair, Residual

WIDTH = 64
"""Filters at full resolution, and length of a patch's embedding."""

WIDTHS = (64, 128, 256, 512)
"""Filters of each level of the U-Net."""

SLOPE = 0.2
"""Of leaky ReLU: the default of `tf.nn.leaky_relu`."""

LOCATION_SLOPE = 0.3
"""Of leaky ReLU in the encoding of the location: the default of the Keras layer."""

PATCH = 16
"""Side of the transformer's patches (pixels)."""

HEADS, BLOCKS, HIDDEN = 4, 12, 256
"""Of the transformer: heads of attention, blocks, and units of each block's perceptron."""


class GlaViTU(nn.Module):
    """Category scores of every pixel from several sources and the whole window.

    Parameters
    ----------
    bands : int
        Number of input channels: those of all sources.
    categories : int
        Number of output channels.
    sources : sequence of int
        Number of channels of each source, in the order of the channels: (6, 2) for optical
        bands and a terrain model.
    window : int
        Side of the image (pixels), a multiple of 16; no other is taken.
    location : sequence of float, optional
        What the network is told of where it is: one number for each region and one for an
        unknown one, or sine and cosine of latitude and longitude. None for a network that was
        trained without.
    deep_supervision : bool
        It has the second head that the authors trained it with, after the transformer.

    Raises
    ------
    ValueError
        If the sources are not the channels, or the window is no multiple of 16.

    Notes
    -----
    After Maslov et al. 2025 (https://arxiv.org/abs/2401.15113), written anew from its
    description; `published.import_keras` reads the authors' weights.
    Each source is weighed by squeeze and excitation over the window and each patch attends to
    all others: the result depends on the window, so that windows are blended.

    Examples
    --------
    >>> network = GlaViTU(bands=8, categories=2, sources=(6, 2), window=32)
    >>> network(torch.zeros(1, 8, 32, 32)).shape
    torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self,
        bands: int,
        categories: int,
        sources: Sequence[int] = (6, 2),
        window: int = 384,
        location: Sequence[float] | None = None,
        deep_supervision: bool = False,
    ):
        super().__init__()
        if sum(sources) != bands or min(sources, default=0) < 1:
            raise ValueError(f"the sources {tuple(sources)} are not the {bands} channels")
        if window < PATCH or window % PATCH:
            raise ValueError(f"the window must be a multiple of {PATCH} pixels, found {window}")
        self.sources, self.window = tuple(sources), window
        self.fusion = nn.ModuleList(Source(channels) for channels in sources)
        self.place = Location(location) if location is not None else None
        self.transformer = Transformer(window // PATCH)
        self.unet = ResidualUNet()
        self.scores = nn.Conv2d(WIDTH, categories, 1)
        self.early = nn.Conv2d(WIDTH, categories, 1) if deep_supervision else None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores (n, categories, y, x) before the softmax.

        Parameters
        ----------
        image : tensor (n, bands, window, window), float32
            The channels of the first source, then those of the second.

        Raises
        ------
        ValueError
            If the image has another size than the window.
        """
        whole = self._after_transformer(image)
        return self.scores(whole + self.unet(whole))

    def early_scores(self, image: torch.Tensor) -> torch.Tensor:
        """Return the scores of the head that stands after the transformer, for training.

        Raises
        ------
        ValueError
            If the network has no such head.
        """
        if self.early is None:
            raise ValueError("this network has no second head; build it with deep_supervision=True")
        return self.early(self._after_transformer(image))

    def _after_transformer(self, image):
        if image.shape[-2:] != (self.window, self.window):
            raise ValueError(
                f"GlaViTU takes images of {self.window} x {self.window} pixels, found "
                f"{tuple(image.shape[-2:])}"
            )
        parts = image.split(self.sources, dim=1)
        fused = torch.stack([each(part) for each, part in zip(self.fusion, parts, strict=True)])
        fused = fused.sum(dim=0)
        if self.place is not None:
            fused = fused + self.place()
        return fused + self.transformer(fused)


class Source(nn.Module):
    """The features of one source, weighed by what the whole window shows of it.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int):
        super().__init__()
        self.pair = Pair(channels, WIDTH, SLOPE)
        self.squeeze = nn.Linear(WIDTH, WIDTH)
        self.excite = nn.Linear(WIDTH, WIDTH)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return features (n, 64, y, x) of the source's channels (n, channel, y, x)."""
        features = self.pair(image)
        squeezed = functional.leaky_relu(self.squeeze(features.mean(dim=(2, 3))), SLOPE)
        return features * torch.sigmoid(self.excite(squeezed))[..., None, None]


class Location(nn.Module):
    """What is added to the features everywhere for where the network is.

    Parameters
    ----------
    location : sequence of float
    """

    given: torch.Tensor

    def __init__(self, location: Sequence[float]):
        super().__init__()
        given = torch.tensor([location], dtype=torch.float32)
        self.register_buffer("given", given, persistent=False)
        self.first = nn.Linear(len(location), WIDTH)
        self.first_norm = nn.BatchNorm1d(WIDTH, EPSILON)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.second_norm = nn.BatchNorm1d(WIDTH, EPSILON)

    def forward(self) -> torch.Tensor:
        """Return (1, 64, 1, 1)."""
        found = self.given
        for layer, norm in ((self.first, self.first_norm), (self.second, self.second_norm)):
            found = functional.leaky_relu(norm(layer(found)), LOCATION_SLOPE)
        return found[..., None, None]


class Transformer(nn.Module):
    """SETR: patches that attend to one another, and convolutions back to full resolution.

    Parameters
    ----------
    side : int
        Of the window, in patches.

    Notes
    -----
    Zheng et al. 2021, https://doi.org/10.1109/CVPR46437.2021.00681, with progressive upsampling.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side
        self.embed = nn.Linear(WIDTH * PATCH**2, WIDTH)
        self.position = nn.Parameter(torch.zeros(side**2, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH, EPSILON))
            for _ in range(4)
        )
        self.last = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return features (n, 64, y, x) of features of the same shape."""
        count, side = image.shape[0], self.side
        patches = image.reshape(count, WIDTH, side, PATCH, side, PATCH)
        patches = patches.permute(0, 2, 4, 3, 5, 1).reshape(count, side**2, -1)
        tokens = self.embed(patches) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        features = tokens.transpose(1, 2).reshape(count, WIDTH, side, side)
        for number, step in enumerate(self.steps):
            features = step(features)
            if number == len(self.steps) - 1:
                features = self.last(features)
            features = functional.interpolate(features, scale_factor=2, mode="bilinear")
        return features


class Block(nn.Module):
    """Attention and a perceptron, each after layer normalisation and added to its input."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, EPSILON)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.second_norm = nn.LayerNorm(WIDTH, EPSILON)
        self.perceptron = nn.Sequential(
            nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH), nn.GELU()
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens (n, patch, 64)."""
        normal = self.norm(tokens)
        heads = [
            layer(normal).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        ]
        seen = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(seen)
        return tokens + self.perceptron(self.second_norm(tokens))


class ResidualUNet(nn.Module):
    """The residual U-Net that refines what the transformer gives."""

    def __init__(self):
        super().__init__()
        befores = (WIDTH, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            Residual(before, after, SLOPE) for before, after in zip(befores, WIDTHS, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.decoder = Decoder(WIDTHS, SLOPE)
        self.last = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return features (n, 64, y, x) of features of the same shape."""
        skips = []
        for down in self.down[:-1]:
            skips.append(down(image))
            image = self.pool(skips[-1])
        return self.last(self.decoder(self.down[-1](image), skips))
