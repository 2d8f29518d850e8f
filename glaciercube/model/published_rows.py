"""The published networks, a row each: what tells them apart, and what a card of them says."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from glaciercube.errors import WeightsError
from glaciercube.model import keras_layers
from glaciercube.model.inspector import Inspection
from glaciercube.model.published_inspections import FOUND

LICENCE = "GPL-2.0-only"
"""Of the authors' repositories, and of the weights in them."""

OPTICAL = ("blue", "green", "red", "nir|nir08", "swir16", "swir22")

TERRAIN = ("relative_elevation", "slope", "cast_shadow", "hillshade", "relative_distance")
"""What the facies network with eleven bands takes beside reflectance: elevation as a share (0-1) of
the range within the glacier's outline, slope, shadow (0 or 1), hillshade, and the distance to
glaciers as a share (0-1) of the largest in the scene."""

DATES = 15
"""That ICEmapper sees at once."""

WINDOW = 384
"""Side of the tiles (pixels) that GlaViTU and ICEmapper were trained on."""

Arrays = Mapping[str, np.ndarray]
Arguments = Mapping[str, Any]

_FUSION = "fusion_block.0/conv_batch_norm_act_x2.{}/conv2d.0/kernel"
_POSITION = "SETR.0/add_positional_embedding.0/positional_embedding"
_RADAR = "Conv3DResUNetEncoder.0/residual_with_projection.0/dense.0/kernel"
_POOLING = "Conv3DResUNetEncoder.0/temporal_weighted_pooling.0/conv3d.0/kernel"


def _no_words(given: Arguments) -> tuple[str, ...]:
    """Return no further words, whatever the arguments."""
    return ()


def _no_window(given: Arguments) -> int:
    """Return that images of any size are taken, whatever the arguments."""
    return 0


@dataclass(frozen=True, kw_only=True)
class Published:
    """One network as its authors published it."""

    name: str
    architecture: str
    """In `networks.NETWORKS`."""

    source: str
    """Repository of the weights."""

    marks: tuple[str, ...]
    """Arrays that a file of this network has, and one of another has not."""

    bands_of: Callable[[Arrays], tuple[str, ...]]
    """Band names, of one date."""

    arguments_of: Callable[[Arrays], dict[str, Any]]
    """Of the architecture, as the arrays say."""

    layers_of: Callable[[Arguments], keras_layers.Names]
    """Names of modules and of their layers."""

    variant_of: Callable[[Arguments], str]
    """Key in `published_inspections.FOUND`."""

    words_of: Callable[[Arguments], tuple[str, ...]] = _no_words
    """Of the name of a card, beside that of the file."""

    window_of: Callable[[Arguments], int] = _no_window
    """Side of the windows (pixels); 0 if it is exact."""

    features: tuple[str, ...]
    """In the authors' scaling statistics, in the order of the bands."""

    fields: Mapping[str, Any]
    """Of the card: what is the same for all weights of this network."""

    def inspection_of(self, given: Arguments) -> Inspection:
        """Return what `inspector.inspect` found of the network with some arguments.

        Raises
        ------
        WeightsError
            If there is no such network.
        """
        variant = self.variant_of(given)
        if variant not in FOUND:
            known = [each for each in FOUND if each.startswith(self.architecture)]
            raise WeightsError(f"needs arguments of one of {known}, found {variant!r}")
        return FOUND[variant]


def _facies_bands(arrays):
    return OPTICAL + (TERRAIN if arrays["conv2d.0/kernel"].shape[-2] > len(OPTICAL) else ())


def _glavitu_bands(arrays):
    sources = _glavitu_arguments(arrays)["sources"]
    named = (OPTICAL, ("elevation", "slope"))
    if sources == [len(each) for each in named]:
        return sum(named, ())
    return tuple(
        f"source{number}_{at}" for number, size in enumerate(sources) for at in range(size)
    )


def _glavitu_arguments(arrays):
    sources: list[int] = []
    while (kernel := arrays.get(_FUSION.format(len(sources)))) is not None:
        sources.append(kernel.shape[-2])
    return {
        "sources": sources,
        "window": 16 * math.isqrt(arrays[_POSITION].shape[0]),
        "deep_supervision": "deepsupervision.0/kernel" in arrays,
    }


def _icemapper_bands(arrays):
    return ("backscatter", "coherence")[: arrays[_RADAR].shape[0]]


def _icemapper_arguments(arrays):
    return {"dates": DATES, "pooling": "weighted" if _POOLING in arrays else "max"}


FACIES = Published(
    name="facies",
    architecture="facies-cnn",
    source="https://github.com/konstantin-a-maslov/glacier_facies_classification",
    marks=("conv2d.0/kernel", "conv2d.5/kernel", "dense.2/kernel"),
    bands_of=_facies_bands,
    arguments_of=lambda arrays: {"mode": "exact"},
    layers_of=lambda given: keras_layers.facies_cnn(),
    variant_of=lambda given: f"facies-cnn {given['mode']}",
    words_of=lambda given: () if given["mode"] == "exact" else (given["mode"],),
    features=(*OPTICAL, *TERRAIN),
    fields=MappingProxyType(
        {
            "task": "facies",
            "categories": (
                "ice", "snow", "debris", "firn", "shadow", "refrozen", "water", "cloud",
            ),
            "radiometry": ("surface", "top-of-atmosphere"),
            "resolution_m": (9.0, 31.0),
            "licence": LICENCE,
            "limits": (
                "Was trained inside the outlines of 31 European glaciers; it has no category for "
                "land.",
                "The authors do not say which level of reflectance it was trained on.",
            ),
        }
    ),
)  # fmt: skip

GLAVITU = Published(
    name="glavitu",
    architecture="glavitu",
    source="https://github.com/konstantin-a-maslov/scalable_glacier_mapping",
    marks=(_FUSION.format(0), _POSITION, "output.0/kernel"),
    bands_of=_glavitu_bands,
    arguments_of=_glavitu_arguments,
    layers_of=lambda given: keras_layers.glavitu(len(given["sources"])),
    variant_of=lambda given: "glavitu",
    window_of=lambda given: given["window"],
    features=("optical", "dem", "slope"),
    fields=MappingProxyType(
        {
            "task": "extent",
            "categories": ("not_glacier", "glacier"),
            "radiometry": ("top-of-atmosphere",),
            "resolution_m": (9.0, 31.0),
            "licence": LICENCE,
            "limits": (
                "Its result depends on the window of 384 pixels that it sees; windows are blended.",
            ),
        }
    ),
)

ICEMAPPER = Published(
    name="icemapper",
    architecture="icemapper",
    source="https://github.com/konstantin-a-maslov/icemapper",
    marks=(_RADAR, "ResUNetDecoder.0/dense.0/kernel"),
    bands_of=_icemapper_bands,
    arguments_of=_icemapper_arguments,
    layers_of=lambda given: keras_layers.icemapper(given["pooling"] == "weighted"),
    variant_of=lambda given: f"icemapper {given['pooling']}",
    window_of=lambda given: WINDOW if given["pooling"] == "weighted" else 0,
    features=("grd", "insar"),
    fields=MappingProxyType(
        {
            "task": "extent",
            "categories": ("not_glacier", "glacier"),
            "dates": {"count": DATES, "anchor": "centred", "mask": False},
            "radiometry": ("surface",),
            "resolution_m": (9.0, 31.0),
            "licence": LICENCE,
            "limits": (
                "Sees fifteen dates of radar backscatter, and of coherence, which stand among the "
                "bands of the cube; it was trained on Svalbard.",
            ),
        }
    ),
)

ROWS: Mapping[str, Published] = MappingProxyType(
    {row.name: row for row in (FACIES, GLAVITU, ICEMAPPER)}
)
"""By the name that `published.import_keras` takes."""
