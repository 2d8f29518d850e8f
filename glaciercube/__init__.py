"""Satellite time series to Zarr cubes, and a lazy network over them to glacier extent and facies.

Each verb is loaded when it is first used: importing the package alone imports neither
xarray nor torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

VERBS = (
    "annual",
    "append",
    "build_overviews",
    "clear",
    "composite",
    "end_of_ablation",
    "explain",
    "export",
    "from_files",
    "harmonize",
    "load",
    "outlines",
    "plan",
    "plot",
    "predict",
    "rank_scenes",
    "read",
    "read_outlines",
    "read_overview",
    "read_plan",
    "run",
    "search",
    "simulate",
    "speckle_filtered",
    "status",
    "summarize",
    "verify",
    "with_mask",
    "write",
)

__all__ = ["__version__", *VERBS]


def __getattr__(name: str) -> Any:
    if name not in VERBS:
        raise AttributeError(f"module 'glaciercube' has no attribute {name!r}; it has {__all__}")
    api = import_module("glaciercube.api")
    globals().update({verb: getattr(api, verb) for verb in VERBS})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *VERBS})
