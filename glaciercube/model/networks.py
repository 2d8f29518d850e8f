"""The networks by name, and building one from its card."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from glaciercube.errors import WeightsError
from glaciercube.model import dates, factories
from glaciercube.model.card import ONNX, ModelCard
from glaciercube.model.deeplab import DeepLab
from glaciercube.model.fcn import FCN
from glaciercube.model.glavitu import GlaViTU
from glaciercube.model.icemapper import ICEmapper
from glaciercube.model.patch_cnn import PatchCNN
from glaciercube.model.resunet3d import ResUNet3D
from glaciercube.model.unet import ResUNet, UNet
from glaciercube.model.utae import UTAE

NETWORKS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "fcn": FCN,
        "unet": UNet,
        "resunet": ResUNet,
        "deeplab": DeepLab,
        "utae": UTAE,
        "resunet3d": ResUNet3D,
        "facies-cnn": PatchCNN,
        "glavitu": GlaViTU,
        "icemapper": ICEmapper,
    }
)
"""Architecture of each name a card may give."""


def build(card: ModelCard) -> nn.Module:
    """Return the network of a card with random weights.

    Parameters
    ----------
    card : ModelCard
        Its `arguments` are passed on; the numbers of channels and categories follow from it, and
        for a network that takes its dates apart what it declares of them. A network of another
        package gets its arguments alone; see `factories`.

    Raises
    ------
    WeightsError
        If the architecture is unknown, does not take the arguments, or is "onnx".

    Notes
    -----
    The caller's random state is left as it was.
    """
    if card.foreign:
        return factories.build(card)
    if card.architecture == ONNX:
        raise WeightsError(
            f"the network of {card.name!r} comes as ONNX and has no torch module; run it with "
            "runtime='onnx'"
        )
    if card.architecture not in NETWORKS:
        raise WeightsError(
            f"the card {card.name!r} needs the architecture {card.architecture!r}; this version "
            f"of glaciercube has {sorted(NETWORKS)}; a network of another package is named "
            "'package.module:build'"
        )
    sizes = {"bands": card.channels, "categories": len(card.categories), **_dates(card)}
    arguments = sizes | dict(card.arguments)
    if arguments != arguments | sizes:
        raise WeightsError(
            f"the card {card.name!r} has {sizes}, but its arguments say {dict(card.arguments)}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            return NETWORKS[card.architecture](**arguments)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"the architecture {card.architecture!r} of the card {card.name!r} does not take the "
            f"arguments {dict(card.arguments)}: {error}"
        ) from error


def _dates(card):
    """Return what a network is told that takes its dates apart."""
    apart = card.architecture in dates.APART
    return {"count": card.dates["count"], **dates.planes(card.dates)} if apart else {}
