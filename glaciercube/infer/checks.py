"""What a cube and the cards must be, so that networks can run on it; checked before any pixel."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from glaciercube import grid, schema
from glaciercube.errors import GlacierCubeWarning, SchemaError, WeightsError
from glaciercube.infer.work import PROBABILITY
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.model.weights import check_weights_file

SHARED = ("confidence", "valid_fraction")
"""Layers that any network gives."""

OF_TASK = {"facies": ("facies",), "extent": ("extent", "glacier_probability")}
"""Layers that a network of a task gives by default; "probability" (facies) on request."""


def check_cards(cards: Sequence[ModelCard]) -> None:
    """Raise an error if cards cannot run together, or their weights are corrupt.

    Weights that are not on this machine may be on the one that computes: not an error here.

    Raises
    ------
    WeightsError
    """
    if not cards:
        raise WeightsError("predict needs one card or more, found none")
    tasks = [card.task for card in cards]
    if len(set(tasks)) < len(tasks):
        listed = [f"{card.name} ({card.task})" for card in cards]
        raise WeightsError(
            f"predict needs cards of different tasks, found {listed}; run it once for each"
        )
    for card in cards:
        if Path(card.weights).is_file():
            check_weights_file(card.weights, card.sha256)
        if not card.exact:
            warnings.warn(
                f"{card.name} is not exact under tiling, so that its result depends on the "
                "chunks of the cube; a large halo makes the difference small",
                GlacierCubeWarning,
                stacklevel=3,
            )


def check_cube(cube: xr.Dataset, cards: Sequence[ModelCard]) -> None:
    """Raise one error if a cube is not what the cards were trained on.

    Raises
    ------
    SchemaError
        For a variable, unit, band or level that is missing or another one.
    GridError
        If it has no grid.

    Warns
    -----
    GlacierCubeWarning
        If the pixels are smaller or larger than those a network was trained on.
    """
    schema.check(cube, schema.CUBE, "the cube")
    names = [str(name) for name in cube["band"].values] if "band" in cube.coords else []
    level = cube.attrs.get("level")
    for card in cards:
        channels.positions(names, card)
        if level not in card.radiometry:
            raise SchemaError(
                f"{card.name} was trained on reflectance of level {list(card.radiometry)}, the "
                f"cube's attrs['level'] is {level!r}; load images of that level or take another "
                "network"
            )
    _check_resolution(cube, cards)


def outputs_of(outputs: Sequence[str] | None, cards: Sequence[ModelCard]) -> tuple[str, ...]:
    """Return the layers to give, in the order of the schema.

    Raises
    ------
    SchemaError
        If the cards do not give one of them; the message lists what they give.
    """
    default = {name for card in cards for name in OF_TASK[card.task]} | set(SHARED)
    if outputs is None:
        return tuple(name for name in schema.LAYERS if name in default)
    possible = default | ({"probability"} if any(c.task == "facies" for c in cards) else set())
    unknown = [name for name in outputs if name not in possible]
    if unknown or not outputs:
        raise SchemaError(
            f"the cards {[card.name for card in cards]} give {sorted(possible)}; outputs has "
            f"{list(outputs)}"
        )
    return tuple(name for name in schema.LAYERS if name in outputs)


def planes_of(outputs: Sequence[str], cards: Sequence[ModelCard]) -> tuple[str, ...]:
    """Return what a block stacks: a plane per layer, one per facies for probability."""
    facies = next((card for card in cards if card.task == "facies"), None)
    more = [PROBABILITY + name for name in facies.categories] if facies else []
    planes = [name for name in outputs if name != "probability"]
    return (*planes, *(more if "probability" in outputs else ()))


def halo_of(halo: int | None, cards: Sequence[ModelCard]) -> tuple[int, int]:
    """Return the halo and the stride of all cards together.

    Raises
    ------
    SchemaError
        If a halo is given that is no whole number from 0 on.
    """
    stride = math.lcm(*(card.stride for card in cards))
    if halo is None:
        needed = max(card.halo for card in cards)
        return -(-needed // stride) * stride, stride
    if isinstance(halo, bool) or not isinstance(halo, int | np.integer) or halo < 0:
        raise SchemaError(f"halo needs a number of pixels, 0 or more, found {halo!r}")
    return int(halo), stride


def check_overlap(chunks: Sequence[tuple[int, ...]], halo: int, stride: int) -> None:
    """Raise an error if neighbours in a graph cannot give a halo.

    Parameters
    ----------
    chunks : two tuples of int
        Along y and x.
    halo, stride : int

    Raises
    ------
    SchemaError
    """
    for dim, sizes in zip(schema.GRID_DIMS, chunks, strict=True):
        small = min(sizes) < halo and len(sizes) > 1
        off = stride > 1 and (halo % stride or any(size % stride for size in sizes[:-1]))
        if small:
            raise SchemaError(
                f"chunks along {dim} must have at least the halo of {halo} pixels, found "
                f"{_listed(sizes)}; rechunk with cube.chunk({dim}={max(512, 2 * halo)}) such "
                "that the last is not smaller either, or write the cube and read it again"
            )
        if off and len(sizes) > 1:
            raise SchemaError(
                f"chunks along {dim} and the halo must be multiples of the network's stride "
                f"{stride}, found {_listed(sizes)} and {halo}; rechunk with "
                f"cube.chunk({dim}={stride * 32}), leave the halo out, or write the cube and "
                "read it again"
            )


def _check_resolution(cube, cards):
    geobox = grid.grid_of(cube, "the cube")
    found = float(np.sqrt(grid.pixel_area(geobox).mean()))
    for card in cards:
        low, high = card.resolution_m
        if not low * 0.999 <= found <= high * 1.001:
            warnings.warn(
                f"{card.name} was trained on pixels of {low:g} to {high:g} m, the cube has "
                f"{found:.4g} m; the result may be wrong: load the cube at such a resolution",
                GlacierCubeWarning,
                stacklevel=4,
            )


def _listed(sizes):
    shown = ", ".join(map(str, sizes[:8]))
    return f"({shown}, ... {sizes[-1]})" if len(sizes) > 9 else f"({shown})"
