"""Radar cubes: decibels, what is no measurement, and orbits apart; all lazy."""

from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from glaciercube import schema
from glaciercube.cube import backscatter as kernels
from glaciercube.cube import blocks
from glaciercube.errors import SchemaError

ALGORITHM_VERSION = 1
"""Raised whenever the same cube would give other numbers."""

ORBIT = ("orbit_state", "relative_orbit")
"""Coordinates (time) that say from where a date looks at the ground."""

Orbit = tuple[str, int]


def decibels(cube: xr.Dataset) -> xr.Dataset:
    """Return a radar cube in decibels.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.RADAR_CUBE`: backscatter in linear units.

    Returns
    -------
    Dataset, as lazy as the cube
        `backscatter` (time, band, y, x), float32, dB; NaN where it was not positive.

    Raises
    ------
    SchemaError
        If the cube is no radar cube in linear units.
    """
    check_linear(cube, "decibels")
    return _converted(cube, kernels.decibels_of, "decibels", "dB")


def linear(cube: xr.Dataset) -> xr.Dataset:
    """Return a radar cube in linear units.

    Parameters
    ----------
    cube : Dataset
        With `backscatter` in decibels, as `decibels` gives it.

    Returns
    -------
    Dataset, as lazy as the cube
        `backscatter` (time, band, y, x), float32, power (1).

    Raises
    ------
    SchemaError
        If `backscatter` is missing or not in decibels.
    """
    units = cube["backscatter"].attrs.get("units") if "backscatter" in cube else None
    if units != "dB":
        raise SchemaError(f"linear needs 'backscatter' in units 'dB', found units {units!r}")
    return _converted(cube, kernels.linear_of, "linear", "1")


def _converted(cube, kernel, name, units):
    before = cube["backscatter"]
    if isinstance(before.data, da.Array):
        values = da.map_blocks(
            kernel,
            before.data,
            name=f"{name}-{tokenize(ALGORITHM_VERSION, before.data.name)}",
            dtype=np.float32,
            meta=np.empty((0, 0, 0, 0), np.float32),
        )
    else:
        values = kernel(before.values)
    return with_backscatter(cube, values, units=units)


def with_backscatter(cube: xr.Dataset, values: Any, **attrs: str) -> xr.Dataset:
    """Return a cube with other backscatter and attributes of it, everything else as it was."""
    before = cube["backscatter"]
    after = before.copy(data=values).assign_attrs(attrs)
    after.encoding = dict(before.encoding)
    return cube.assign(backscatter=after)


def check_linear(cube: xr.Dataset, who: str) -> None:
    """Raise if a cube is no radar cube in linear units."""
    units = cube["backscatter"].attrs.get("units") if "backscatter" in cube else None
    if units == "dB":
        raise SchemaError(
            f"{who} needs backscatter in linear units, found decibels (their mean is not the "
            "mean of the power); call linear(cube) first"
        )
    schema.check(cube, schema.RADAR_CUBE, f"{who}: the cube")


def cleaned(cube: xr.Dataset, *, border: int = 0) -> xr.Dataset:
    """Return a radar cube without values that are no measurement.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.RADAR_CUBE`.
    border : int
        Pixels from the swath's border inwards in which tiny values are border noise; 0 leaves
        the border alone.

    Returns
    -------
    Dataset, as lazy as the cube
        `backscatter` with NaN as `clean_backscatter` puts it; `valid` is False where no band
        is left.

    Raises
    ------
    SchemaError
        If the cube is no radar cube in linear units.
    """
    check_linear(cube, "cleaned")
    clean = partial(kernels.clean_backscatter, border=border)
    values = measured(cube)
    if isinstance(values, da.Array):
        values = _by_block(values, kernels.border_halo(border), clean, f"cleaned-{border}")
        valid = da.map_blocks(
            _any_band,
            values.rechunk({1: -1}),
            name=f"valid-{values.name}",
            drop_axis=1,
            dtype=bool,
            meta=np.empty((0, 0, 0), bool),
        )
    else:
        values = clean(values)
        valid = _any_band(values)
    out = with_backscatter(cube, values)
    out["valid"] = cube["valid"].copy(data=valid)
    out["valid"].encoding = dict(cube["valid"].encoding)
    return out


def _any_band(values):
    return np.isfinite(values).any(axis=1)


def _by_block(values, halo, kernel, what):
    """Return what a kernel makes of blocks that come with a halo."""
    wide = blocks.with_halo(values, halo)
    done = da.map_blocks(
        _own_part,
        wide,
        kernel=kernel,
        halo=halo,
        counts=wide.numblocks,
        name=f"backscatter-{tokenize(ALGORITHM_VERSION, what, values.name)}",
        dtype=np.float32,
        chunks=(*wide.chunks[:2], *blocks.without_halo(wide.chunks, halo)),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    return done.rechunk(values.chunks)


def _own_part(block, kernel, halo, counts, block_id=None):
    rows, columns = blocks.inner(block_id, counts, halo)
    return kernel(block)[..., rows, columns]


def measured(cube: xr.Dataset) -> Any:
    """Return backscatter (time, band, y, x), NaN where not valid, lazy if either is."""
    values, valid = cube["backscatter"].data, cube["valid"].data
    if not (isinstance(values, da.Array) or isinstance(valid, da.Array)):
        return _where(values, valid[:, np.newaxis])
    if not isinstance(values, da.Array):
        values = blocks.as_dask(values, (valid.chunks[0], (values.shape[1],), *valid.chunks[1:]))
    valid = blocks.as_dask(valid, (values.chunks[0], *values.chunks[2:]))
    return da.map_blocks(
        _where,
        values,
        valid[:, np.newaxis],
        name=f"measured-{tokenize(ALGORITHM_VERSION, values.name, valid.name)}",
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
    )


def _where(values, valid):
    return np.where(valid, values, np.float32(np.nan))


def orbits(cube: xr.Dataset) -> dict[Orbit, xr.Dataset]:
    """Return the dates of each orbit as a cube of its own.

    Parameters
    ----------
    cube : Dataset
        With the coordinates `orbit_state` and `relative_orbit` on time.

    Returns
    -------
    dict of (str, int) to Dataset
        By orbit state ("ascending", "descending") and relative orbit, sorted.

    Raises
    ------
    SchemaError
        If a coordinate is missing.

    Notes
    -----
    Each orbit sees a slope under its own angle. Backscatter of two orbits differs by several
    decibels on the same snow, also after terrain correction, so only dates of one orbit are
    comparable.
    """
    return {orbit: cube.isel(time=dates) for orbit, dates in dates_of_orbits(cube).items()}


def dates_of_orbits(cube: xr.Dataset) -> dict[Orbit, list[int]]:
    """Return the indices of each orbit's dates, by orbit state and relative orbit, sorted."""
    missing = [name for name in ORBIT if name not in cube.coords]
    if missing:
        raise SchemaError(
            f"a radar cube needs the coordinates {list(ORBIT)} on time, it lacks {missing}; "
            "without them nobody can tell which dates are comparable"
        )
    found: dict[Orbit, list[int]] = {}
    states = np.broadcast_to(cube["orbit_state"].values, cube.sizes["time"])
    numbers = np.broadcast_to(cube["relative_orbit"].values, cube.sizes["time"])
    for at, (state, number) in enumerate(zip(states, numbers, strict=True)):
        found.setdefault((str(state), int(number)), []).append(at)
    return dict(sorted(found.items()))
