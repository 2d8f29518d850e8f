"""The networks that come with the package, by name."""

from pathlib import Path

from glaciercube.errors import WeightsError
from glaciercube.model.card import ModelCard, read_card

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
        If there is none; the message lists the bundled names.
    """
    if isinstance(model, ModelCard):
        return model
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
