"""A mountain landscape with glaciers that retreat, lakes, moraines and plants."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy import ndimage

from glaciercube.errors import SchemaError
from glaciercube.simulate.fields import noise, ramp, resample
from glaciercube.simulate.ice import thickness
from glaciercube.simulate.knobs import Knobs, draw_knobs
from glaciercube.simulate.relief import mountains
from glaciercube.terrain import hillshade, slope_aspect

MIN_ICE_M = 4.0
"""Ice thinner than this at the first year is no glacier (m)."""

THIN_ICE_M, MARGIN_M = 2.0, 22.0
"""Ice that bridges small gaps, and about half the width of the gaps it bridges (m)."""

LOOK_AT_ICE = 0.8
"""Share of random landscapes that are cut out around a glacier's margin."""

NEVER = -1.0
"""`lasts` of a pixel that is not glacier at any time."""


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """What stays the same from date to date; every array is (y, x), rows running south."""

    resolution: float
    """Pixel size (m)."""

    elevation: np.ndarray
    """Surface at the first year, ice included (m, float32)."""

    slope: np.ndarray
    aspect: np.ndarray
    """Degrees, of `elevation`."""

    lasts: np.ndarray
    """Retreat at which the glacier has left a pixel; -1 where it never was (1, float32)."""

    debris_score: np.ndarray
    """Where rock covers ice first: above `debris_from` it does (1, float32)."""

    basin: np.ndarray
    """Where water stands unless ice does (bool)."""

    vegetation: np.ndarray
    """Share of ice-free ground that plants cover in summer (0 to 1, float32)."""

    scree: np.ndarray
    """Share of the other ground that is loose: scree, till, soil (0 to 1, float32)."""

    favour_m: np.ndarray
    """What shade, hollows and gullies are worth to snow, as metres of elevation (m)."""

    ela_m: float
    """Equilibrium line altitude of the first year's climate (m); NaN without glaciers."""

    knobs: Knobs

    def glacier(self, retreat: float) -> np.ndarray:
        """Return where the glacier is, debris-covered ice included.

        Parameters
        ----------
        retreat : float
            0 at the first year to 1; the extent at a larger one lies within that at a
            smaller one.

        Returns
        -------
        array (y, x), bool
        """
        return self.lasts > retreat

    def debris(self, retreat: float) -> np.ndarray:
        """Return where rock covers the glacier: more of it as ice melts.

        Parameters
        ----------
        retreat : float
        """
        least = 1.0 - self.knobs.debris - 0.12 * retreat
        return self.glacier(retreat) & (self.debris_score > least) & (self.knobs.debris > 0)

    def lake(self, retreat: float) -> np.ndarray:
        """Return where water stands; a lake grows as ice leaves its basin.

        Parameters
        ----------
        retreat : float
        """
        return self.basin & ~self.glacier(retreat)

    def without_border(self, pixels: int) -> "Landscape":
        """Return the landscape less a border.

        Parameters
        ----------
        pixels : int
            Width of the border.
        """
        inner = (slice(pixels, -pixels or None),) * 2
        arrays = {
            field.name: getattr(self, field.name)[inner]
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return replace(self, **arrays)


def make_landscape(
    shape: tuple[int, int], resolution: float, rng: np.random.Generator, **knobs: Any
) -> Landscape:
    """Return a landscape.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    resolution : float
        Pixel size (m).
    rng : Generator
        Draws whatever `knobs` does not fix.
    **knobs
        Fields of `Knobs` to fix.

    Returns
    -------
    Landscape

    Raises
    ------
    SchemaError
        If a knob has no such name; the message lists the names.
    """
    names = [field.name for field in fields(Knobs)]
    unknown = sorted(set(knobs) - set(names))
    if unknown:
        raise SchemaError(f"a landscape has no {unknown}; it has {names}")
    span_m = max(shape) * resolution
    chosen = replace(draw_knobs(rng, span_m), **knobs)
    relief = mountains(chosen, rng)
    cell_m = relief.cell_m
    favour = _favour(relief.bed, cell_m, rng)
    ela_m = math.nan
    ice = np.zeros_like(relief.bed)
    if chosen.ice_share > 0:
        ela_m = float(np.percentile(relief.bed, 100 * (1 - chosen.ice_share)))
        far = ramp(np.abs(relief.offset_m) / chosen.extent_m, 0.12, 0.42)
        favour = 0.4 * favour - chosen.focus_m * far
        ice = thickness(relief.bed, cell_m, ela_m, favour_m=favour, steps=chosen.flow_steps)
    if not {"centre_y", "centre_x"} & set(knobs):
        chosen = _look_at_ice(chosen, ice, span_m, rng)
    return _cut_out(relief, ice, ela_m, shape, resolution, chosen, rng)


def _look_at_ice(knobs, ice, span_m, rng):
    """Return knobs that mostly cut the landscape out where there is a glacier's margin."""
    glacier = ice > MIN_ICE_M
    margin = np.flatnonzero(glacier & ~ndimage.binary_erosion(glacier))
    room = knobs.extent_m - span_m
    if not margin.size or room <= 0 or rng.random() > LOOK_AT_ICE:
        return knobs
    place = np.array(np.unravel_index(rng.choice(margin), ice.shape)) / knobs.cells
    shift = rng.uniform(-0.3, 0.3, 2) * span_m
    corner = place * knobs.extent_m - span_m / 2 + shift
    centre_y, centre_x = np.clip(corner / room, 0, 1)
    return replace(knobs, centre_y=float(centre_y), centre_x=float(centre_x))


def _cut_out(relief, ice, ela_m, shape, resolution, knobs, rng):
    window = _window(shape, resolution, knobs)
    bed, depth, wall, along, offset = (
        resample(field, shape, window)
        for field in (relief.bed, ice, relief.wall, relief.along, relief.offset_m)
    )
    coarse_surface = bed + np.maximum(depth, 0)
    detail = noise(shape, resolution, rng, scale_m=3 * relief.cell_m, roughness=1.7)
    bed = bed + detail * np.float32(0.16 * relief.cell_m) * (0.12 + np.clip(wall, 0, 1))
    depth = np.where(depth > MIN_ICE_M, coarse_surface - bed, 0)
    depth = _drop_small(_whole(depth, resolution), resolution, knobs.least_km2)
    # Where ice only bridges a gap the bed lies lower than thought, not the surface higher.
    surface = np.where(depth > THIN_ICE_M, bed + depth, bed)
    axis = np.where((np.abs(offset) < 60) & (along < 0.95), along, 0)
    basin, surface = _basins(surface, bed, depth, axis, knobs=knobs, cell=resolution, rng=rng)
    slope, aspect = slope_aspect(surface, resolution, -resolution)
    line = ela_m if math.isfinite(ela_m) else knobs.top_m
    ground = noise(shape, resolution, rng, scale_m=900, roughness=1.4)
    steep = ramp(slope, 25, 45)
    plants = ramp(knobs.treeline_m + 90 * ground - surface, -220, 220) * (1 - steep)
    return Landscape(
        resolution=float(resolution),
        elevation=surface.astype(np.float32),
        slope=slope,
        aspect=aspect,
        lasts=_lasts(depth, surface, line, knobs),
        debris_score=_debris_score(depth, surface, offset, line, knobs, resolution, rng),
        basin=basin,
        vegetation=plants * (0.75 + 0.25 * ramp(ground, -1, 1)),
        scree=np.clip(1 - steep + 0.25 * ground, 0, 1).astype(np.float32),
        favour_m=_favour(surface, resolution, rng),
        ela_m=ela_m,
        knobs=knobs,
    )


def _window(shape, resolution, knobs):
    """Return the rows and columns of the coarse grid that the landscape spans."""
    cell_m = knobs.extent_m / knobs.cells
    window = []
    for size, centre in zip(shape, (knobs.centre_y, knobs.centre_x), strict=True):
        span = size * resolution / cell_m
        low = centre * max(knobs.cells - span, 0)
        window += [low, low + span - resolution / cell_m]
    return np.array(window)


def _whole(depth, resolution):
    """Return ice whose margin has no bays and holes narrower than outlines show."""
    smooth = ndimage.gaussian_filter((depth > 0).astype(np.float32), MARGIN_M / resolution) > 0.5
    return np.where(smooth, np.maximum(depth, THIN_ICE_M), 0)


def _drop_small(depth, resolution, least_km2):
    labels, count = ndimage.label(depth > 0)
    if not count:
        return depth
    sizes = np.bincount(labels.ravel()) * resolution**2 / 1e6
    return np.where((sizes < least_km2)[labels], 0, depth)


def _lasts(depth, surface, line, knobs):
    """Return the retreat at which thinning, strongest at the lowest end, has used up the ice."""
    glacier = depth > 0
    low = float(surface[glacier].min()) if glacier.any() else knobs.bottom_m
    below = np.clip((line + 50 - surface) / max(line + 50 - low, 50), 0, 1)
    lasts = np.maximum(depth, 0) / (knobs.thinning_m * (0.02 + below))
    return np.where(glacier, lasts + np.float32(1e-3), NEVER).astype(np.float32)


def _debris_score(depth, surface, offset, line, knobs, resolution, rng):
    """Return 0 to about 1: high on the tongue, at its sides and along a medial moraine."""
    shape = depth.shape
    glacier = depth > 0
    inside_m = ndimage.distance_transform_edt(glacier) * resolution
    patches = noise(shape, resolution, rng, scale_m=500, roughness=1.6)
    low = float(surface[glacier].min()) if glacier.any() else knobs.bottom_m
    tongue = 1 - ramp(surface, low, max(line + 40, low + 60))
    lateral = 1 - ramp(inside_m + 18 * patches, 15, 90)
    middle = rng.uniform(-180, 180)
    medial = 1 - ramp(np.abs(offset - middle + 12 * patches), 12, 45)
    below = 1 - ramp(surface, line - 60, line + 60)
    score = 0.9 * tongue + (0.35 * lateral + 0.4 * medial) * below + 0.10 * patches
    return (score - 2 * (1 - below)).astype(np.float32)


def _basins(surface, bed, depth, axis, *, knobs, cell, rng):
    """Return where water stands once ice is gone, and the surface levelled there."""
    shape = surface.shape
    surface = surface.copy()
    basin = np.zeros(shape, bool)
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    places = []
    axis = np.where(depth > 0, axis, 0)
    if knobs.lake_m > 0 and axis.max() > 0.05:
        end = np.argmax(axis)
        places.append((*np.unravel_index(end, shape), knobs.lake_m, 14.0))
    slope, _ = slope_aspect(surface, cell, -cell)
    flat = np.flatnonzero((slope < 14) & (depth <= 0))
    for place in rng.permutation(flat)[: knobs.tarns]:
        places.append((*np.unravel_index(place, shape), rng.uniform(25, 120), 8.0))
    ragged = noise(shape, cell, rng, scale_m=250, roughness=2)
    for row, column, radius, deep in places:
        near = np.hypot(rows - row, columns - column) * cell * (1 + 0.15 * ragged) < radius
        level = float(np.median(bed[near & (np.abs(bed - bed[row, column]) < 25)]))
        wet = near & (bed < level + deep)
        basin |= wet
        surface[wet & (depth <= 0)] = level
    return basin, surface


def _favour(surface, resolution, rng):
    """Return metres of elevation that hollows, shade and wind are worth to snow."""
    hollow = ndimage.gaussian_filter(surface, 60 / resolution) - surface
    slope, aspect = slope_aspect(surface, resolution, -resolution)
    shade = 0.75 - hillshade(slope, aspect, 180, 50)
    drift = noise(surface.shape, resolution, rng, scale_m=700, roughness=1.8)
    steep = ramp(slope, 42, 60)
    favour = 7 * np.clip(hollow, -15, 15) + 220 * shade + 45 * drift - 300 * steep
    return favour.astype(np.float32)
