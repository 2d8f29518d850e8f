"""What all ways have in common: the cube, the networks, the machine. No torch."""

import inspect
import math
from dataclasses import dataclass
from pathlib import Path

from glaciercube.infer.lazy import predict
from glaciercube.model.card import ModelCard, read_card
from glaciercube.model.zoo import card_of

HALO = 96
"""Pixels that a tile is enlarged by where networks are compared on equal tiles."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The options of one run; travels to the processes as JSON."""

    folder: str
    """Of cubes and weights, kept for the next run, and of results."""

    size: int = 4096
    """Rows and columns of the cube."""

    dates: int = 3
    block: int = 1024
    width: int = 32
    """Filters of the U-Net at full resolution."""

    steps: int = 300
    """That the U-Net is trained for."""

    peer_dates: int = 1
    """Dates that the peers, and ours beside them, are given."""

    truth: int = 2048
    """Rows and columns from the image's corner that go through a network in one pass."""

    @property
    def cube(self) -> Path:
        """Where the cube lies."""
        return self.cube_of(self.size, self.dates)

    def cube_of(self, size: int, dates: int) -> Path:
        """Return where a cube of another size lies."""
        return Path(self.folder) / f"cube-{size}-{self.block}-{dates}.zarr"

    @property
    def corner(self) -> int:
        """Rows and columns of what is compared with one forward pass."""
        return min(self.size, self.truth)

    @property
    def blocks(self) -> int:
        """Of one date."""
        return math.ceil(self.size / self.block) ** 2

    @property
    def pixels(self) -> int:
        """Of all dates."""
        return self.size**2 * self.dates

    @property
    def weights(self) -> Path:
        """Where the card of the U-Net lies."""
        return Path(self.folder) / f"unet-{self.width}-{self.steps}.json"

    def card(self, network: str) -> ModelCard:
        """Return the card of "unet" or "fcn"."""
        return read_card(self.weights) if network == "unet" else card_of("facies")

    def result(self, name: str) -> Path:
        """Return where a process leaves an array."""
        return Path(self.folder) / "results" / f"{name}.npy"


def default_runtime() -> str:
    """Return the runtime that `predict` takes if none is named."""
    return str(inspect.signature(predict).parameters["runtime"].default)
