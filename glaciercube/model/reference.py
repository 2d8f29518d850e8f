"""What travels in a Dask graph in place of a network: a small reference to it."""

import json
from dataclasses import dataclass, replace

from glaciercube.model import dates
from glaciercube.model.card import ModelCard

IN_MEMORY = "in-memory"
"""Name of the weights of a network that has no file: it lives in one process only."""


@dataclass(frozen=True)
class ModelRef:
    """A network by reference: its card without the prose, and how to run it.

    Small whatever the size of the weights. Two references are the same work if the weights,
    the bands, the normalisation, the categories, the temperature, the runtime and the
    precision are the same; where the weights lie does not matter.
    """

    card: ModelCard
    runtime: str = "torch"
    """As the rows of `infer.runtimes.CHOICES` have it."""

    precision: str = "float32"
    """Of the arithmetic: "float32", "bfloat16" or "int8"."""

    @property
    def weights_key(self) -> tuple[str, ...]:
        """What makes loaded weights other ones: their hash, the architecture, its arguments.

        And what the sides of its images are multiples of, where that is more than 1, and how
        its channels are those of dates, if it takes these apart.
        """
        arguments = json.dumps(self.card.arguments, sort_keys=True)
        sizes = f"{self.card.channels}-{len(self.card.categories)}"
        sides = (str(self.card.multiple),) if self.card.multiple > 1 else ()
        apart = self.card.architecture in dates.APART
        parts = (json.dumps(dates.planes(self.card.dates)),) if apart else ()
        return (self.card.sha256, self.card.architecture, arguments, sizes, *sides, *parts)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes a loaded network another one.

        The hash of the weights, the architecture and its arguments, and how it runs; of int8
        also the hashes of the calibrated file.
        """
        how = (self.runtime, self.precision)
        if self.precision != "int8":
            return (*self.weights_key, *how)
        quantized = self.card.quantized
        return (*self.weights_key, *how, *(str(quantized.get(name)) for name in HASHES))

    def __dask_tokenize__(self) -> tuple:
        """Return what the results depend on, without opening the weights."""
        card = self.card
        numbers = (card.mean, card.std, card.temperature, card.fill)
        known = ("glaciercube.ModelRef", self.key, card.task, card.bands, card.categories, numbers)
        return (*known, json.dumps(card.dates, sort_keys=True)) if card.dates else known


_FOUND = ("exact", "halo", "stride", "multiple")
"""Of an inspection, what the card's own words are held to."""

HASHES = ("sha256", "sha256_bin")
"""Of the two files of a calibrated network, in the card's `quantized`."""


def ref_of(card: ModelCard, runtime: str = "torch", precision: str = "float32") -> ModelRef:
    """Return the reference of a card: what inference needs of it and nothing else.

    Parameters
    ----------
    card : ModelCard
    runtime, precision : str
        How it runs; `infer.runtimes.ref_for` takes a choice by name.
    """
    found = {name: card.inspection[name] for name in _FOUND if name in card.inspection}
    lean = replace(card, training={}, metrics={}, limits=(), unlabelled=(), inspection=found)
    return ModelRef(lean, runtime, precision)
