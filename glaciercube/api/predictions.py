"""Layers of a cube, restricted to outlines where asked; and any dataset made again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import xarray as xr

from glaciercube import cover, grid
from glaciercube.acquire.lineage import with_recipe
from glaciercube.acquire.recipes import loaded_again, of_files_again
from glaciercube.acquire.records import VERSION as RECIPES
from glaciercube.acquire.records import on_grid, outlines_of_record, outlines_record
from glaciercube.cover.regions import region_of
from glaciercube.errors import SchemaError, StoreError
from glaciercube.infer import lazy
from glaciercube.infer.halos import DISAGREEMENT, Halo, of_attrs
from glaciercube.infer.recipes import (
    card_of_record,
    cube_record,
    halo_of_record,
    predict_record,
    read_again,
)
from glaciercube.model.card import ModelCard
from glaciercube.model.zoo import card_of

Card = str | Path | ModelCard


def predict(
    cube: xr.Dataset,
    card: Card | Sequence[Card] = "facies",
    *,
    within: gpd.GeoDataFrame | None = None,
    outputs: Sequence[str] | None = None,
    halo: Halo = None,
    disagreement: float = DISAGREEMENT,
    strategy: Literal["auto", "direct", "overlap"] = "auto",
    views: Literal[1, 8] = 1,
    quantized: bool = False,
    runtime: str = "auto",
) -> xr.Dataset:
    """Return the layers that one or more networks see in a cube, without computing them.

    Only `halo="effective"` reads and computes a sample of the cube at once.

    Parameters
    ----------
    cube : Dataset
        `reflectance` (time, band, y, x), float32, and `valid` (time, y, x), as `read`,
        `load` or `from_files` gives it.
    card : str, path or ModelCard, or several of them
        A bundled network by name ("facies", "extent") or the path of a model card; for a
        network of one's own see `glaciercube.model.hold` and `write_network`. Several networks
        share one reading of each block; those of one task are an ensemble, whose probabilities
        are averaged.
    within : GeoDataFrame, optional
        Glacier outlines. Pixels that no outline touches become nodata; they are not read and
        reach no network, so that time and bytes follow the glaciers. A facies network
        alone does not know a glacier from a snowy slope, so only with outlines does it
        give an `extent` as well (the share of them that looks like glacier).
    outputs : sequence of str, optional
        Which layers: "extent", "facies", "confidence", "valid_fraction",
        "glacier_probability" by default, as far as the cards' tasks give them; on request
        "probability" (one value per category; large), "entropy", and of several networks or
        views "mutual_information", which tells where they disagree.
    halo : int, "effective" or EffectiveHalo, optional
        Pixels read around each block; the exact halo of the cards by default, with which
        blocks give what the whole image gives. "effective": the smallest multiple of the
        networks' stride with which the classes of blocks hardly differ from that, measured
        now, on some blocks of this cube, and recorded in the attributes of the layers (`halo`,
        `halo_exact`, `halo_disagreement` with its upper bound `halo_disagreement_upper`,
        `halo_bound`, `halo_sample_pixels`, `halo_sample_tiles`). What was measured before is
        taken as it is.
    disagreement : float
        Largest share of pixels whose class an effective halo may change, 0-1.
    strategy : {"auto", "direct", "overlap"}
        "direct": each block reads its own halo from the store; possible only for what
        `read` gave, untouched. "overlap": chunks are shared between neighbours in the
        graph. "auto" takes the first where it is possible. The numbers are the same.
    views : {1, 8}
        8: average over the image's eight turned and flipped views, at eight times the cost.
    quantized : bool
        Give shares as the codes of 8 bits that a store keeps, with CF attributes
        (`xarray.decode_cf` gives the shares), in a quarter of the memory.
    runtime : str
        How the networks run. "auto": the fastest way here that gives the classes of float32 in
        99.9 % of the pixels of some blocks of the cube, measured once for a store (or for layers
        in memory, when they are computed) and kept with it; cubes of fewer than 17 million
        pixels take float32. Or a name: "torch" (float32), "torch-bfloat16" (faster where the
        processor has it), "torch-compile", or "torch-eager", the plain network that the others
        are compared with. What is not float32 is compared in any case, and refused if it agrees
        less.

    Returns
    -------
    Dataset, lazy
        `extent` and `facies` (time, y, x), uint8 codes with CF flags, 255 nodata;
        `confidence`, `valid_fraction`, `glacier_probability` (time, y, x), float32, 0-1;
        `probability` (time, category, y, x), float32, 0-1; with the cube's `valid` and
        `elevation` where present.

    Raises
    ------
    SchemaError
        If the cube lacks a band the card needs, or chunks are smaller than the halo.
    WeightsError
        If there is no such card, its network cannot run (see `infer.readiness`), or the
        effective halo is asked for of a network that is not exact under tiling.

    Warns
    -----
    GlacierCubeWarning
        If the cube has too few measured pixels to measure the effective halo, so that the
        exact one is taken.

    Notes
    -----
    The network is never in the Dask graph: each process loads it once when the first
    block is computed. Cloud, unreadable shadow and unmeasured pixels give `extent` 255,
    never 0.
    """
    several = isinstance(card, Sequence) and not isinstance(card, str)
    named: Sequence[Any] = card if several else [card]  # type: ignore[assignment]
    cards = [card_of(one) for one in named]
    from_facies = within is not None and all(one.task != "extent" for one in cards)
    if outputs is not None and "extent" in outputs and not from_facies:
        _require_extent(cards)
    region, mark, some = None, None, None
    if within is not None:
        geobox = grid.grid_of(cube, "the cube")
        some, told = on_grid(within, geobox)
        cover.require_overlap(within, geobox, "the outlines of within=")
        region = region_of(some, geobox)
        mark = {"outlines": told, "algorithm": cover.ALGORITHM_VERSION}
    options: dict[str, Any] = {"views": views, "quantized": quantized, "runtime": runtime}
    layers = lazy.predict(
        cube, cards, outputs=outputs, halo=halo, disagreement=disagreement, strategy=strategy,
        region=region, region_mark=mark, **options,
    )  # fmt: skip
    source = cube_record(cube)
    if not source:
        return layers
    taken = of_attrs(layers.attrs) or halo
    recipe = predict_record(source, cards, outputs, taken, strategy) | options
    recipe |= {} if some is None else {"within": outlines_record(some)}
    return with_recipe(layers, recipe | {"variables": list(layers.data_vars)})


def remake(recipe: Mapping[str, Any]) -> xr.Dataset:
    """Return the dataset again that a store was written from, lazily.

    Parameters
    ----------
    recipe : mapping
        JSON, as `load`, `from_files` and `predict` keep it with the variables of a dataset, and
        `write` with a store. It names files, addresses and other stores, which are read: take
        it from stores that you trust.

    Returns
    -------
    Dataset
        Made in the same way. If its sources are what they were, so are the fingerprints of its
        blocks; what could not be read raises when it is computed.

    Raises
    ------
    StoreError
        If the recipe is of a newer version or unknown, or a store that was read is gone.
    AcquireError
        If files are gone or changed; they are named.
    WeightsError
        If weights are gone or other ones.
    """
    makers: dict[str, Callable[[Mapping[str, Any]], xr.Dataset]] = {
        "from_files": of_files_again,
        "load": loaded_again,
        "predict": _predicted_again,
        "read": read_again,
    }
    verb, version = recipe.get("verb"), recipe.get("version", 0)
    if verb not in makers or version > RECIPES:
        raise StoreError(
            f"a recipe is of {sorted(makers)} and of version {RECIPES} at most, found {verb!r} of "
            f"version {version}; update glaciercube, or make the dataset again as it was made"
        )
    return makers[str(verb)](recipe)


def _predicted_again(recipe):
    within = recipe.get("within")
    layers = predict(
        remake(recipe["cube"]),
        [card_of_record(record) for record in recipe["cards"]],
        within=None if within is None else outlines_of_record(within),
        outputs=recipe["outputs"],
        halo=halo_of_record(recipe),
        strategy=recipe["strategy"],
        views=recipe.get("views", 1),
        quantized=recipe.get("quantized", False),
        runtime=recipe.get("runtime", "torch"),
    )
    return with_recipe(layers[recipe["variables"]], recipe)


def _require_extent(cards):
    if all(card.task != "extent" for card in cards):
        raise SchemaError(
            "'extent' needs a network with an extent task or outlines (within=...): the cards "
            f"{[card.name for card in cards]} see facies, which do not tell a glacier from a "
            "snowy slope"
        )
