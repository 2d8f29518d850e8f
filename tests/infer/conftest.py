"""Fixtures of inference: small networks with random weights."""

import pytest
from cards import make_card

from glaciercube.infer import runtimes


@pytest.fixture
def card(tmp_path):
    """Return a facies card: halo 3, five facies, four bands."""
    return make_card(tmp_path)


@pytest.fixture
def extent_card(tmp_path):
    """Return an extent card with "obscured": halo 5."""
    return make_card(tmp_path, seed=1, task="extent", dilations=(1, 4))


@pytest.fixture
def forwards(monkeypatch):
    """Return a list that grows by the shape of each image that goes through a network."""
    shapes = []
    original = runtimes.runtime_of

    def counting(ref):
        runtime = original(ref)

        class Counted:
            def scores(self, images, inner):
                shapes.append(tuple(images.shape))
                return runtime.scores(images, inner)

        return Counted()

    monkeypatch.setattr(runtimes, "runtime_of", counting)
    return shapes
