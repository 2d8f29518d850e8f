"""The groups of levels on disk: made empty, shown to readers when they are whole, taken away."""

from typing import Any

import numpy as np
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from glaciercube.store import dates
from glaciercube.store.layout import Layout, Stored
from glaciercube.store.levels import (
    CELL_METHODS,
    FOLDER,
    MULTISCALES,
    Pyramid,
    level_geobox,
    multiscales_attrs,
    path_of,
)
from glaciercube.store.places import Place
from glaciercube.store.template import OWN_ATTRIBUTES, geozarr_attrs


def create_levels(place: Place, geobox: GeoBox, pyramid: Pyramid) -> None:
    """Write the empty groups of all levels, without dates; readers are not told of them.

    Parameters
    ----------
    place : Place
        To write to.
    geobox : GeoBox
        Of the store.
    pyramid : Pyramid

    Notes
    -----
    A level has the variables of the store with their attributes, encoding and codec, and its
    coordinates but those that have a value per pixel.
    """
    root = zarr.open_group(place.zarr(writable=True), mode="r+", use_consolidated=False)
    native = {array.basename: array for array in dates.arrays_of(root)}
    for factor in pyramid.factors:
        grid = level_geobox(geobox, pyramid, factor)
        level = pyramid.level(factor)
        own = geozarr_attrs(grid)
        root.create_group(path_of(factor), attributes={**_given(dict(root.attrs)), **own})
        for stored, of_level in zip(pyramid.layout.variables, level.variables, strict=True):
            method = CELL_METHODS[pyramid.reductions[stored.name].method]
            attrs = {**native[stored.name].attrs, **own, "cell_methods": method}
            _create_variable(root, native[stored.name], attrs, (of_level, level))
        for name, array in native.items():
            if name not in pyramid.reductions:
                _create_coordinate(root, array, (path_of(factor), name), grid)


def _given(attrs):
    """Return the attributes of the store that are not about its own grid and levels."""
    hidden = (*OWN_ATTRIBUTES, "multiscales")
    return {key: value for key, value in attrs.items() if not key.startswith(hidden)}


def _create_variable(root, native, attrs, at: tuple[Stored, Layout]):
    stored, level = at
    shards, chunks = level.shards(stored)
    root.create_array(
        stored.name,
        shape=dates.with_dates(native, 0)[:-2] + stored.shape[-2:],
        chunks=chunks,
        shards=shards,
        dtype=native.metadata.data_type,
        fill_value=native.fill_value,
        compressors=native.compressors,
        dimension_names=dates.dims_of(native),
        attributes=attrs,
    )


def _create_coordinate(root, native, at: tuple[str, str], grid):
    """Write a coordinate of a level; of those along time, an empty one."""
    path, name = at
    dims = dates.dims_of(native)
    values, attrs = np.asarray(native[...]), dict(native.attrs)
    if name in ("y", "x") or name == attrs.get("grid_mapping", "spatial_ref"):
        coords = xr_coords(grid, dims=("y", "x"))
        attrs |= {key: value for key, value in coords[name].attrs.items() if key in attrs}
        values = coords[name].values if dims else values
    elif {"y", "x"} & set(dims):
        return
    shape = tuple(0 if dim == "time" else n for dim, n in zip(dims, values.shape, strict=True))
    array = root.create_array(
        f"{path}/{name}",
        shape=shape,
        chunks=tuple(
            chunk if dim == "time" else max(1, size)
            for dim, chunk, size in zip(dims, native.chunks, shape, strict=True)
        ),
        dtype=native.metadata.data_type,
        fill_value=native.fill_value,
        compressors=native.compressors,
        dimension_names=dims or None,
        attributes=attrs,
    )
    if 0 not in shape:
        array[...] = values


def publish_levels(place: Place, geobox: GeoBox, pyramid: Pyramid) -> None:
    """Let readers see all levels with the dates that they see of the store.

    Parameters
    ----------
    place : Place
        To write to.
    geobox : GeoBox
        Of the store.
    pyramid : Pyramid
        Whose units have all been derived.
    """
    seen = dates.seen(place)
    times = pyramid.layout.times
    root = zarr.open_group(place.zarr(writable=True), mode="r+", use_consolidated=False)
    for factor in pyramid.factors:
        group = root[path_of(factor)]
        assert isinstance(group, zarr.Group)
        _lengthen(group, seen, times)
        if place.consolidates:
            with dates.quiet():
                zarr.consolidate_metadata(
                    place.zarr(writable=True), path=path_of(factor), zarr_format=3
                )
    dates.consolidate(place)
    whole = zarr.open_group(place.zarr(writable=True), mode="r+")
    whole.update_attributes(multiscales_attrs(geobox, pyramid))


def _lengthen(group, seen, times):
    """Write a level's coordinates along time, then the length of its arrays."""
    arrays = {array.basename: array for array in dates.arrays_of(group)}
    for name in seen.temporal_coords() & arrays.keys():
        array = arrays[name]
        values = seen.coord(name)[:times]
        dates.resized(array, dates.with_dates(array, times))[...] = values
    for array in arrays.values():
        shape = dates.with_dates(array, times)
        if shape != array.shape:
            array.resize(shape)


def are_published(place: Place, geobox: GeoBox, pyramid: Pyramid) -> bool:
    """Say whether the store tells readers of these levels."""
    attrs = dates.seen(place).attrs
    return all(attrs.get(key) == value for key, value in multiscales_attrs(geobox, pyramid).items())


def remove_levels(place: Place) -> None:
    """Take all levels away: first from what readers see, then from the store."""
    whole = zarr.open_group(place.zarr(writable=True), mode="r+")
    attrs: dict[str, Any] = dict(whole.attrs)
    if attrs.pop("multiscales", None) is not None:
        attrs["zarr_conventions"] = [
            one for one in attrs.get("zarr_conventions", []) if one["uuid"] != MULTISCALES["uuid"]
        ]
        whole.attrs.put(attrs)
    root = zarr.open_group(place.zarr(writable=True), mode="r+", use_consolidated=False)
    if FOLDER in root:
        del root[FOLDER]
        dates.consolidate(place)
