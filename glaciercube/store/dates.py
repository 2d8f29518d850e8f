"""The time axis on disk: which dates readers see, and the step that lets them see more."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from glaciercube.errors import StoreError
from glaciercube.store.places import Place

ENCODING = {
    "dtype": "int64",
    "units": "nanoseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
}
"""Of the time coordinate: exact, and the same whatever the first date."""

CHUNK = 512
"""Dates in one chunk of a coordinate along time; more than its length, so that it can grow."""


@dataclass(frozen=True)
class Seen:
    """What readers see of a store: its dates and attributes."""

    group: zarr.Group

    @property
    def attrs(self) -> dict[str, Any]:
        """Of the store."""
        return dict(self.group.attrs)

    @property
    def times(self) -> tuple[str, ...]:
        """Dates, in the order of their arrival."""
        return tuple(str(time) for time in self.coord("time").astype("datetime64[ns]"))

    def coord(self, name: str) -> np.ndarray:
        """Return a coordinate along time, as it is stored."""
        return np.asarray(_array(self.group, name)[:])

    def temporal_coords(self) -> set[str]:
        """Return the names of the coordinates along time."""
        return {array.basename for array in arrays_of(self.group) if dims_of(array) == ("time",)}


def seen(place: Place) -> Seen:
    """Return what readers see of a store.

    Raises
    ------
    StoreError
        If its metadata cannot be read.
    """
    try:
        return Seen(zarr.open_group(place.zarr(), mode="r"))
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(_unreadable(place, error)) from error


def published(place: Place) -> tuple[str, ...]:
    """Return the dates that readers see, in the order of their arrival.

    Raises
    ------
    StoreError
        If the store has no readable time axis.
    """
    try:
        return seen(place).times
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(_unreadable(place, error)) from error


def _unreadable(place, error):
    return (
        f"the dates of {str(place)!r} cannot be read: {type(error).__name__}: {error}; "
        "write the same cube to it again if its making was interrupted"
    )


def publish(
    place: Place,
    length: int,
    coords: Mapping[str, np.ndarray],
    attrs: Mapping[str, Any],
) -> None:
    """Let readers see a number of dates, whose data are complete.

    Parameters
    ----------
    place : Place
        To write to.
    length : int
        Dates from now on.
    coords : mapping
        Coordinates along time, as they are stored, of all these dates.
    attrs : mapping
        Of the store.

    Notes
    -----
    The attributes and the coordinates' values come first, then the lengths of the arrays, then
    the consolidated metadata in one step: a reader of these sees the dates of before or those of
    after, and who sees those of after sees all that is said of them.
    """
    whole = zarr.open_group(place.zarr(writable=True), mode="r+")
    if any(whole.attrs.get(key) != value for key, value in attrs.items()):
        whole.update_attributes(dict(attrs))
    group = zarr.open_group(place.zarr(writable=True), mode="r+", use_consolidated=False)
    for name, values in coords.items():
        resized(_array(group, name), (length,))[:] = values
    for array in arrays_of(group):
        shape = with_dates(array, length)
        if shape != array.shape:
            array.resize(shape)
    consolidate(place)


def _array(group, name):
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{name!r} is to be a coordinate along time, and is a group")
    return found


def with_dates(array: zarr.Array, length: int) -> tuple[int, ...]:
    """Return the shape of an array with a number of dates; its own if it has no time."""
    dims = dims_of(array)
    if "time" not in dims:
        return array.shape
    return tuple(length if dim == "time" else n for dim, n in zip(dims, array.shape, strict=True))


def dims_of(array: zarr.Array) -> tuple[str | None, ...]:
    """Return the names of an array's dimensions."""
    return tuple(getattr(array.metadata, "dimension_names", None) or ())


def consolidate(place: Place) -> None:
    """Write what all arrays say into the one file that readers open first."""
    if place.consolidates:
        with quiet():
            zarr.consolidate_metadata(place.zarr(writable=True), zarr_format=3)


def arrays_of(group: zarr.Group) -> list[zarr.Array]:
    """Return the arrays of a group, by name."""
    with quiet():
        return [array for _, array in sorted(group.arrays())]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Zarr says of what is meant: consolidated metadata, and a folder of our own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        warnings.filterwarnings("ignore", message="Object at _glaciercube")
        yield


def resized(array: zarr.Array, shape: tuple[int, ...]) -> zarr.Array:
    """Return an array with another shape, on disk as it was: to write what is not seen yet."""
    if array.shape == shape:
        return array
    whole = array._async_array
    return zarr.Array(
        zarr.AsyncArray(
            metadata=whole.metadata.update_shape(shape),
            store_path=whole.store_path,
            config=whole.config,
        )
    )


def is_made(place: Place) -> bool:
    """Say whether the making of an empty store was completed."""
    try:
        group = zarr.open_group(place.zarr(), mode="r")
    except (OSError, KeyError, ValueError):
        return False
    return not place.consolidates or group.metadata.consolidated_metadata is not None
