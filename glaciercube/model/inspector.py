"""What a network does to neighbours: its halo and stride as measured, and what forbids tiling."""

from copy import deepcopy

import torch
from torch import nn

from glaciercube.errors import WeightsError

LARGEST_STRIDE = 32
"""Pixels: no larger total stride is looked for."""

SIZES = (64, 128, 256, 512)
"""Pixels: sides of the images tried, until one is larger than the receptive field."""

_TILE_DEPENDENT: dict[tuple[type[nn.Module], ...], str] = {
    (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d): "pools the whole tile",
    (nn.GroupNorm,): "normalises by the statistics of the tile",
    (nn.InstanceNorm2d,): "normalises by the statistics of the tile",
    (nn.MultiheadAttention,): "attends to the whole tile",
}


def receptive_field(network: nn.Module, channels: int) -> int:
    """Return the halo of a network: how far away an input pixel still changes a result.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to (n, categories, y, x), of any architecture; left unchanged.
    channels : int
        Of its input.

    Returns
    -------
    int
        Pixels on each side.

    Raises
    ------
    WeightsError
        If a result depends on the whole tile, or on more than 255 pixels on a side.

    Notes
    -----
    One input pixel at a time, at every place within a stride, is changed, and the results
    that follow are where it reaches. It becomes NaN, which no weight can cancel, and another
    number where a network stops NaN. In float64, which no fast convolution algorithm (one
    that smears NaN beyond its kernel) takes.
    """
    return max(max(reach) for reach in _reaches(network, channels, LARGEST_STRIDE))


def stride(network: nn.Module, channels: int) -> int:
    """Return the total stride of a network: a shift of the input by it shifts the result.

    Parameters
    ----------
    network : Module
    channels : int

    Returns
    -------
    int
        Pixels: 1 for a network without pooling, 16 for a U-Net with four poolings.

    Raises
    ------
    WeightsError
        If a result depends on the whole tile, or the stride is above 32.
    """
    reaches = _reaches(network, channels, LARGEST_STRIDE + 1)
    for step in range(1, LARGEST_STRIDE + 1):
        if all(here == there for here, there in zip(reaches, reaches[step:], strict=False)):
            return step
    raise WeightsError(f"the network's stride is above {LARGEST_STRIDE} pixels or irregular")


def findings(network: nn.Module) -> tuple[str, ...]:
    """Return what makes a network's result depend on the tile, a line each; none if exact.

    Parameters
    ----------
    network : Module

    Returns
    -------
    tuple of str
        Layers by name. Functions that a `forward` calls without a layer are not seen here;
        `receptive_field` raises for those that look at the whole tile.
    """
    return tuple(
        f"{name or 'the network'} ({type(module).__name__}): {line}"
        for name, module in network.named_modules()
        for line in _lines(module)
    )


def _lines(module):
    for kinds, line in _TILE_DEPENDENT.items():
        if isinstance(module, kinds):
            yield line
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1:
        yield "normalises by the statistics of the tile"
    if isinstance(module, nn.Upsample) and module.size is not None:
        yield f"resizes to {module.size} pixels whatever the tile; use scale_factor"
    if isinstance(module, nn.BatchNorm2d) and (module.training or not module.track_running_stats):
        yield "normalises by the statistics of the batch; call eval() and keep running statistics"
    dropout = nn.Dropout | nn.Dropout2d | nn.AlphaDropout
    if isinstance(module, dropout) and module.training and module.p > 0:
        yield "drops values at random; call eval()"


def _reaches(network, channels, places):
    """Return how far input pixels on a diagonal reach: (up, down, left, right) of each."""
    probe = deepcopy(network).eval().to(torch.float64)
    for size in SIZES:
        start = (size - places) // 2
        found = []
        for place in range(start, start + places):
            reach = _reach(probe, channels, size, place)
            if reach is None:
                break
            found.append(reach)
        else:
            return found
    raise WeightsError(
        f"a result of the network depends on pixels more than {(SIZES[-1] - places) // 2} away, "
        f"or on the whole tile: {list(findings(probe)) or 'no layer says why'}; it cannot be "
        "tiled exactly"
    )


@torch.inference_mode()
def _reach(network, channels, size, place):
    """Return the reach of the pixel (place, place), None if it reaches the image's border."""
    generator = torch.Generator().manual_seed(place)
    image = torch.rand(1, channels, size, size, generator=generator, dtype=torch.float64) + 0.1
    changed = _changed(network, image, place)
    rows, columns = changed.any(dim=1).nonzero(), changed.any(dim=0).nonzero()
    if not len(rows):
        return 0, 0, 0, 0
    low_y, high_y, low_x, high_x = (int(edge) for edge in (*rows[[0, -1]], *columns[[0, -1]]))
    if min(low_y, low_x) == 0 or max(high_y, high_x) == size - 1:
        return None
    return place - low_y, high_y - place, place - low_x, high_x - place


def _changed(network, image, place):
    """Return where (y, x) the result follows one pixel."""
    probe = image.clone()
    probe[..., place, place] = torch.nan
    changed = network(probe)[0].isnan().any(dim=0)
    if changed.any():
        return changed
    before = network(image)[0]
    for value in (-3.0, 3.0):
        probe[..., place, place] = value
        changed |= (network(probe)[0] != before).any(dim=0)
    return changed
