"""What makes one network another: the hash of one that has no file."""

import hashlib
from collections.abc import Iterator
from types import CodeType, FunctionType

import torch
from safetensors.torch import save
from torch import nn

_PLAIN = (bool, int, float, str, type(None))


def sha256_of_network(network: nn.Module) -> str:
    """Return the hash of a network: of its tensors, its layers' settings and its code.

    Parameters
    ----------
    network : Module

    Returns
    -------
    str
        64 hexadecimal digits. Two networks that give other scores have other hashes, unless
        they differ in what no layer holds, such as a global variable.

    Notes
    -----
    Code is that of the classes that do not come with torch: a `forward` that was edited in a
    notebook makes another network. Its hash may differ between versions of Python.
    """
    found = hashlib.sha256(save(_tensors(network)))
    for line in _settings(network):
        found.update(line.encode())
    kinds = {type(module) for module in network.modules()}
    own = {base for kind in kinds for base in kind.__mro__ if _is_own(base)}
    for kind in sorted(own, key=lambda one: (one.__module__, one.__qualname__)):
        for name, value in sorted(vars(kind).items()):
            if isinstance(value, FunctionType):
                found.update(name.encode())
                _add_code(found, value.__code__)
    return found.hexdigest()


def _tensors(network) -> dict[str, torch.Tensor]:
    """Return all tensors by name, also those that are not saved."""
    named = dict(network.state_dict()) | dict(network.named_buffers())
    return {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(named.items())
    }


def _settings(network) -> Iterator[str]:
    for name, module in network.named_modules(remove_duplicate=False):
        plain = {key: value for key, value in sorted(vars(module).items()) if _is_setting(value)}
        yield f"{name}={type(module).__qualname__}({module.extra_repr()}){plain}"


def _is_setting(value):
    if isinstance(value, tuple | list):
        return all(map(_is_setting, value))
    return isinstance(value, _PLAIN)


def _is_own(kind):
    return kind is not object and not kind.__module__.partition(".")[0] == "torch"


def _add_code(found, code: CodeType) -> None:
    found.update(code.co_code)
    found.update(repr(code.co_names).encode())
    for value in code.co_consts:
        if isinstance(value, CodeType):
            _add_code(found, value)
        elif _is_setting(value):
            found.update(repr(value).encode())
