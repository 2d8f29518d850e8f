"""What travels in a Dask graph in place of a network: a small reference to it."""

import json
from dataclasses import dataclass, replace
from typing import Literal

from glaciercube.model.card import ModelCard


@dataclass(frozen=True)
class ModelRef:
    """A network by reference: its card without the prose, and how to run it.

    Small whatever the size of the weights. Two references are the same work if the weights,
    the bands, the normalisation, the categories, the temperature, the runtime and the
    precision are the same; where the weights lie does not matter.
    """

    card: ModelCard
    runtime: Literal["torch"] = "torch"
    precision: Literal["float32"] = "float32"

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a loaded network another one.

        The hash of the weights, the architecture and its arguments, and how it runs.
        """
        arguments = json.dumps(self.card.arguments, sort_keys=True)
        sizes = f"{len(self.card.bands)}-{len(self.card.categories)}"
        parts = (self.card.sha256, self.card.architecture, arguments, sizes)
        return (*parts, self.runtime, self.precision)

    def __dask_tokenize__(self) -> tuple:
        """Return what the results depend on, without opening the weights."""
        card = self.card
        numbers = (card.mean, card.std, card.temperature)
        return ("glaciercube.ModelRef", self.key, card.task, card.bands, card.categories, numbers)


def ref_of(card: ModelCard) -> ModelRef:
    """Return the reference of a card: what inference needs of it and nothing else."""
    return ModelRef(replace(card, training={}, metrics={}, limits=(), unlabelled=()))
