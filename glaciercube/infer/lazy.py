"""A whole cube through the networks, lazily: xarray and Dask around `predict_block`. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.layers import ArrayBlockIdDep

from glaciercube import grid, schema
from glaciercube.cover.regions import Region
from glaciercube.errors import GlacierCubeError, SchemaError
from glaciercube.infer import checks, layers, lineage, runtimes
from glaciercube.infer.dihedral import VIEWS
from glaciercube.infer.work import PROBABILITY, Work, bounding
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.optional import load
from glaciercube.store.reading import source_of
from glaciercube.windows import Window, edges, lattice_offset

ALGORITHM_VERSION = 2
"""Raised whenever the same cube and cards would give other numbers."""

CHUNK = 1024
"""Rows and columns of a block of a cube that is in memory."""

PLANES = ("time", "plane", "y", "x")
"""Dimensions of what the networks give."""


def predict(  # noqa: PLR0913 - the operator itself
    cube: xr.Dataset,
    cards: Sequence[ModelCard],
    *,
    outputs: Sequence[str] | None = None,
    halo: int | None = None,
    strategy: Literal["auto", "direct", "overlap"] = "auto",
    views: Literal[1, 8] = 1,
    region: Region | None = None,
    region_mark: Mapping[str, Any] | None = None,
    quantized: bool = False,
    runtime: str = "torch",
) -> xr.Dataset:
    """Return what networks see in a cube, without computing it.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.CUBE`, with the bands of the cards.
    cards : sequence of ModelCard
        Those of one task are an ensemble, whose probabilities are averaged. Their weights are
        not opened before a block is computed.
    outputs : sequence of str, optional
        Layers to give; by default the class layer of each task, "confidence",
        "valid_fraction" and, of an extent card, "glacier_probability". On request
        "probability" of all facies, "entropy", "mutual_information" of several members, and
        with a region "extent" as the roll-up of facies.
    halo : int, optional
        Pixels read around each block; the largest halo of the cards by default. A smaller
        one is faster and shows seams.
    strategy : {"auto", "direct", "overlap"}
        "direct": each block reads its own halo from the store, possible only for what
        `read` gave, untouched. "overlap": neighbours in the graph give it. The numbers are
        the same; "auto" takes "direct" where it is possible.
    views : {1, 8}
        8: averaged over the image's eight turned and flipped views (dihedral group D4).
    region : Region, optional
        In pixels of the cube. The rest is nodata, is not read and reaches no network; when
        layers are written, blocks without any of it have no task.
    region_mark : mapping, optional
        What names the region in the records of a store, as JSON.
    quantized : bool
        Give shares as codes of 8 bits with CF attributes, instead of float32: a quarter of
        the memory.
    runtime : str
        How the networks run, a name of `runtimes.CHOICES`: "torch" in float32,
        "torch-bfloat16", "torch-eager", "torch-compile".

    Returns
    -------
    Dataset, lazy
        `facies`, `extent` (time, y, x), uint8, 255 where not measured and, in `extent`,
        where obscured; `confidence`, `valid_fraction`, `glacier_probability`, `entropy`,
        `mutual_information` (time, y, x), float32, 0-1, NaN where nodata; `probability` (time,
        category, y, x); `valid` (within the region) and `elevation` of the cube. Chunked as
        `reflectance` is.

    Raises
    ------
    SchemaError
        If the cube lacks a band, is of another level, or has chunks smaller than the halo.
    WeightsError
        If cards of one task have other categories, or a network cannot run as asked for.

    Notes
    -----
    A pixel is measured where `valid` is True and every band that a card reads is finite;
    elsewhere the networks see the card's fill, and the layers are nodata. With several tasks
    `confidence` is the lowest of theirs, the entropies are the highest.

    Networks that are not exact under tiling see windows on a lattice anchored at the origin of
    the CRS, blended; see `infer.blending`.

    The layers carry of what they are made, if it is known of the cube (see `store.lineage`):
    of a cube that `read` gave, the records of the blocks that a block and its halo touch.
    """
    checks.check_cards(cards)
    checks.check_cube(cube, cards)
    several = views * len(cards) > len({card.task for card in cards})
    wanted = checks.outputs_of(outputs, cards, several=several, inside=region is not None)
    reach, stride = checks.halo_of(halo, cards)
    reflectance, valid = _dask_arrays(cube)
    names = [str(name) for name in cube["band"].values]
    positions = sorted({at for card in cards for at in channels.positions(names, card)})
    work = Work(
        refs=tuple(runtimes.ref_for(card, runtime) for card in cards),
        bands=tuple(names[at] for at in positions),
        planes=checks.planes_of(wanted, cards),
        halo=reach,
        stride=stride,
        chunks=(reflectance.chunks[0], *reflectance.chunks[2:]),
        times=tuple(_label(time) for time in cube["time"].values),
        positions=tuple(positions),
        offset=lattice_offset(tuple(grid.grid_of(cube, "the cube").affine)),
        views=checks.views_of(views, len(VIEWS)),
        region=region,
        quantized=quantized,
    )
    stacked, codes = _stacks(cube, reflectance, valid, work, strategy)
    found = _split(stacked, work)
    inside = cube if region is None else cube.assign(valid=_inside(cube["valid"], region))
    out = layers.dataset_of(found, inside, cards, reach, quantized=quantized)
    return lineage.traced(out, found, cube, work, ALGORITHM_VERSION, codes, region_mark)


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


def _stacks(cube, reflectance, valid, work, strategy):
    """Return the planes (time, plane, y, x) in memory, and as the codes that a store keeps."""
    sources = _sources(cube, strategy)
    if sources is not None:
        work = replace(work, **sources)
        token = _token("direct", reflectance, valid, work)
        return _both(lambda one: _mapped(_direct_block, token, one), work)
    depths, work = checks.overlap_of(work)
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
    depth = {0: 0, 1: 0, 2: depths[0], 3: depths[1]}
    wide = da.overlap.overlap(joined, depth=depth, boundary="none", allow_rechunk=False)
    return _both(lambda one: _mapped(_overlap_block, token, one, wide), work)


def _both(make, work):
    codes = make(replace(work, quantized=True))
    return (codes if work.quantized else make(work)), codes


def _mapped(function, token, work, *arrays):
    """Return the stacked planes (time, plane, y, x): one task for each block.

    What all blocks share is one key of the graph, so that a task holds no more than its
    number and that key.
    """
    token = f"{token}-codes" if work.quantized else token
    shared = dask.delayed(work, name=f"work-{token}", traverse=False)
    chunks = (work.chunks[0], (len(work.planes),), *work.chunks[1:])
    given: list[Any] = [ArrayBlockIdDep(chunks), PLANES]
    for array in arrays:
        given += [array, PLANES]
    return da.blockwise(  # `map_blocks` would give each task three arguments more
        function,
        PLANES,
        *given,
        work=shared,
        name=f"predict-{token}",
        dtype=work.dtype,
        adjust_chunks=dict(zip(PLANES, chunks, strict=True)),
        align_arrays=False,
        meta=np.empty((0, 0, 0, 0), work.dtype),
    )


def _token(strategy, reflectance, valid, work):
    return tokenize(
        ALGORITHM_VERSION, strategy, reflectance.name, valid.name, work.refs, work.bands,
        work.positions, work.planes, work.halo, work.stride, work.chunks, work.offset, work.views,
        work.region,
    )  # fmt: skip


def _inside(valid, region):
    """Return where a cube is valid within a region, block by block."""
    data = valid.data
    if not isinstance(data, da.Array):
        data = da.from_array(np.asarray(data), chunks=(1, CHUNK, CHUNK))
    token = tokenize(data.name, region)
    known = (region, edges(data.chunks[1]), edges(data.chunks[2]))
    shared = dask.delayed(known, name=f"region-{token}", traverse=False)
    inside = da.map_blocks(
        _valid_inside,
        data,
        known=shared,
        name=f"inside-{token}",
        dtype=bool,
        meta=np.empty((0, 0, 0), bool),
    )
    return valid.copy(data=inside)


def _valid_inside(block, known, block_id=()):
    region, rows, columns = known
    window = Window(*rows[block_id[1]], *columns[block_id[2]])
    return block & region.inside(window) if region.touches(window) else np.zeros_like(block)


def _split(stacked, work):
    """Return the layers of the stacked planes, by name; a slice each."""
    kinds = {
        name: "uint8" if work.quantized else schema.LAYERS[name].dtype for name in schema.LAYERS
    }
    arrays = {
        name: da.map_blocks(
            _pick,
            stacked,
            number=number,
            kind=kinds[name],
            dtype=kinds[name],
            name=f"{name}-{stacked.name}",
            drop_axis=1,
            meta=np.empty((0, 0, 0), kinds[name]),
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


def _direct_block(block_id: tuple[int, ...], work: Work) -> np.ndarray:
    dates, block = work.place(block_id)
    outer = work.reads(block)
    valid_source, reflectance_source = work.sources

    def part(date, wanted):
        valid = valid_source.load(date, outer)
        found = valid[block.inside(outer)] & wanted
        if not found.any():
            return None
        target = bounding(found, block)
        reads = work.reads(target)
        values = reflectance_source.load(date, reads)[list(work.positions)]
        return target, values, valid[reads.inside(outer)], reads

    return _each_date(work, dates, block, part)


def _overlap_block(block_id: tuple[int, ...], given: np.ndarray, work: Work) -> np.ndarray:
    dates, block = work.place(block_id)
    outer = work.given(block)

    def part(date, wanted):
        values = given[date - dates.start]
        measured = np.isfinite(values).all(axis=0)
        found = measured[block.inside(outer)] & wanted
        if not found.any():
            return None
        target = bounding(found, block)
        inside = work.reads(target).inside(outer)
        return target, values[(slice(None), *inside)], measured[inside], work.reads(target)

    return _each_date(work, dates, block, part)


def _each_date(work, dates, block, part):
    """Return the planes (time, plane, y, x) of a block, what is not wanted or measured blank.

    `part` gives of a date what is to be reported, what was read for it, and the values.
    """
    predict_block = load("glaciercube.infer.block").predict_block
    out = np.stack([work.blank(block.shape)] * len(dates))
    if work.region is not None and not work.region.touches(block):
        return out
    wanted = np.ones(block.shape, bool) if work.region is None else work.region.inside(block)
    for planes, date in zip(out, dates, strict=True):
        try:
            found = part(date, wanted) if wanted.any() else None
            if found is not None:
                target, *read = found
                inside = target.inside(block)
                planes[(slice(None), *inside)] = predict_block(
                    *read, wanted[inside], work=work, target=target
                )
        except Exception as error:
            place = (
                f"infer.predict failed on time {work.times[date]}, y {block.y0}-{block.y1}, "
                f"x {block.x0}-{block.x1}: {error}"
            )
            kind: Any = type(error) if isinstance(error, GlacierCubeError) else GlacierCubeError
            raise kind(place) from error
    return out


def _label(time):
    """Return a date for messages, with the time of day if it has one.

    >>> _label(np.datetime64("2021-08-01T00:00:00", "ns"))
    '2021-08-01'
    """
    day = np.datetime_as_string(time, unit="D")
    return str(day if np.datetime64(day) == time else np.datetime_as_string(time, unit="s"))
