"""A whole cube through the networks, lazily: xarray and Dask around `predict_block`. No torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize

from glaciercube import schema
from glaciercube.errors import GlacierCubeError, SchemaError
from glaciercube.infer import checks, layers, lineage
from glaciercube.infer.work import PROBABILITY, Work
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ref_of
from glaciercube.optional import load
from glaciercube.store.reading import source_of

ALGORITHM_VERSION = 1
"""Raised whenever the same cube and cards would give other numbers."""

CHUNK = 1024
"""Rows and columns of a block of a cube that is in memory."""


def predict(
    cube: xr.Dataset,
    cards: Sequence[ModelCard],
    *,
    outputs: Sequence[str] | None = None,
    halo: int | None = None,
    strategy: Literal["auto", "direct", "overlap"] = "auto",
) -> xr.Dataset:
    """Return what networks see in a cube, without computing it.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.CUBE`, with the bands of the cards.
    cards : sequence of ModelCard
        One for each task. Their weights are not opened before a block is computed.
    outputs : sequence of str, optional
        Layers to give; by default the class layer of each card, "confidence",
        "valid_fraction" and, of an extent card, "glacier_probability". "probability" of
        all facies on request.
    halo : int, optional
        Pixels read around each block; the largest halo of the cards by default. A smaller
        one is faster and shows seams.
    strategy : {"auto", "direct", "overlap"}
        "direct": each block reads its own halo from the store, possible only for what
        `read` gave, untouched. "overlap": neighbours in the graph give it. The numbers are
        the same; "auto" takes "direct" where it is possible.

    Returns
    -------
    Dataset, lazy
        `facies`, `extent` (time, y, x), uint8, 255 where not measured and, in `extent`,
        where obscured; `confidence`, `valid_fraction`, `glacier_probability` (time, y, x),
        float32, 0-1, NaN where nodata; `probability` (time, category, y, x); `valid` and
        `elevation` of the cube. Chunked as `reflectance` is.

    Raises
    ------
    SchemaError
        If the cube lacks a band, is of another level, or has chunks smaller than the halo.
    WeightsError
        If two cards have the same task.

    Notes
    -----
    A pixel is measured where `valid` is True and every band that a card reads is finite;
    elsewhere the networks see the training mean, and the layers are nodata. With several
    cards `confidence` is the lower of theirs.

    The layers carry of what they are made, if it is known of the cube (see `store.lineage`):
    of a cube that `read` gave, the records of the blocks that a block and its halo touch.
    """
    checks.check_cards(cards)
    checks.check_cube(cube, cards)
    wanted = checks.outputs_of(outputs, cards)
    reach, stride = checks.halo_of(halo, cards)
    reflectance, valid = _dask_arrays(cube)
    names = [str(name) for name in cube["band"].values]
    positions = sorted({at for card in cards for at in channels.positions(names, card)})
    work = Work(
        refs=tuple(ref_of(card) for card in cards),
        bands=tuple(names[at] for at in positions),
        planes=checks.planes_of(wanted, cards),
        halo=reach,
        stride=stride,
        chunks=(reflectance.chunks[0], *reflectance.chunks[2:]),
        times=tuple(_label(time) for time in cube["time"].values),
        positions=tuple(positions),
    )
    sources = _sources(cube, strategy)
    if sources is None:
        stacked = _by_overlap(reflectance, valid, work)
    else:
        stacked = _by_direct_read(reflectance, valid, work, sources)
    found = _split(stacked, work)
    out = layers.dataset_of(found, cube, cards, reach)
    return lineage.traced(out, found, cube, work, ALGORITHM_VERSION)


def _dask_arrays(cube):
    """Return reflectance and valid as Dask arrays with the same chunks, all bands in one."""
    reflectance, valid = cube["reflectance"].data, cube["valid"].data
    if not isinstance(reflectance, da.Array):
        sizes = {"time": 1, "band": -1, "y": CHUNK, "x": CHUNK}
        chunks = tuple(sizes[dim] for dim in cube["reflectance"].dims)
        reflectance = da.from_array(np.asarray(reflectance), chunks=chunks)
    reflectance = reflectance.rechunk({1: -1})
    chunks = (reflectance.chunks[0], *reflectance.chunks[2:])
    if not isinstance(valid, da.Array):
        return reflectance, da.from_array(np.asarray(valid), chunks=chunks)
    return reflectance, valid.rechunk(chunks)


def _sources(cube, strategy):
    """Return the readers of reflectance and valid, or None for the overlap strategy."""
    if strategy not in {"auto", "direct", "overlap"}:
        raise SchemaError(f"strategy must be 'auto', 'direct' or 'overlap', found {strategy!r}")
    if strategy == "overlap":
        return None
    sources = {name: source_of(cube[name]) for name in schema.CUBE}
    missing = [name for name, source in sources.items() if source is None]
    if not missing:
        return sources
    if strategy == "direct":
        raise SchemaError(
            f"the strategy 'direct' needs a cube exactly as read() gave it, but {missing} is not; "
            "subset with read(path, area=, time=, bands=), write the changed cube first, or "
            "take the strategy 'overlap'"
        )
    return None


def _by_direct_read(reflectance, valid, work, sources):
    token = _token("direct", reflectance, valid, work)
    return _mapped(_direct_block, token, replace(work, **sources))


def _by_overlap(reflectance, valid, work):
    checks.check_overlap(work.chunks[1:], work.halo, work.stride)
    token = _token("overlap", reflectance, valid, work)
    joined = da.map_blocks(
        _join,
        reflectance,
        valid[:, np.newaxis],
        positions=work.positions,
        name=f"measured-{token}",
        dtype=np.float32,
        chunks=(work.chunks[0], (len(work.positions),), *work.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    # an axis of one chunk has no neighbours, and may be smaller than the halo
    depth = {axis: work.halo if joined.numblocks[axis] > 1 else 0 for axis in (2, 3)}
    wide = da.overlap.overlap(
        joined, depth={0: 0, 1: 0, **depth}, boundary="none", allow_rechunk=False
    )
    return _mapped(_overlap_block, token, work, wide)


def _mapped(function, token, work, *arrays):
    """Return the stacked planes (time, plane, y, x): one task for each block.

    What all blocks share is one key of the graph, so that a task holds no more than its
    number and that key.
    """
    shared = dask.delayed(work, name=f"work-{token}", traverse=False)
    return da.map_blocks(
        function,
        *arrays,
        work=shared,
        name=f"predict-{token}",
        dtype=np.float32,
        chunks=(work.chunks[0], (len(work.planes),), *work.chunks[1:]),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )


def _token(strategy, reflectance, valid, work):
    return tokenize(
        ALGORITHM_VERSION, strategy, reflectance.name, valid.name, work.refs, work.bands,
        work.positions, work.planes, work.halo, work.stride, work.chunks,
    )  # fmt: skip


def _split(stacked, work):
    """Return the layers of the stacked planes, by name; a slice each."""
    arrays = {
        name: da.map_blocks(
            _pick,
            stacked,
            number=number,
            kind=schema.LAYERS[name].dtype,
            dtype=schema.LAYERS[name].dtype,
            name=f"{name}-{stacked.name}",
            drop_axis=1,
            meta=np.empty((0, 0, 0), schema.LAYERS[name].dtype),
        )
        for number, name in enumerate(work.planes)
        if not name.startswith(PROBABILITY)
    }
    first = len(arrays)
    if first < len(work.planes):
        arrays["probability"] = stacked[:, first:]
    return arrays


def _pick(block, number, kind):
    return block[:, number].astype(kind)


def _join(reflectance, valid, positions):
    """Return the bands (time, band, y, x) that are needed, NaN where not valid."""
    return np.where(valid, reflectance[:, list(positions)], np.float32(np.nan))


def _direct_block(work: Work, block_id: tuple[int, ...] = ()) -> np.ndarray:
    dates, inner, outer = work.place(block_id)
    return _each_date(work, dates, inner, outer, lambda date: _read(work, date, inner, outer))


def _overlap_block(block: np.ndarray, work: Work, block_id: tuple[int, ...] = ()) -> np.ndarray:
    dates, inner, outer = work.place(block_id)

    def part(date):
        values = block[date - dates.start]
        return values, np.ones(values.shape[1:], bool)

    return _each_date(work, dates, inner, outer, part)


def _read(work, date, inner, outer):
    """Return what a block needs of the store; reflectance only if anything was measured."""
    valid = work.valid.load(date, outer)
    if not valid[inner.inside(outer)].any():
        shape = (len(work.bands), *outer.shape)
        return np.broadcast_to(np.float32(np.nan), shape), valid
    return work.reflectance.load(date, outer)[list(work.positions)], valid


def _each_date(work, dates, inner, outer, part):
    predict_block = load("glaciercube.infer.block").predict_block
    found = []
    for date in dates:
        try:
            found.append(predict_block(*part(date), work, inner.inside(outer)))
        except Exception as error:
            place = (
                f"infer.predict failed on time {work.times[date]}, y {inner.y0}-{inner.y1}, "
                f"x {inner.x0}-{inner.x1}: {error}"
            )
            kind: Any = type(error) if isinstance(error, GlacierCubeError) else GlacierCubeError
            raise kind(place) from error
    return np.stack(found)


def _label(time):
    """Return a date for messages, with the time of day if it has one.

    >>> _label(np.datetime64("2021-08-01T00:00:00", "ns"))
    '2021-08-01'
    """
    day = np.datetime_as_string(time, unit="D")
    return str(day if np.datetime64(day) == time else np.datetime_as_string(time, unit="s"))
