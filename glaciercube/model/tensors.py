"""What a weights file holds, looked at without torch: shapes, and whether numbers are finite."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from safetensors import SafetensorError, deserialize

from glaciercube.errors import WeightsError
from glaciercube.model.weights import refuse_other_hash, refuse_pickle, require_file

_known: dict[tuple[str, int, int, str], Mapping[str, tuple[int, ...]]] = {}

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}

_OPENINGS = {
    b"PK\x03\x04": "a zip archive, such as a PyTorch checkpoint (pickle), TorchScript or a "
    "torch.export archive",
    b"\x80": "a pickle",
    b"\x89HDF": "HDF5",
}
"""First bytes of other files, and what they are."""


def shapes_of(path: str | Path, sha256: str) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a weights file by name, after a look at all of it.

    Parameters
    ----------
    path : str or Path
        Of a safetensors file.
    sha256 : str
        That it must have, hexadecimal.

    Raises
    ------
    WeightsError
        If the file is missing, has another hash, is no whole safetensors file, or holds NaN or
        infinity.

    Notes
    -----
    A file is read once in each process, and again when its size or time of change is another.
    """
    place = Path(path).absolute()
    refuse_pickle(place, "weights")
    require_file(place)
    status = place.stat()
    key = (str(place), status.st_mtime_ns, status.st_size, sha256)
    if key not in _known:
        _known[key] = MappingProxyType(_looked_at(place, sha256))
    return _known[key]


def require_finite(broken: Iterable[str], what: str) -> None:
    """Raise an error if tensors hold NaN or infinity.

    Parameters
    ----------
    broken : iterable of str
        Names of those that do.
    what : str
        Whose they are, for the message: "of the network FCN", or a path.

    Raises
    ------
    WeightsError
    """
    names = list(broken)
    if names:
        raise WeightsError(
            f"the weights {what} must be finite, but {names} hold NaN or infinity: "
            "training diverged; train again with a smaller learning rate"
        )


def not_whole(place: Path, error: Exception) -> WeightsError:
    """Return the error of a file that is no whole safetensors file.

    Parameters
    ----------
    place : Path
    error : Exception
        What was raised when it was opened.
    """
    with place.open("rb") as file:
        start = file.read(4)
    other = next((what for first, what in _OPENINGS.items() if start.startswith(first)), "")
    needed = f"weights must be a whole safetensors file, found {str(place)!r}"
    if other:
        return WeightsError(
            f"{needed}, which is {other}, by its first bytes; save the state dict with "
            "safetensors.torch.save_file"
        )
    return WeightsError(f"{needed}: {error}; download or save it again")


def _looked_at(place, sha256):
    content = place.read_bytes()
    refuse_other_hash(place, sha256, hashlib.sha256(content).hexdigest())
    try:
        tensors = dict(deserialize(content))
    except SafetensorError as error:
        raise not_whole(place, error) from error
    require_finite((name for name, one in tensors.items() if not _is_finite(one)), repr(str(place)))
    return {name: tuple(one["shape"]) for name, one in tensors.items()}


def _is_finite(tensor):
    if tensor["dtype"] == "BF16":
        exponent = np.uint16(0x7F80)
        return not np.any(np.frombuffer(tensor["data"], "<u2") & exponent == exponent)
    if tensor["dtype"] not in _FLOATS:
        return True
    return bool(np.isfinite(np.frombuffer(tensor["data"], _FLOATS[tensor["dtype"]])).all())
