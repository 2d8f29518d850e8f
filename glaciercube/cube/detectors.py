"""Masks by somebody else's detector: a plain NumPy function, run block by block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from glaciercube import schema
from glaciercube.cube import blocks
from glaciercube.errors import GlacierCubeError, SchemaError
from glaciercube.windows import edges

ALGORITHM_VERSION = 1
"""Raised whenever the same cube and function would give another mask."""

Detector = Callable[[np.ndarray], np.ndarray]
"""Takes (band, y, x), float32, NaN where not measured; returns (y, x), bool."""


def with_mask(
    cube: xr.Dataset,
    function: Detector,
    *,
    bands: Sequence[str],
    name: str = "cloud",
    halo: int = 0,
    how: Literal["replace", "add"] = "replace",
    label: str | None = None,
) -> xr.Dataset:
    """Return a cube with a mask that your own function makes, without running it.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.CUBE`.
    function : callable
        Takes the bands of one date and block, array (band, y, x), float32 reflectance, NaN
        where not measured; returns (y, x), bool, True where it sees what `name` says. It must
        not change its input. On a cluster it has to be importable or picklable, and to be
        safe in several threads.
    bands : sequence of str
        Which bands it gets, in this order.
    name : str
        Of the layer: "cloud", "cloud_shadow", "snow", "water" or one of your own.
    halo : int
        Pixels that it sees around the block on each side; NaN beyond the image.
    how : "replace" or "add"
        Take the place of the cube's layer, or mark pixels in addition to it.
    label : str, optional
        Says which function in which version made the mask; two functions of one label are
        taken for the same. By default its name, and then what it is made of counts as well.

    Returns
    -------
    Dataset, as lazy as the cube
        The mask is False where `valid` is; its attributes `source`, `bands` and `halo` say how
        it came to be.

    Raises
    ------
    SchemaError
        If the cube lacks a band, `name` is taken by another kind of variable, or the function
        gives anything but a mask of the block's size.
    GlacierCubeError
        If the function fails; with its name and the place.

    Notes
    -----
    The result does not depend on chunks if the function sees no further than the halo. A
    network that takes the mean of its whole input does, whatever the halo: keep chunks
    large. Blocks without a measured pixel are passed over.
    """
    _check(cube, name, bands, halo, how)
    label = label or _name_of(function)
    token_of = label if label != _name_of(function) else (label, function)
    job = _Job(
        function=function,
        label=label,
        name=name,
        halo=halo,
        times=tuple(str(np.datetime_as_string(one, unit="s")) for one in cube["time"].values),
    )
    reflectance = cube["reflectance"].sel(band=list(bands)).data
    valid = cube["valid"].data
    if isinstance(reflectance, da.Array) or isinstance(valid, da.Array):
        found = _lazily(reflectance, valid, job, token_of)
    else:
        found = _at_once(reflectance, valid, job)
    mask = cube["valid"].copy(data=found)
    if how == "add":
        mask = mask | cube[name]
    mask.attrs = _attrs(cube, job, bands, how)
    mask.encoding = dict(cube["valid"].encoding)
    return cube.assign({name: mask})


def _check(cube, name, bands, halo, how):
    needs = dict(schema.CUBE)
    if how == "add":
        needs[name] = schema.VARIABLES["valid"]
    schema.check(cube, needs, f"with_mask {name!r}: the cube")
    problems = []
    held = cube["band"].values.tolist()
    missing = [band for band in bands if band not in held]
    if missing or not bands:
        problems.append(f"bands must be of {held}, found {list(bands)}")
    if name == "valid":
        problems.append("'valid' says what was measured and nothing else; choose another name")
    elif name in cube and (cube[name].dims != schema.TIME_DIMS or cube[name].dtype != bool):
        problems.append(f"{name!r} is {cube[name].dtype} {cube[name].dims}, no mask to replace")
    if how not in {"replace", "add"}:
        problems.append(f"how is 'replace' or 'add', found {how!r}")
    if not isinstance(halo, int) or halo < 0:
        problems.append(f"halo is a number of pixels, 0 or more, found {halo!r}")
    if problems:
        raise SchemaError("with_mask cannot begin:\n  " + "\n  ".join(problems))


def _name_of(function):
    """Return the dotted name of a function, of what a partial wraps, or of an object's type."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _attrs(cube, job, bands, how):
    attrs = {
        "units": "1",
        "long_name": f"{job.name.replace('_', ' ')} by {job.label}",
        "source": job.label,
        "bands": list(bands),
        "halo": job.halo,
    }
    if how == "add":
        before = cube[job.name].attrs.get("source", "the provider")
        attrs["source"] = f"{before}, and {job.label}"
        attrs["long_name"] = f"{job.name.replace('_', ' ')} by {attrs['source']}"
    return attrs


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What all blocks share."""

    function: Detector
    label: str
    name: str
    halo: int
    times: tuple[str, ...]


def _at_once(reflectance, valid, job):
    own = (slice(0, None), slice(0, None))
    rows, columns = valid.shape[1:]
    found = [
        _one_date(job, values, seen, own, f"time {time}, y 0-{rows}, x 0-{columns}")
        for values, seen, time in zip(reflectance, valid, job.times, strict=True)
    ]
    return np.stack(found)


def _lazily(reflectance, valid, job, token_of):
    chunks = valid.chunks if isinstance(valid, da.Array) else _without_band(reflectance.chunks)
    valid = blocks.as_dask(valid, chunks)
    reflectance = blocks.as_dask(reflectance, (chunks[0], (reflectance.shape[1],), *chunks[1:]))
    token = tokenize(
        ALGORITHM_VERSION, reflectance.name, valid.name, token_of, job.name, job.halo, job.times
    )
    wide = blocks.with_halo(reflectance, job.halo)
    sizes = (chunks[0], *blocks.without_halo(wide.chunks, job.halo))
    found = da.map_blocks(
        _block,
        wide,
        blocks.with_halo(valid, job.halo)[:, np.newaxis],
        job=dask.delayed(job, name=f"detector-{token}", traverse=False),
        starts=tuple(edges(along) for along in sizes),
        name=f"{job.name}-{token}",
        dtype=bool,
        drop_axis=1,
        chunks=sizes,
        meta=np.empty((0, 0, 0), bool),
    )
    return found.rechunk(chunks)


def _without_band(chunks):
    return chunks[0], *chunks[2:]


def _block(reflectance, valid, job, starts, block_id=None):
    """Return the masks (time, y, x) of a block that comes with its halo."""
    at = (block_id[0], *block_id[-2:])
    own = blocks.inner(at, tuple(len(along) for along in starts), job.halo)
    (first, _), (y0, y1), (x0, x1) = (along[i] for along, i in zip(starts, at, strict=True))
    found = []
    for number, (values, seen) in enumerate(zip(reflectance, valid[:, 0], strict=True)):
        place = f"time {job.times[first + number]}, y {y0}-{y1}, x {x0}-{x1}"
        found.append(_one_date(job, values, seen, own, place))
    return np.stack(found)


def _one_date(job, values, seen, own, place):
    """Return the mask of a block's own pixels on one date."""
    if not seen[own].any():
        return np.zeros(seen[own].shape, bool)
    missing = [
        (0 if one.start else job.halo, 0 if one.stop else job.halo) if job.halo else (0, 0)
        for one in own
    ]
    padded = np.pad(
        np.where(seen, values, np.float32(np.nan)),
        ((0, 0), *missing),
        constant_values=np.float32(np.nan),
    )
    mask = _checked(_run(job, padded, place), padded.shape[1:], job, place)
    inside = slice(job.halo, -job.halo or None)
    return mask[inside, inside] & seen[own]


def _run(job, values, place):
    try:
        return job.function(values)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise GlacierCubeError(
            f"with_mask {job.name!r}: {job.label} failed on {place}: {reason}"
        ) from error


def _checked(mask: Any, shape, job, place):
    if isinstance(mask, np.ndarray) and mask.shape == shape and mask.dtype == bool:
        return mask
    found = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
    raise SchemaError(
        f"with_mask {job.name!r}: {job.label} must return bool {shape} for the rows and columns "
        f"it got, but returned {found} on {place}"
    )
