"""Cubes made again from what a store knows of them."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from glaciercube.acquire.files import from_files
from glaciercube.acquire.lineage import with_recipe
from glaciercube.acquire.records import (
    dem_of_record,
    geobox_of_record,
    items_of_records,
    outlines_of_record,
    require_files,
)
from glaciercube.acquire.scenes import load

QUIET = {"warn": "trust-pixels"}
"""How offsets are settled again: the same numbers, what was warned of is not said twice."""


def loaded_again(recipe: Mapping[str, Any]) -> xr.Dataset:
    """Return the cube of items that a recipe tells of, lazily.

    Parameters
    ----------
    recipe : mapping
        As `load` keeps it with the variables of a cube.

    Returns
    -------
    Dataset
        Of the same parameters and inputs as long as the sources are what they were. A source
        that cannot be read raises when a block of it is computed, whatever the cube was loaded
        with: a hole is no repair.

    Raises
    ------
    AcquireError
        That names the files that are gone or changed.
    """
    require_files(recipe["files"])
    outlines = {
        name: outlines_of_record(recipe[name]) for name in ("outlines", "within") if name in recipe
    }
    dem = recipe.get("dem")
    cube = load(
        items_of_records(recipe["items"], dem),
        geobox_of_record(recipe["grid"]),
        bands=recipe["bands"],
        dem=dem_of_record(dem),
        terrain=recipe["terrain"],
        chunk=recipe["chunk"],
        check=QUIET.get(recipe["check"], recipe["check"]),
        on_read_error="raise",
        allow_local=recipe["allow_local"],
        **outlines,
    )
    return with_recipe(cube, recipe)


def of_files_again(recipe: Mapping[str, Any]) -> xr.Dataset:
    """Return the cube of files that a recipe tells of, lazily.

    Parameters
    ----------
    recipe : mapping
        As `from_files` keeps it with the variables of a cube.

    Raises
    ------
    AcquireError
        That names the files that are gone or changed.
    """
    require_files(recipe["files"])
    cube = from_files(
        recipe["paths"],
        recipe["sensor"],
        dates=recipe["dates"],
        bands=recipe["bands"],
        chunk=recipe["chunk"],
        check=QUIET.get(recipe["check"], recipe["check"]),
    )
    return with_recipe(cube, recipe)
