"""Check a store: what the ledger says against what the files hold."""

import os
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import xxhash

from glaciercube.store import arrays, ledger
from glaciercube.store.layout import Block, Layout
from glaciercube.store.reading import open_template

SOUND, MISSING = "", "missing"


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What `verify` found."""

    path: Path
    blocks: int
    """Blocks that the store should have."""

    missing: tuple[str, ...]
    """Blocks without a record: not written yet."""

    corrupt: tuple[tuple[str, str], ...]
    """Blocks, or coordinates, that do not hold what was written, and what is wrong."""

    @property
    def sound(self) -> bool:
        """Whether everything is there and as it was written."""
        return not self.missing and not self.corrupt

    def __str__(self) -> str:
        """Return the report: one line, and one for each damaged block."""
        head = (
            f"{self.path.name}: {self.blocks} blocks, {len(self.missing)} missing, "
            f"{len(self.corrupt)} corrupt"
        )
        return "\n  ".join([head, *(f"{where}: {cause}" for where, cause in self.corrupt)])


def verify(path: str | os.PathLike, *, forget: bool = False) -> VerifyReport:
    """Read every block of a store again and compare it with its checksum.

    Parameters
    ----------
    path : str or path
        As given to `write`.
    forget : bool
        Remove the records of corrupt blocks, so that writing the same cube again
        computes them anew.

    Returns
    -------
    VerifyReport

    Raises
    ------
    StoreError
        If there is no store.
    """
    place = Path(os.path.abspath(path))
    header = ledger.read_header(place)
    layout = header.layout
    causes: dict[Block, str] = {}
    for temporal in (False, True):
        if layout.of(temporal):
            found = _causes(place, header, temporal)
            causes |= dict(zip(layout.blocks(temporal), found, strict=True))
    corrupt = {block: cause for block, cause in causes.items() if cause not in (SOUND, MISSING)}
    if forget:
        ledger.forget(place, corrupt)
    return VerifyReport(
        path=place,
        blocks=len(causes),
        missing=tuple(header.label(block) for block, cause in causes.items() if cause == MISSING),
        corrupt=(
            *_coordinate_problems(place, header),
            *((header.label(block), cause) for block, cause in corrupt.items()),
        ),
    )


def _causes(place, header, temporal):
    layout = header.layout
    lattice = da.map_blocks(
        check_block,
        place=place,
        layout=layout,
        temporal=temporal,
        fingerprint=header.fingerprint,
        chunks=tuple((1,) * count for count in layout.counts(temporal)),
        dtype=object,
        meta=np.empty((0, 0, 0), object),
    )
    return lattice.compute().ravel().tolist()


def check_block(
    place: Path,
    layout: Layout,
    temporal: bool,
    fingerprint: str,
    block_id: tuple[int, ...] = (),
) -> np.ndarray:
    """Return what is wrong with one block: nothing, that it is missing, or a cause."""
    block = layout.block_at(block_id, temporal)
    record = ledger.read_record(place, block)
    if record is None or record.fingerprint != fingerprint:
        return _cell(MISSING)
    digest = xxhash.xxh3_128()
    for stored in layout.of(temporal):
        array = arrays.array_of(place, stored.name, fingerprint)
        try:
            codes = np.asarray(array[layout.selection(stored, block)])
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


def _coordinate_problems(place, header):
    """Return what the coordinates say that the header does not."""
    try:
        whole = open_template(place)
    except Exception as error:  # whatever xarray and Zarr make of damaged metadata
        return [("coordinates", f"cannot be read: {type(error).__name__}: {error}")]
    wanted = {dim: np.array(labels) for dim, labels in header.identity["labels"].items()}
    wanted["time"] = np.array(header.identity["time"], "datetime64[ns]")
    for dim, coordinate in header.geobox.coordinates.items():
        wanted[dim] = coordinate.values
    return [
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
