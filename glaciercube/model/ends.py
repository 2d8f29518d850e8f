"""What the tensors of this package's networks say of channels and categories. No torch."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from glaciercube.errors import WeightsError
from glaciercube.model.card import ModelCard
from glaciercube.model.dates import APART


class Ends(NamedTuple):
    """Tensors of an architecture whose shape tells its channels and its categories."""

    first: str
    """Its second dimension is the number of channels that the convolutions take."""

    last: str
    """Its first dimension is the number of categories."""


ENDS: Mapping[str, Ends] = MappingProxyType(
    {
        "fcn": Ends("pixel.1.weight", "scores.2.weight"),
        "unet": Ends("down.0.0.weight", "scores.weight"),
        "resunet": Ends("down.0.body.0.weight", "scores.weight"),
        "deeplab": Ends("stem.0.weight", "scores.weight"),
        "utae": Ends("first.0.weight", "scores.3.weight"),
        "resunet3d": Ends("down.0.short.0.weight", "scores.weight"),
        "facies-cnn": Ends("near.0.convolution.weight", "dense.4.weight"),
        "glavitu": Ends("fusion.0.pair.layers.0.weight", "scores.weight"),
        "icemapper": Ends("down.0.short.weight", "scores.weight"),
    }
)
"""Of each name in `networks.NETWORKS`."""


def require_ends(card: ModelCard, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise an error if weights take other channels or give other categories than a card says.

    Parameters
    ----------
    card : ModelCard
        Of an architecture of this package.
    shapes : mapping
        Of the tensors in its weights file, by name.

    Raises
    ------
    WeightsError
    """
    if card.architecture not in ENDS:
        raise WeightsError(
            f"the card {card.name!r} needs the architecture {card.architecture!r}; this version "
            f"of glaciercube has {sorted(ENDS)}; a network of another package is named "
            "'package.module:build'"
        )
    ends = ENDS[card.architecture]
    found = [shapes.get(name, ()) for name in ends]
    if any(len(shape) not in (4, 5) for shape in found):
        raise WeightsError(
            f"the weights {card.weights!r} are of another network than the card's "
            f"{card.architecture!r}: they lack {list(ends)}, or these are no convolutions; found "
            f"{sorted(shapes)[:8]}"
        )
    taken, given = found[0][1], found[1][0]
    if (taken, given) != (_channels(card), len(card.categories)):
        raise WeightsError(
            f"the weights {card.weights!r} need to take {_channels(card)} channels, those of the "
            f"bands {list(card.bands)}, and to give {len(card.categories)} categories, "
            f"{list(card.categories)}; found {taken} channels and {given} categories: they are "
            "of another network, or the card lists other bands or categories"
        )


def _channels(card):
    """Return how many channels the first convolution takes; see `fcn.Spectral` and `series`.

    That of GlaViTU is of its first source, that of ICEmapper of one date.
    """
    bands, arguments = card.channels, card.arguments
    if card.architecture in APART:
        one = bands // card.dates["count"]
        return one - 1 if card.architecture == "utae" else one
    if card.architecture == "fcn" and arguments.get("spectral"):
        return 2 * bands + bands * (bands - 1) // 2 + 1
    if card.architecture == "glavitu":
        return bands - sum(arguments.get("sources", (6, 2))[1:])
    if card.architecture == "icemapper":
        return bands // arguments.get("dates", 15)
    return bands
