"""A dataset seen as a store to be: checked, cut into blocks and fingerprinted."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from glaciercube import grid, schema
from glaciercube.errors import SchemaError
from glaciercube.store.layout import ALGORITHM_VERSION, BLOCK, Block, stored_variable
from glaciercube.store.ledger import Header, is_name
from glaciercube.store.lineage import Lineage, fingerprint, lineage_of
from glaciercube.store.making import Making, making_of

KINDS = "biuf"
"""Kinds of data type that a store holds: bool, integers and floats."""


@dataclass(frozen=True)
class Plan:
    """What `write` is going to do; nothing is computed or written yet."""

    dataset: xr.Dataset
    """As given, its variables georeferenced and their encoding cleared."""

    geobox: GeoBox
    header: Header
    """Of the store; its dates are those on disk, in their order there."""

    lineages: Mapping[str, Lineage]
    """Of what variables are made, where it is known."""

    makings: Mapping[str, Making]
    """How variables are best computed, where it is known."""

    content: Mapping[str, str]
    """Names of the arrays of the other variables."""

    @cached_property
    def times(self) -> tuple[str, ...]:
        """Dates of the dataset, in its order."""
        return _times_of(self.dataset)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """How to make the dataset again; empty if there is no one way."""
        found = {json.dumps(one.recipe, sort_keys=True): one.recipe for one in self._recipes}
        whole = [recipe for recipe in found.values() if recipe.get("verb") != "read"]
        candidates = whole or list(found.values())
        return candidates[0] if len(candidates) == 1 and not self.content else {}

    @property
    def _recipes(self):
        return [lineage for lineage in self.lineages.values() if lineage.recipe]

    def at(self, header: Header) -> "Plan":
        """Return the plan for a store that has a header of its own, and dates in its order."""
        return replace(self, header=header)

    def index(self, slot: int) -> int:
        """Return the index in the dataset of a date on disk."""
        return self._indices[self.header.times[slot]]

    @cached_property
    def _indices(self):
        return {time: index for index, time in enumerate(self.times)}

    def fingerprints(self) -> Callable[[Block], str]:
        """Return a function that gives the fingerprint of what a block is made of."""
        layout = self.header.layout
        for lineage in self.lineages.values():
            refresh = getattr(lineage.inputs, "refresh", None)
            if refresh is not None:
                refresh()
        recipe = fingerprint(json.dumps(self.header.identity, sort_keys=True))
        moments = [np.datetime64(time, "ns") for time in self.header.times]
        names = {
            temporal: sorted(stored.name for stored in layout.of(temporal))
            for temporal in (False, True)
        }

        def of(block: Block) -> str:
            temporal = block.time is not None
            time = None if block.time is None else moments[block.time]
            window, known = layout.window(block), {}
            parts = [recipe, str(time), str(window)]
            for name in names[temporal]:
                lineage = self.lineages.get(name)
                if lineage is None:
                    parts.append(self.content[name])
                    continue
                if id(lineage.inputs) not in known:
                    known[id(lineage.inputs)] = lineage.inputs.of(time, window)
                parts.append(known[id(lineage.inputs)])
            return fingerprint(*parts)

        return of


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
    lineages = _known(dataset, lineage_of)
    content = {
        str(name): _content(variable)
        for name, variable in dataset.data_vars.items()
        if name not in lineages
    }
    identity = _identity(dataset, geobox, lineages)
    times = _times_of(dataset)
    whole = json.dumps([identity, content, times], sort_keys=True)
    header = Header(fingerprint=fingerprint(whole), identity=identity, content=content, times=times)
    return Plan(
        dataset=_clean(dataset, geobox),
        geobox=geobox,
        header=header,
        lineages=lineages,
        makings=_known(dataset, making_of),
        content=content,
    )


def _known(dataset, what):
    """Return what is known of variables, by their names."""
    found = {str(name): what(variable) for name, variable in dataset.data_vars.items()}
    return {name: one for name, one in found.items() if one is not None}


def _content(variable):
    lazy = isinstance(variable.data, da.Array)
    return variable.data.name if lazy else tokenize(np.asarray(variable.data))


def _times_of(dataset):
    times = dataset["time"].values.astype("datetime64[ns]") if "time" in dataset.dims else []
    return tuple(str(time) for time in times)


def differences(stored: Header, wanted: Header) -> list[str]:
    """Return, in words, in what a store differs from the one wanted, dates apart."""
    have, want = stored.identity, wanted.identity
    found = [
        f"{key} is {have[key]!r} in the store, {want[key]!r} in the dataset"
        for key in ("sensor", "level", "block", "labels", "algorithm")
        if have[key] != want[key]
    ]
    if have["grid"] != want["grid"]:
        found.append(
            f"the grid is {have['grid']['text']} in the store, {want['grid']['text']} "
            "in the dataset"
        )
    return found + list(_variable_differences(have["variables"], want["variables"]))


def _variable_differences(have, want):
    if set(have) != set(want):
        yield f"the store has the variables {list(have)}, the dataset {list(want)}"
    told = set()
    for name in [name for name in want if name in have and have[name] != want[name]]:
        what = [key for key in want[name] if have[name].get(key) != want[name][key]]
        if what != ["parameters"]:
            yield f"{name!r} differs in {' and '.join(what)}"
            continue
        line = "; ".join(_changes(have[name]["parameters"], want[name]["parameters"]))
        if line not in told:  # variables that are made together differ together
            told.add(line)
            yield f"{name!r} was made with other parameters: {line}"


def _changes(have, want):
    if have is None or want is None:
        yield "what it is made of is known of one only"
        return
    for key in sorted({*have, *want}):
        if have.get(key) != want.get(key):
            yield f"{key} {have.get(key)!r} in the store, {want.get(key)!r} in the dataset"


def content_differences(stored: Header, plan: Plan) -> list[str]:
    """Return which variables, that count as a whole, are other arrays than the store's."""
    return [
        f"{name!r} differs in content"
        for name in stored.content
        if plan.content.get(name) != stored.content[name]
    ]


def time_differences(stored: Header, plan: Plan) -> list[str]:
    """Return in what dates a store differs from a dataset; their order does not matter."""
    if set(stored.times) == set(plan.times):
        return []
    added = len(set(plan.times) - set(stored.times))
    hint = f" ({added} of them new: append(cube, path) adds dates)" if added else ""
    return [f"the store has {_span(stored.times)}, the dataset {_span(plan.times)}{hint}"]


def _span(times):
    if not times:
        return "no dates"
    return f"{len(times)} dates from {min(times)[:10]} to {max(times)[:10]}"


def _name_problems(dataset):
    if not dataset.data_vars:
        yield "it has no variables"
    for name, variable in dataset.data_vars.items():
        middle = variable.dims[1:-2] if variable.dims[:1] == ("time",) else variable.dims[:-2]
        if variable.dims[-2:] != ("y", "x") or {"time", "y", "x"} & set(middle):
            yield f"{name!r} has dims {variable.dims}, needs (time, ..., y, x) or (..., y, x)"
        elif variable.dtype.kind not in KINDS:
            yield f"{name!r} has dtype {variable.dtype}, needs bool, an integer or a float"
        elif not is_name(str(name)):
            yield f"{name!r} is no name of a folder: use letters, digits and _, a letter first"
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
        for dim, sizes in variable.variable.chunksizes.items():
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


def _identity(dataset, geobox, lineages):
    labels = {
        str(dim): dataset[dim].values.tolist() if dim in dataset.coords else list(range(size))
        for dim, size in dataset.sizes.items()
        if dim not in ("time", "y", "x")
    }
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
        "labels": labels,
        "block": [_block_size(dataset, "y"), _block_size(dataset, "x")],
        "variables": {
            str(name): _variable_identity(str(name), variable, lineages.get(str(name)))
            for name, variable in dataset.data_vars.items()
        },
    }


def _block_size(dataset, dim):
    sizes = [
        variable.variable.chunksizes[dim][0]
        for variable in dataset.data_vars.values()
        if dim in variable.variable.chunksizes
    ]
    return int(sizes[0]) if sizes else min(BLOCK, dataset.sizes[dim])


def _variable_identity(name, variable, lineage):
    stored = stored_variable(name, variable.dims, variable.shape, variable.dtype)
    return {
        "dims": list(stored.dims),
        "dtype": stored.dtype,
        "codes": stored.codes,
        "fill": stored.fill,
        "scale_factor": stored.scale_factor,
        "add_offset": stored.add_offset,
        "parameters": None if lineage is None else _plain_json(lineage.parameters),
    }


def _plain_json(parameters):
    """Return parameters as they come back from JSON: tuples as lists, keys as text."""
    return json.loads(json.dumps(parameters, default=_plain))


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
