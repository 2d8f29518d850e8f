"""Simulated scenes as a bundled network sees them, for what must be alike on real classes."""

from functools import cache

import numpy as np

from glaciercube.model.zoo import card_of
from glaciercube.simulate.materials import TYPICAL
from glaciercube.train import scenes
from glaciercube.train.recipes import BANDS
from glaciercube.train.samples import make_patches


@cache
def tiles(count=6, seed=7):
    """Return tiles (n, channel, y, x) of 128 pixels of the bundled network "facies"."""
    categories = card_of("facies").categories
    found = scenes.simulated("facies", categories, TYPICAL, count=count, seed=seed)
    return np.ascontiguousarray(make_patches(found, categories, bands=BANDS).images)
