"""What is chosen once for a store: as the store has it, or anew, before anything is written."""

from collections.abc import Mapping
from dataclasses import replace

import xarray as xr

from glaciercube.store import dates, ledger
from glaciercube.store.lineage import lineage_of, with_lineage
from glaciercube.store.making import Stored, making_of
from glaciercube.store.places import Place


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
        str(name): making.choose
        for name, variable in dataset.data_vars.items()
        if (making := making_of(variable)) is not None and making.choose is not None
    }
    if not left:
        return dataset
    stored = _stored(place)
    known: dict[int, xr.Dataset] = {}
    made, attrs = {}, dict(dataset.attrs)
    for name, choose in left.items():
        if id(choose) not in known:
            known[id(choose)] = choose(stored.get(name))
        chosen = known[id(choose)]
        made[name] = _replaced(dataset[name], chosen[name])
        attrs |= chosen.attrs
    return dataset.assign(made).assign_attrs(attrs)


def _replaced(variable, chosen):
    """Return a variable with other data and what is known of them, but its own recipe."""
    before = lineage_of(variable)
    out = variable.copy(data=chosen.data)
    out.encoding = {**variable.encoding, **chosen.encoding}
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
