"""The arrays of a Keras weights file (`.h5`) by layer, without TensorFlow and running no code."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.model.weights import refuse_pickle
from glaciercube.optional import load

LARGEST = 2**30
"""Bytes of all arrays of a file together; the published ones have less than 50 MB."""

_MOST, _DEEPEST = 20_000, 16
"""Groups and arrays of a file, and groups within groups."""

_FILTERS = (None, "gzip", "lzf")
"""Compressions that h5py has itself: no other library is loaded for a file."""

_NUMBERED = re.compile(r"(?P<stem>.*?)(?:_(?P<number>\d+))?")


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a Keras weights file by the place of their layer.

    Parameters
    ----------
    path : str or Path
        Of what `model.save_weights("weights.h5")` wrote in Keras 2.

    Returns
    -------
    dict of str to array, float32
        Names are paths of layers, each with its rank among its neighbours of the same kind:
        "conv2d_7" is "conv2d.0" where it stands beside "conv2d_8". Keras counts the layers of a
        session, so that the numbers in a file say nothing and their order does.

    Raises
    ------
    WeightsError
        If there is no such file, it is no HDF5 or none of Keras 2, holds links out of the
        place where they stand, other data than floating point numbers, too many of them, or NaN.
    ImportError
        If h5py is not installed; the message has the install line.
    """
    place = Path(path).absolute()
    refuse_pickle(place, "weights")
    if not place.is_file():
        raise WeightsError(
            f"needs the authors' weights at {str(place)!r}, but there is no such file; download "
            "it from their repository"
        )
    h5py = load("h5py")
    try:
        file = h5py.File(place, "r")
    except OSError as error:
        raise _not_keras(place, f"it starts with {_start(place)!r} and is no HDF5") from error
    with file:
        group = file.get("model_weights", file)
        _require_keras(place, group)
        found = dict(_arrays(place, h5py, group))
        ranked = _ranked(found)
        return {ranked[name]: _values(place, name, one) for name, one in found.items()}


def _require_keras(place, group):
    if "layer_names" in group.attrs:
        return
    names = sorted(group)
    if {"layers", "vars"} & set(names) or "_layer_checkpoint_dependencies" in names:
        raise _not_keras(place, "it is of Keras 3; save it with Keras 2 as .h5")
    raise _not_keras(place, f"it is HDF5 with {names[:6]} and lists no layers of Keras")


def _not_keras(place, found):
    return WeightsError(
        f"weights must be an .h5 file of Keras 2, as model.save_weights writes it, but of "
        f"{str(place)!r}: {found}"
    )


def _start(place):
    with place.open("rb") as file:
        return file.read(24)


def _arrays(place, h5py, top) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a file by path; nothing of them is read."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), top)]
    seen = size = 0
    while waiting:
        way, group = waiting.pop()
        for name in group:
            here = (*way, name)
            seen += 1
            if seen > _MOST or len(here) > _DEEPEST:
                raise _not_keras(place, f"it has more than {_MOST} layers, or {_DEEPEST} in depth")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _not_keras(place, f"{'/'.join(here)!r} is a link to another place")
            one = group[name]
            if isinstance(one, h5py.Group):
                waiting.append((here, one))
                continue
            _require_plain(place, "/".join(here), one)
            size += one.dtype.itemsize * math.prod(one.shape)
            if size > LARGEST:
                raise _not_keras(place, f"its arrays have more than {LARGEST} bytes")
            yield "/".join(here), one


def _require_plain(place, name, one):
    if getattr(one, "shape", None) is None or one.dtype.kind != "f":
        raise _not_keras(place, f"{name!r} holds {getattr(one, 'dtype', type(one))}, no numbers")
    if one.external or one.is_virtual:
        raise _not_keras(place, f"the numbers of {name!r} lie in another file")
    if one.compression not in _FILTERS:
        raise _not_keras(place, f"{name!r} is compressed with {one.compression!r}")


def _values(place, name, one):
    values = np.asarray(one[()], np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(
            f"the weights {str(place)!r} must be finite, but {name!r} holds NaN or infinity; "
            "download it again"
        )
    return values


def _ranked(paths):
    """Return the ranked name of each path of layers."""
    children: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        parts = path.split("/")
        for depth, part in enumerate(parts):
            children.setdefault(tuple(parts[:depth]), set()).add(part)
    ranks = {way: _ranks(names) for way, names in children.items()}
    return {path: _ranked_path(path.split("/"), ranks) for path in paths}


def _ranked_path(parts, ranks):
    names = [ranks[tuple(parts[:depth])][part] for depth, part in enumerate(parts[:-1])]
    # the group of a layer that stands alone repeats its name
    names = [name for at, name in enumerate(names) if not (at == 1 and parts[0] == parts[1])]
    return "/".join([*names, parts[-1].removesuffix(":0")])


def _ranks(names):
    """Return each name with its rank among those of the same stem, by number."""
    stems: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        stem, number = (match["stem"], match["number"]) if match else (name, None)
        stems.setdefault(stem, []).append((int(number or 0), name))
    return {
        name: f"{stem}.{rank}"
        for stem, same in stems.items()
        for rank, (_, name) in enumerate(sorted(same))
    }
