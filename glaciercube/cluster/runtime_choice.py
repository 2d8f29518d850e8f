"""The runtime of a run: what was asked for when it began, or measured once, for all tiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from glaciercube.cluster import choices, states
from glaciercube.infer import lazy, settling
from glaciercube.infer.choices import AUTO, SMALL, Choice, known
from glaciercube.infer.halos import Halo
from glaciercube.model.card import ModelCard

NAME = "runtime"
"""Of the choice, and of the option."""


class _NothingMeasuredError(Exception):
    """No pixel of a tile was measured: the next tile chooses."""


def asked_of(runtime: str | None, cards: Sequence[ModelCard]) -> dict[str, Any]:
    """Return what a run keeps of the runtime that it is asked for, as JSON; nothing of None.

    Parameters
    ----------
    runtime : str, optional
    cards : sequence of ModelCard

    Raises
    ------
    WeightsError
        If there is no such runtime, or a network cannot run so.

    Examples
    --------
    >>> asked_of(None, ()), asked_of("torch", ())
    ({}, {'runtime': 'torch'})
    """
    if runtime is None:
        return {}
    known(runtime, cards, 0)
    return {NAME: runtime}


def runtime_of_run(
    out: Path, tile: str, tiles: int, cube: xr.Dataset, cards: Sequence[ModelCard], halo: Halo
) -> str | tuple[Choice, ...]:
    """Return how the networks run that predict a tile.

    Parameters
    ----------
    out : Path
        Folder of the run.
    tile : str
        Its name.
    tiles : int
        Of the run.
    cube : Dataset
        Of the tile. If no tile with a measured pixel was predicted yet, the runtime is chosen on
        it, for all tiles and all times; float32 if that many tiles of its size are small.
    cards : sequence of ModelCard
    halo : int or EffectiveHalo, optional
        With which it is predicted.

    Returns
    -------
    str or tuple of Choice
        As `infer.lazy.predict` takes it.

    Raises
    ------
    StoreError
        If the file of the run or of the choice is damaged, or of a newer version.
    WeightsError
        If a runtime that was asked for by name agrees with float32 in too few classes.
    """
    found = states.read_run(out)
    asked = AUTO if found is None else found.asked.get(NAME, AUTO)
    settled = known(asked, cards, 0)
    if settled is not None and asked != AUTO:
        return settled

    def choose():
        chosen = settled
        if chosen is None or cube["valid"].size * tiles >= SMALL:
            layers = lazy.predict(cube, cards, halo=halo, runtime=asked, measure=True)
            chosen = settling.choices_of(layers)
            if not any(one.pixels for one in chosen):
                raise _NothingMeasuredError
        return {
            "networks": [
                {"name": card.name, "choice": one.runtime, **one.record()}
                for card, one in zip(cards, chosen, strict=True)
            ],
            "tile": tile,
        }

    try:
        kept = choices.choose(out, NAME, choose)["networks"]
    except _NothingMeasuredError:
        return asked
    return tuple(
        Choice(one["choice"], one.get("agreement", 1.0), one.get("pixels", 0)) for one in kept
    )
