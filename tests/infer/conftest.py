"""Fixtures of inference: small networks with random weights."""

import pytest
from cards import make_card

from glaciercube.model import registry


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
    original = registry.network_of

    def counting(ref):
        network = original(ref)

        def forward(image):
            shapes.append(tuple(image.shape))
            return network(image)

        return forward

    monkeypatch.setattr(registry, "network_of", counting)
    return shapes
