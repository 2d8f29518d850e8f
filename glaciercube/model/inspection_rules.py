"""How each operation of torch passes on which pixels its result depends on."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import torch

from glaciercube.model import inspection_moves as moves
from glaciercube.model import inspection_reach as reaches
from glaciercube.model.inspection_call import (
    ATTENDS,
    CELLS,
    CORNERS,
    MIXES,
    PLACES,
    RESIZES,
    STATISTICS,
    Call,
    dims_of,
    has_places,
    size_of,
)
from glaciercube.model.inspection_field import Field, UntracedError, plain, union


def outcome(call: Call) -> Field | list[Field]:
    """Return the field of what an operation gives, or one per tensor.

    Raises
    ------
    UntracedError
        If the operation is not known.
    """
    rule = _RULES.get(call.name.removeprefix("aten::").removesuffix("_copy"))
    if rule is not None:
        return rule(call)
    if call.pointwise:
        return _pointwise(call)
    if call.reduces:
        return _reduction(call)
    raise UntracedError("its reach is not known")


def _pointwise(call):
    tensors = [each for each in _leaves(call.given.values()) if isinstance(each, torch.Tensor)]
    shape = call.shape
    known = [found for each in tensors if (found := call.field_of(each)) is not None]
    dims = [*plain(shape)]
    for each in known:
        for place, dim in enumerate(each.dims, len(shape) - len(each.dims)):
            if any(kind for kind, _ in dim):
                if any(kind for kind, _ in dims[place]) and dims[place] != dim:
                    raise UntracedError("it joins unlike dimensions")
                dims[place] = dim
    spatial = {place - len(shape) for place, dim in enumerate(dims) if any(k for k, _ in dim)}
    reach, reasons = union(known)
    if any(has_places(call, each, spatial) for each in tensors):
        reasons |= {call.reason(PLACES)}
    return Field(tuple(dims), reach, reasons)


def _reduction(call):
    source = call.source
    chosen = dims_of(call.given.get("dim"), len(source.dims))
    keep = bool(call.given.get("keepdim", False)) and call.given.get("dim") is not None
    lost = source.axes(*chosen) if chosen else []
    dims = [
        () if place in chosen else dim
        for place, dim in enumerate(source.dims)
        if keep or place not in chosen
    ]
    what = call.name.removeprefix("aten::").removeprefix("linalg_vector_")
    line = f"takes the {what} over the whole tile"
    return source.moved(dims).because(*([call.reason(line)] if lost else []))


def _along(call, line):
    """Look along whole dimensions, which stay: softmax, cumsum, sort, flip, roll."""
    source = call.source
    chosen = call.given.get("dim", call.given.get("dims"))
    lost = source.axes(*dims_of(chosen, len(source.dims))) if source.dims else []
    return source.shaped(call.shape).because(*([call.reason(line)] if lost else []))


def _convolution(call):
    given, source = call.given, call.source
    if call.field_of(given["weight"]) is not None:
        raise UntracedError("its weights depend on the image")
    kernel = given["weight"].shape[2:]
    for number, size in enumerate(kernel):
        dim = 2 + number
        options = {
            key: given[key][number] if len(given[key]) > 1 else given[key][0]
            for key in ("stride", "dilation", "padding")
        }
        if not source.axes(dim):
            continue
        reach = source.reach[source.alone(dim)]
        way = reach.scatter if given["transposed"] else reach.gather
        source = source.along(dim, call.shape[dim], way(size, **options))
    return _channels(source, call.shape)


def _pool(call):
    given, source = call.given, call.source
    for number in (0, 1):
        dim = len(source.dims) - 2 + number
        kernel = _pair(given["kernel_size"], number)
        step = _pair(given["stride"], number) if given.get("stride") else kernel
        padding = _pair(given.get("padding", 0), number)
        dilation = _pair(given.get("dilation", 1), number)
        reach = source.reach[source.alone(dim)].gather(
            kernel, stride=step, dilation=dilation, padding=padding
        )
        source = source.along(dim, call.shape[dim], reach)
    return source


def _resize(call, sources, line=RESIZES):
    source = call.source
    for dim in (-2, -1):
        before, after = size_of(source.dims[dim]), call.shape[dim]
        if not source.axes(dim):
            kept = [*source.dims]
            kept[dim] = plain((after,))[0]
            source = source.moved(kept)
            continue
        ratio = Fraction(before, after)
        if not call.same(ratio):
            source = source.because(call.reason(line))
        if call.given.get("align_corners") and ratio != 1:
            source = source.because(call.reason(CORNERS))
        reach = source.reach[source.alone(dim)].resize(ratio, sources)
        source = source.along(len(source.dims) + dim, after, reach)
    return source


def _pad(call):
    given = call.given
    pads = given.get("pad") or given.get("padding")
    source = call.source
    for number in range(len(pads) // 2):
        dim = len(source.dims) - 1 - number
        if not source.axes(dim):
            continue
        if not call.same(pads[2 * number]):
            source = source.because(call.reason("pads by a size that does not follow the tile's"))
        reach = source.reach[source.alone(dim)].gather(1, padding=pads[2 * number])
        source = source.along(dim, call.shape[dim], reach)
    return source.shaped(call.shape)


def _batch_norm(call):
    source = call.source
    line = "normalises by the statistics of the batch"
    if not call.given.get("training", call.name.endswith("no_stats")):
        return source
    instance = len(source.dims[0]) == 0 and source.axes()
    return source.because(call.reason(STATISTICS if instance else line))


def _group_norm(call):
    source = call.source
    return source.because(*([call.reason(STATISTICS)] if source.axes() else []))


def _layer_norm(call):
    source = call.source
    last = range(-len(call.given["normalized_shape"]), 0)
    return source.because(*([call.reason(STATISTICS)] if source.axes(*last) else []))


def _product(call):
    """Multiply matrices: what is summed over may hold no places."""
    pairs = (("mat1", "mat2"), ("batch1", "batch2"), ("self", "mat2"))
    keys = next(pair for pair in pairs if set(pair) <= set(call.given))
    left, right = (call.field_of(call.given[key]) for key in keys)
    known = [each for each in (left, right) if each is not None]
    if not known or (keys[0] != "self" and call.field_of(call.given["self"]) is not None):
        raise UntracedError("it adds the image to a product")
    reach, reasons = union(known)
    if (left and left.axes(-1)) or (right and right.axes(-2)):
        return Field(plain(call.shape), {}, reasons or frozenset({call.reason(MIXES)}))
    if left and right and left.axes(-2) and right.axes(-1):
        return Field(plain(call.shape), {}, reasons | {call.reason(ATTENDS)})
    many = [each.dims[:-2] for each in known]
    if len(many) > 1 and many[0] != many[1]:
        raise UntracedError("it joins unlike dimensions")
    rows = left.dims[-2] if left else plain(call.shape[-2:])[0]
    columns = right.dims[-1] if right else plain(call.shape[-1:])[0]
    return Field((*many[0], rows, columns), reach, reasons)


def _attention(call):
    known = [call.field_of(call.given[key]) for key in ("query", "key", "value")]
    fields = [each for each in known if each is not None]
    reach, reasons = union(fields)
    if any(each.axes(-2) for each in fields):
        reasons |= {call.reason(ATTENDS)}
    first = fields[0]
    field = Field(first.dims, reach, reasons).shaped(call.shape)
    return [field, *([field] * (len(call.out) - 1))] if isinstance(call.out, tuple) else field


def _shuffle(call, finer):
    source = call.source
    factor = call.given.get("upscale_factor") or call.given["downscale_factor"]
    for dim in (-2, -1):
        reach = source.reach[source.alone(dim)]
        reach = (
            reach.resize(Fraction(1, factor), reaches.nearest)
            if finer
            else reach.gather(factor, stride=factor)
        )
        source = source.along(len(source.dims) + dim, call.shape[dim], reach)
    return _channels(source, call.shape)


def _same(call):
    return call.source.shaped(call.shape)


def _samples(call):
    source = call.source
    line = "takes its input at places that it computes"
    return Field(plain(call.shape), {}, source.reasons | {call.reason(line)})


def _channels(source, shape):
    """Return a field with other numbers of images and channels."""
    return Field((*plain(shape[:2]), *source.dims[2:]), source.reach, source.reasons)


def _pair(value, number):
    if isinstance(value, list | tuple):
        return value[number] if len(value) > 1 else value[0]
    return value


def _leaves(values):
    for value in values:
        if isinstance(value, list | tuple):
            yield from _leaves(value)
        else:
            yield value


_SEES = "looks along the whole tile"
_RULES: dict[str, Callable[[Call], Field | list[Field]]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "max_pool2d_with_indices": _pool,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "upsample_nearest2d": partial(_resize, sources=reaches.nearest),
    "_upsample_nearest_exact2d": partial(_resize, sources=reaches.nearest_exact),
    "upsample_bilinear2d": partial(_resize, sources=reaches.around(2)),
    "upsample_bicubic2d": partial(_resize, sources=reaches.around(4)),
    "_upsample_bilinear2d_aa": partial(_resize, sources=reaches.smoothed(2)),
    "_upsample_bicubic2d_aa": partial(_resize, sources=reaches.smoothed(4)),
    "_adaptive_avg_pool2d": partial(_resize, sources=reaches.area, line=CELLS),
    "adaptive_max_pool2d": partial(_resize, sources=reaches.area, line=CELLS),
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "slice": moves.cut,
    "select": moves.select,
    "index": moves.index,
    "index_select": moves.pick,
    "cat": moves.cat,
    "stack": moves.stack,
    "split": moves.parts,
    "split_with_sizes": moves.parts,
    "unbind": moves.unbind,
    "view": moves.view,
    "_unsafe_view": moves.view,
    "reshape": moves.view,
    "_reshape_alias": moves.view,
    "permute": moves.permute,
    "transpose": moves.transpose,
    "t": moves.transpose,
    "unsqueeze": moves.unsqueeze,
    "squeeze": moves.squeeze,
    "expand": moves.expand,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit": _batch_norm,
    "_native_batch_norm_legit_no_training": _same,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "mm": _product,
    "addmm": _product,
    "bmm": _product,
    "baddbmm": _product,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math": _attention,
    "scaled_dot_product_attention": _attention,
    "pixel_shuffle": partial(_shuffle, finer=True),
    "pixel_unshuffle": partial(_shuffle, finer=False),
    "channel_shuffle": _same,
    "native_channel_shuffle": _same,
    "grid_sampler_2d": _samples,
    "_softmax": partial(_along, line=ATTENDS),
    "_safe_softmax": partial(_along, line=ATTENDS),
    "_log_softmax": partial(_along, line=ATTENDS),
    "cumsum": partial(_along, line=_SEES),
    "cumprod": partial(_along, line=_SEES),
    "sort": partial(_along, line=_SEES),
    "topk": partial(_along, line=_SEES),
    "flip": partial(_along, line="turns the tile over"),
    "roll": partial(_along, line="moves what leaves the tile on one side to the other"),
    "glu": partial(_along, line=_SEES),
    "detach": _same,
    "alias": _same,
    "clone": _same,
    "contiguous": _same,
    "lift_fresh": _same,
    "_to": _same,
}
"""By the operation's name without namespace and overload."""
