"""The dates of each period to one picture, lazily, in pieces of bounded size: the Dask side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from glaciercube import schema
from glaciercube.cube.cells import (
    CLEAR,
    CLOUD_SCORE,
    Task,
    compose_blocks,
    compose_windows,
    piece_shape,
    take,
)
from glaciercube.cube.periods import Period
from glaciercube.store.reading import Source, source_of
from glaciercube.windows import Window, edges

ALGORITHM_VERSION = 1
"""Goes into the names of lazy results; raised when the same cube gives other numbers."""

OUTPUTS = {"acquired": np.int32, "observations": np.uint16, "valid": np.bool_}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What composites are made of."""

    cube: xr.Dataset
    """Sorted in time and lazy, with one chunk grid in y and x."""

    main: str
    """Its variable (time, band, y, x)."""

    how: str
    max_bytes: int
    clear: da.Array
    cloud_score: da.Array | None
    flags: tuple[str, ...]
    """Variables (time, y, x) that are picked with the pixel."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    """Of the variables that a store can give window by window; none, or `main` and others."""

    order: tuple[int, ...]
    """Place of each date in the sources."""

    @property
    def inputs(self) -> dict[str, da.Array]:
        """All arrays that a picture is made of; `main` first."""
        names = [self.main, *self.flags]
        if schema.READ_FAILED in self.cube:
            names.append(schema.READ_FAILED)
        arrays = {name: self.cube[name].data for name in names} | {CLEAR: self.clear}
        return arrays if self.cloud_score is None else {**arrays, CLOUD_SCORE: self.cloud_score}

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Chunk sizes of y and x."""
        chunks = self.cube[self.main].variable.chunksizes
        return chunks["y"], chunks["x"]


def work_of(
    cube: xr.Dataset,
    main: str,
    clear: xr.DataArray,
    *,
    how: str,
    max_bytes: int,
    cloud_score: da.Array | None = None,
) -> Work:
    """Return what composites of a cube are made of.

    Parameters
    ----------
    cube : Dataset
        As it came, its dates in any order.
    main : str
        "reflectance" or "backscatter".
    clear : DataArray (time, y, x), bool
        Of the same dates in the same order.
    how : "median", "medoid" or "best-pixel"
    max_bytes : int
        Of what one task holds of all dates.
    cloud_score : dask array (time, y, x), uint16, optional
        Its dates sorted.
    """
    order = np.argsort(cube["time"].values, kind="stable")
    in_order = bool((order == np.arange(len(order))).all())
    ordered = lazy(cube if in_order else cube.isel(time=order), main)
    chunks = {dim: ordered[main].variable.chunksizes[dim] for dim in schema.GRID_DIMS}
    flags = () if how == "median" else _flags(ordered)
    sources = {name: source_of(cube[name]) for name in (main, *flags)}
    found = {name: one for name, one in sources.items() if one is not None}
    if cloud_score is not None:
        cloud_score = cloud_score.rechunk({1: chunks["y"], 2: chunks["x"]})
    return Work(
        cube=ordered,
        main=main,
        how=how,
        max_bytes=max_bytes,
        clear=(clear if in_order else clear.isel(time=order)).chunk(chunks).data,
        cloud_score=cloud_score,
        flags=flags,
        sources=found if main in found else {},
        order=tuple(order.tolist()),
    )


def lazy(cube: xr.Dataset, main: str) -> xr.Dataset:
    """Return a cube whose variables on the time axis are lazy, on the chunk grid of one of them."""
    out = cube if cube[main].chunks else cube.assign({main: cube[main].chunk(time=1)})
    wanted = {dim: out[main].variable.chunksizes[dim] for dim in schema.GRID_DIMS}
    some = out.copy()
    for name, one in out.data_vars.items():
        if "time" in one.dims and any(
            one.variable.chunksizes.get(dim) != wanted[dim] for dim in wanted
        ):
            some[name] = one.chunk(wanted)
    return some


def _flags(cube):
    """Return the variables that are picked: a composite makes the others itself."""
    own = ("valid", "acquired", schema.READ_FAILED)
    return tuple(
        str(name)
        for name, one in cube.data_vars.items()
        if one.dims == schema.TIME_DIMS and name not in own
    )


def composed(
    work: Work, periods: Sequence[Period], scores: Sequence[Sequence[int]]
) -> dict[str, da.Array]:
    """Return the composites of all periods, without computing them.

    Parameters
    ----------
    work : Work
    periods : sequence of Period
    scores : sequence of sequence of int
        For each period that of its dates.

    Returns
    -------
    dict of str to dask array (time, ..., y, x)
        One entry of time per period, in the chunks of the cube.

    Notes
    -----
    All dates of a piece must be in one place. A task holds

        dates x pixels of the piece x (4 x bands + bytes of the flags + 1)

    bytes of them, and a piece is so small that this is at most `max_bytes` (one pixel at
    least); the kernel's own memory is at most about as much again.

    What `read` gave is read by the task itself, piece after piece: one task per period and
    chunk, which never holds more, and besides the clear mask (1 byte per date and pixel of
    the chunk) only its result. Pieces follow the small chunks inside the store's shards, so
    that each is read once, unless a single one is more than `max_bytes`.

    Of any other cube each chunk is made once, cut, and the parts of all dates are joined.
    All dates of a chunk must be made before its first piece is complete, so the workers
    together hold a period of a chunk (Dask may spill it); no single task does.
    """
    parts = [_period(work, one, own) for one, own in zip(periods, scores, strict=True)]
    if len(parts) == 1:
        return parts[0]
    return {name: da.concatenate([part[name] for part in parts]) for name in parts[0]}


def _period(work, period, scores):
    """Return the composite of one period, each array with one entry of time."""
    places = list(period.places)
    dates = slice(places[0], places[-1] + 1)  # sorted, so without gaps
    along = work.inputs[work.main][dates].chunks[0]
    arrays = {name: array[dates].rechunk({0: along}) for name, array in work.inputs.items()}
    days = work.cube["time"].values[places].astype("datetime64[D]").astype(np.int64)
    token = tokenize(
        ALGORITHM_VERSION, work.how, [(name, one.name) for name, one in arrays.items()],
        places, days.tolist(), list(scores),
    )  # fmt: skip
    task = Task(
        main=work.main,
        how=work.how,
        days=tuple(days.tolist()),
        scores=tuple(scores),
        inputs=tuple(name for name in arrays if name not in work.sources),
        places=tuple(work.order[place] for place in places),
        sources=work.sources,
        pixels=_most_pixels(arrays, work.max_bytes),
    )
    make = _read_directly if work.sources else _through_the_graph
    cells, sizes = make(arrays, work.sizes, task, token)
    return {
        name: _taken(cells, name, kind, (sizes, work.sizes), token)
        for name, kind in _kinds(work).items()
    }


def _most_pixels(arrays, max_bytes):
    """Return how many pixels of all dates make up the bytes of a task."""
    per_pixel = sum(
        array.nbytes // (array.shape[-1] * array.shape[-2]) for array in arrays.values()
    )
    return max(1, max_bytes // per_pixel)


def _kinds(work) -> dict[str, tuple[np.dtype, int | None]]:
    """Return the dtype of each output, and the number of its bands if it has any."""
    dtypes = {**OUTPUTS, **{name: work.cube[name].dtype for name in work.flags}}
    if schema.READ_FAILED in work.cube:
        dtypes[schema.READ_FAILED] = np.bool_
    kinds: dict[str, tuple[np.dtype, int | None]] = {
        work.main: (np.dtype(np.float32), work.cube.sizes["band"])
    }
    return kinds | {name: (np.dtype(kind), None) for name, kind in dtypes.items()}


def _read_directly(arrays, sizes, task, token):
    """Return one cell per chunk, whose task reads its own pieces from the store."""
    tall, wide = edges(sizes[0]), edges(sizes[1])
    windows = np.empty((len(tall), len(wide)), object)
    for row, column in np.ndindex(windows.shape):
        windows[row, column] = Window(*tall[row], *wide[column])
    lattice = da.from_array(windows, chunks=1, name=f"windows-{tokenize(sizes)}")
    own = _indexed(arrays, task)
    return _cells(compose_windows, (lattice, "yx", *own), task, f"{token}-direct"), sizes


def _through_the_graph(arrays, sizes, task, token):
    """Return one cell per piece, whose task gets all dates of it."""
    height, width = piece_shape((max(sizes[0]), max(sizes[1])), task.pixels)
    pieces = _split(sizes[0], height), _split(sizes[1], width)
    cut = {
        name: array.rechunk({array.ndim - 2: pieces[0], array.ndim - 1: pieces[1]})
        for name, array in arrays.items()
    }
    return _cells(compose_blocks, _indexed(cut, task), task, f"{token}-{tokenize(pieces)}"), pieces


def _indexed(arrays, task):
    found = []
    for name in task.inputs:
        found += [arrays[name], "tbyx" if arrays[name].ndim == 4 else "tyx"]
    return found


def _cells(function, arguments, task, token):
    return da.blockwise(
        function, "yx", *arguments, task=task, name=f"compose-{token}", dtype=object,
        concatenate=None, align_arrays=False, adjust_chunks={"y": 1, "x": 1},
        meta=np.empty((0, 0), object),
    )  # fmt: skip


def _split(sizes, step):
    """Return chunk sizes cut into steps, none across a border."""
    return tuple(min(step, size - start) for size in sizes for start in range(0, size, step))


def _taken(cells, name, kind, sizes, token):
    """Return one output of the cells as an array in the chunks of the cube."""
    dtype, bands = kind
    made, wanted = sizes
    final = f"composite-{name}-{token}"
    first = ((1,),) if bands is None else ((1,), (bands,))
    array = da.blockwise(
        take, "tyx" if bands is None else "tbyx", cells, "yx", key=name,
        new_axes={"t": 1} if bands is None else {"t": 1, "b": bands},
        adjust_chunks={"y": made[0], "x": made[1]},
        name=final if made == wanted else f"{final}-{tokenize(made)}", dtype=dtype,
        meta=np.empty((0,) * (len(first) + 2), dtype),
    )  # fmt: skip
    if made == wanted:
        return array
    # The name of the result does not tell how it was cut: the numbers do not either.
    joined = array.rechunk((*first, *wanted))
    return da.map_blocks(_same, joined, name=final, dtype=dtype, meta=joined._meta)


def _same(block):
    return block
