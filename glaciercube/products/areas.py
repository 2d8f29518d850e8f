"""What each glacier holds: areas by category and elevation, added up block by block."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from glaciercube import schema
from glaciercube.cover import Zone
from glaciercube.windows import Window

FIELDS = (
    "cover",
    "observed",
    "glacier",
    "probability",
    "margin",
    "margin_unseen",
    "elevated",
    "doubt",
    "trusted",
    "ice",
    "snow",
    "debris",
    "firn",
    "refrozen",
)
"""Sums of a zone in m2, each pixel weighted with its cover. `cover`: the zone itself on the
grid; `observed`: of it observed; `glacier`: of it glacier; `probability`: glacier probability
times area; `margin`: half a pixel along the glacier's margin; `margin_unseen`: the same
along unobserved pixels; `elevated`: glacier with known elevation; `doubt`: 1 - confidence
times area where `trusted`: glacier with facies and confidence; then glacier by facies."""

PLACE = {name: number for number, name in enumerate(FIELDS)}
KINDS = ("ice", "snow", "debris", "firn", "refrozen")


@dataclass(frozen=True)
class Sums:
    """The sums of one zone, of one block or of many."""

    values: np.ndarray
    """(field,) float64, m2, in the order of FIELDS."""

    first: int = 0
    """Number of the lowest elevation bin: elevation // bin height."""

    bins: np.ndarray = field(default_factory=lambda: np.zeros((3, 0)))
    """(3, bin) float64, m2: snow; glacier with known facies; glacier."""

    def __getitem__(self, name: str) -> float:
        """Return a sum by the name of its field (m2)."""
        return float(self.values[PLACE[name]])

    def __add__(self, other: "Sums") -> "Sums":
        """Return the sums of two parts together."""
        values = self.values + other.values
        parts = [part for part in (self, other) if part.bins.shape[1]]
        if not parts:
            return Sums(values)
        first = min(part.first for part in parts)
        last = max(part.first + part.bins.shape[1] for part in parts)
        bins = np.zeros((3, last - first))
        for part in parts:
            start = part.first - first
            bins[:, start : start + part.bins.shape[1]] += part.bins
        return Sums(values, first, bins)


Table = dict[int, Sums]
"""Sums by number of zone."""


def merged(tables: Iterable[Table]) -> Table:
    """Return the sums of several blocks, added by zone."""
    out: Table = {}
    for table in tables:
        for number, sums in table.items():
            out[number] = out[number] + sums if number in out else sums
    return out


def area_uncertainty(sums: Sums, inside: float = 1.0) -> float:
    """Return the uncertainty of a glacier's area (m2).

    Parameters
    ----------
    sums : Sums
    inside : float
        Share of the outline that lies on the grid.

    Notes
    -----
    Half a pixel along the margin, as if all of it were drawn too wide or too narrow
    (Granshaw & Fountain 2006, doi:10.3189/172756506781828746; Paul et al. 2017,
    doi:10.1016/j.rse.2017.08.038). Edges between two glaciers do not count. Pixel edges
    are up to 1.41 times as long as the line they follow, so that it errs on the large side.
    Added to it is the glacier that may hide where nothing was observed: that area, times
    the share of glacier in what was observed.
    """
    if sums["observed"] == 0:
        return float("nan")
    hidden = sums["cover"] / inside - sums["observed"]
    return sums["margin"] + max(hidden, 0.0) * sums["glacier"] / sums["observed"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One date of one block of pixels."""

    state: np.ndarray
    """(y, x) uint8: 0 not glacier, 1 glacier, 255 not observed; one pixel more on each side
    than the block itself."""

    row_area: np.ndarray
    """(y,) float64: area of a pixel in each row of the block itself (m2)."""

    layers: Mapping[str, np.ndarray]
    """What there is of `facies`, `confidence`, `glacier_probability`, `elevation`; (y, x) of
    the block itself."""

    bin_height_m: float
    outlined: bool
    """Whether zones are outlines: beyond an outline lies another glacier or none. Else a
    zone is an observed piece of glacier, and what is not observed beyond may be glacier."""


def block_sums(block: Block, zones: Iterable[Zone]) -> Table:
    """Return the sums of each zone in one block.

    Parameters
    ----------
    block : Block
    zones : iterable of (number, Window, cover)
        Windows count pixels of the block's `state`; what lies on its outermost pixels
        belongs to the blocks beside.

    Returns
    -------
    dict of int to Sums
    """
    return {number: _zone_sums(block, window, share) for number, window, share in zones}


def _zone_sums(block, window, share):
    rows, columns = block.state.shape
    own = Window(
        max(1, window.y0), min(rows - 1, window.y1), max(1, window.x0), min(columns - 1, window.x1)
    )
    if own.y0 >= own.y1 or own.x0 >= own.x1:
        return Sums(np.zeros(len(FIELDS)))
    ys, xs = slice(own.y0 - 1, own.y1 - 1), slice(own.x0 - 1, own.x1 - 1)
    weight = share[own.inside(window)] * block.row_area[ys, np.newaxis]
    state = block.state[own.slices]
    glacier = np.where(state == 1, weight, 0.0)
    layers = {name: layer[ys, xs] for name, layer in block.layers.items()}
    values = np.zeros(len(FIELDS))
    values[PLACE["cover"]] = weight.sum()
    values[PLACE["observed"]] = weight[state != schema.NODATA].sum()
    values[PLACE["glacier"]] = glacier.sum()
    values[PLACE["margin"]], values[PLACE["margin_unseen"]] = _margin(
        block, window, share, own, glacier
    )
    if "glacier_probability" in layers:
        chance = layers["glacier_probability"].astype(np.float64)
        seen = np.isfinite(chance) & (state != schema.NODATA)
        values[PLACE["probability"]] = (chance[seen] * weight[seen]).sum()
    if "facies" in layers:
        _add_kinds(values, layers, glacier)
    if "elevation" not in layers:
        return Sums(values)
    return _with_bins(values, layers, glacier, block.bin_height_m)


def _add_kinds(values, layers, glacier):
    for name, code in zip(KINDS, schema.codes(KINDS), strict=True):
        values[PLACE[name]] = glacier[layers["facies"] == code].sum()
    if "confidence" in layers:
        confidence = layers["confidence"].astype(np.float64)
        known = np.isin(layers["facies"], schema.codes(KINDS)) & np.isfinite(confidence)
        values[PLACE["doubt"]] = ((1 - confidence[known]) * glacier[known]).sum()
        values[PLACE["trusted"]] = glacier[known].sum()


def _with_bins(values, layers, glacier, height):
    """Return the sums with snow, known facies and glacier by elevation."""
    high = np.isfinite(layers["elevation"]) & (glacier > 0)
    if not high.any():
        return Sums(values)
    weight = glacier[high]
    values[PLACE["elevated"]] = weight.sum()
    number = np.floor(layers["elevation"][high] / height).astype(np.int64)
    first, size = int(number.min()), int(number.max() - number.min()) + 1
    facies = layers["facies"][high] if "facies" in layers else np.full(weight.shape, schema.NODATA)
    known = np.isin(facies, schema.codes(KINDS))
    snow = facies == schema.codes(("snow",))[0]
    bins = [np.bincount(number - first, weight * one, size) for one in (snow, known, known | True)]
    return Sums(values, first, np.stack(bins))


def _margin(block, window, share, own, glacier):
    """Return half a pixel along the margin and along unobserved pixels (m2).

    An edge between two pixels, whatever its direction, bounds half a pixel of area on its
    glacier's side; it belongs to the block of the glacier's pixel.
    """
    wide = Window(own.y0 - 1, own.y1 + 1, own.x0 - 1, own.x1 + 1)
    state = block.state[wide.slices]
    cover = np.zeros(state.shape, np.float32)
    both = Window(
        max(wide.y0, window.y0), min(wide.y1, window.y1),
        max(wide.x0, window.x0), min(wide.x1, window.x1),
    )  # fmt: skip
    cover[both.inside(wide)] = share[both.inside(window)]
    outside = (cover < 0.5) if block.outlined else np.zeros(state.shape, bool)
    ends = (state == 0) | (outside & (state != 1))
    unseen = (state == schema.NODATA) & ~outside
    return [
        sum(float((glacier * beyond[beside]).sum()) for beside in NEIGHBOURS) / 2
        for beyond in (ends, unseen)
    ]


NEIGHBOURS = (
    (slice(None, -2), slice(1, -1)),
    (slice(2, None), slice(1, -1)),
    (slice(1, -1), slice(None, -2)),
    (slice(1, -1), slice(2, None)),
)
"""The pixels above, below, left and right of all but the outermost."""
