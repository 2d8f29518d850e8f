"""A whole cube through the networks, lazily: xarray and Dask around `predict_block`. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.layers import ArrayBlockIdDep

from glaciercube import grid, schema
from glaciercube.cover.regions import Region
from glaciercube.errors import SchemaError
from glaciercube.infer import checks, choices, effective, layers, lineage, neighbours, runtimes
from glaciercube.infer.choices import Choice
from glaciercube.infer.cubes import CHUNK, dask_arrays
from glaciercube.infer.dates import away_by, seen_by
from glaciercube.infer.dihedral import VIEWS
from glaciercube.infer.failures import placed
from glaciercube.infer.halos import DISAGREEMENT, Halo, of_attrs
from glaciercube.infer.reads import ChunkReader, StoreReader
from glaciercube.infer.settling import Later, choice_task, shared_of, with_choices
from glaciercube.infer.work import PROBABILITY, Work
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.optional import load
from glaciercube.store.reading import source_of
from glaciercube.windows import Window, edges, lattice_offset

ALGORITHM_VERSION = 2
"""Raised whenever the same cube and cards would give other numbers."""

PLANES = ("time", "plane", "y", "x")
"""Dimensions of what the networks give."""


def predict(  # noqa: PLR0913 - the operator itself
    cube: xr.Dataset,
    cards: Sequence[ModelCard],
    *,
    outputs: Sequence[str] | None = None,
    halo: Halo = None,
    disagreement: float = DISAGREEMENT,
    strategy: Literal["auto", "direct", "overlap"] = "auto",
    views: Literal[1, 8] = 1,
    region: Region | None = None,
    region_mark: Mapping[str, Any] | None = None,
    quantized: bool = False,
    runtime: str | Sequence[Choice] = "auto",
    measure: bool | None = None,
) -> xr.Dataset:
    """Return what networks see in a cube, without computing it but for an effective halo.

    Parameters
    ----------
    cube : Dataset
        That fits `schema.CUBE`, with the bands of the cards.
    cards : sequence of ModelCard
        Those of one task are an ensemble, whose probabilities are averaged. Their weights are
        looked at where they are on this machine; see `infer.readiness`.
    outputs : sequence of str, optional
        Layers to give; by default the class layer of each task, "confidence",
        "valid_fraction" and, of an extent card, "glacier_probability". On request
        "probability" of all facies, "entropy", "mutual_information" of several members, and
        with a region "extent" as the roll-up of facies.
    halo : int, "effective" or EffectiveHalo, optional
        Pixels read around each block; the largest halo of the cards by default. A smaller
        one is faster and shows seams. "effective": measured at once on a sample of the cube's
        pixels, which are read and computed for it, see `infer.effective`.
    disagreement : float
        Share of classes that an effective halo may change.
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
    runtime : str or sequence of Choice
        How the networks run: a name of `runtimes.CHOICES`, or what was chosen for each card.
        "auto": the fastest that gives the classes of float32 in 99.9 % of the pixels of some
        blocks; float32 in small cubes. It is measured when the layers are computed, or once
        for the store that they are written to. What is not float32 is compared in any case.
    measure : bool, optional
        Whether "auto" measures; by default in cubes of `choices.SMALL` pixels or more.

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
        If the cube lacks a band, is of another level, or has chunks smaller than the halo or
        too large when their bands are brought together.
    WeightsError
        If cards of one task have other categories, or a network cannot run as asked for, or
        the effective halo is asked for of one that is not exact.

    Warns
    -----
    GlacierCubeWarning
        If the cube has too few measured pixels to measure the effective halo.

    Notes
    -----
    A pixel is measured where `valid` is True and every band that a card reads is finite;
    elsewhere the networks see the card's fill, and the layers are nodata. A network that sees
    several dates at once reports a pixel where the date itself was measured. With several tasks
    `confidence` is the lowest of theirs, the entropies are the highest.

    Networks that are not exact under tiling see windows on a lattice anchored at the origin of
    the CRS, blended; see `infer.blending`.

    The layers carry of what they are made, if it is known of the cube (see `store.lineage`):
    of a cube that `read` gave, the records of the blocks that a block and its halo touch.
    """
    cards = checks.check_cards(cards)
    checks.check_cube(cube, cards)
    size = cube["valid"].size if measure is None else choices.SMALL * measure
    chosen = choices.known(runtime, cards, size)
    several = views * len(cards) > len({card.task for card in cards})
    wanted = checks.outputs_of(outputs, cards, several=several, inside=region is not None)
    reach, stride = checks.halo_of(halo, cards)
    reflectance, valid = dask_arrays(cube)
    names = [str(name) for name in cube["band"].values]
    positions = sorted({at for card in cards for at in channels.positions(names, card)})
    work = Work(
        refs=tuple(runtimes.ref_for(card, runtimes.reference_of(card)) for card in cards),
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
        seen=seen_by(cube["time"].values, cards),
        away=away_by(cube["time"].values, cards),
    )
    work, told = effective.settled(work, halo, cube, (reflectance, valid), disagreement)
    make = partial(
        predict, cube, cards, outputs=outputs, halo=of_attrs(told) or halo, strategy=strategy,
        views=views, region=region, region_mark=region_mark, quantized=quantized,
    )  # fmt: skip
    work = work if chosen is None else with_choices(work, chosen)
    stacked, codes, choice = _stacks(cube, reflectance, valid, work, strategy, str(runtime))
    found = _split(stacked, work)
    inside = cube if region is None else cube.assign(valid=_inside(cube["valid"], region))
    out = layers.dataset_of(
        found, inside, cards, work.halo, choices=work.choices, quantized=quantized
    ).assign_attrs(told)
    out = lineage.traced(out, found, cube, work, ALGORITHM_VERSION, region_mark)
    later = None
    if isinstance(runtime, str) and (choice is not None or runtime == choices.AUTO):
        later = Later(make, cards, runtime, work.choices or choice)
    return lineage.with_makings(out, found, work, codes, later)


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


def _stacks(cube, reflectance, valid, work, strategy, runtime):
    """Return the planes (time, plane, y, x) in memory, and as the codes that a store keeps.

    And the task that chooses the runtime; None if that is settled.
    """
    sources = _sources(cube, strategy)
    if sources is not None:
        work = replace(work, **sources)
        token = _token("direct", reflectance, valid, work, runtime)
        choice = None if work.choices else choice_task(work, runtime, token, None)
        return *_both(partial(_mapped, _direct_block), token, work, choice), choice
    checks.check_merged(cube["reflectance"])
    depths, work = checks.overlap_of(work)
    token = _token("overlap", reflectance, valid, work, runtime)
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
    choice = None if work.choices else choice_task(work, runtime, token, joined)
    mapped = neighbours.mapped if work.seen else _mapped
    return *_both(partial(mapped, _overlap_block), token, work, choice, wide), choice


def _both(make, token, work, choice, *arrays):
    """Return the planes as they were asked for, and as codes."""
    coded, named = replace(work, quantized=True), f"{token}-codes"
    codes = make(named, coded, shared_of(coded, choice, named), *arrays)
    if work.quantized:
        return codes, codes
    return make(token, work, shared_of(work, choice, token), *arrays), codes


def _mapped(function, token, work, shared, *arrays):
    """Return the stacked planes (time, plane, y, x): one task for each block.

    What all blocks share is one key of the graph, so that a task holds no more than its
    number and that key.
    """
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


def _token(strategy, reflectance, valid, work, runtime):
    return tokenize(
        ALGORITHM_VERSION, strategy, reflectance.name, valid.name, work.refs, work.bands,
        work.positions, work.planes, work.halo, work.stride, work.chunks, work.offset, work.views,
        work.region, () if work.choices else runtime, *filter(None, (work.seen, work.away)),
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
    return np.where(valid, channels.taken(reflectance, positions, axis=1), np.float32(np.nan))


def _direct_block(block_id: tuple[int, ...], work: Work) -> np.ndarray:
    dates, block = work.place(block_id)
    return _each_date(work, dates, block, StoreReader(work, block))


def _overlap_block(block_id: tuple[int, ...], *given: np.ndarray, work: Work) -> np.ndarray:
    dates, block = work.place(block_id)
    known = neighbours.by_date(given, work, block_id[0])
    return _each_date(work, dates, block, ChunkReader(work, block, known))


def _each_date(work, dates, block, reader):
    """Return the planes (time, plane, y, x) of a block, what is not wanted or measured blank."""
    predict_block = load("glaciercube.infer.block").predict_block
    out = np.stack([work.blank(block.shape)] * len(dates))
    if work.region is not None and not work.region.touches(block):
        return out
    wanted = np.ones(block.shape, bool) if work.region is None else work.region.inside(block)
    for planes, date in zip(out, dates, strict=True):
        try:
            found = reader.target(date, wanted) if wanted.any() else None
            if found is not None:
                target, read = found
                inside = target.inside(block)
                planes[(slice(None), *inside)] = predict_block(
                    read, wanted[inside], work=work, target=target
                )
        except Exception as error:
            rows, columns = (block.y0, block.y1), (block.x0, block.x1)
            raise placed(error, work.times[date], rows, columns) from error
    return out


def _label(time):
    """Return a date for messages, with the time of day if it has one.

    >>> _label(np.datetime64("2021-08-01T00:00:00", "ns"))
    '2021-08-01'
    """
    day = np.datetime_as_string(time, unit="D")
    return str(day if np.datetime64(day) == time else np.datetime_as_string(time, unit="s"))
