"""The verbs: the place that joins the stages."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import rioxarray  # noqa: F401 - gives users `.rio`, by which they set a CRS
import xarray as xr

from glaciercube import cover, grid, schema
from glaciercube.acquire import failures
from glaciercube.acquire.catalogs import search
from glaciercube.acquire.explanation import explain
from glaciercube.acquire.files import from_files
from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.lineage import with_recipe
from glaciercube.acquire.recipes import loaded_again, of_files_again
from glaciercube.acquire.records import VERSION as RECIPES
from glaciercube.acquire.records import on_grid, outlines_of_record, outlines_record
from glaciercube.acquire.scenes import load
from glaciercube.cube.ablation import end_of_ablation
from glaciercube.cube.averaging import speckle_filtered
from glaciercube.cube.composites import composite
from glaciercube.cube.detectors import with_mask
from glaciercube.cube.harmonization import harmonize
from glaciercube.cube.masks import clear
from glaciercube.cube.ranking import rank_scenes
from glaciercube.cube.seasons import annual
from glaciercube.errors import GlacierCubeWarning, SchemaError, StoreError
from glaciercube.infer import lazy
from glaciercube.infer.lineage import narrowed
from glaciercube.infer.recipes import card_of_record, cube_record, predict_record, read_again
from glaciercube.model.card import ModelCard
from glaciercube.model.zoo import card_of
from glaciercube.products.extents import extent_within
from glaciercube.products.polygons import outlines
from glaciercube.products.rasters import export
from glaciercube.products.series import summarize
from glaciercube.simulate.archive import simulate
from glaciercube.store import appending, ledger, writing
from glaciercube.store.lineage import lineage_of
from glaciercube.store.places import place_of
from glaciercube.store.reading import read
from glaciercube.store.verification import verify
from glaciercube.store.writing import IncompleteWriteError, WriteReport
from glaciercube.view.plots import plot

__all__ = [
    "annual",
    "append",
    "clear",
    "composite",
    "end_of_ablation",
    "explain",
    "export",
    "from_files",
    "harmonize",
    "load",
    "outlines",
    "plot",
    "predict",
    "rank_scenes",
    "read",
    "read_outlines",
    "search",
    "simulate",
    "speckle_filtered",
    "summarize",
    "verify",
    "with_mask",
    "write",
]

Card = str | Path | ModelCard


def predict(
    cube: xr.Dataset,
    card: Card | Sequence[Card] = "facies",
    *,
    within: gpd.GeoDataFrame | None = None,
    outputs: Sequence[str] | None = None,
    halo: int | None = None,
    strategy: Literal["auto", "direct", "overlap"] = "auto",
) -> xr.Dataset:
    """Return the layers that one or more networks see in a cube, without computing them.

    Parameters
    ----------
    cube : Dataset
        `reflectance` (time, band, y, x), float32, and `valid` (time, y, x), as `read`,
        `load` or `from_files` gives it.
    card : str, path or ModelCard, or several of them
        A bundled network by name ("facies", "extent") or the path of a model card. Several
        networks of different tasks share one reading of each block.
    within : GeoDataFrame, optional
        Glacier outlines. Pixels that no outline touches become nodata. A facies network
        alone does not know a glacier from a snowy slope, so only with outlines does it
        give an `extent` as well (the share of them that looks like glacier).
    outputs : sequence of str, optional
        Which layers: "extent", "facies", "confidence", "valid_fraction",
        "glacier_probability", "probability" (one value per category; large). All but the
        last by default, as far as the cards' tasks give them.
    halo : int, optional
        Pixels read around each block; the exact halo of the cards by default.
    strategy : {"auto", "direct", "overlap"}
        "direct": each block reads its own halo from the store; possible only for what
        `read` gave, untouched. "overlap": chunks are shared between neighbours in the
        graph. "auto" takes the first where it is possible. The numbers are the same.

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
        If there is no such card.

    Notes
    -----
    The network is never in the Dask graph: each process loads it once when the first
    block is computed. Cloud, unreadable shadow and unmeasured pixels give `extent` 255,
    never 0.
    """
    named = [card] if isinstance(card, str | Path | ModelCard) else list(card)
    cards = [card_of(one) for one in named]
    from_facies = within is not None and all(one.task != "extent" for one in cards)
    if outputs is not None and "extent" in outputs and not from_facies:
        _require_extent(cards)
    wanted = outputs
    if outputs is not None and from_facies:
        wanted = list({"facies", *outputs} - {"extent"})
    layers = lazy.predict(cube, cards, outputs=wanted, halo=halo, strategy=strategy)
    source = cube_record(cube)
    recipe = predict_record(source, cards, outputs, halo, strategy) if source else {}
    if within is not None:
        some, told = on_grid(within, grid.grid_of(layers, "the layers"))
        layers = _restricted(layers, within, told, add_extent=from_facies)
        unasked = set() if outputs is None else {"facies", "extent"} - set(outputs)
        layers = layers.drop_vars(unasked & set(layers))
        recipe |= {"within": outlines_record(some)} if recipe else {}
    return with_recipe(layers, recipe | {"variables": list(layers.data_vars)} if recipe else {})


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
        halo=recipe["halo"],
        strategy=recipe["strategy"],
    )
    return with_recipe(layers[recipe["variables"]], recipe)


def write(
    dataset: xr.Dataset,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    retry_unread: bool = False,
    take_over: bool = False,
    progress: bool = False,
) -> WriteReport:
    """Write a cube to a Zarr store, or go on with a write that was interrupted.

    Parameters
    ----------
    dataset : Dataset
        Variables (time, ..., y, x) or (y, x) on one grid, lazy or not.
    path : str or path
        A directory, made if it does not exist; or the address of an object store
        ("s3://bucket/name.zarr") or of an Icechunk repository ("icechunk+file:///data/name").
    overwrite : bool
        Replace the store that is there. The new one grows beside it and takes its place
        when it is complete: an interruption loses nothing, and the next call goes on. Of
        directories only.
    retry_unread : bool
        Compute blocks again that have holes because a source could not be read.
    take_over : bool
        Write although another process has said that it writes other content: it is gone.
    progress : bool
        Show a progress bar (not with a `dask.distributed` client, which has its own).

    Returns
    -------
    WriteReport
        What was done; `unread` counts the pixels that are holes because a source could not be
        read, `read_failures` says which reads of this call these were and why.

    Raises
    ------
    SchemaError, GridError
        If the dataset cannot be stored; nothing is written.
    StoreError
        If the path holds a different cube or something else, which is then left as it is;
        if it cannot be written, or is being written with other content; or if blocks failed,
        after all others are done.

    Warns
    -----
    GlacierCubeWarning
        If reads failed, or values lay beyond the range of their codes.

    Notes
    -----
    A block is computed again if it is not done, or if its inputs have changed since; a dataset
    that was made with other parameters or weights is refused. See `store.writing.write`. What
    could not be read is kept beside the ledger, in `_glaciercube/read_failures.json`.
    """
    options = {"overwrite": overwrite, "retry_unread": retry_unread, "take_over": take_over}
    return _recorded(writing.write, dataset, path, progress=progress, **options)


def append(
    dataset: xr.Dataset,
    path: str | os.PathLike,
    *,
    take_over: bool = False,
    progress: bool = False,
) -> WriteReport:
    """Add to a store the dates of a cube that it does not have; calling it again is harmless.

    Parameters
    ----------
    dataset : Dataset
        As for `write`, made in the same way as what the store holds; variables without time may
        be left out.
    path : str or path
        Of a store; made if there is none.
    take_over : bool
        Append although another process has said that it writes other content: it is gone.
    progress : bool
        Show a progress bar for each group of dates.

    Returns
    -------
    WriteReport
        Of the new dates; `dates` are those that readers see now.

    Raises
    ------
    SchemaError, GridError
        If the dataset cannot be stored; nothing is written.
    StoreError
        If the store is another cube's; if it cannot be written, or is being written with
        other content; or if blocks failed.

    Warns
    -----
    GlacierCubeWarning
        If reads failed, or values lay beyond the range of their codes.

    Notes
    -----
    A reader sees a date when it is complete and not before, see `store.appending.append`.
    Dates lie on disk in the order of their arrival; `read` sorts them.
    """
    return _recorded(appending.append, dataset, path, take_over=take_over, progress=progress)


def _recorded(function, dataset, path, **options):
    """Write, and keep with the store what could not be read."""
    failed: list[failures.Failure] = []
    try:
        with failures.collected() as failed:
            report = function(dataset, path, **options)
    except IncompleteWriteError as error:
        if error.report is not None:
            _keep(failed, error.report.path)
        raise
    _keep(failed, report.path)
    return replace(report, read_failures=tuple(failed))


def _keep(failed, path):
    """Keep failed reads with the store and warn of them."""
    if not failed:
        return
    ledger.add_read_failures(place_of(path), [failure.as_dict() for failure in failed])
    warnings.warn(
        f"{failures.summary(failed)}\n{path} has holes there, marked in 'read_failed'; write again "
        "with retry_unread=True to fill them",
        GlacierCubeWarning,
        stacklevel=4,
    )


def _require_extent(cards):
    if all(card.task != "extent" for card in cards):
        raise SchemaError(
            "'extent' needs a network with an extent task or outlines (within=...): the cards "
            f"{[card.name for card in cards]} see facies, which do not tell a glacier from a "
            "snowy slope"
        )


def _restricted(layers, within, told, add_extent):
    """Return layers that are nodata outside outlines, `told` a hash of these."""
    geobox = grid.grid_of(layers, "the layers")
    cover.require_overlap(within, geobox, "the outlines of within=")
    first = next(iter(layers[name] for name in schema.LAYERS if name in layers))
    chunks = {dim: first.chunksizes[dim] for dim in schema.GRID_DIMS}
    inside = cover.lazy_inside(within, geobox, chunks, touched=True)
    out = layers.copy()
    for name in schema.LAYERS:
        if name not in layers:
            continue
        layer = layers[name]
        fill = schema.NODATA if layer.dtype == "uint8" else float("nan")
        masked = layer.where(inside, layer.dtype.type(fill))
        out[name] = masked.transpose(*layer.dims).assign_attrs(layer.attrs)
        out[name].encoding = dict(layer.encoding)
        mark = {"outlines": told, "algorithm": cover.ALGORITHM_VERSION}
        out[name] = narrowed(out[name], lineage_of(layer), within=mark)
    if add_extent and "facies" in out:
        out["extent"] = narrowed(extent_within(out["facies"]), lineage_of(out["facies"]))
    return grid.georeferenced(out, geobox)
