"""Operations of torch that move, cut and join tensors: what becomes of their dimensions."""

from glaciercube.model.inspection_call import PLACES, Call, dims_of, has_places, size_of
from glaciercube.model.inspection_field import Field, UntracedError, plain, union


def cut(call: Call) -> Field:
    """Take a range of places or channels."""
    given, source = call.given, call.source
    dim = given["dim"] % len(source.dims)
    if source.axes(dim):
        start, before = given["start"] or 0, size_of(source.dims[dim])
        start = max(0, start + before) if start < 0 else start
        if not call.same(start):
            source = source.because(
                call.reason("starts at a place that depends on the tile's size")
            )
        reach = source.reach[source.alone(dim)].gather(1, stride=given["step"], padding=-start)
        return source.along(dim, call.shape[dim], reach)
    return source.shaped(call.shape)


def select(call: Call) -> Field:
    """Take one place or channel of a dimension, which is gone."""
    source, dim = call.source, call.given["dim"]
    lost = source.axes(dim)
    dims = [*source.dims]
    dims.pop(dim)
    line = "takes a single row or column of the tile"
    return source.moved(dims).because(*([call.reason(line)] if lost else []))


def index(call: Call) -> Field:
    """Take channels by their numbers."""
    source = call.source
    touched = [place for place, each in enumerate(call.given["indices"]) if each is not None]
    indices = [call.given["indices"][place] for place in touched]
    if len(touched) != 1 or source.axes(touched[0]) or indices[0].ndim != 1:
        raise UntracedError("it picks places of the tile")
    if call.field_of(indices[0]) is not None:
        raise UntracedError("it picks what depends on the image")
    return source.shaped(call.shape)


def pick(call: Call) -> Field:
    """Take channels by their numbers."""
    source = call.source
    if source.axes(call.given["dim"]) or call.field_of(call.given["index"]) is not None:
        raise UntracedError("it picks places of the tile")
    return source.shaped(call.shape)


def cat(call: Call) -> Field:
    """Put channels together."""
    tensors = call.given["tensors"]
    dim = call.given["dim"] % tensors[0].ndim
    known = [found for each in tensors if (found := call.field_of(each)) is not None]
    if any(each.axes(dim) for each in known):
        raise UntracedError("it lays tiles side by side")
    frame = next((each for each in known if each.axes()), known[0])
    spatial = {place - len(frame.dims) for place in range(len(frame.dims)) if frame.axes(place)}
    places = range(len(frame.dims))
    if any(
        each.axes(place) != frame.axes(place) for each in known if each.axes() for place in places
    ):
        raise UntracedError("it joins unlike dimensions")
    reach, reasons = union(known)
    if any(has_places(call, each, spatial) for each in tensors):
        reasons |= {call.reason(PLACES)}
    return Field(frame.dims, reach, reasons).shaped(call.shape)


def stack(call: Call) -> Field:
    """Put tensors together along a new dimension."""
    at = call.given["dim"] % len(call.shape)
    known = [found for each in call.given["tensors"] if (found := call.field_of(each)) is not None]
    if len(known) < len(call.given["tensors"]) or any(k.dims != known[0].dims for k in known):
        raise UntracedError("it joins unlike dimensions")
    reach, reasons = union(known)
    dims = [*known[0].dims]
    dims.insert(at, (("", len(known)),))
    return Field(tuple(dims), reach, reasons)


def parts(call: Call) -> list[Field]:
    """Cut channels into parts."""
    source = call.source
    if source.axes(call.given["dim"]):
        raise UntracedError("it cuts the tile")
    return [source.shaped(each.shape) for each in call.out]


def unbind(call: Call) -> list[Field]:
    """Take each part of a dimension, which is gone."""
    return [select(call) for _ in call.out]


def view(call: Call) -> Field:
    """Count the same numbers along other dimensions."""
    source, splits = call.source.viewed(call.shape)
    if not all([call.same(cells) for cells in splits]):
        return source.because(call.reason("cuts the tile into a number of parts"))
    return source


def permute(call: Call) -> Field:
    """Put dimensions in another order."""
    source = call.source
    return source.moved([source.dims[dim] for dim in call.given["dims"]])


def transpose(call: Call) -> Field:
    """Exchange two dimensions."""
    source = call.source
    one, other = call.given.get("dim0", 0), call.given.get("dim1", 1)
    dims = [*source.dims]
    dims[one], dims[other] = dims[other], dims[one]
    return source.moved(dims)


def unsqueeze(call: Call) -> Field:
    """Add a dimension of size 1."""
    dims = [*call.source.dims]
    dims.insert(call.given["dim"] % (len(dims) + 1), ())
    return call.source.moved(dims)


def squeeze(call: Call) -> Field:
    """Take dimensions of size 1 away."""
    source, count = call.source, len(call.source.dims)
    chosen = dims_of(call.given.get("dim"), count)
    kept = [dim for place, dim in enumerate(source.dims) if place not in chosen or size_of(dim) > 1]
    return source.moved(kept)


def expand(call: Call) -> Field:
    """Repeat along dimensions of size 1."""
    source, shape = call.source, call.shape
    dims = [*plain(shape)]
    for place, dim in enumerate(source.dims, len(shape) - len(source.dims)):
        dims[place] = dim if dim else dims[place]
    return source.moved(dims)
