"""The verbs: the place that joins the stages."""

import rioxarray  # noqa: F401 - gives users `.rio`, by which they set a CRS

from glaciercube.acquire.catalogs import search
from glaciercube.acquire.explanation import explain
from glaciercube.acquire.files import from_files
from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.scenes import load
from glaciercube.api.predictions import predict, remake
from glaciercube.api.stores import append, verify, write
from glaciercube.cluster.plans import plan, read_plan
from glaciercube.cluster.progress import status
from glaciercube.cluster.runs import run
from glaciercube.cube.ablation import end_of_ablation
from glaciercube.cube.averaging import speckle_filtered
from glaciercube.cube.composites import composite
from glaciercube.cube.detectors import with_mask
from glaciercube.cube.harmonization import harmonize
from glaciercube.cube.masks import clear
from glaciercube.cube.ranking import rank_scenes
from glaciercube.cube.seasons import annual
from glaciercube.products.polygons import outlines
from glaciercube.products.rasters import export
from glaciercube.products.series import summarize
from glaciercube.simulate.archive import simulate
from glaciercube.store.overviews import build_overviews, read_overview
from glaciercube.store.reading import read
from glaciercube.view.plots import plot

__all__ = [
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
    "remake",
    "run",
    "search",
    "simulate",
    "speckle_filtered",
    "status",
    "summarize",
    "verify",
    "with_mask",
    "write",
]
