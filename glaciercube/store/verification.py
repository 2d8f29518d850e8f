"""Check a store: what the ledger says against what the files hold."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
import xxhash
import zarr

from glaciercube.errors import GlacierCubeError, StoreError
from glaciercube.store import arrays, claims, dates, ledger, strays, template
from glaciercube.store.filling import Filling
from glaciercube.store.layout import Block, Layout
from glaciercube.store.ledger import Header
from glaciercube.store.places import Place, place_of
from glaciercube.store.planning import content_differences, differences, plan_of
from glaciercube.store.reading import open_template
from glaciercube.store.settling import settled
from glaciercube.store.writing import State, report_of, require_complete

SOUND, MISSING = "", "missing"


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify` found."""

    path: Path | str
    blocks: int
    """Blocks that the store should have."""

    missing: tuple[str, ...]
    """Blocks without a record: not written yet, or failed."""

    corrupt: tuple[tuple[str, str], ...]
    """Blocks, or coordinates, that do not hold what was written, and what is wrong."""

    failed: tuple[tuple[str, str], ...] = ()
    """Those of the missing blocks that were tried and failed, and why."""

    foreign: tuple[str, ...] = ()
    """Keys that are not of this store: no block, no array and no record of it."""

    unfinished: tuple[str, ...] = ()
    """Keys of dates that no reader sees: an append was cut off, or is at work."""

    writers: tuple[str, ...] = ()
    """Processes that say they write the store now."""

    repaired: int = 0
    """Blocks that were missing or corrupt and have been computed again."""

    @property
    def sound(self) -> bool:
        """Whether everything is there and as it was written."""
        return not self.missing and not self.corrupt

    def __str__(self) -> str:
        """Return the report: one line, and one for each damaged block."""
        head = (
            f"{Path(self.path).name}: {self.blocks} blocks, {len(self.missing)} missing, "
            f"{len(self.corrupt)} corrupt"
        )
        more = [
            f"{len(found)} {what}"
            for found, what in ((self.foreign, "foreign files"), (self.unfinished, "unfinished"))
            if found
        ]
        if self.repaired:
            more.append(f"{self.repaired} repaired")
        wrong = [f"{where}: {cause}" for where, cause in (*self.corrupt, *self.failed)]
        wrong += [f"foreign: {key}" for key in self.foreign[:10]]
        wrong += [f"being written by {writer}" for writer in self.writers]
        return "\n  ".join([", ".join([head, *more]), *wrong])


def verify(
    path: str | os.PathLike | Place,
    *,
    forget: bool = False,
    repair: xr.Dataset | Callable[[Mapping[str, Any]], xr.Dataset] | None = None,
) -> VerifyReport:
    """Read every block of a store again and compare it with its checksum.

    Parameters
    ----------
    path : str or path
        As given to `write`.
    forget : bool
        Remove the records of corrupt blocks, so that writing the same cube again
        computes them anew.
    repair : Dataset or callable, optional
        What was written, made again: missing and corrupt blocks are computed from it, and
        nothing else. A callable is given a recipe that the store keeps, and returns it.

    Returns
    -------
    VerifyReport
        Of the store as it is now.

    Raises
    ------
    StoreError
        If there is no store, the dataset to repair it from is another cube's, or it keeps no
        recipe.
    """
    place = place_of(path)
    repaired = 0
    if isinstance(repair, xr.Dataset):
        repaired = mend(repair, place)
    elif repair is not None:
        repaired = sum(mend(dataset, place) for dataset in _made_again(place, repair))
    header = ledger.header_told(place)
    causes = causes_of(place, header)
    corrupt = {block: cause for block, cause in causes.items() if cause not in (SOUND, MISSING)}
    missing = [block for block, cause in causes.items() if cause == MISSING]
    if forget:
        ledger.forget(place, corrupt)
    failed = ledger.records(place, missing, failed=True)
    found = strays.strays_of(place, header)
    return VerifyReport(
        path=place.address,
        blocks=len(causes),
        missing=tuple(header.label(block) for block in missing),
        corrupt=(
            *coordinate_problems(place, header),
            *((header.label(block), cause) for block, cause in corrupt.items()),
        ),
        failed=tuple((header.label(block), record.cause) for block, record in failed.items()),
        foreign=found.foreign,
        unfinished=found.unfinished,
        writers=tuple(
            f"process {note.get('process')} on {note.get('machine')} since {note.get('since')}"
            for note in claims.writers(place)
        ),
        repaired=repaired,
    )


def _made_again(place, remake):
    """Yield the datasets that cover what is damaged, from the recipes of a store."""
    header = ledger.header_told(place)
    whole = not coordinate_problems(place, header)
    wrong = [block for block, cause in causes_of(place, header).items() if cause != SOUND]
    needed = {"" if block.time is None else header.times[block.time] for block in wrong}
    if not whole:
        needed |= {"", *header.times}
    recipes = ledger.recipes(place)
    if needed and not recipes:
        raise StoreError(
            f"{str(place)!r} does not know how it was made: some of its variables were computed "
            "with, or were in memory; give the dataset again, as in verify(path, repair=cube)"
        )
    possible = [(needed & {"", *times}, recipe) for times, recipe in recipes]
    found, problems = _candidates(possible, remake, place, header)
    for covered, dataset in found:
        if covered & needed:
            needed -= covered
            yield dataset
    if needed and problems:
        raise problems[0]


def _candidates(recipes, remake, place, header):
    """Return the datasets of recipes, the likeliest first, and why others cannot be made.

    A store whose sources changed keeps a recipe of each: what they were is gone, or would make
    other blocks than those that are recorded.
    """
    found, problems = [], []
    for covered, recipe in recipes:
        if not covered:
            continue
        try:
            dataset = remake(recipe)
        except GlacierCubeError as error:
            problems.append(error)
            continue
        # not all variables may have been written
        dataset = dataset[[name for name in header.identity["variables"] if name in dataset]]
        found.append((_agreeing(dataset, place, header), covered, dataset))
    found.sort(key=lambda one: -one[0])
    return [one[1:] for one in found], problems


def _agreeing(dataset, place, header):
    """Return how many blocks of a store have the inputs of which a dataset would make them."""
    plan = plan_of(settled(dataset, place)).at(header)
    blocks = [
        block
        for block in header.layout.all_blocks()
        if (block.time is None or header.times[block.time] in plan.times)
        and all(stored.name in dataset for stored in header.layout.of(block.time is not None))
    ]
    made_of = plan.fingerprints()
    records = ledger.records(place, blocks)
    return sum(record.fingerprint == made_of(block) for block, record in records.items())


def mend(dataset: xr.Dataset, place: Place) -> int:
    """Compute the missing and corrupt blocks of a store again; return how many.

    Parameters
    ----------
    dataset : Dataset
        What was written, made again; blocks of dates that it lacks are left as they are.
    place : Place

    Raises
    ------
    StoreError
        If the dataset is another cube's, or the store cannot be written.
    IncompleteWriteError
        If blocks failed again, after all others are done.
    """
    started = perf_counter()
    plan = plan_of(settled(dataset, place))
    header = _header_to_mend(plan, place)
    plan = plan.at(header)
    claims.clear(place)
    causes = causes_of(place, header)
    wrong = [
        block
        for block, cause in causes.items()
        if cause != SOUND and (block.time is None or header.times[block.time] in plan.times)
    ]
    state = State.of(plan, place, wrong, retry_unread=False)
    state = replace(state, done={}, changed=frozenset())
    with claims.writing(place, f"mend {state.fingerprint}"):
        for key in strays.strays_of(place, header).drafts:
            place.delete(key)
        filling = Filling(plan, place, wrong, state.made_of)
        filling.run(progress=False)
    report = report_of(plan, place, state, filling.failures, started)
    require_complete(report, filling.failures, place)
    return len(wrong)


def _header_to_mend(plan, place):
    """Return the header of a store, after its coordinates are as they were written."""
    try:
        header = ledger.header_told(place)
    except StoreError:
        header = ledger.read_header(place, times=plan.times)
    whole = not coordinate_problems(place, header)
    lines = [*differences(header, plan.header), *content_differences(header, plan)]
    if lines:
        raise StoreError(
            f"{str(place)!r} holds a different cube than the one to repair it from:\n  "
            + "\n  ".join(lines)
        )
    if not whole:
        _remove_unreadable(place, header)
        lost = sorted(set(header.times) - set(plan.times))
        if lost:
            raise StoreError(
                f"the coordinates of {str(place)!r} are damaged, and the dataset to repair them "
                f"from lacks the dates {lost[:5]}; give one with all dates"
            )
        here = plan.at(header)  # whose dates are in the order of their arrival
        order = [here.index(slot) for slot in range(len(header.times))] or slice(None)
        ordered = replace(plan, dataset=plan.dataset.isel({"time": order}, missing_dims="ignore"))
        template.create(ordered.at(header), place)
    return header


def _remove_unreadable(place, header):
    """Remove metadata that cannot be read, which would be taken for those of the store."""
    for name in _damaged_nodes(place, header):
        place.delete(f"{name}/zarr.json".lstrip("/"))


def _damaged_nodes(place, header):
    """Return which arrays, and whether the group (an empty name), cannot be read, and why."""
    variables = {stored.name: stored for stored in header.layout.variables}
    names = {"", "y", "x", "spatial_ref", *header.identity["labels"], *variables}
    if header.times:
        names.add("time")
    with suppress(StoreError):
        names |= {array.basename for array in dates.arrays_of(dates.seen(place).group)}
    found = {name: _node_problem(place, name, variables.get(name)) for name in sorted(names)}
    return {name: cause for name, cause in found.items() if cause}


def _node_problem(place, name, stored):
    """Return what is wrong with a group or an array; empty if nothing. Coordinates are read."""
    try:
        node = zarr.open(place.zarr(), path=name, mode="r", zarr_format=3, use_consolidated=False)
        if name and not isinstance(node, zarr.Array):
            return "is no array"
        if isinstance(node, zarr.Array) and stored is None:
            node[...]
    except Exception as error:  # whatever Zarr makes of damaged metadata
        return f"cannot be read: {type(error).__name__}: {error}"
    if stored is None or not isinstance(node, zarr.Array):
        return ""
    found, seen = node.shape, slice(1 if stored.temporal else 0, None)
    if found[seen] != stored.shape[seen] or found[:1] < stored.shape[:1]:
        return f"has the shape {found}, needs {stored.shape}"
    return ""


def causes_of(place: Place, header: Header) -> dict[Block, str]:
    """Return what is wrong with each block: nothing, that it is missing, or a cause."""
    layout = header.layout
    causes: dict[Block, str] = {}
    for temporal in (False, True):
        if layout.blocks(temporal):
            found = _causes(place, header, temporal)
            causes |= dict(zip(layout.blocks(temporal), found, strict=True))
    return causes


def _causes(place, header, temporal):
    layout = header.layout
    lattice = da.map_blocks(
        check_block,
        place=place,
        layout=layout,
        temporal=temporal,
        fingerprint=header.fingerprint,
        name=f"verify-{place.name}-{uuid4().hex}",
        chunks=tuple((1,) * count for count in layout.counts(temporal)),
        dtype=object,
        meta=np.empty((0, 0, 0), object),
    )
    return lattice.compute().ravel().tolist()


def check_block(
    place: Place,
    layout: Layout,
    temporal: bool,
    fingerprint: str,
    block_id: tuple[int, ...] = (),
) -> np.ndarray:
    """Return what is wrong with one block: nothing, that it is missing, or a cause."""
    block = layout.block_at(block_id, temporal)
    record = ledger.read_record(place, block)
    if record is None:
        return _cell(MISSING)
    digest = xxhash.xxh3_128()
    for stored in layout.of(temporal):
        try:
            array = arrays.array_of(place, stored, fingerprint)
            codes = np.asarray(array[layout.selection(stored, block)])
        except StoreError:  # another store has taken the place
            raise
        except Exception as error:  # whatever a codec makes of damaged bytes
            return _cell(f"{stored.name} cannot be read: {type(error).__name__}: {error}")
        digest.update(np.ascontiguousarray(codes).data)
    if digest.hexdigest() != record.checksum:
        names = ", ".join(stored.name for stored in layout.of(temporal))
        return _cell(f"the values of {names} are not those that were written")
    return _cell(SOUND)


def _cell(cause):
    cell = np.empty((1, 1, 1), object)
    cell[...] = cause
    return cell


def coordinate_problems(place: Place, header: Header) -> list[tuple[str, str]]:
    """Return what the coordinates say that the header does not."""
    try:
        whole = open_template(place)
    except Exception as error:  # whatever xarray and Zarr make of damaged metadata
        return [("coordinates", f"cannot be read: {type(error).__name__}: {error}")]
    damaged = _damaged_nodes(place, header)
    problems = [(repr(name or "zarr.json"), cause) for name, cause in damaged.items()]
    wanted = {dim: np.array(labels) for dim, labels in header.identity["labels"].items()}
    wanted["time"] = np.array(header.times, "datetime64[ns]")
    for dim, coordinate in header.geobox.coordinates.items():
        wanted[dim] = coordinate.values
    return problems + [
        ("coordinates", f"{dim!r} is not as it was written")
        for dim, values in wanted.items()
        if dim in whole.coords and not _equal(whole[dim].values, values)
    ]


def _equal(found, wanted):
    if found.shape != wanted.shape:
        return False
    if wanted.dtype.kind == "f":
        return bool(np.allclose(found, wanted, rtol=1e-9, atol=0))
    return bool((found == wanted).all())
