"""`train`: a bundled network from simulated scenes with real spectra."""

from argparse import Namespace
from pathlib import Path

from glaciercube.optional import load


def run(options: Namespace) -> None:
    """Run the command."""
    recipes = load("glaciercube.train.recipes")
    more = {} if options.steps is None else {"steps": options.steps}
    card = recipes.train_bundled(
        options.name, options.data, Path(options.out), seed=options.seed, progress=True, **more
    )
    print(f"wrote {card.weights} and its card; held-out metrics: {card.metrics}")
