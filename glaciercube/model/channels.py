"""From reflectance to the input of a network: which bands, and normalised how."""

from collections.abc import Sequence

import numpy as np

from glaciercube.errors import SchemaError
from glaciercube.model.card import ModelCard
from glaciercube.windows import strips


def positions(names: Sequence[str], card: ModelCard) -> tuple[int, ...]:
    """Return where the bands of a card are among the names of a cube, in channel order.

    Parameters
    ----------
    names : sequence of str
        Band names of the cube, in its order.
    card : ModelCard

    Raises
    ------
    SchemaError
        That lists the bands that are missing, and what the cube has; or if a band is there
        twice, or would be taken for two of the card.
    """
    have = [str(name) for name in names]
    found = [_first(band, have) for band in card.bands]
    missing = [
        band.replace("|", " or ") for band, at in zip(card.bands, found, strict=True) if at is None
    ]
    if missing:
        raise SchemaError(
            f"{card.name} needs the bands {_readable(card)}, the cube lacks {missing}; it has "
            f"{have}; load it with these bands or take another network"
        )
    places = tuple(at for at in found if at is not None)
    _require_clear(places, have, card)
    return places


def taken(values: np.ndarray, places: Sequence[int], axis: int = 0) -> np.ndarray:
    """Return the bands at some places of an axis; a view if these are all, in their order.

    Examples
    --------
    >>> taken(np.arange(3), (2, 0)).tolist()
    [2, 0]
    """
    if tuple(places) == tuple(range(values.shape[axis])):
        return values
    return np.take(values, places, axis=axis)


def _require_clear(places, have, card):
    """Raise an error if it is not clear which band of a cube is which of a card."""
    twice = sorted({have[at] for at in places if have.count(have[at]) > 1})
    if twice:
        raise SchemaError(
            f"{card.name} needs each of its bands once, the cube has {twice} more than once: "
            f"{have}; drop or rename those that are not meant"
        )
    wanted: dict[int, set[str]] = {}
    for band, at in zip(card.bands, places, strict=True):
        wanted.setdefault(at, set()).add(band.replace("|", " or "))
    shared = {have[at]: sorted(bands) for at, bands in wanted.items() if len(bands) > 1}
    if shared:
        raise SchemaError(
            f"{card.name} needs other bands for each of its channels, of the cube it would take "
            f"{shared} alike; it has {have}; load it with these bands or take another network"
        )


def stack(
    reflectance: np.ndarray, names: Sequence[str], card: ModelCard
) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalised input of a network and where it was measured.

    Parameters
    ----------
    reflectance : array (band, y, x), float32
        Reflectance (1), NaN where not measured.
    names : sequence of str
        Of the bands, in order.
    card : ModelCard
        Names its bands, and their mean and standard deviation.

    Returns
    -------
    channels : array (channel, y, x), float32
        (reflectance - mean) / std; the card's `fill` in every channel where any band is not finite.
    measured : array (y, x), bool
        True where all bands of the card are finite.
    """
    chosen = reflectance[list(positions(names, card))]
    measured = np.isfinite(chosen).all(axis=0)
    return normalised(chosen, measured, card), measured


def normalised(chosen: np.ndarray, measured: np.ndarray, card: ModelCard) -> np.ndarray:
    """Return the bands of a card, in its order, as its network takes them.

    Parameters
    ----------
    chosen : array (channel, y, x), float32
        Reflectance (1).
    measured : array (y, x), bool
        Elsewhere every channel becomes what the card says, 0 (the training mean) by default.
    card : ModelCard
    """
    means, deviations = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    channels = np.empty(chosen.shape, np.float32)
    for rows in strips(chosen.shape[1:]):
        missing = ~measured[rows]
        some = bool(missing.any())
        for channel, values, mean, std in zip(channels, chosen, means, deviations, strict=True):
            np.subtract(values[rows], mean, out=channel[rows], dtype=np.float32)
            np.divide(channel[rows], std, out=channel[rows])
            if some:
                np.copyto(channel[rows], np.float32(card.fill), where=missing)
    return channels


def _first(band, have):
    for name in band.split("|"):
        if name in have:
            return have.index(name)
    return None


def _readable(card):
    return [band.replace("|", " or ") for band in card.bands]
