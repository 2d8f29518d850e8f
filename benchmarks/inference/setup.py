"""What all ways have in common: the cube, the networks, the folder. No torch."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from glaciercube.infer.lazy import predict
from glaciercube.model.card import ModelCard, read_card
from glaciercube.model.zoo import card_of

TILE = 512
"""Side (pixels) of the tiles that runtimes are compared on."""

FCN: Mapping[str, Any] = MappingProxyType({"width": 64, "dilations": (1, 2, 4, 8, 16, 1)})
"""Of 0.3 million parameters, halo 32."""

NETWORKS = {
    "unet": "U-Net",
    "fcn": "FCN",
    "bundled": "FCN of the package",
}
"""Networks of the benchmark, and what they are called in the table."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The sizes of one run; travels to the processes as JSON."""

    folder: str
    """Of cubes and weights, kept for the next run, and of results."""

    size: int = 4096
    """Rows and columns of the cube."""

    dates: int = 3
    block: int = 1024
    width: int = 32
    """Filters of the U-Net at full resolution."""

    steps: int = 300
    """That the U-Net is trained for; the FCN for a third of them."""

    corner: int = 2048
    """Rows and columns from the image's corner that go through a network in one pass."""

    @property
    def cube(self) -> Path:
        """Where the cube lies."""
        return self.cube_of(self.size, self.dates)

    def cube_of(self, size: int, dates: int) -> Path:
        """Return where a cube of another size lies."""
        return Path(self.folder) / f"cube-{size}-{self.block}-{dates}.zarr"

    @property
    def pixels(self) -> int:
        """Of one date."""
        return self.size**2

    def card_path(self, network: str) -> Path:
        """Return where the card of a network lies that is trained here."""
        told = f"unet-{self.width}" if network == "unet" else network
        return Path(self.folder) / f"{told}-{self.steps}.json"

    def calibrated_path(self, network: str) -> Path:
        """Return where the card of a network lies that has ranges of 8-bit integers."""
        path = self.card_path(network)
        return path.with_name(f"{path.stem}-calibrated.json")

    def card(self, network: str, runtime: str = "") -> ModelCard:
        """Return the card of a network; for "openvino-int8" the one that was calibrated."""
        if network == "bundled":
            return card_of("facies")
        calibrated = self.calibrated_path(network)
        own = runtime.endswith("int8") and calibrated.exists()
        return read_card(calibrated if own else self.card_path(network))

    def result(self, name: str) -> Path:
        """Return where a process leaves an array."""
        return Path(self.folder) / "results" / f"{name}.npy"

    def told(self) -> str:
        """Return the sizes in words."""
        return (
            f"{self.dates} dates x 10 bands x {self.size} x {self.size} uint16 in Zarr, blocks of "
            f"{self.block}"
        )


def default_runtime() -> str:
    """Return the runtime that `predict` takes if none is named."""
    return str(inspect.signature(predict).parameters["runtime"].default)


def has_option(name: str) -> bool:
    """Say whether `predict` takes an option."""
    return name in inspect.signature(predict).parameters
