"""The halo of a run: what was asked for when it began, or measured once, on its first tile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from glaciercube.cluster import choices, states
from glaciercube.infer import checks, lazy
from glaciercube.infer.halos import EFFECTIVE, EffectiveHalo, Halo, of_attrs
from glaciercube.model.card import ModelCard

NAME = "halo"
"""Of the choice, and of the option."""


def asked_of(halo: Any, disagreement: float, cards: Sequence[ModelCard]) -> dict[str, Any]:
    """Return what a run keeps of the halo that it is asked for, as JSON; nothing of None.

    Parameters
    ----------
    halo : int or "effective", optional
    disagreement : float
        Largest share of classes that an effective halo may change.
    cards : sequence of ModelCard

    Raises
    ------
    SchemaError
        If it is no halo, or the disagreement no share.
    WeightsError
        If the effective halo is asked for of networks that are not exact.

    Examples
    --------
    >>> asked_of(None, 1e-4, ()), asked_of(8, 1e-4, ())
    ({}, {'halo': 8})
    """
    if halo is None:
        return {}
    pixels, _ = checks.halo_of(halo, cards)
    if halo == EFFECTIVE:
        return {NAME: EFFECTIVE, "disagreement": checks.share_of(disagreement)}
    return {NAME: pixels}


def halo_of_run(out: Path, tile: str, cube: xr.Dataset, cards: Sequence[ModelCard]) -> Halo:
    """Return the halo with which a tile of a run is predicted.

    Parameters
    ----------
    out : Path
        Folder of the run.
    tile : str
        Name of the tile.
    cube : Dataset
        Of the tile. If the run was begun with "effective" and no tile was predicted yet, the
        halo is measured on it, for all tiles and all times.
    cards : sequence of ModelCard

    Returns
    -------
    int or EffectiveHalo, optional
        As `infer.lazy.predict` takes it.

    Raises
    ------
    StoreError
        If the file of the run or of the choice is damaged, or of a newer version.
    """
    found = states.read_run(out)
    asked = {} if found is None else found.asked
    if asked.get(NAME) != EFFECTIVE:
        return asked.get(NAME)

    def measure():
        layers = lazy.predict(cube, cards, halo=EFFECTIVE, disagreement=asked["disagreement"])
        measured = of_attrs(layers.attrs)
        assert measured is not None
        return measured.as_json() | {"tile": tile}

    kept = choices.choose(out, NAME, measure)
    return EffectiveHalo(**{name: value for name, value in kept.items() if name != "tile"})
