"""Overviews of a store: coarser levels, each derived from native pixels, kept up to date."""

import json
import os
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import dask
import numpy as np
import xarray as xr
from dask.diagnostics import ProgressBar

from glaciercube.errors import GlacierCubeWarning, StoreError
from glaciercube.store import dates, ledger
from glaciercube.store.layout import Block
from glaciercube.store.ledger import Header
from glaciercube.store.level_groups import (
    are_published,
    create_levels,
    publish_levels,
    remove_levels,
)
from glaciercube.store.level_units import RECORDS, derive_unit, is_sound, naming, units_of
from glaciercube.store.levels import path_of, pyramid_of
from glaciercube.store.lineage import fingerprint
from glaciercube.store.places import Place, place_of
from glaciercube.store.template import OWN_ATTRIBUTES

STATE = f"{RECORDS}/levels.json"

UNITS_AT_ONCE = 5_000
"""Tasks of a graph that Dask is given."""


@dataclass(frozen=True, kw_only=True)
class OverviewsReport:
    """What `build_overviews` did."""

    path: Path | str
    factors: tuple[int, ...]
    """Native pixels along one side of a level's pixel; empty if the store needs no levels."""

    units: int
    """Parts of the store that are derived at once, of all dates."""

    derived: int
    """Units derived now, because they were not, or the native pixels have changed."""

    missing: int
    """Native blocks that are not written yet, and show as no value."""

    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the report in one line."""
        return (
            f"{Path(self.path).name}: overviews by {list(self.factors)}, {self.derived} of "
            f"{self.units} units derived, {self.units - self.derived} as they were, "
            f"{self.missing} native blocks missing, {self.seconds:.1f} s"
        )


def build_overviews(
    path: str | os.PathLike | Place,
    factors: Sequence[int] | None = None,
    *,
    check: bool = False,
    progress: bool = False,
) -> OverviewsReport:
    """Write coarser levels of a store into it, or bring those that are there up to date.

    Parameters
    ----------
    path : str, path or Place
        Of a store.
    factors : sequence of int, optional
        Native pixels along one side of a level's pixel, each a multiple of the one before. If
        None, those that the store has; else 2, 4, 8, ... until the longer side has no more
        than 512 pixels.
    check : bool
        Read the levels that are there, and derive again what does not hold what was written.
    progress : bool
        Show a progress bar (not with a `dask.distributed` client, which has its own).

    Returns
    -------
    OverviewsReport

    Raises
    ------
    GridError
        If the factors are not to be had.
    StoreError
        If there is no store, or it cannot be read or written; what was derived stays, and the
        next call goes on.

    Warns
    -----
    GlacierCubeWarning
        If blocks of the store are not written yet: they show as no value until the next call.

    Notes
    -----
    Every level is made from native pixels, never from another level: the mode of modes is not
    the mode. Classes, masks and dates get the mode (`pyramids.modes` says how ties and nodata
    are decided), everything else the mean of the pixels that hold a value, reflectance and
    probability as the nearest code. Pixels of a level begin at the store's corner; the last
    row and column may reach beyond it, and hold what there is.

    A unit of work is the pixels that become one shard of each level, read once for all of them,
    about a native block at a time. A task holds these shards of one variable, at most 64 MiB
    (or a block's, if that is more), and a block with its sums, about four times its codes. Its
    record, written last, carries the checksums of the native blocks, so that only units whose
    blocks have changed, and new dates, are derived again. Readers see a level once it is whole:
    its length in time and the `multiscales` attribute of the store are written at the end.
    With other factors the levels are taken away and begun anew.
    """
    started = perf_counter()
    place = place_of(path)
    header, attrs, checksums = _native(place)
    known = _state(place)
    pyramid = pyramid_of(header, attrs, known.get("factors") if factors is None else factors)
    units = [] if pyramid is None else units_of(pyramid, checksums)
    derived = 0
    if pyramid is not None:
        version = pyramid.fingerprint(header.geobox)
        if known.get("fingerprint") != version:
            _begin(place, header, pyramid, version)
        done = {unit.key for unit in units if _is_done(place, unit, version)}
        pending = [unit for unit in units if unit.key not in done]
        if check:
            pending += _damaged(place, pyramid, [unit for unit in units if unit.key in done])
        derived = len(pending)
        _derive(place, pyramid, pending, version, progress)
        _publish(place, header, pyramid, version, units)
    missing = sum(checksum is None for checksum in checksums.values())
    if missing:
        warnings.warn(
            f"the store {str(place)!r} is incomplete: {missing} of {len(checksums)} blocks are "
            "missing and show as no value in its overviews; build them again when it is complete",
            GlacierCubeWarning,
            stacklevel=2,
        )
    return OverviewsReport(
        path=place.address,
        factors=() if pyramid is None else pyramid.factors,
        units=len(units),
        derived=derived,
        missing=missing,
        seconds=perf_counter() - started,
    )


def overview_factors(path: str | os.PathLike | Place) -> tuple[int, ...]:
    """Return the factors of the levels that readers see, from fine to coarse.

    Parameters
    ----------
    path : str, path or Place
        Of a store.

    Returns
    -------
    tuple of int
        Empty if there are none.

    Raises
    ------
    StoreError
        If there is no store.
    """
    place = place_of(path)
    ledger.read_header(place)
    return tuple(_state(place).get("seen", ()))


def read_overview(path: str | os.PathLike | Place, factor: int) -> xr.Dataset:
    """Return one level of a store as a lazy dataset.

    Parameters
    ----------
    path : str, path or Place
        Of a store.
    factor : int
        Native pixels along one side of the level's pixels.

    Returns
    -------
    Dataset
        As `read` gives the store: reflectance and probability float32, masks bool, codes
        uint8, dates sorted; `cell_methods` says how a variable was reduced. Dates that were
        appended since the levels were built are not there.

    Raises
    ------
    StoreError
        If there is no store, or no level of this factor.
    """
    place = place_of(path)
    header = ledger.read_header(place)
    state = _state(place)
    have = tuple(state.get("seen", ()))
    if factor not in have:
        raise StoreError(
            f"{str(place)!r} has overviews by {list(have)}, not by {factor!r}; "
            "make them with build_overviews(path)"
        )
    whole = _opened(place, factor)
    token = fingerprint(str(place), state["content"], str(factor))
    variables = {
        stored.name: _decoded(whole[stored.name], stored, f"overview-{stored.name}-{token}")
        for stored in header.layout.variables
    }
    found = xr.Dataset(variables, coords=whole.coords, attrs=whole.attrs)
    return found.sortby("time") if "time" in found.dims else found


def _native(place) -> tuple[Header, dict[str, dict[str, Any]], dict[Block, str | None]]:
    """Return the header of a store, the attributes of its variables, and what blocks hold."""
    header = ledger.read_header(place)
    blocks = header.layout.all_blocks()
    records = ledger.records(place, blocks)
    group = dates.seen(place).group
    attrs = {stored.name: dict(group[stored.name].attrs) for stored in header.layout.variables}
    checksums = {block: records[block].checksum if block in records else None for block in blocks}
    return header, attrs, checksums


def _state(place) -> dict[str, Any]:
    """Return what is known of the levels as a whole; empty if there are none."""
    return _json(place, STATE)


def _json(place, key) -> dict[str, Any]:
    try:
        return dict(json.loads(place.read(key)))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _is_done(place, unit, version):
    """Say whether a unit was derived from what its native blocks hold now."""
    record = _json(place, unit.key)
    return record.get("fingerprint") == version and record.get("sources") == unit.sources


def _begin(place, header, pyramid, version):
    """Take away levels that are others, and make empty ones."""
    branch = place.writing()
    with naming(place):
        for name in [*branch.names(RECORDS)]:
            branch.delete(f"{RECORDS}/{name}")
        remove_levels(branch)
        create_levels(branch, header.geobox, pyramid)
        state = {"fingerprint": version, "factors": pyramid.factors}
        branch.write(STATE, json.dumps(state).encode())
        place.commit([branch.token()], "empty overviews")


def _damaged(place, pyramid, units):
    """Return the units whose levels do not hold what was written."""
    damaged = []
    for part in _parts(units):
        work = dask.delayed(partial(is_sound, place=place, pyramid=pyramid), pure=False)
        sound = dask.compute(*(work(unit) for unit in part))
        damaged += [unit for unit, good in zip(part, sound, strict=True) if not good]
    return damaged


def _parts(units):
    """Yield a bounded number of units at a time."""
    for first in range(0, len(units), UNITS_AT_ONCE):
        yield units[first : first + UNITS_AT_ONCE]


def _derive(place, pyramid, units, version, progress):
    """Derive units, a bounded number at once."""
    for part in _parts(units):
        branch = place.writing()
        work = dask.delayed(
            partial(derive_unit, place=branch, pyramid=pyramid, version=version),
            name=f"overviews-{place.name}",
            pure=False,
            traverse=False,
        )
        with ProgressBar() if progress else nullcontext():
            tokens = dask.compute(*(work(unit) for unit in part))
        place.commit(tokens, f"overviews of {len(part)} units")


def _publish(place, header, pyramid, version, units):
    """Let readers see the levels, unless they see them as they are."""
    contents = [json.dumps([unit.block.key, unit.sources]) for unit in units]
    state = {
        "fingerprint": version,
        "factors": [*pyramid.factors],
        "seen": [*pyramid.factors],
        "content": fingerprint(version, *contents),
    }
    if _state(place) == state and are_published(place, header.geobox, pyramid):
        return
    branch = place.writing()
    with naming(place):
        publish_levels(branch, header.geobox, pyramid)
        branch.write(STATE, json.dumps(state).encode())
        place.commit([branch.token()], "overviews")


def _opened(place, factor):
    """Return a level as it lies on disk, its attributes and coordinates as `read` gives them."""
    with dates.quiet():
        whole = xr.open_zarr(
            place.zarr(),
            group=path_of(factor),
            chunks=None,
            decode_coords="all",
            decode_times=False,
            mask_and_scale=False,
            consolidated=place.consolidates,
        )
    moments = xr.decode_cf(whole.coords.to_dataset(), mask_and_scale=False).coords
    coords = {}
    for name, coord in moments.items():
        coord = coord.load()
        text = coord.dtype.kind in "OT"
        coords[name] = coord.copy(data=np.array(coord.values.tolist(), str)) if text else coord
    found = whole.assign_coords(coords)
    found.attrs = _given(found.attrs)
    return found


def _decoded(array, stored, name):
    """Return a variable of a level as values, lazily, one task per shard."""
    shards = array.encoding["shards"] or array.encoding["chunks"]
    chunks = dict(zip(stored.dims, shards, strict=True))
    codes = array.variable.chunk(chunks, name=f"codes-{name}").data
    meta = np.empty((0,) * codes.ndim, stored.dtype)
    data = codes.map_blocks(stored.decode, dtype=stored.dtype, meta=meta, name=name)
    attrs = _given(array.attrs)
    if "flag_values" in attrs:
        attrs["flag_values"] = np.array(attrs["flag_values"], stored.dtype)
    return xr.Variable(stored.dims, data, attrs, {"grid_mapping": "spatial_ref"})


def _given(attrs):
    hidden = (*OWN_ATTRIBUTES, "multiscales", "scale_factor", "add_offset", "_FillValue")
    return {key: value for key, value in attrs.items() if not key.startswith(hidden)}
