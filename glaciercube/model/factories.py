"""Networks of other packages: a class or function by name, called with a card's arguments."""

import typing
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model.card import ModelCard


def build(card: ModelCard) -> nn.Module:
    """Return the network of another package that a card names, with random weights.

    Parameters
    ----------
    card : ModelCard
        Its architecture is "package.module:build"; what that names is called with its arguments
        as keywords, and with nothing else.

    Raises
    ------
    WeightsError
        If it cannot be imported, does not say that it gives a network, fails, or gives something
        else.

    Notes
    -----
    The caller's random state is left as it was.
    """
    factory, arguments = factory_of(card.architecture), dict(card.arguments)
    called = f"{card.architecture!r} of the card {card.name!r}"
    try:
        with torch.random.fork_rng(devices=[]):
            network = factory(**arguments)
    except Exception as error:  # code of another package may raise anything
        raise WeightsError(
            f"{called} must build a network from the card's arguments alone, {arguments}, but it "
            f"failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise WeightsError(
            f"{called} must give a torch.nn.Module, found a {type(network).__name__}"
        )
    return network


def factory_of(name: str) -> Callable[..., nn.Module]:
    """Return what builds a network, by the name of its module and its own.

    Parameters
    ----------
    name : str
        "package.module:build". The module is imported, which runs it: a card is to be trusted as
        far as the packages that are installed are.

    Raises
    ------
    WeightsError
        If it cannot be imported, or does not say that it gives a network.

    Notes
    -----
    A card is data and may come from anywhere, so it must not get to call what it likes, such as a
    function that runs a command. Only what says that it gives a network is called: a class of
    torch.nn.Module, or a function whose return is annotated as one.

    Examples
    --------
    >>> factory_of("torch.nn:Conv2d")
    <class 'torch.nn.modules.conv.Conv2d'>
    """
    place, _, attribute = name.partition(":")
    if place == "__main__":
        raise WeightsError(
            f"the architecture {name!r} is of a notebook or script, which no other process can "
            "import; put it into a module of a package, or keep the network in memory with "
            "glaciercube.model.hold"
        )
    try:
        module = import_module(place)
    except Exception as error:  # a module that is imported may raise anything
        raise WeightsError(
            f"the architecture {name!r} needs the module {place!r}, which cannot be imported: "
            f"{type(error).__name__}: {error}; install its package here and on every worker"
        ) from error
    found: Any = getattr(module, attribute, None)
    if not _gives_network(found):
        raise WeightsError(
            f"the architecture {name!r} must be a class of torch.nn.Module, or a function whose "
            f"return is annotated as one (-> torch.nn.Module), found {found!r}"
        )
    return found


def _gives_network(found):
    if not isinstance(found, type):
        try:
            found = typing.get_type_hints(found).get("return")
        except Exception:  # annotations that cannot be resolved say nothing
            return False
    return isinstance(found, type) and issubclass(found, nn.Module)
