"""What is chosen once for a store: as the store has it, or anew, before anything is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import xarray as xr

from glaciercube.store import dates, ledger
from glaciercube.store.lineage import lineage_of, with_lineage
from glaciercube.store.places import Place

OPEN = "glaciercube_open"
"""Key of a variable's encoding that holds its Open."""


@dataclass(frozen=True)
class Stored:
    """What a store says of a variable that it holds."""

    parameters: Mapping[str, Any] | None
    """As its lineage stated them; None if that was not known."""

    attrs: Mapping[str, Any]
    """Attributes of the whole store; empty as long as readers see none."""


@dataclass(frozen=True)
class Open:
    """What is left to choose, once for a store, before an array is written: the fastest way."""

    name: str
    """Of the Dask array that this is true of; an array made from it has another name."""

    choose: Callable[[Stored | None], xr.Dataset]
    """Makes the dataset in which nothing is left to choose: as a store has it, or anew for
    None. Choosing anew may compute parts of it."""


def with_open(dataset: xr.Dataset, names: list[str], choose: Callable[..., xr.Dataset]) -> None:
    """Let variables of a dataset carry what is left to choose, as their encoding.

    Parameters
    ----------
    dataset : Dataset
    names : list of str
        Of its lazy variables.
    choose : callable
        See `Open`.
    """
    for name in names:
        dataset[name].encoding[OPEN] = Open(dataset[name].data.name, choose)


def settled(dataset: xr.Dataset, place: Place | None) -> xr.Dataset:
    """Return a dataset in which nothing is left to choose.

    Parameters
    ----------
    dataset : Dataset
    place : Place, optional
        Where it is written. What a store there has chosen is adopted, whichever machine goes on
        with it; None, or a place without a store, to choose anew.

    Returns
    -------
    Dataset
        The same object if nothing was left.
    """
    left = {
        str(name): found
        for name, variable in dataset.data_vars.items()
        if (found := _open_of(variable)) is not None
    }
    if not left:
        return dataset
    stored = _stored(place)
    known: dict[int, xr.Dataset] = {}
    made, attrs = {}, dict(dataset.attrs)
    for name, one in left.items():
        if id(one.choose) not in known:
            known[id(one.choose)] = one.choose(stored.get(name))
        chosen = known[id(one.choose)]
        made[name] = _replaced(dataset[name], chosen[name])
        attrs |= chosen.attrs
    return dataset.assign(made).assign_attrs(attrs)


def _open_of(variable):
    found = variable.encoding.get(OPEN)
    if not isinstance(found, Open) or not isinstance(variable.data, da.Array):
        return None
    return found if variable.data.name == found.name else None


def _replaced(variable, chosen):
    """Return a variable with other data and their lineage, but its own recipe."""
    before = lineage_of(variable)
    out = variable.copy(data=chosen.data)
    out.encoding = {**variable.encoding, **chosen.encoding}
    out.encoding.pop(OPEN)
    after = lineage_of(out)
    if before is None or after is None:
        return out
    return with_lineage(out, replace(after, recipe=before.recipe))


def _stored(place: Place | None) -> Mapping[str, Stored]:
    """Return what a store says of each of its variables; empty if there is no store."""
    if place is None or not ledger.exists(place):
        return {}
    attrs = dates.seen(place).attrs if dates.is_made(place) else {}
    told = ledger.header_told(place).identity["variables"]
    return {name: Stored(one["parameters"], attrs) for name, one in told.items()}
