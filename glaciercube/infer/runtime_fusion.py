"""Batch normalisation within convolutions, and sums that do not follow the number of threads."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from glaciercube.model.card import ModelCard

SIDE = 64
"""Pixels of the image that both networks are compared on."""

TOLERANCE = 1e-4
"""Of the largest score: what the order of sums in float32 may change."""


def fused(make: Callable[[], nn.Module], card: ModelCard) -> nn.Module:
    """Return a network that gives the same scores with fewer passes over memory.

    Parameters
    ----------
    make : function
        Gives the network, in evaluation mode, a new one with each call.
    card : ModelCard
        Of the network.

    Returns
    -------
    Module
        Each batch normalisation that follows a convolution, and nothing else does, is within it.
        The two are compared on a small image of noise, and where they differ, the network as it
        was written is given.

    Notes
    -----
    A 1 x 1 convolution gets a dilation of 2, which means nothing for it, but lets torch compute
    it in the same way with one thread as with many: without it the last bits of the scores depend
    on the number of threads.
    """
    network = make()
    image = probe_image(card)
    plain = _scores(network, image)
    if plain is None:
        return steady(network)
    changed = _scores(steady(fuse(network)), image)
    if changed is not None and changed.shape == plain.shape:
        largest = float(plain.abs().max())
        if float((changed - plain).abs().max()) <= TOLERANCE * (1 + largest):
            return network
    return steady(make())


def fuse(network: nn.Module) -> nn.Module:
    """Put each batch normalisation that follows a convolution alone into it, in place.

    Parameters
    ----------
    network : Module
        In evaluation mode.

    Returns
    -------
    Module
        The same.
    """
    for first, second in list(_pairs(network)):
        convolution: Any = network.get_submodule(first)
        normalisation: Any = network.get_submodule(second)
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        _put(network, first, fuse_conv_bn_eval(convolution, normalisation, transposed))
        _put(network, second, nn.Identity())
    return network.requires_grad_(False)


def steady(network: nn.Module) -> nn.Module:
    """Let torch compute 1 x 1 convolutions alike whatever its threads, in place.

    Parameters
    ----------
    network : Module

    Returns
    -------
    Module
        The same. `use_mkldnn` in torch's Convolution.cpp leaves a plain 1 x 1 convolution to
        another library if there is one thread, and a dilated one never.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            module.dilation = (2, 2)
    return network


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of two-dimensional convolutions out channels last, in place.

    Parameters
    ----------
    network : Module

    Returns
    -------
    Module
        The same. `Module.to(memory_format=)` refuses networks with convolutions along time too.
    """
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return network


def probe_image(card: ModelCard) -> torch.Tensor:
    """Return an image of noise (1, channel, y, x) that a card's network takes.

    Parameters
    ----------
    card : ModelCard
    """
    generator = torch.Generator().manual_seed(0)
    side = card.window or -(-SIDE // card.stride) * card.stride
    return torch.rand(1, card.channels, side, side, generator=generator)


@torch.inference_mode()
def _scores(network, image):
    """Return the scores of an image, None if the network does not take it."""
    try:
        return network(image)
    except Exception:  # of a foreign network anything may come; the first block will raise it again
        return None


def _put(network, name, module):
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution and of the normalisation that alone reads it."""
    modules = dict(network.named_modules(remove_duplicate=False))
    names = Counter(id(module) for module in modules.values())
    nodes = _calls(network)
    uses = Counter(node.target for node in nodes)
    for node in nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before not in nodes or len(before.users) > 1:
            continue
        first, second = str(before.target), str(node.target)
        pair = modules[first], modules[second]
        once = all(names[id(module)] == 1 for module in pair) and uses[first] == uses[second] == 1
        if once and _fit(*pair):
            yield first, second


def _fit(convolution, normalisation):
    hooked = any(
        module._forward_hooks or module._forward_pre_hooks or parametrize.is_parametrized(module)
        for module in (convolution, normalisation)
    )
    return (
        type(convolution) in (nn.Conv2d, nn.ConvTranspose2d)
        and type(normalisation) is nn.BatchNorm2d
        and normalisation.running_var is not None
        and not normalisation.training
        and not hooked
    )


def _calls(network: nn.Module) -> dict[fx.Node, None]:
    """Return the calls of layers in a network's forward; none where it cannot be followed."""
    try:
        graph = fx.Tracer().trace(network)
    except (
        Exception
    ):  # a forward that looks at its numbers cannot be traced, and may raise anything
        return {}
    return {node: None for node in graph.nodes if node.op == "call_module"}
