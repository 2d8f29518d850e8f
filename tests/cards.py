"""Small networks with random weights, and their cards."""

import torch
from safetensors.torch import save_file

from glaciercube.model import networks
from glaciercube.model.card import ModelCard, read_card, write_card
from glaciercube.model.weights import sha256_of

BANDS = ("green", "red", "nir|nir08", "swir16")
OF_TASK = {
    "facies": ("ice", "snow", "debris", "cloud", "land"),
    "extent": ("not_glacier", "glacier", "obscured"),
}


def fields_of(weights, task="facies", width=8, dilations=(1, 2), **changes):
    """Return the fields of a card whose weights exist."""
    fields = {
        "name": f"small-{task}",
        "version": "1",
        "task": task,
        "architecture": "fcn",
        "arguments": {"width": width, "dilations": list(dilations)},
        "weights": str(weights),
        "sha256": sha256_of(weights),
        "bands": BANDS,
        "mean": (0.5, 0.45, 0.4, 0.2),
        "std": (0.3, 0.3, 0.25, 0.2),
        "categories": OF_TASK[task],
        "halo": sum(dilations),
        "radiometry": ("surface",),
        "temperature": 1.5,
        "resolution_m": (9.0, 31.0),
        "licence": "Apache-2.0",
    }
    return fields | changes


def make_card(folder, seed=0, **changes):
    """Write random weights and a card of them; return the card as read again."""
    stem = f"{changes.get('task', 'facies')}-{seed}-{changes.get('width', 8)}"
    weights = folder / f"{stem}.safetensors"
    save_file({}, weights)
    network = networks.build(ModelCard(**fields_of(weights, **changes)))
    generator = torch.Generator().manual_seed(seed)
    tensors = network.state_dict()
    for name, tensor in tensors.items():
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.uniform_(0.7, 1.3, generator=generator)
        elif tensor.dtype == torch.float32:
            size = tensor[0].numel()
            tensor.normal_(0, (2 / size) ** 0.5 if size > 1 else 0.1, generator=generator)
    save_file(tensors, weights)
    return read_card(
        write_card(ModelCard(**fields_of(weights, **changes)), folder / f"{stem}.json")
    )
