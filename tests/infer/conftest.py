"""Fixtures of inference: small networks with random weights, and a cube they fit."""

import pytest
import torch
from safetensors.torch import save_file

from glaciercube.model.card import ModelCard, read_card, write_card
from glaciercube.model.fcn import FCN
from glaciercube.model.weights import sha256_of

BANDS = ("green", "red", "nir|nir08", "swir16")
OF_TASK = {
    "facies": ("ice", "snow", "debris", "cloud", "land"),
    "extent": ("not_glacier", "glacier", "obscured"),
}


def make_card(folder, name="small", task="facies", width=8, dilations=(1, 2), seed=0, **changes):
    """Return the card of a network with random weights and lively batch statistics."""
    torch.manual_seed(seed)
    categories = OF_TASK[task]
    network = FCN(len(BANDS), len(categories), width=width, dilations=dilations)
    for tensor in network.state_dict().values():
        if tensor.dtype == torch.float32:
            tensor.copy_(tensor.abs() + 0.1 if tensor.min() >= 0 else tensor * 1.5)
    weights = folder / f"{name}.safetensors"
    save_file(network.state_dict(), weights)
    fields = {
        "name": name,
        "version": "1",
        "task": task,
        "architecture": "fcn",
        "arguments": {"width": width, "dilations": list(dilations)},
        "weights": str(weights),
        "sha256": sha256_of(weights),
        "bands": BANDS,
        "mean": (0.5, 0.45, 0.4, 0.2),
        "std": (0.3, 0.3, 0.25, 0.2),
        "categories": categories,
        "halo": sum(dilations),
        "radiometry": ("surface",),
        "temperature": 1.5,
        "resolution_m": (9.0, 31.0),
        "licence": "Apache-2.0",
    }
    return read_card(write_card(ModelCard(**fields | changes), folder / f"{name}.json"))


@pytest.fixture
def card(tmp_path):
    """Return a facies card: halo 3, five facies, four bands."""
    return make_card(tmp_path, "small-facies")


@pytest.fixture
def extent_card(tmp_path):
    """Return an extent card with "obscured": halo 5."""
    return make_card(tmp_path, "small-extent", task="extent", dilations=(1, 4), seed=1)
