"""What all ways have in common: the cube, the networks, the machine. No torch."""

import math
from dataclasses import dataclass
from pathlib import Path

from glaciercube.model.card import ModelCard, read_card

NETWORKS = ("unet", "fcn")
"""A U-Net trained on simulated scenes, and the network of facies that comes with the package."""


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

    steps: int = 1000
    """That the U-Net is trained for."""

    peer_dates: int = 1
    """Dates that the peers are given."""

    networks: tuple[str, ...] = NETWORKS
    """That are timed."""

    repeats: int = 2
    """Of what is timed in turn."""

    share: float = 0.05
    """Of the pixels, in a region of interest."""

    long_size: int = 2048
    lengths: tuple[int, ...] = (2, 24)
    """Rows and columns, and dates, of the cubes whose memory is measured."""

    graph_dates: int = 977
    """Of the graph, each of 1024 blocks."""

    tile: int = 512
    """Rows and columns of the tiles that runtimes are compared and calibrated on."""

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

    def plain(self, network: str) -> Path:
        """Return where the card of a network lies that is not calibrated."""
        name = f"unet-{self.width}-{self.steps}" if network == "unet" else "fcn"
        return Path(self.folder) / f"{name}.json"

    def calibrated(self, network: str) -> Path:
        """Return where the card of a network lies that runs in 8-bit integers too."""
        plain = self.plain(network)
        return plain.with_name(f"{plain.stem}-calibrated.json")

    def card(self, network: str) -> ModelCard:
        """Return the card of a network, calibrated if that succeeded."""
        calibrated = self.calibrated(network)
        return read_card(calibrated if calibrated.exists() else self.plain(network))

    def result(self, name: str) -> Path:
        """Return where a process leaves an array."""
        return Path(self.folder) / "results" / f"{name}.npy"
