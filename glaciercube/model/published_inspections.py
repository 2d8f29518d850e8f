"""What `inspector.inspect` found of the published networks.

It takes minutes, and depends on the architecture alone.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from glaciercube.model.inspector import Inspection

_TORCH = "2.13.0+cpu"

_EXACT: dict[str, Any] = {"exact": True, "reasons": (), "notes": (), "torch": _TORCH}

_WINDOWS: dict[str, Any] = {
    "exact": False,
    "halo": None,
    "stride": 1,
    "receptive_field": None,
    "multiple": 1,
    "analytic_halo": None,
    "measured_halo": None,
    "analytic_stride": None,
    "measured_stride": None,
    "torch": _TORCH,
}

_WEIGHTED = ("pool.0", "pool.1", "pool.2", "whole.0", "whole.1", "whole.2", "whole.3")

FOUND: Mapping[str, Inspection] = MappingProxyType(
    {
        "facies-cnn exact": Inspection(
            **_EXACT
            | {
                "halo": 16,
                "stride": 1,
                "receptive_field": 16,
                "multiple": 1,
                "analytic_halo": None,
                "measured_halo": 16,
                "analytic_stride": None,
                "measured_stride": 1,
                "notes": (
                    "its operations do not say: the network (PatchCNN): aten::constant_pad_nd "
                    "could not be followed: its dimensions are merged",
                ),
            }
        ),
        "facies-cnn convolutional": Inspection(
            **_EXACT,
            halo=28,
            stride=1,
            receptive_field=28,
            multiple=1,
            analytic_halo=28,
            measured_halo=28,
            analytic_stride=1,
            measured_stride=1,
        ),
        "icemapper max": Inspection(
            **_EXACT,
            halo=56,
            stride=8,
            receptive_field=58,
            multiple=8,
            analytic_halo=56,
            measured_halo=56,
            analytic_stride=8,
            measured_stride=8,
        ),
        "icemapper weighted": Inspection(
            **_WINDOWS
            | {
                "reasons": tuple(
                    f"{name} (WeightedPooling): takes the mean over the whole tile"
                    for name in _WEIGHTED
                ),
                "stride": 8,
                "analytic_stride": 8,
                "notes": ("not measured, as the reasons say enough",),
            }
        ),
        "glavitu": Inspection(
            **_WINDOWS,
            reasons=(
                "takes images of 384 x 384 pixels, not of twice that side: ValueError: GlaViTU "
                "takes images of 384 x 384 pixels, found (768, 768)",
            ),
            notes=("not measured, as it takes one size",),
        ),
    }
)
"""By architecture, and the argument that matters."""
