"""What a cube and the cards must be, so that networks can run on it; checked before any pixel."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from glaciercube import grid, schema
from glaciercube.errors import GlacierCubeWarning, SchemaError, WeightsError
from glaciercube.infer import dates, readiness
from glaciercube.infer.halos import EFFECTIVE, EffectiveHalo, Halo
from glaciercube.infer.work import PROBABILITY, Work
from glaciercube.model import channels
from glaciercube.model.card import WINDOW, ModelCard

LARGEST_MERGED = 2**31
"""Bytes of a block whose bands are brought together; a task makes two or three copies of it."""

SHARED = ("confidence", "valid_fraction")
"""Layers that any network gives."""

OF_TASK = {"facies": ("facies",), "extent": ("extent", "glacier_probability")}
"""Layers that a network of a task gives by default; "probability" (facies) on request."""


def check_cards(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return cards that can run together, their networks looked at as `readiness` says.

    Raises
    ------
    WeightsError
        If they cannot, or one of them not at all.
    """
    if not cards:
        raise WeightsError("predict needs one card or more, found none")
    first: dict[str, ModelCard] = {}
    for card in cards:
        one = first.setdefault(card.task, card)
        if one.categories != card.categories:
            raise WeightsError(
                f"cards of one task are averaged, so they need the same categories in the same "
                f"order; {one.name} has {list(one.categories)}, {card.name} has "
                f"{list(card.categories)}: run predict once for each"
            )
    return [readiness.ready(card) for card in cards]


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
        If the pixels are smaller or larger than those a network was trained on, or dates lie
        outside the season of one that sees several.
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
    _check_seasons(cube, cards)


def outputs_of(
    outputs: Sequence[str] | None,
    cards: Sequence[ModelCard],
    *,
    several: bool = False,
    inside: bool = False,
) -> tuple[str, ...]:
    """Return the layers to give, in the order of the schema.

    Parameters
    ----------
    outputs : sequence of str, optional
    cards : sequence of ModelCard
    several : bool
        Whether a task has several members, networks or views, which may disagree.
    inside : bool
        Whether only glaciers are looked at, so that facies tell their extent.

    Raises
    ------
    SchemaError
        If the cards do not give one of them; the message lists what they give.
    """
    tasks = {card.task for card in cards}
    default = {name for task in tasks for name in OF_TASK[task]} | set(SHARED)
    default |= {"extent"} if inside else set()
    if outputs is None:
        return tuple(name for name in schema.LAYERS if name in default)
    possible = default | {"entropy"} | ({"mutual_information"} if several else set())
    possible |= {"probability"} if "facies" in tasks else set()
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


def halo_of(halo: Halo, cards: Sequence[ModelCard]) -> tuple[int, int]:
    """Return the halo and the stride of all cards together.

    Parameters
    ----------
    halo : int, "effective" or EffectiveHalo, optional
        Of "effective" the exact halo is returned, as it is not measured yet.
    cards : sequence of ModelCard

    Raises
    ------
    SchemaError
        If a halo is given that is no whole number from 0 on.
    WeightsError
        If the effective halo is asked for of networks that are not exact.
    """
    stride = math.lcm(*(card.stride for card in cards))
    measured = isinstance(halo, str) and halo == EFFECTIVE
    if measured:
        _require_exact(cards)
    if halo is None or measured:
        needed = max(_halo_of(card) for card in cards)
        return -(-needed // stride) * stride, stride
    if isinstance(halo, EffectiveHalo):
        return halo.halo, stride
    if isinstance(halo, bool) or not isinstance(halo, int | np.integer) or halo < 0:
        raise SchemaError(
            f"halo needs a number of pixels, 0 or more, or {EFFECTIVE!r}, found {halo!r}"
        )
    return int(halo), stride


def share_of(disagreement: float) -> float:
    """Return the share of classes that an effective halo may change.

    Raises
    ------
    SchemaError
        If it is no number between 0 and 1.
    """
    found = disagreement
    if isinstance(found, bool) or not isinstance(found, float | int) or not 0 < found < 1:
        raise SchemaError(
            f"disagreement needs a share of the classes above 0 and below 1, such as 1e-4, found "
            f"{found!r}"
        )
    return float(found)


def _require_exact(cards):
    inexact = [card.name for card in cards if not card.exact]
    if inexact:
        raise WeightsError(
            f"halo={EFFECTIVE!r} needs networks that tile exactly, so that there is something to "
            f"compare with, but {inexact} are blended on windows; leave halo out for them"
        )


def _halo_of(card):
    if card.exact or card.halo:
        return card.halo
    return (card.window or WINDOW) // 2


def views_of(views: int, all_views: int) -> int:
    """Return the number of views to average.

    Raises
    ------
    SchemaError
        If it is neither one nor all.
    """
    if views not in (1, all_views):
        raise SchemaError(f"views must be 1 or {all_views}, found {views!r}")
    return int(views)


def check_merged(reflectance: xr.DataArray) -> None:
    """Raise an error if the bands of a cube are chunks whose sum is too large for a task.

    Networks see all bands of a pixel at once, so chunks along band are brought together in the
    graph; dates are looked at one by one, and may be chunked in any way.

    Parameters
    ----------
    reflectance : DataArray (time, band, y, x), lazy or not

    Raises
    ------
    SchemaError
    """
    if reflectance.chunks is None or len(reflectance.chunksizes["band"]) == 1:
        return
    largest = {str(dim): max(sizes) for dim, sizes in reflectance.chunksizes.items()}
    largest["band"] = reflectance.sizes["band"]
    size = math.prod(largest.values()) * reflectance.dtype.itemsize
    if size > LARGEST_MERGED:
        raise SchemaError(
            f"all bands of a block are needed at once, and the cube is chunked along band: "
            f"{largest} together are {size / 2**30:.1f} GiB, more than "
            f"{LARGEST_MERGED / 2**30:.0f}; load it with chunks of a date and all bands "
            "(time=1, band=-1), or write the cube and read it again"
        )


def overlap_of(work: Work) -> tuple[tuple[int, int], Work]:
    """Return how many pixels neighbours in a graph give along y and x, and the work of that.

    An axis of one chunk has no neighbours, and may be smaller than the halo.

    Parameters
    ----------
    work : Work

    Raises
    ------
    SchemaError
        If a chunk is smaller than what its neighbour needs of it.
    """
    reach = work.halo if _on_lattice(work) else work.reach
    for dim, sizes in zip(schema.GRID_DIMS, work.chunks[1:], strict=True):
        if min(sizes) < reach and len(sizes) > 1:
            raise SchemaError(
                f"chunks along {dim} must have at least the halo of {reach} pixels, found "
                f"{_listed(sizes)}; rechunk with cube.chunk({dim}={max(512, 2 * reach)}) such "
                "that the last is not smaller either, or write the cube and read it again"
            )
    down, across = (reach if len(sizes) > 1 else 0 for sizes in work.chunks[1:])
    return (down, across), replace(work, depth=reach)


def _on_lattice(work):
    """Say whether windows of a halo around blocks start and end on the network's lattice."""
    sizes = [work.halo, *(size for axis in work.chunks[1:] for size in axis[:-1])]
    return work.reach == work.halo + work.stride - 1 and (
        work.stride == 1 or (work.views == 1 and not any(size % work.stride for size in sizes))
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


def _check_seasons(cube, cards):
    days = cube["time"].values.astype("datetime64[D]")
    for card in cards:
        season = card.dates.get("season")
        outside = [] if season is None else days[~dates.seasons(days, season)[0]]
        if len(outside):
            warnings.warn(
                f"{card.name} was trained on dates from {season[0]} to {season[1]}, "
                f"{len(outside)} of {len(days)} dates of the cube lie outside, the first on "
                f"{outside[0]}: each of them is seen alone and the result may be wrong; leave them "
                "out with read(path, time=)",
                GlacierCubeWarning,
                stacklevel=4,
            )


def _listed(sizes):
    shown = ", ".join(map(str, sizes[:8]))
    return f"({shown}, ... {sizes[-1]})" if len(sizes) > 9 else f"({shown})"
