"""What flows between the stages: dims, dtypes, units, codes and colours, and the check of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from glaciercube.errors import SchemaError

NODATA = 255
"""Code of a pixel that was not observed, in every class layer."""

DAYS = "days since 1970-01-01"
"""Unit of dates held by pixels."""

NO_DAY = np.iinfo(np.int32).min
"""Where a pixel has no date."""

READ_FAILED = "read_failed"
"""Variable that is True where a pixel is a hole because a source could not be read."""

GRID_DIMS = ("y", "x")
TIME_DIMS = ("time", "y", "x")


@dataclass(frozen=True, kw_only=True)
class Category:
    """One category of a class layer."""

    code: int
    name: str
    colour: str
    """Hexadecimal RGB; the sets are told apart by colour-blind readers."""


FACIES = (
    Category(code=0, name="ice", colour="#56b4e9"),
    Category(code=1, name="snow", colour="#f7fbff"),
    Category(code=2, name="debris", colour="#a6611a"),
    Category(code=3, name="firn", colour="#b3a2d9"),
    Category(code=4, name="shadow", colour="#1f1f1f"),
    Category(code=5, name="refrozen", colour="#009e73"),
    Category(code=6, name="water", colour="#0b3d91"),
    Category(code=7, name="cloud", colour="#f0c2d8"),
    Category(code=8, name="land", colour="#c9b27c"),
)
"""Surface categories: the eight of Maslov et al. (2026) in their order, and land."""

EXTENT = (
    Category(code=0, name="not_glacier", colour="#c9b27c"),
    Category(code=1, name="glacier", colour="#0072b2"),
)

NODATA_COLOUR = "#bdbdbd"

ROLLUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "glacier": ("ice", "snow", "debris", "firn", "refrozen"),
        "accumulation": ("snow", "firn"),
        "ablation": ("ice", "refrozen", "debris"),
        "unobservable": ("cloud", "shadow"),
        "not_glacier": ("water", "land"),
    }
)
"""Groups of facies by name; `glacier` holds inside a glacier outline only."""

TASKS: Mapping[str, tuple[Category, ...]] = MappingProxyType({"facies": FACIES, "extent": EXTENT})
"""Class layers by name, with the categories they may hold."""


def codes(names: tuple[str, ...], categories: tuple[Category, ...] = FACIES) -> tuple[int, ...]:
    """Return the codes of categories given by name.

    Examples
    --------
    >>> codes(("snow", "firn"))
    (1, 3)
    >>> codes(ROLLUPS["unobservable"])
    (7, 4)
    """
    table = {category.name: category.code for category in categories}
    unknown = [name for name in names if name not in table]
    if unknown:
        raise SchemaError(f"no category {unknown}; there are {sorted(table)}")
    return tuple(table[name] for name in names)


def flag_attrs(task: str) -> dict[str, Any]:
    """Return the CF flag attributes of a class layer, nodata among the flags.

    There is no `_FillValue`: plain xarray would turn codes into floats.

    Examples
    --------
    >>> flag_attrs("extent")["flag_meanings"]
    'not_glacier glacier nodata'
    """
    if task not in TASKS:
        raise SchemaError(f"no class layer {task!r}; there are {sorted(TASKS)}")
    categories = TASKS[task]
    values = [category.code for category in categories] + [NODATA]
    return {
        "units": "1",
        "long_name": {"facies": "glacier surface facies", "extent": "glacier extent"}[task],
        "flag_values": np.array(values, np.uint8),
        "flag_meanings": " ".join([*(category.name for category in categories), "nodata"]),
    }


@dataclass(frozen=True, kw_only=True)
class Variable:
    """What one variable must look like, in memory and on disk."""

    dims: tuple[str, ...]
    dtype: str
    units: str
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """On disk: dtype, and for scaled integers scale_factor, add_offset and _FillValue."""


REFLECTANCE_ENCODING = MappingProxyType(
    {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
)
"""Reflectance -0.0999 to 6.4535 in steps of 1e-4, exact for Sentinel-2 digital numbers."""

PROBABILITY_ENCODING = MappingProxyType(
    {"dtype": "uint8", "scale_factor": 1 / 250, "add_offset": 0.0, "_FillValue": 255}
)
"""Probability 0 to 1 in steps of 0.004."""

_FLAG = Variable(dims=TIME_DIMS, dtype="bool", units="1")
_SHARE = Variable(dims=TIME_DIMS, dtype="float32", units="1", encoding=PROBABILITY_ENCODING)
_CODES = Variable(dims=TIME_DIMS, dtype="uint8", units="1")

CUBE: Mapping[str, Variable] = MappingProxyType(
    {
        "reflectance": Variable(
            dims=("time", "band", "y", "x"),
            dtype="float32",
            units="1",
            encoding=REFLECTANCE_ENCODING,
        ),
        "valid": _FLAG,
    }
)
"""What every cube has."""

CUBE_MORE: Mapping[str, Variable] = MappingProxyType(
    {
        "cloud": _FLAG,
        "cloud_shadow": _FLAG,
        "snow": _FLAG,
        "water": _FLAG,
        "saturated": _FLAG,
        READ_FAILED: _FLAG,
        "elevation": Variable(dims=GRID_DIMS, dtype="float32", units="m"),
        "slope": Variable(dims=GRID_DIMS, dtype="float32", units="degree"),
        "aspect": Variable(dims=GRID_DIMS, dtype="float32", units="degree"),
        "glacier": Variable(dims=GRID_DIMS, dtype="bool", units="1"),
        "glacier_fraction": Variable(dims=GRID_DIMS, dtype="float32", units="1"),
        "glacier_distance": Variable(dims=GRID_DIMS, dtype="float32", units="m"),
        "hillshade": Variable(dims=TIME_DIMS, dtype="float32", units="1"),
        "cast_shadow": _FLAG,
        "acquired": Variable(
            dims=TIME_DIMS, dtype="int32", units=DAYS, encoding={"_FillValue": NO_DAY}
        ),
    }
)
"""What a cube may have: the provider's opinion, what could not be read, terrain, and the date
a composite's pixels are from."""

RADAR_CUBE: Mapping[str, Variable] = MappingProxyType(
    {
        "backscatter": Variable(dims=("time", "band", "y", "x"), dtype="float32", units="1"),
        "valid": _FLAG,
    }
)
"""What every radar cube has: terrain-corrected gamma nought in linear units."""

LAYERS: Mapping[str, Variable] = MappingProxyType(
    {
        "facies": _CODES,
        "extent": _CODES,
        "confidence": _SHARE,
        "valid_fraction": _SHARE,
        "glacier_probability": _SHARE,
        "entropy": _SHARE,
        "mutual_information": _SHARE,
        "probability": Variable(
            dims=("time", "category", "y", "x"),
            dtype="float32",
            units="1",
            encoding=PROBABILITY_ENCODING,
        ),
    }
)
"""What `predict` may give."""

VARIABLES: Mapping[str, Variable] = MappingProxyType({**CUBE, **CUBE_MORE, **RADAR_CUBE, **LAYERS})


def extent_of_facies(facies: np.ndarray) -> np.ndarray:
    """Return glacier extent of facies codes that lie inside glacier outlines.

    Parameters
    ----------
    facies : array, uint8
        Codes of `FACIES`, 255 nodata.

    Returns
    -------
    array, uint8
        1 where a glacier surface is seen, 0 where land or water is, 255 where cloud,
        unreadable shadow or nodata leave it open.

    Examples
    --------
    >>> extent_of_facies(np.uint8([0, 1, 2, 8, 6, 7, 4, 255]))
    array([  1,   1,   1,   0,   0, 255, 255, 255], dtype=uint8)
    """
    table = np.full(256, NODATA, np.uint8)
    table[list(codes(ROLLUPS["glacier"]))] = 1
    table[list(codes(ROLLUPS["not_glacier"]))] = 0
    return table[facies]


def check(dataset: xr.Dataset, schema: Mapping[str, Variable], name: str) -> None:
    """Raise one error that lists everything a dataset lacks of a schema.

    Parameters
    ----------
    dataset : Dataset
        What came in; nothing is computed.
    schema : mapping of str to Variable
        What is needed.
    name : str
        What the caller calls the dataset, for the message.

    Raises
    ------
    SchemaError
        With a line for each missing variable, wrong dimension, dtype or unit.
    """
    problems = [line for key, want in schema.items() for line in _problems(dataset, key, want)]
    if problems:
        raise SchemaError(f"{name} does not fit its schema:\n  " + "\n  ".join(problems))


def _problems(dataset, key, want):
    if key not in dataset:
        return [f"{key!r} is missing; it has {sorted(map(str, dataset.data_vars))}"]
    have = dataset[key]
    found = []
    if have.dims != want.dims:
        found.append(f"{key!r} has dims {have.dims}, needs {want.dims}")
    if have.dtype != np.dtype(want.dtype):
        found.append(f"{key!r} has dtype {have.dtype}, needs {want.dtype}")
    if have.attrs.get("units") != want.units:
        found.append(f"{key!r} has units {have.attrs.get('units')!r}, needs {want.units!r}")
    return found
