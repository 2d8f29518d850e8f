"""A network's reach as its operations say: analytic, from kernels, strides and dilations."""

import contextlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glaciercube.model.inspection_call import RANDOM, Call
from glaciercube.model.inspection_field import Field, UntracedError
from glaciercube.model.inspection_layers import layer_lines, named
from glaciercube.model.inspection_rules import outcome

_CONSTANT = frozenset(
    {"zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones"}
    | {
        "new_full",
        "scalar_tensor",
        "empty",
        "empty_like",
        "new_empty",
        "empty_strided",
        "zero_",
        "fill_",
    }
)
"""Operations that give one value at all places, or none yet."""

_RANDOM = frozenset(
    {"rand", "randn", "rand_like", "randn_like", "bernoulli", "bernoulli_", "normal_", "uniform_"}
    | {"native_dropout", "randint", "randperm", "multinomial", "normal"}
)

_SIZES = (8, 12)
"""Sides of the two tiles that are traced, in units: what differs depends on the tile's size."""


@dataclass(frozen=True)
class Traced:
    """What the operations of a network say, or why they could not be followed."""

    stride: int | None = None
    """Pixels after which what a result depends on repeats."""

    halo: int | None = None
    """Pixels, a multiple of the stride."""

    receptive_field: int | None = None
    """Pixels: the largest distance from a result to what it depends on."""

    reasons: tuple[str, ...] = ()
    """Why a result depends on the whole tile, in order of their names."""

    lost: str | None = None
    """Which operation is not known; the numbers above are None then."""


def trace(network: nn.Module, channels: int, unit: int) -> Traced:
    """Return what a network's operations say of its reach.

    Parameters
    ----------
    network : Module
        (n, channels, y, x) to (n, categories, y, x), in the mode it will run in.
    channels : int
    unit : int
        Pixels: the sides of the images traced are multiples of it.

    Returns
    -------
    Traced

    Notes
    -----
    The network runs twice, on images of different size that have a shape and no numbers (of
    numbers, and smaller, where it cannot do without). Each operation that torch executes is
    seen, whether a layer or a function called it.
    """
    for device, scale in (("meta", 1), ("cpu", 4)):
        followed = None
        try:
            probe = deepcopy(network).to(device)
            numbers: list[Any] = []
            for size in _SIZES:
                side = size * unit // scale
                image = torch.zeros((1, channels, side, side), device=device)
                followed = _Follow(probe, numbers)
                field = followed.run(image)
            return _traced(field)
        except UntracedError as error:
            return Traced(lost=str(error))
        except Exception as error:  # a network may fail in any way, and hide why it stopped
            if followed is not None and followed.lost:
                return Traced(lost=followed.lost)
            lost = f"{type(error).__name__}: {str(error)[:200]}"
    return Traced(lost=lost)


def _traced(field):
    if not field.axes():
        return Traced(reasons=tuple(sorted(field.reasons)), lost=None)
    if [field.axes(dim) for dim in range(len(field.dims))] != [[], [], ["y"], ["x"]]:
        raise UntracedError("the result's dimensions are not (n, category, y, x)")
    step = 1
    for reach in field.reach.values():
        if reach.shift != reach.cells:
            raise UntracedError("the result has not the size of the image")
        step = max(step, reach.cells) if not step % reach.cells else step * reach.cells
    return Traced(
        stride=step,
        halo=max(reach.halo(step) for reach in field.reach.values()),
        receptive_field=max(reach.farthest() for reach in field.reach.values()),
        reasons=tuple(sorted(field.reasons)),
    )


class _Follow(TorchDispatchMode):
    """Passes fields from tensor to tensor while a network runs."""

    def __init__(self, network: nn.Module, numbers: list[Any]) -> None:
        super().__init__()
        self.network = network
        self.lost = ""
        self._numbers, self._seen, self._first = numbers, 0, not numbers
        self._layers: list[tuple[str, nn.Module]] = []
        self._fields: dict[int, Field] = {}
        self._constants: set[int] = set()
        self._kept: dict[int, torch.Tensor] = {}
        """Tensors by their number, which holds as long as they live."""
        self._views: dict[int, set[int]] = {}
        """Numbers of the tensors that share each storage."""

    def run(self, image: torch.Tensor) -> Field:
        """Return the field of the network's result.

        Raises
        ------
        UntracedError
        """
        self._see(image)
        self._fields[id(image)] = Field.of_image(image.shape)
        with self._named(), torch.no_grad(), self:
            result = self.network(image)
        field = self._field(result)
        if field is None:
            raise UntracedError("the result does not depend on the image, as far as torch says")
        return field

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        tensors = [each for each in tree_leaves(out) if isinstance(each, torch.Tensor)]
        given = _bound(function, args, kwargs or {})
        for each in tensors:
            self._see(each)
        if function._schema.is_mutable:
            self._write(function, given)
        if name in _RANDOM:
            field = Field((), {}, frozenset({self._line(RANDOM)}))
            for each in tensors:
                self._fields[id(each)] = replace(field, dims=((),) * each.ndim)
        elif name in _CONSTANT:
            self._constants |= {id(each) for each in tensors if not self._is_part(each)}
            for each in tensors:
                self._fields.pop(id(each), None)
        elif any(self._field(each) is not None for each in tree_leaves(given)):
            self._pass_on(function, given, out, tensors)
        elif self._is_constant(function, given):
            self._constants |= {id(each) for each in tensors}
        else:
            self._constants -= {id(each) for each in tensors}
        return out

    def _pass_on(self, function, given, out, tensors):
        if not tensors:
            self._lose(function, "it reads numbers of the tile")
        call = Call(
            name=function._schema.name,
            given=given,
            out=out,
            pointwise=torch.Tag.pointwise in function.tags,
            reduces=torch.Tag.reduction in function.tags,
            field_of=self._field,
            constant=lambda each: id(each) in self._constants,
            reason=self._line,
            same=self._same,
        )
        try:
            found = outcome(call)
        except UntracedError as error:
            self._lose(function, str(error))
        fields = found if isinstance(found, list) else [found] * len(tensors)
        self._fields |= {id(each): field for each, field in zip(tensors, fields, strict=False)}

    def _lose(self, function, why) -> NoReturn:
        self.lost = self._line(f"{function._schema.name} could not be followed: {why}")
        raise UntracedError(self.lost)

    def _see(self, tensor):
        if id(tensor) not in self._kept:
            self._kept[id(tensor)] = tensor
            self._views.setdefault(tensor.untyped_storage()._cdata, set()).add(id(tensor))

    def _field(self, tensor):
        return self._fields.get(id(tensor)) if isinstance(tensor, torch.Tensor) else None

    def _write(self, function, given):
        """Refuse what other tensors see too, if the image is in it; nothing is constant there."""
        target, *others = [each for each in tree_leaves(given) if isinstance(each, torch.Tensor)]
        storage = target.untyped_storage()
        views = self._views.get(storage._cdata, {id(target)})
        part = self._is_part(target)
        brings = any(self._field(each) is not None for each in others)
        has = any(number in self._fields for number in views)
        if (brings and (part or len(views) > 1)) or (has and part):
            self._lose(function, "it writes into a part of a tensor")
        if part:
            self._constants -= views

    def _is_constant(self, function, given):
        """Return whether an operation makes one value at all places from such values."""
        tensors = [each for each in tree_leaves(given) if isinstance(each, torch.Tensor)]
        passes = torch.Tag.pointwise in function.tags or "expand" in function._schema.name
        same = all(each.numel() == 1 or id(each) in self._constants for each in tensors)
        return passes and bool(tensors) and same

    def _is_part(self, tensor):
        return tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes()

    def _same(self, number):
        """Return whether a number is the one that the first run had at this place."""
        if self._first:
            self._numbers.append(number)
            return True
        self._seen += 1
        return self._seen <= len(self._numbers) and self._numbers[self._seen - 1] == number

    def _line(self, line):
        name, layer = self._layers[-1] if self._layers else ("", self.network)
        return named(name, layer, next(iter(layer_lines(layer)), line))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        hooks = []
        for name, layer in self.network.named_modules():
            if isinstance(layer, torch.jit.ScriptModule):
                continue
            hooks.append(
                layer.register_forward_pre_hook(
                    lambda layer, _, name=name: self._layers.append((name, layer))
                )
            )
            hooks.append(
                layer.register_forward_hook(
                    lambda *_: _nothing(self._layers.pop()), always_call=True
                )
            )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _nothing(_):
    return None


def _bound(function, args, kwargs):
    """Return the arguments of an operation by name, defaults included."""
    found = {}
    for number, argument in enumerate(function._schema.arguments):
        if number < len(args):
            found[argument.name] = args[number]
        else:
            found[argument.name] = kwargs.get(argument.name, argument.default_value)
    return found
