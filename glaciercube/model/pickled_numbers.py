"""Numbers out of a pickle without unpickling it: nothing in the file is ever called.

A pickle is a program for a small machine. This one knows the operations that numbers, strings,
lists, dictionaries and NumPy arrays are written with, and what NumPy's own functions would have
made of their arguments; whatever else a file asks for is refused by name.
"""

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glaciercube.errors import WeightsError

LARGEST = 2**20
"""Bytes of a file: statistics are some hundred."""

MOST, DEEPEST = 10_000, 8
"""Values in all, and lists within lists: a small file may name one list very often."""

_DTYPE = re.compile(r"[<>|=]?[fiu][1248]")
_MARK = object()
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


@dataclass(frozen=True)
class _Name:
    """A function that a pickle wants to call; it is not looked up."""

    module: str
    name: str


@dataclass
class _Built:
    """A data type or an array, as far as it is known."""

    value: Any = None


def read(path: str | Path) -> Any:
    """Return the numbers of a pickle: lists, tuples and dictionaries of them, and of arrays.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    WeightsError
        If it is no pickle, or one of anything but plain numbers and NumPy arrays of them.
    """
    place = Path(path).absolute()
    content = place.read_bytes()
    if len(content) > LARGEST:
        raise _refused(place, f"it has {len(content)} bytes, and statistics have some hundred")
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(content):
            machine.step(operation.name, argument)
        return _plain(machine.result, [MOST], 0)
    except _ForeignError as error:
        raise _refused(place, f"it asks for {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, UnicodeError) as error:
        raise _refused(place, f"it is no pickle of such ({error})") from error


class _ForeignError(Exception):
    """A pickle asks for something that is no number."""


def _refused(place, found):
    return WeightsError(
        f"statistics must be numbers and NumPy arrays, but of {str(place)!r}: {found}; nothing of "
        "it was run: write them as JSON, [[smallest of each band], [largest of each band]]"
    )


class _Machine:
    """What a pickle builds, step by step."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.result: Any = None

    def step(self, name: str, argument: Any) -> None:
        """Do one operation.

        Parameters
        ----------
        name, argument
            As `pickletools.genops` gives them.
        """
        if name in _IGNORED:
            return
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in _TUPLES:
            self._collect(_TUPLES[name])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memory[int(argument)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memory[int(argument)])
        elif name == "GLOBAL":
            self.stack.append(_Name(*argument.split(" ")))
        elif name in _METHODS:
            getattr(self, f"_{name.lower()}")()
        else:
            raise _ForeignError(f"the operation {name}")

    def _collect(self, count):
        self.stack[len(self.stack) - count :] = [tuple(self.stack[len(self.stack) - count :])]

    def _marked(self):
        """Take all that came after the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _memoize(self):
        self.memory[len(self.memory)] = self.stack[-1]

    def _stop(self):
        self.result = self.stack.pop()

    def _tuple(self):
        self.stack.append(tuple(self._marked()))

    def _list(self):
        self.stack.append(self._marked())

    def _dict(self):
        self.stack.append(_pairs(self._marked()))

    def _append(self):
        one = self.stack.pop()
        self.stack[-1].append(one)

    def _appends(self):
        found = self._marked()
        self.stack[-1].extend(found)

    def _setitem(self):
        key, value = self.stack.pop(-2), self.stack.pop()
        self.stack[-1][key] = value

    def _setitems(self):
        found = _pairs(self._marked())
        self.stack[-1].update(found)

    def _stack_global(self):
        module, name = self.stack.pop(-2), self.stack.pop()
        self.stack.append(_Name(module, name))

    def _reduce(self):
        name, arguments = self.stack.pop(-2), self.stack.pop()
        self.stack.append(_called(name, arguments))

    def _build(self):
        state = self.stack.pop()
        _filled(self.stack[-1], state)


_IGNORED = frozenset({"PROTO", "FRAME"})
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT", "FLOAT", "UNICODE"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_METHODS = frozenset(
    {"TUPLE", "LIST", "DICT", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "STACK_GLOBAL"}
    | {"REDUCE", "BUILD", "MEMOIZE", "STOP"}
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _pairs(found):
    return dict(zip(found[::2], found[1::2], strict=True))


def _called(name, arguments):
    """Return what one of NumPy's functions makes of its arguments, without it."""
    if not isinstance(name, _Name):
        raise _ForeignError(f"a call of {type(name).__name__}")
    module, function = name.module, name.name
    if module in _MULTIARRAY and function == "_reconstruct":
        return _Built()
    if (module, function) == ("numpy", "dtype"):
        return _Built(_dtype(arguments[0]))
    if module in _MULTIARRAY and function == "scalar":
        return _array(arguments[1], arguments[0], ()).item()
    if module in _NUMERIC and function == "_frombuffer":
        buffer, dtype, shape, order = arguments
        return _Built(_array(buffer, dtype, shape, order))
    if (module, function) == ("_codecs", "encode") and arguments[1] == "latin1":
        return arguments[0].encode("latin1")
    raise _ForeignError(f"{module}.{function}")


def _filled(target, state):
    """Put into a data type its byte order, and into an array its numbers."""
    if not isinstance(target, _Built):
        raise _ForeignError(f"a state of {type(target).__name__}")
    if isinstance(target.value, np.dtype):
        target.value = _dtype(target.value.newbyteorder(state[1]).str)
        return
    _, shape, dtype, fortran, content = state
    target.value = _array(content, dtype, shape, "F" if fortran else "C")


def _dtype(text):
    if not _DTYPE.fullmatch(text):
        raise _ForeignError(f"an array of {text!r}")
    return np.dtype(text)


def _array(content, dtype, shape, order="C"):
    if isinstance(content, str):
        content = content.encode("latin1")
    return np.frombuffer(bytes(content), dtype.value).reshape(shape, order=order)


def _plain(found, left, depth):
    """Return what was built without the wrappers; `left` is how many values it may still have."""
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST:
        raise _ForeignError(f"more than {MOST} values, or lists within lists")
    if isinstance(found, _Built):
        return found.value
    if isinstance(found, dict):
        return {str(key): _plain(value, left, depth + 1) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return type(found)(_plain(value, left, depth + 1) for value in found)
    if isinstance(found, _Name):
        raise _ForeignError(f"{found.module}.{found.name}")
    return found
