"""Layers that make a network's result depend on the tile, told by their kind and settings."""

from collections.abc import Iterator

from torch import nn

_TILE_DEPENDENT: dict[tuple[type[nn.Module], ...], str] = {
    (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d): "pools the whole tile",
    (nn.GroupNorm, nn.InstanceNorm2d): "normalises by the statistics of the tile",
    (nn.MultiheadAttention,): "attends to the whole tile",
}

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def layer_lines(layer: nn.Module) -> Iterator[str]:
    """Yield what makes a layer's result depend on the tile, without its name."""
    for kinds, line in _TILE_DEPENDENT.items():
        if isinstance(layer, kinds):
            yield line
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) > 1:
        yield "normalises by the statistics of the tile"
    if isinstance(layer, nn.Upsample) and layer.size is not None:
        yield f"resizes to {layer.size} pixels whatever the tile; use scale_factor"
    if isinstance(layer, nn.Upsample) and layer.align_corners:
        yield "aligns corners, so that the result depends on the size of the tile"
    if getattr(layer, "padding_mode", "zeros") == "circular" or isinstance(layer, nn.CircularPad2d):
        yield "wraps around the tile"
    yield from mode_lines(layer)


def mode_lines(layer: nn.Module) -> Iterator[str]:
    """Yield what a layer does because it is not in evaluation mode, without its name."""
    if isinstance(layer, _BATCH_NORM) and (layer.training or not layer.track_running_stats):
        yield "normalises by the statistics of the batch; call eval() and keep running statistics"
    if isinstance(layer, _DROPOUT) and layer.training and layer.p > 0:
        yield "drops values at random; call eval()"


def named(name: str, layer: nn.Module, line: str) -> str:
    """Return a line with the layer's name and kind before it."""
    return f"{name or 'the network'} ({type(layer).__name__}): {line}"
