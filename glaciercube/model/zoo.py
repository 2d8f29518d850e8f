"""The networks that come with the package, by name."""

from pathlib import Path

from glaciercube.errors import WeightsError
from glaciercube.model.card import ModelCard, read_card
from glaciercube.model.weights import refuse_pickle

BUNDLED = Path(__file__).parent / "bundled"
"""Folder of the cards and weights that come with the package."""


def card_of(model: str | Path | ModelCard) -> ModelCard:
    """Return the card of a bundled network by name, or of a JSON file.

    Parameters
    ----------
    model : str, Path or ModelCard
        A name such as "facies", the path of a card (ends in .json), or a card, which is
        given back.

    Raises
    ------
    WeightsError
        If there is none, with the bundled names, or the model is something else.
    """
    if isinstance(model, ModelCard):
        return model
    if not isinstance(model, str | Path):
        raise WeightsError(
            "needs a bundled network by name, the path of a card (.json) or a card, found "
            f"{type(model).__name__}; for a network in memory, make its card with "
            "glaciercube.model.hold(network, ...)"
        )
    text = str(model)
    if isinstance(model, Path) or Path(text).suffix or Path(text).name != text:
        return read_card(text)
    if text not in names():
        raise WeightsError(
            f"no network {text!r} comes with glaciercube; there are {list(names())}, or give "
            "the path of a card (.json)"
        )
    return read_card(BUNDLED / f"{text}.json")


def names() -> tuple[str, ...]:
    """Return the names of the bundled networks, sorted."""
    return tuple(sorted(path.stem for path in BUNDLED.glob("*.json")))


def place_of(card: ModelCard, name: str = "") -> Path:
    """Return where the weights of a card, or a file beside them, lie here.

    Parameters
    ----------
    card : ModelCard
    name : str
        Of a file beside the weights; the weights themselves by default.

    Returns
    -------
    Path
        A worker may have the package in another folder; the file need not exist.

    Raises
    ------
    WeightsError
        If opening the file would run code from it.
    """
    place = Path(card.weights)
    if name:
        place = place.with_name(name)
    refuse_pickle(place, "weights")
    bundled = BUNDLED / place.name
    return bundled if not place.is_file() and bundled.is_file() else place
