"""How far the patch network of facies, applied by convolutions, is from what its patches say."""

from typing import Any

import numpy as np
import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.model.patch_cnn import PatchCNN


def agreement(network: nn.Module, card: ModelCard, image: np.ndarray) -> dict[str, Any]:
    """Return how the labels and probabilities of both modes compare on an image.

    Parameters
    ----------
    network : PatchCNN
        In either mode.
    card : ModelCard
        Names its bands and their scaling.
    image : array (band, y, x), float
        Of the card's bands, unscaled, NaN where not measured.

    Returns
    -------
    dict
        "labels_equal": share (0-1) of the pixels with the same category; "mean_difference" and
        "largest_difference" of a probability; "pixels": how many were compared: measured ones
        that see nothing beyond the image.

    Raises
    ------
    WeightsError
        If the network has no modes, or the image other bands or no such pixel.

    Notes
    -----
    The exact mode computes about 4000 pixels a second and core.
    """
    if not isinstance(network, PatchCNN):
        raise WeightsError(
            f"an image is for the facies network, which has two modes; {card.name} has one"
        )
    if image.ndim != 3 or len(image) != len(card.bands):
        raise WeightsError(
            f"needs an image (band, y, x) of the bands {list(card.bands)}, found {image.shape}"
        )
    modes = {mode: _in_mode(network, card, mode) for mode in ("exact", "convolutional")}
    margin = modes["convolutional"].halo
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    measured = np.isfinite(image).all(axis=0)
    compared = measured[inner]
    if not compared.any():
        raise WeightsError(
            f"needs an image with measured pixels that are {margin} pixels or more from its edge, "
            f"found one of {image.shape[1]} x {image.shape[2]}"
        )
    seen = torch.from_numpy(channels.normalised(image, measured, card))[np.newaxis]
    with torch.inference_mode():
        found = {mode: one(seen)[0].softmax(dim=0).numpy() for mode, one in modes.items()}
    one, other = (found[mode][inner][:, compared] for mode in modes)
    return {
        "labels_equal": float((one.argmax(axis=0) == other.argmax(axis=0)).mean()),
        "mean_difference": float(abs(one - other).mean()),
        "largest_difference": float(abs(one - other).max()),
        "pixels": int(compared.sum()),
    }


def _in_mode(network, card, mode):
    copy = PatchCNN(len(card.bands), len(card.categories), mode)
    copy.load_state_dict(network.state_dict())
    return copy.eval()
