"""A dataset seen as a store to be: checked, cut into blocks and fingerprinted."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from glaciercube import grid, schema
from glaciercube.errors import SchemaError
from glaciercube.store.layout import ALGORITHM_VERSION, BLOCK, stored_variable
from glaciercube.store.ledger import Header

KINDS = "biuf"
"""Kinds of data type that a store holds: bool, integers and floats."""


@dataclass(frozen=True)
class Plan:
    """What `write` is going to do; nothing is computed or written yet."""

    dataset: xr.Dataset
    """As given, its variables georeferenced and their encoding cleared."""

    geobox: GeoBox
    header: Header


def plan_of(dataset: xr.Dataset) -> Plan:
    """Return the plan of a store for a dataset.

    Raises
    ------
    SchemaError
        That lists everything that keeps the dataset from being stored.
    GridError
        If it has no grid or no CRS.
    """
    known = {name: want for name, want in schema.VARIABLES.items() if name in dataset}
    schema.check(dataset, known, "the dataset")
    geobox = grid.grid_of(dataset, "the dataset")
    problems = [
        *_name_problems(dataset),
        *_time_problems(dataset),
        *_chunk_problems(dataset),
        *_attribute_problems(dataset),
    ]
    if problems:
        raise SchemaError("the dataset cannot be stored:\n  " + "\n  ".join(problems))
    identity = _identity(dataset, geobox)
    fingerprint = hashlib.blake2b(
        json.dumps(identity, sort_keys=True).encode(), digest_size=16
    ).hexdigest()
    return Plan(
        dataset=_clean(dataset, geobox),
        geobox=geobox,
        header=Header(fingerprint=fingerprint, identity=identity),
    )


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return, in words, in what the identity of a store differs from the one wanted."""
    found = [
        f"{key} is {stored[key]!r} in the store, {wanted[key]!r} in the dataset"
        for key in ("sensor", "level", "block", "labels", "algorithm")
        if stored[key] != wanted[key]
    ]
    if stored["grid"] != wanted["grid"]:
        found.append(
            f"the grid is {stored['grid']['text']} in the store, {wanted['grid']['text']} "
            "in the dataset"
        )
    if stored["time"] != wanted["time"]:
        found.append(f"the store has {_span(stored['time'])}, the dataset {_span(wanted['time'])}")
    have, want = stored["variables"], wanted["variables"]
    if set(have) != set(want):
        found.append(f"the store has the variables {list(have)}, the dataset {list(want)}")
    for name in have.keys() & want.keys():
        if have[name] != want[name]:
            what = [key for key in want[name] if have[name].get(key) != want[name][key]]
            found.append(f"{name!r} differs in {' and '.join(what)}")
    return found


def _span(times):
    if not times:
        return "no dates"
    return f"{len(times)} dates from {times[0][:10]} to {times[-1][:10]}"


def _name_problems(dataset):
    if not dataset.data_vars:
        yield "it has no variables"
    for name, variable in dataset.data_vars.items():
        middle = variable.dims[1:-2] if variable.dims[:1] == ("time",) else variable.dims[:-2]
        if variable.dims[-2:] != ("y", "x") or {"time", "y", "x"} & set(middle):
            yield f"{name!r} has dims {variable.dims}, needs (time, ..., y, x) or (..., y, x)"
        elif variable.dtype.kind not in KINDS:
            yield f"{name!r} has dtype {variable.dtype}, needs bool, an integer or a float"
        if 0 in variable.shape:
            yield f"{name!r} is empty: its shape is {variable.shape}"


def _time_problems(dataset):
    if "time" not in dataset.dims:
        return
    index = dataset.indexes.get("time")
    if index is None or dataset["time"].dtype.kind != "M":
        yield "'time' has no dates: it needs a coordinate of datetime64"
    elif index.hasnans or not index.is_monotonic_increasing or not index.is_unique:
        yield "the dates in 'time' need to be sorted and unique; use .sortby('time') or group them"


def _chunk_problems(dataset):
    first: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, variable in dataset.data_vars.items():
        for dim, sizes in variable.chunksizes.items():
            if dim not in ("y", "x"):
                continue
            if len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]:
                yield (
                    f"{name!r} has irregular chunks along {dim}: {sizes}; "
                    f"use .chunk({dim}={max(sizes)})"
                )
            other, wanted = first.setdefault(str(dim), (str(name), sizes))
            if sizes != wanted:
                yield (
                    f"{name!r} has chunks {sizes} along {dim}, {other!r} {wanted}; "
                    f"use .chunk({dim}={max(wanted)})"
                )


def _attribute_problems(dataset):
    places = {"the dataset": dataset.attrs}
    places |= {repr(name): variable.attrs for name, variable in dataset.variables.items()}
    for place, attrs in places.items():
        for key, value in attrs.items():
            try:
                json.dumps(value, default=_plain)
            except TypeError:
                yield f"attribute {key!r} of {place} is {type(value).__name__}, needs JSON"


def _plain(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError


def _identity(dataset, geobox):
    labels = {
        str(dim): dataset[dim].values.tolist() if dim in dataset.coords else list(range(size))
        for dim, size in dataset.sizes.items()
        if dim not in ("time", "y", "x")
    }
    times = dataset["time"].values.astype("datetime64[ns]") if "time" in dataset.dims else []
    return {
        "algorithm": ALGORITHM_VERSION,
        "sensor": dataset.attrs.get("sensor"),
        "level": dataset.attrs.get("level"),
        "grid": {
            "text": grid.describe(geobox),
            "crs": geobox.crs.to_wkt(),
            "transform": [float(value) for value in tuple(geobox.affine)[:6]],
            "shape": [geobox.shape.y, geobox.shape.x],
        },
        "time": [str(time) for time in times],
        "labels": labels,
        "block": [_block_size(dataset, "y"), _block_size(dataset, "x")],
        "variables": {
            str(name): _variable_identity(str(name), variable)
            for name, variable in dataset.data_vars.items()
        },
    }


def _block_size(dataset, dim):
    sizes = [
        variable.chunksizes[dim][0]
        for variable in dataset.data_vars.values()
        if dim in variable.chunksizes
    ]
    return int(sizes[0]) if sizes else min(BLOCK, dataset.sizes[dim])


def _variable_identity(name, variable):
    stored = stored_variable(name, variable.dims, variable.shape, variable.dtype)
    lazy = isinstance(variable.data, da.Array)
    return {
        "dims": list(stored.dims),
        "dtype": stored.dtype,
        "codes": stored.codes,
        "fill": stored.fill,
        "scale_factor": stored.scale_factor,
        "add_offset": stored.add_offset,
        "content": variable.data.name if lazy else tokenize(np.asarray(variable.data)),
    }


def _clean(dataset, geobox):
    """Return the dataset with the CRS on every variable, and no encoding from elsewhere."""
    clean = dataset.drop_encoding()
    clean = clean.assign_coords({name: clean[name].load() for name in clean.coords})
    coords = xr_coords(geobox, dims=("y", "x"))
    if "spatial_ref" not in clean.coords:
        clean = clean.assign_coords(spatial_ref=coords["spatial_ref"])
    else:
        # A cut cube still carries the corner of the whole one.
        clean["spatial_ref"].attrs["GeoTransform"] = coords["spatial_ref"].attrs["GeoTransform"]
    for variable in clean.data_vars.values():
        variable.attrs.pop("grid_mapping", None)
        variable.encoding["grid_mapping"] = "spatial_ref"
    return clean
