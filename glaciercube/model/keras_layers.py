"""Which layer of the authors' Keras networks is which of ours, and their arrays as tensors."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from glaciercube.errors import WeightsError

Names = Iterator[tuple[str, str]]
"""Of a module of ours, and of the layer with its arrays, as `keras_weights.read` ranks it."""

_ARRAYS = {
    "weight": ("kernel", "gamma"),
    "bias": ("bias", "beta"),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
    "position": ("positional_embedding",),
}
"""Names of arrays in Keras, by the name of a tensor of ours."""

_COUNTER = "num_batches_tracked"
"""Of batch normalisation in torch; Keras counts no batches."""


def tensors_of(
    network: nn.Module, names: Names, arrays: Mapping[str, np.ndarray], what: str
) -> dict[str, torch.Tensor]:
    """Return the tensors of a network from the arrays of a Keras file.

    Parameters
    ----------
    network : Module
        Whose shapes count.
    names : iterator of tuple of str
        Of each of its modules that has tensors, and of its layer.
    arrays : mapping of str to array
        As `keras_weights.read` gives them.
    what : str
        The file and the network, for the message.

    Returns
    -------
    dict of str to tensor, float32
        All that `load_state_dict` needs.

    Raises
    ------
    WeightsError
        That lists what is missing, left over, or of another shape.
    """
    layers, left = dict(names), dict(arrays)
    found, problems = {}, []
    for name, needed in network.state_dict().items():
        module, _, tensor = name.rpartition(".")
        if tensor == _COUNTER:
            found[name] = torch.zeros_like(needed)
            continue
        places = [f"{layers[module]}/{each}" for each in _ARRAYS[tensor]]
        place = next((each for each in places if each in left), None)
        if place is None:
            problems.append(f"missing {' or '.join(map(repr, places))}")
            continue
        kernel = place.endswith("/kernel")
        turned = _turned(left.pop(place), tuple(needed.shape), kernel)
        if turned is None:
            shape = arrays[place].shape
            problems.append(f"{place!r} has shape {shape}, ours {tuple(needed.shape)}")
        else:
            found[name] = torch.from_numpy(turned)
    problems += [f"unexpected {name!r} of shape {left[name].shape}" for name in sorted(left)]
    if problems:
        more = f"\n  and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise WeightsError(
            f"{what} must have the layers of one another, but:\n  "
            + "\n  ".join(problems[:12])
            + more
        )
    return found


def _turned(array, shape, kernel):
    """Return an array of Keras as a tensor of a shape, None if it has not its numbers.

    Kernels have the output channels last and the input channels before them; attention has its
    heads apart from their channels.
    """
    if array.size != np.prod(shape, dtype=int):
        return None
    if not kernel:
        return np.ascontiguousarray(array.reshape(shape))
    if len(shape) == 2:
        return np.ascontiguousarray(array.reshape(shape[1], shape[0]).T)
    if array.shape[-2:] != (shape[1], shape[0]):
        return None
    axes = (array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))
    return np.ascontiguousarray(array.transpose(axes).reshape(shape))


def facies_cnn() -> Names:
    """Yield the names of the patch network of facies."""
    for number in range(6):
        stage = ("near", "far")[number // 3]
        yield f"{stage}.{number % 3}.convolution", f"conv2d.{number}"
        yield f"{stage}.{number % 3}.normalisation", f"batch_normalization.{number}"
    for number in range(3):
        yield f"dense.{2 * number}", f"dense.{number}"


def icemapper(weighted: bool) -> Names:
    """Yield the names of ICEmapper.

    Parameters
    ----------
    weighted : bool
        Whether its pooling over time has weights.
    """
    encoder, decoder = "Conv3DResUNetEncoder.0", "ResUNetDecoder.0"
    for level in range(4):
        yield from _residual(f"down.{level}", f"{encoder}/residual_with_projection.{level}", "3d")
    yield from _decoder(decoder, 0)
    yield "scores", f"{decoder}/dense.0"
    for level in range(4 if weighted else 0):
        # each level first pools to the skip, then to the next level
        kinds = ("whole", "pool") if level < 3 else ("whole",)
        for order, kind in enumerate(kinds):
            for number in (0, 1):
                layer = f"{encoder}/temporal_weighted_pooling.{2 * level + order}/conv3d.{number}"
                yield f"{kind}.{level}.gate.{2 * number}", layer


def glavitu(sources: int) -> Names:
    """Yield the names of GlaViTU.

    Parameters
    ----------
    sources : int
        How many it has.
    """
    for number in range(sources):
        yield from _pair(f"fusion.{number}.pair", f"fusion_block.0/conv_batch_norm_act_x2.{number}")
        yield f"fusion.{number}.squeeze", f"fusion_block.0/dense.{2 * number}"
        yield f"fusion.{number}.excite", f"fusion_block.0/dense.{2 * number + 1}"
    for number, ours in enumerate(("first", "second")):
        yield f"place.{ours}", f"location_encoding_block.0/dense.{number}"
        yield f"place.{ours}_norm", f"location_encoding_block.0/batch_normalization.{number}"
    yield from _transformer()
    for level in range(4):
        yield from _residual(f"unet.down.{level}", f"ResUNet.0/residual_with_projection.{level}")
    yield from ((f"unet.{ours}", theirs) for ours, theirs in _decoder("ResUNet.0", 4))
    yield "unet.last", "ResUNet.0/dense.0"
    yield "scores", "output.0"
    yield "early", "deepsupervision.0"


def _transformer():
    yield "transformer.embed", "SETR.0/patch_embedding.0/dense.0"
    yield "transformer", "SETR.0/add_positional_embedding.0"
    for number in range(12):
        ours, theirs = f"transformer.blocks.{number}", f"SETR.0/transformer_block.{number}"
        for name in ("query", "key", "value"):
            yield f"{ours}.{name}", f"{theirs}/multi_head_attention.0/{name}.0"
        yield f"{ours}.out", f"{theirs}/multi_head_attention.0/attention_output.0"
        yield f"{ours}.norm", f"{theirs}/layer_normalization.0"
        yield f"{ours}.second_norm", f"{theirs}/layer_normalization.1"
        yield f"{ours}.perceptron.0", f"{theirs}/dense.0"
        yield f"{ours}.perceptron.2", f"{theirs}/dense.1"
    for number in range(4):
        yield f"transformer.steps.{number}.0", f"SETR.0/conv2d.{number}"
        yield f"transformer.steps.{number}.1", f"SETR.0/batch_normalization.{number}"
    yield "transformer.last", "SETR.0/conv2d.4"


def _decoder(theirs, first):
    """Yield the names of the way up, whose residual blocks start at a rank."""
    for step in range(3):
        yield f"decoder.enlarge.{step}.1", f"{theirs}/up_conv.{step}/conv2d.0"
        yield f"decoder.enlarge.{step}.2", f"{theirs}/up_conv.{step}/batch_normalization.0"
        block = f"{theirs}/residual_with_projection.{first + step}"
        yield from _residual(f"decoder.blocks.{step}", block)


def _residual(ours, theirs, dims="2d"):
    pair = "conv_batch_norm_act_x2.0" if dims == "2d" else "conv3d_batch_norm_act_x2.0"
    yield from _pair(f"{ours}.pair", f"{theirs}/{pair}", f"conv{dims}")
    yield f"{ours}.short", f"{theirs}/dense.0"


def _pair(ours, theirs, convolution="conv2d"):
    for number in (0, 1):
        yield f"{ours}.layers.{3 * number}", f"{theirs}/{convolution}.{number}"
        yield f"{ours}.layers.{3 * number + 1}", f"{theirs}/batch_normalization.{number}"
