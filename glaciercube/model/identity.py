"""What makes one network another: the hash of one that has no file."""

import hashlib
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn


def sha256_of_network(network: nn.Module) -> str:
    """Return the hash of a network: of its tensors, its layers' settings and its code.

    Parameters
    ----------
    network : Module

    Returns
    -------
    str
        64 hexadecimal digits. Two networks that give other scores have other hashes, unless
        they differ in what no layer holds, such as a global variable, or in an object of a kind
        that is not known here.

    Notes
    -----
    Code is that of the classes that do not come with torch: a `forward` that was edited in a
    notebook makes another network. Its hash may differ between versions of Python.
    """
    found = hashlib.sha256(save(_tensors(network)))
    for line in (*_settings(network), *_code(network)):
        found.update(line.encode())
    return found.hexdigest()


def _tensors(network) -> dict[str, torch.Tensor]:
    """Return all tensors by name, also those that are not saved."""
    named = dict(network.state_dict()) | dict(network.named_buffers())
    return {name: _copied(tensor) for name, tensor in sorted(named.items())}


def _copied(tensor):
    return tensor.detach().to("cpu", copy=True).contiguous()


def _settings(network) -> Iterator[str]:
    """Yield a line for each layer: its kind, and its attributes."""
    internal = vars(nn.Module()).keys()
    for name, module in network.named_modules(remove_duplicate=False):
        own = {key: value for key, value in vars(module).items() if key not in internal}
        yield f"{name}={type(module).__qualname__}({module.extra_repr()}){_told(own)}"


def _code(network) -> Iterator[str]:
    """Yield what the classes of the layers do, function by function."""
    kinds = {base for module in network.modules() for base in type(module).__mro__}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")]
    for kind in sorted(own, key=lambda one: (one.__module__, one.__qualname__)):
        for name, value in sorted(vars(kind).items()):
            if isinstance(value, FunctionType):
                yield f"{name}:{_told(value.__code__)}"


def _told(value: Any) -> str:
    """Return a value as text that is the same in every process; empty of an unknown kind."""
    if isinstance(value, bool | int | float | str | bytes | None):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{','.join(map(_told, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{','.join(sorted(map(_told, value)))}}}"
    if isinstance(value, dict):
        return _told([*sorted((str(key), _told(one)) for key, one in value.items())])
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(save({"": _copied(value)})).hexdigest()
    if isinstance(value, np.ndarray):
        return _told([value.dtype.str, value.shape, value.tobytes()])
    if isinstance(value, CodeType):
        return _told([value.co_code, value.co_names, value.co_consts])
    return ""
