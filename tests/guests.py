"""Networks of another package, as a card names them: "guests:build"."""

import torch
from torch import nn

CALLS = []
"""What was called that no card may call."""

ARGUMENTS = {"channels": 4, "classes": 5}


class Plain(nn.Module):
    """A small U-Net of stride 4 that takes multiples of 4 pixels alone, as most do."""

    def __init__(self, channels: int, classes: int, width: int = 4, dilation: int = 1):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(4)
        self.deep = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.enlarge = nn.Upsample(scale_factor=4)
        self.scores = nn.Conv2d(2 * width, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first = self.first(image)
        deep = self.enlarge(self.deep(self.pool(first)))
        return self.scores(torch.cat([first, deep], dim=1))


class Cropped(nn.Module):
    """A network that loses its borders."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.scores = nn.Conv2d(channels, classes, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.scores(image)


class Pooled(nn.Module):
    """A network that looks at the whole tile."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.scores = nn.Conv2d(channels, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.scores(image - image.mean(dim=(2, 3), keepdim=True))


def build(channels: int, classes: int, width: int = 4, dilation: int = 1) -> nn.Module:
    """Return a network in training mode, as factories do."""
    return Plain(channels, classes, width, dilation).train()


def unannotated(**arguments):
    """Do what no card may do."""
    CALLS.append(arguments)
    return Plain(**arguments)


def fails(**arguments) -> nn.Module:
    raise RuntimeError("no weights for this encoder")


def a_dict(**arguments) -> nn.Module:
    return {}


def unresolved(**arguments) -> "NoSuchName":  # noqa: F821
    return Plain(**arguments)


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return a network in evaluation mode with random weights that say something."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "first.1.weight")):
            tensor.uniform_(0.7, 1.3, generator=generator)
        elif tensor.dtype == torch.float32:
            tensor.normal_(0, 0.4, generator=generator)
    return network.eval()


class Odd(Exception):
    """An error that is pickled and cannot be made again."""

    def __init__(self, code: int, place: str):
        super().__init__(f"code {code} at {place}")


class Failing(nn.Module):
    """A network that fails on small images."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.scores = nn.Conv2d(channels, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[-1] < 60:
            raise Odd(3, "forward")
        return self.scores(image)
