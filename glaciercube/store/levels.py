"""The levels of a store: how its overviews are cut and reduced, and what they look like."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from glaciercube import schema
from glaciercube.errors import GridError
from glaciercube.store import pyramids
from glaciercube.store.layout import Layout, Stored
from glaciercube.store.ledger import Header
from glaciercube.store.lineage import fingerprint
from glaciercube.store.template import geozarr_attrs
from glaciercube.windows import Window

OVERVIEWS_VERSION = 1
"""Of the numbers and layout of overviews; raised by hand, it makes `build_overviews` begin anew."""

FOLDER = "overviews"
"""Group that holds the levels, each in a group that bears its factor as name."""

COARSEST = 512
"""Where the factors are not given, they are doubled until the longer side has so many pixels."""

MAX_FACTOR = 1024
"""Above this a cell takes more pixels than a block."""

SPAN = 4
"""Rows and columns of native blocks in a unit, where these make no more than UNIT_BYTES."""

UNIT_BYTES = 64 << 20
"""Of a unit's variable with the most, all levels together: what a task holds while it works."""

NATIVE = "."
"""Path of the store's own arrays, from the group that says what its levels are."""

MULTISCALES = {
    "uuid": "d35379db-88df-4056-af3a-620245f8e347",
    "name": "multiscales",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/multiscales/refs/tags/v1/"
    "schema.json",
    "spec_url": "https://github.com/zarr-conventions/multiscales/blob/v1/README.md",
    "description": "Multiscale layout of zarr datasets",
}
"""The Zarr convention that says which groups are levels of which."""

CELL_METHODS = {"mode": "area: mode", "mean": "area: mean", "direction": "area: mean"}
"""CF attribute of a reduced variable."""

RESAMPLING = {"mode": "mode", "mean": "average", "direction": "average"}
"""The same in the words of the multiscales convention."""


@dataclass(frozen=True)
class Reduction:
    """How the pixels of one variable become those of its levels."""

    method: Literal["mode", "mean", "direction"]
    nodata: float | None
    """Code of a pixel without a value; None is NaN, or that there is none."""

    def levels(self, codes: np.ndarray, factors: Sequence[int]) -> list[np.ndarray]:
        """Return the codes of each level from those of native pixels."""
        if self.method == "mode":
            return pyramids.modes(codes, factors, self.nodata)
        if self.method == "mean":
            return pyramids.means(codes, factors, self.nodata)
        return pyramids.directions(codes, factors)


def reduction_of(stored: Stored, attrs: Mapping[str, Any]) -> Reduction:
    """Return how a variable is reduced.

    Parameters
    ----------
    stored : Stored
    attrs : mapping
        Its attributes.

    Returns
    -------
    Reduction
        The mode of classes, masks and other integers without a scale (dates, numbers of
        things), the mean direction of an aspect, the mean of everything else.

    Examples
    --------
    >>> from glaciercube.store.layout import stored_variable
    >>> reduction_of(stored_variable("valid", ("time", "y", "x"), (1, 8, 8), "bool"), {})
    Reduction(method='mode', nodata=None)
    >>> reduction_of(stored_variable("extent", ("time", "y", "x"), (1, 8, 8), "uint8"), {})
    Reduction(method='mode', nodata=255)
    """
    whole = np.dtype(stored.codes).kind in "biu" and stored.scale_factor is None
    if whole or "flag_values" in attrs:
        return Reduction("mode", _nodata(stored, attrs))
    if stored.name == "aspect":
        return Reduction("direction", None)
    return Reduction("mean", stored.fill)


def _nodata(stored, attrs):
    """Return the code that says nodata, if one does: the fill of other integers is a value."""
    names = str(attrs.get("flag_meanings", "")).split()
    if "nodata" in names:
        return int(np.asarray(attrs["flag_values"]).ravel()[names.index("nodata")])
    known = schema.VARIABLES.get(stored.name)
    if stored.name in schema.TASKS or (known is not None and "_FillValue" in known.encoding):
        return stored.fill
    return None


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """All levels of a store, as far as a task must know them; small enough to travel with it.

    A unit is a rectangle of native pixels that becomes one shard of each level: what is derived
    at once, and again when a native block in it changes. It is cut at multiples of the largest
    factor, counted from the store's corner, so that no cell lies in two.
    """

    layout: Layout
    """Of the store."""

    factors: tuple[int, ...]
    """Native pixels along one side of a cell, from fine to coarse."""

    reductions: Mapping[str, Reduction]
    """By variable."""

    @property
    def units(self) -> Layout:
        """The store, cut into units instead of blocks."""
        return replace(self.layout, block=self._span)

    @property
    def _span(self) -> tuple[int, int]:
        """Native rows and columns of a unit."""
        most = max(
            np.dtype(stored.codes).itemsize * math.prod(self.layout.block) * _layers(stored)
            for stored in self.layout.variables
        )
        share = sum(1 / factor**2 for factor in self.factors)
        fitting = math.isqrt(int(UNIT_BYTES / (share * most)))
        blocks = min(SPAN, max(1, fitting))
        rows, columns = (self._aligned(blocks * size) for size in self.layout.block)
        return rows, columns

    def _aligned(self, pixels):
        return math.ceil(pixels / self.factors[-1]) * self.factors[-1]

    def level(self, factor: int) -> Layout:
        """Return one level as a layout: its blocks are the units, its variables bear their path.

        They are in the order of the store's.
        """
        rows, columns = self.shape(factor)
        return Layout(
            times=self.layout.times,
            rows=rows,
            columns=columns,
            block=(self._span[0] // factor, self._span[1] // factor),
            variables=tuple(
                replace(
                    stored,
                    name=f"{path_of(factor)}/{stored.name}",
                    shape=(*stored.shape[:-2], rows, columns),
                )
                for stored in self.layout.variables
            ),
        )

    def shape(self, factor: int) -> tuple[int, int]:
        """Return the rows and columns of a level; the last ones may reach beyond the store."""
        return math.ceil(self.layout.rows / factor), math.ceil(self.layout.columns / factor)

    def tiles(self, unit: Window) -> list[Window]:
        """Return the parts of a unit's window that are read at once, about a block each."""
        down, across = (self._aligned(size) for size in self.layout.block)
        return [
            Window(y, min(y + down, unit.y1), x, min(x + across, unit.x1))
            for y in range(unit.y0, unit.y1, down)
            for x in range(unit.x0, unit.x1, across)
        ]

    def fingerprint(self, geobox: GeoBox) -> str:
        """Return what must be the same for levels to be gone on with; dates may be more."""
        stated = {
            "version": OVERVIEWS_VERSION,
            "factors": self.factors,
            "span": self._span,
            "grid": [*tuple(geobox.affine)[:6], *geobox.shape, str(geobox.crs)],
            "variables": [
                {**asdict(stored), "shape": stored.shape[1 if stored.temporal else 0 :]}
                for stored in self.layout.variables
            ],
            "reductions": {name: asdict(one) for name, one in self.reductions.items()},
        }
        return fingerprint(json.dumps(stated, sort_keys=True))


def _layers(stored):
    """Return the number of bands or categories."""
    return math.prod(stored.shape[1:-2] if stored.temporal else stored.shape[:-2])


def pyramid_of(
    header: Header, attrs: Mapping[str, Mapping[str, Any]], factors: Sequence[int] | None
) -> Pyramid | None:
    """Return the levels of a store.

    Parameters
    ----------
    header : Header
        Of the store.
    attrs : mapping
        Attributes by variable.
    factors : sequence of int or None
        Native pixels along one side of a cell; None for halving until the longer side has no
        more than 512 pixels.

    Returns
    -------
    Pyramid or None
        None if the store is so small that it needs no level.

    Raises
    ------
    GridError
        If the factors are not to be had.
    """
    layout = header.layout
    chosen = _halvings(layout) if factors is None else _checked(factors, layout)
    if not chosen:
        return None
    reductions = {
        stored.name: reduction_of(stored, attrs[stored.name]) for stored in layout.variables
    }
    return Pyramid(layout=layout, factors=chosen, reductions=reductions)


def _halvings(layout):
    factors: list[int] = []
    factor = 2
    while max(layout.rows, layout.columns) > COARSEST * factor // 2 and factor <= MAX_FACTOR:
        if min(layout.rows, layout.columns) <= factor:
            break
        factors.append(factor)
        factor *= 2
    return tuple(factors)


def _checked(factors, layout):
    chosen = tuple(sorted({int(factor) for factor in factors}))
    most = min(MAX_FACTOR, layout.rows - 1, layout.columns - 1)
    nested = all(b % a == 0 for a, b in zip(chosen[:-1], chosen[1:], strict=True))
    if not chosen or chosen[0] < 2 or chosen[-1] > most or not nested:
        raise GridError(
            f"factors of overviews are whole numbers of 2 to {most} (each level needs two rows "
            f"and columns), each a multiple of the one before, such as (2, 4, 8), "
            f"found {tuple(factors)} for {layout.rows} rows x {layout.columns} columns"
        )
    return chosen


def path_of(factor: int) -> str:
    """Return the path of a level's group.

    Examples
    --------
    >>> path_of(4)
    'overviews/4'
    """
    return f"{FOLDER}/{factor}"


def level_geobox(geobox: GeoBox, pyramid: Pyramid, factor: int) -> GeoBox:
    """Return the grid of a level: the corner of the store, and pixels as large as its cells."""
    a, b, c, d, e, f = tuple(geobox.affine)[:6]
    affine = Affine(a * factor, b * factor, c, d * factor, e * factor, f)
    return GeoBox(pyramid.shape(factor), affine, geobox.crs)


def multiscales_attrs(geobox: GeoBox, pyramid: Pyramid) -> dict[str, Any]:
    """Return what the group of the native arrays says of its levels.

    Parameters
    ----------
    geobox : GeoBox
        Of the store.
    pyramid : Pyramid

    Notes
    -----
    The multiscales convention of Zarr. Every level is derived from the native one, whose arrays
    are in the group itself. Corners coincide, so that there is no translation.
    """
    layout = [_layout_entry(geobox, 1, {"asset": NATIVE})] + [
        _layout_entry(
            level_geobox(geobox, pyramid, factor),
            factor,
            {"asset": path_of(factor), "derived_from": NATIVE},
        )
        for factor in pyramid.factors
    ]
    methods = {RESAMPLING[one.method] for one in pyramid.reductions.values()}
    common = {"resampling_method": methods.pop()} if len(methods) == 1 else {}
    return {
        "zarr_conventions": [*geozarr_attrs(geobox)["zarr_conventions"], dict(MULTISCALES)],
        "multiscales": {"layout": layout, **common},
    }


def _layout_entry(geobox, factor, entry):
    own = geozarr_attrs(geobox)
    return {
        **entry,
        "transform": {"scale": [float(factor)] * 2, "translation": [0.0, 0.0]},
        "spatial:shape": own["spatial:shape"],
        "spatial:transform": own["spatial:transform"],
    }
