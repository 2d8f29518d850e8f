"""What is on record of the published networks is what the inspector finds."""

from dataclasses import replace

import pytest

from glaciercube.model import glavitu, icemapper, patch_cnn
from glaciercube.model.glavitu import GlaViTU
from glaciercube.model.icemapper import ICEmapper
from glaciercube.model.inspector import inspect
from glaciercube.model.patch_cnn import PatchCNN
from glaciercube.model.published_inspections import FOUND

MADE = {
    "facies-cnn exact": (lambda: PatchCNN(6, 8), 6, 0),
    "facies-cnn convolutional": (lambda: PatchCNN(6, 8, mode="convolutional"), 6, 0),
    "icemapper max": (lambda: ICEmapper(15, 2), 15, 0),
    "icemapper weighted": (lambda: ICEmapper(30, 2, pooling="weighted"), 30, 384),
    "glavitu": (lambda: GlaViTU(8, 2), 8, 384),
}


@pytest.fixture
def narrow(monkeypatch):
    """Give the networks few filters: how far they look does not depend on it."""
    monkeypatch.setattr(patch_cnn, "WIDTH", 4)
    monkeypatch.setattr(icemapper, "WIDTHS", (4, 6, 8, 10))
    monkeypatch.setattr(glavitu, "WIDTH", 8)
    monkeypatch.setattr(glavitu, "WIDTHS", (8, 10, 12, 14))


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_the_record_is_what_the_inspector_finds(name, narrow):
    make, channels, window = MADE[name]
    found = inspect(make().eval(), channels, window)
    assert replace(found, torch="") == replace(FOUND[name], torch="")


@pytest.mark.parametrize("name", FOUND)
def test_a_network_states_the_halo_on_record(name):
    network, found = MADE[name][0](), FOUND[name]
    if found.exact:
        assert (network.halo, getattr(network, "stride", 1)) == (found.halo, found.stride)
