"""Stores: what could not be read is kept with them, and what is damaged is made again."""

import os
import warnings
from dataclasses import replace

import xarray as xr

from glaciercube.acquire import failures
from glaciercube.api.predictions import remake
from glaciercube.errors import GlacierCubeWarning
from glaciercube.store import appending, ledger, verification, writing
from glaciercube.store.places import place_of
from glaciercube.store.verification import VerifyReport
from glaciercube.store.writing import IncompleteWriteError, WriteReport


def write(
    dataset: xr.Dataset,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    retry_unread: bool = False,
    take_over: bool = False,
    progress: bool = False,
) -> WriteReport:
    """Write a cube to a Zarr store, or go on with a write that was interrupted.

    Parameters
    ----------
    dataset : Dataset
        Variables (time, ..., y, x) or (y, x) on one grid, lazy or not.
    path : str or path
        A directory, made if it does not exist; or the address of an object store
        ("s3://bucket/name.zarr") or of an Icechunk repository ("icechunk+file:///data/name").
    overwrite : bool
        Replace the store that is there. The new one grows beside it and takes its place
        when it is complete: an interruption loses nothing, and the next call goes on. Of
        directories only.
    retry_unread : bool
        Compute blocks again that have holes because a source could not be read.
    take_over : bool
        Write although another process has said that it writes other content: it is gone.
    progress : bool
        Show a progress bar (not with a `dask.distributed` client, which has its own).

    Returns
    -------
    WriteReport
        What was done; `unread` counts the pixels that are holes because a source could not be
        read, `read_failures` says which reads of this call these were and why.

    Raises
    ------
    SchemaError, GridError
        If the dataset cannot be stored; nothing is written.
    StoreError
        If the path holds a different cube or something else, which is then left as it is;
        if it cannot be written, or is being written with other content; or if blocks failed,
        after all others are done.

    Warns
    -----
    GlacierCubeWarning
        If reads failed, or values lay beyond the range of their codes.

    Notes
    -----
    A block is computed again if it is not done, or if its inputs have changed since; a dataset
    that was made with other parameters or weights is refused. See `store.writing.write`. What
    could not be read is kept beside the ledger, in `_glaciercube/read_failures.json`.
    """
    options = {"overwrite": overwrite, "retry_unread": retry_unread, "take_over": take_over}
    return _recorded(writing.write, dataset, path, progress=progress, **options)


def append(
    dataset: xr.Dataset,
    path: str | os.PathLike,
    *,
    take_over: bool = False,
    progress: bool = False,
) -> WriteReport:
    """Add to a store the dates of a cube that it does not have; calling it again is harmless.

    Parameters
    ----------
    dataset : Dataset
        As for `write`, made in the same way as what the store holds; variables without time may
        be left out.
    path : str or path
        Of a store; made if there is none.
    take_over : bool
        Append although another process has said that it writes other content: it is gone.
    progress : bool
        Show a progress bar for each group of dates.

    Returns
    -------
    WriteReport
        Of the new dates; `dates` are those that readers see now.

    Raises
    ------
    SchemaError, GridError
        If the dataset cannot be stored; nothing is written.
    StoreError
        If the store is another cube's; if it cannot be written, or is being written with
        other content; or if blocks failed.

    Warns
    -----
    GlacierCubeWarning
        If reads failed, or values lay beyond the range of their codes.

    Notes
    -----
    A reader sees a date when it is complete and not before, see `store.appending.append`.
    Dates lie on disk in the order of their arrival; `read` sorts them.
    """
    return _recorded(appending.append, dataset, path, take_over=take_over, progress=progress)


def _recorded(function, dataset, path, **options):
    """Write, and keep with the store what could not be read."""
    failed: list[failures.Failure] = []
    try:
        with failures.collected() as failed:
            report = function(dataset, path, **options)
    except IncompleteWriteError as error:
        if error.report is not None:
            _keep(failed, error.report.path)
        raise
    _keep(failed, report.path)
    return replace(report, read_failures=tuple(failed))


def _keep(failed, path):
    """Keep failed reads with the store and warn of them."""
    if not failed:
        return
    ledger.add_read_failures(place_of(path), [failure.as_dict() for failure in failed])
    warnings.warn(
        f"{failures.summary(failed)}\n{path} has holes there, marked in 'read_failed'; write again "
        "with retry_unread=True to fill them",
        GlacierCubeWarning,
        stacklevel=4,
    )


def verify(
    path: str | os.PathLike,
    *,
    forget: bool = False,
    repair: bool | xr.Dataset = False,
) -> VerifyReport:
    """Read every block of a store again and compare it with its checksum.

    Parameters
    ----------
    path : str or path
        As given to `write`.
    forget : bool
        Remove the records of corrupt blocks, so that writing the same cube again
        computes them anew.
    repair : bool or Dataset
        Make missing and corrupt blocks again, and nothing else: from the sources that the store
        remembers, as far as they are still there, or from a dataset. A remembered source is a
        file, an address or another store, which is read: repair so only stores that you trust.

    Returns
    -------
    VerifyReport
        Of the store as it is now; `repaired` counts what was made again.

    Raises
    ------
    StoreError
        If there is no store; if it does not know how it was made, or what it was made from is
        gone; or if the dataset to repair it from is another cube's.
    AcquireError, WeightsError
        If files or weights that it was made from are gone or changed.
    """
    if repair is False:
        return verification.verify(path, forget=forget)
    source = remake if repair is True else repair
    return verification.verify(path, forget=forget, repair=source)
