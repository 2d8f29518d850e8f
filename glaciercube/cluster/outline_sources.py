"""Outlines of a plan: read once and checked, found again, and refused where they changed."""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xxhash

from glaciercube.acquire.inventories import read_outlines
from glaciercube.acquire.outline_columns import RGI_ID
from glaciercube.acquire.outline_files import SUFFIXES
from glaciercube.errors import AcquireError, GlacierCubeWarning, GridError
from glaciercube.store.lineage import fingerprint

MANY = 5
"""Names shown in a message at most."""

ROWS = 50_000
"""Outlines that become bytes at once, so that memory holds a part of them twice only."""

SIDECARS = (".shx", ".dbf", ".prj", ".cpg")
"""Endings of the files beside a shapefile that say what it holds."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Outlines of a plan and where they are read again."""

    frame: gpd.GeoDataFrame
    """Sorted by identifier."""

    address: str
    """Absolute path of a file or folder."""

    digests: np.ndarray
    """(outline,), int64: of each identifier and geometry."""

    in_memory: bool
    """Whether they have no file yet."""

    @property
    def digest(self) -> str:
        """Fingerprint of all outlines."""
        return fingerprint("\n".join(self.frame[RGI_ID]), self.digests.tobytes())

    def saved(self) -> str:
        """Write outlines that have no file; return a fingerprint of the file's bytes.

        As long as it is the same nothing has to be read to know that nothing changed.
        """
        if self.in_memory:
            place = Path(self.address)
            draft = place.with_name(f".{place.name}.{os.getpid()}")
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                self.frame.to_parquet(draft)
                draft.replace(place)
            finally:
                draft.unlink(missing_ok=True)
        return stamp_of(self.address)


def source_of(outlines: Any, beside: Path) -> Source:
    """Return outlines, however given, checked.

    Parameters
    ----------
    outlines : path, (identifiers, path) or GeoDataFrame
        A local file or folder that `read_outlines` reads, some glaciers of one, or outlines in
        memory with `rgi_id`, which get a file of their own by `Source.saved`.
    beside : Path
        The plan's file, whose folder and name that file gets: "alps.parquet" has
        "alps.outlines.parquet".

    Raises
    ------
    AcquireError
        That names outlines which are there twice, have no polygon or one that crosses itself;
        or if the file cannot be read.
    GridError
        If they have no CRS.
    """
    if isinstance(outlines, gpd.GeoDataFrame):
        frame = checked(outlines, "the outlines")
        address = beside.with_name(f"{beside.stem}.outlines.parquet")
        return Source(frame=frame, address=str(address), digests=digests_of(frame), in_memory=True)
    pair = isinstance(outlines, tuple | list) and len(outlines) == 2
    ids, path = outlines if pair else (None, outlines)
    if not isinstance(path, str | Path) or not Path(path).exists():
        raise AcquireError(
            "a plan needs outlines in a local file or folder, (identifiers, path), or a "
            f"GeoDataFrame; found {path!r}"
        )
    place = Path(path).absolute()
    frame = checked(read_outlines(place, ids=ids), str(place))
    return Source(frame=frame, address=str(place), digests=digests_of(frame), in_memory=False)


def checked(frame: gpd.GeoDataFrame, where: str) -> gpd.GeoDataFrame:
    """Return outlines sorted by identifier, if each is a valid polygon and there once.

    Parameters
    ----------
    frame : GeoDataFrame
        With `rgi_id`; `attrs["report"]` of `read_outlines` counts too.
    where : str
        For the message.

    Raises
    ------
    AcquireError
        That names all that are not of use.
    GridError
        If they have no CRS.
    """
    if RGI_ID not in frame:
        raise AcquireError(
            f"{where}: a plan needs a column {RGI_ID!r}, found {list(frame.columns)[:MANY]}; "
            "read them with read_outlines, which gives each outline one"
        )
    if frame.crs is None:
        raise GridError(f"{where}: outlines need a coordinate reference system; .set_crs(...)")
    problems = list(_problems(frame))
    if problems:
        raise AcquireError(f"{where}: a plan takes each glacier once; " + "; ".join(problems))
    if frame.empty:
        raise AcquireError(f"{where}: a plan needs outlines, there are none")
    ids = frame[RGI_ID].astype(str)
    out = frame.assign(**{RGI_ID: ids}).iloc[np.argsort(ids.to_numpy(object), kind="stable")]
    return out.reset_index(drop=True)


def _problems(frame: gpd.GeoDataFrame) -> Iterator[str]:
    """Give what is wrong with outlines, each with the names."""
    report = frame.attrs.get("report", {})
    ids, shapes = frame[RGI_ID].astype(str), frame.geometry.to_numpy()
    twice = sorted({*ids[ids.duplicated()], *report.get("duplicates", ())})
    if twice:
        yield (
            f"{len(twice)} identifiers are there twice, {_some(twice)}: keep one row of each "
            "(of several dates read_outlines(..., analyses='latest'), of parts .dissolve('rgi_id'))"
        )
    lost = [one[RGI_ID] for one in report.get("left_out", ())]
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    lost += list(ids[empty | ~np.isin(shapely.get_type_id(shapes), (3, 6))])
    if lost:
        yield f"{len(lost)} have no polygon, {_some(lost)}: leave these rows out of the file"
    broken = ~empty & ~shapely.is_valid(shapes)
    if broken.any():
        yield (
            f"{broken.sum()} cross themselves, {_some(list(ids[broken]))}: read them with "
            "read_outlines, which mends them, or use .make_valid()"
        )


def _some(names):
    return f"{[str(one) for one in names[:MANY]]}{' and more' if len(names) > MANY else ''}"


def digests_of(frame: gpd.GeoDataFrame) -> np.ndarray:
    """Return a number for each outline that tells whether it changed.

    Returns
    -------
    array (outline,), int64
        Of identifier, CRS and geometry.
    """
    out = np.empty(len(frame), np.int64)
    seed = xxhash.xxh3_64_intdigest(str(frame.crs.to_epsg() or frame.crs.name).encode())
    ids = frame[RGI_ID].to_numpy(object)
    for start in range(0, len(frame), ROWS):
        some = slice(start, start + ROWS)
        shapes = shapely.to_wkb(shapely.force_2d(frame.geometry.to_numpy()[some]), byte_order=1)
        out[some] = np.array(
            [
                xxhash.xxh3_64_intdigest(shape, xxhash.xxh3_64_intdigest(name.encode(), seed))
                for name, shape in zip(ids[some], shapes, strict=True)
            ],
            np.uint64,
        ).view(np.int64)
    return out


def stamp_of(address: str) -> str:
    """Return a fingerprint of the bytes of an outlines file, or of the files of a folder."""
    digest = xxhash.xxh3_128()
    for path in _files(Path(address)):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while part := file.read(1 << 22):
                digest.update(part)
    return digest.hexdigest()


def _files(place):
    """Return the files that outlines are read from, in order."""
    if place.is_dir():
        endings = (*SUFFIXES, *SIDECARS, ".zip", ".gdbtable", ".gdbtablx")
        return sorted(one for one in place.rglob("*") if one.suffix.lower() in endings)
    if place.suffix.lower() == ".shp":
        beside = [place.with_suffix(ending) for ending in SIDECARS]
        return [place, *(one for one in beside if one.exists())]
    return [place]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a plan knows of its outlines."""

    plan: Path
    """The plan's file, for messages."""

    address: str
    stamp: str
    """Of the files when the plan was made."""


def require_unchanged(record: Record, expected: Mapping[str, int]) -> None:
    """Raise an error if a plan's outlines are no longer there, or are others.

    Parameters
    ----------
    record : Record
    expected : mapping
        Digest of each outline of the plan.

    Raises
    ------
    AcquireError
        That names the glaciers that changed. Rows that the plan does not hold may change.
    """
    place = _existing(record)
    if stamp_of(str(place)) != record.stamp:
        _compared(_kept(str(place), _signature(place)), expected, place, record)


def outlines_of(record: Record, expected: Mapping[str, int]) -> gpd.GeoDataFrame:
    """Return outlines of a plan, unchanged.

    Parameters
    ----------
    record : Record
    expected : mapping
        Digest of each outline that is wanted, in order.

    Raises
    ------
    AcquireError
        If the file is not there, or one of them is not in it or another one.

    Notes
    -----
    The file is read once in a process, and again when its size or time changes.
    """
    place = _existing(record)
    return _compared(_kept(str(place), _signature(place)), expected, place, record)


def _existing(record):
    """Return the place of outlines; where they moved together with their plan, beside it."""
    place = Path(record.address)
    for found in (place, record.plan.parent / place.name):
        if found.exists():
            return found
    raise AcquireError(
        f"{record.plan} needs its outlines at {place}, and there is no such file; put them back, "
        "there or beside the plan"
    )


def _signature(place):
    stats = [os.stat(one) for one in _files(place)]
    return tuple((one.st_size, one.st_mtime_ns, one.st_ino) for one in stats)


@lru_cache(maxsize=1)
def _kept(address, signature):
    """Return a file's outlines by identifier, their digests, and the stamp of its bytes."""
    stamp = stamp_of(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GlacierCubeWarning)  # told when the plan was made
        frame = read_outlines(address)
    digests = pd.Series(digests_of(frame), frame[RGI_ID].astype(str).to_numpy(object))
    once = ~digests.index.duplicated(keep=False)
    return frame.set_axis(digests.index)[once], digests[once], stamp


def _compared(kept, expected, place, record):
    """Return the outlines wanted if they are those of the plan."""
    frame, digests, stamp = kept
    ids = list(expected)
    told = f"{record.plan} was made with other outlines"
    gone = [name for name in ids if name not in digests.index]
    if gone:
        raise AcquireError(
            f"{told}: {place} no longer has {len(gone)} of {len(ids)} glaciers once each, "
            f"{_some(gone)}; put the file back or make a new plan"
        )
    # A mended outline may differ with the version of GEOS, where the file does not.
    other = digests.loc[ids].to_numpy() != np.array(list(expected.values()), np.int64)
    if stamp != record.stamp and other.any():
        changed = [name for name, differs in zip(ids, other, strict=True) if differs]
        raise AcquireError(
            f"{told}: in {place} {len(changed)} of {len(ids)} glaciers changed, "
            f"{_some(changed)}; put the file back or make a new plan"
        )
    return frame.loc[ids].reset_index(drop=True)
