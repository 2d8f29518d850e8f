"""Read a store lazily, and prove which arrays are exactly what was read."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from warnings import warn

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from odc.geo.xr import xr_coords

from glaciercube import grid
from glaciercube.errors import GlacierCubeWarning, GridError, StoreError
from glaciercube.store import arrays, ledger
from glaciercube.store.inputs import StoreInputs
from glaciercube.store.layout import Layout
from glaciercube.store.ledger import Header
from glaciercube.store.lineage import LINEAGE, Lineage, fingerprint
from glaciercube.store.places import Place, place_of
from glaciercube.store.template import OWN_ATTRIBUTES
from glaciercube.windows import Window

SOURCE = "glaciercube_source"
"""Key of a variable's encoding that holds its Source."""


@dataclass(frozen=True)
class Source:
    """Which part of which store an array is; enough to read any window of it again."""

    path: str
    variable: str
    fingerprint: str
    """Of the store."""

    state: str
    """What was done when it was read: an array of an incomplete store is another one."""

    layout: Layout
    times: tuple[int, ...] | None
    """Where its dates lie in the store; None if it has no time."""

    labels: tuple[int, ...] | None
    """Indices of its bands or categories in the store; None if it has none."""

    window: Window
    """Its pixels in the store."""

    def __dask_tokenize__(self) -> Any:
        """Return what the array holds: not where the store lies."""
        return (
            "glaciercube.Source",
            self.variable,
            self.fingerprint,
            self.state,
            self.times,
            self.labels,
            (self.window.y0, self.window.y1, self.window.x0, self.window.x1),
        )

    @property
    def name(self) -> str:
        """Name of the Dask array that `read` makes of it: the proof."""
        return f"read-{self.variable}-{tokenize(self)}"

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Chunks of the array: the blocks of the store, cut to the window."""
        dims = self.layout.stored(self.variable).dims
        along = {
            "time": (1,) * len(self.times or ()),
            "y": _cut(self.window.y0, self.window.y1, self.layout.block[0]),
            "x": _cut(self.window.x0, self.window.x1, self.layout.block[1]),
        }
        return tuple(along.get(dim, (len(self.labels or ()),)) for dim in dims)

    def load(self, time_index: int, window: Window) -> np.ndarray:
        """Return the values of one date within a window.

        Parameters
        ----------
        time_index : int
            Of the date within this array; ignored if it has no time.
        window : Window
            Pixels relative to this array.

        Returns
        -------
        array (band, y, x) or (y, x)
            Reflectance and probability as float32, NaN where there is no value.
        """
        rows, columns = self.window.shape
        if not (0 <= window.y0 < window.y1 <= rows and 0 <= window.x0 < window.x1 <= columns):
            raise StoreError(f"{window} is not inside {self.variable!r} of {rows} x {columns}")
        stored = self.layout.stored(self.variable)
        y0, x0 = self.window.y0, self.window.x0
        where: dict[str, Any] = {
            "y": slice(window.y0 + y0, window.y1 + y0),
            "x": slice(window.x0 + x0, window.x1 + x0),
        }
        if self.times is not None:
            where["time"] = self.times[time_index]
        array = arrays.array_of(place_of(self.path), stored, self.fingerprint)
        codes = np.asarray(array[tuple(where.get(dim, slice(None)) for dim in stored.dims)])
        if self.labels is not None and self.labels != tuple(range(codes.shape[0])):
            codes = codes[list(self.labels)]
        return stored.decode(codes)


def _cut(start, stop, step):
    """Return the chunks of a stretch of pixels on a lattice of blocks."""
    borders = [start, *range((start // step + 1) * step, stop, step), stop]
    return tuple(int(size) for size in np.diff(borders))


def source_of(array: xr.DataArray) -> Source | None:
    """Return the source of an array that is exactly what `read` gave, else None.

    Parameters
    ----------
    array : DataArray

    Returns
    -------
    Source or None
        None once the array was computed with, cut, sorted or transposed: its Dask name is
        not the one that its source has then. Use `read(path, area=, time=, bands=)` to cut.
    """
    source = array.encoding.get(SOURCE)
    if not isinstance(source, Source) or not isinstance(array.data, da.Array):
        return None
    dims = source.layout.stored(source.variable).dims
    return source if array.data.name == source.name and array.dims == dims else None


def read(
    path: str | os.PathLike | Place,
    *,
    area: Any = None,
    time: Any = None,
    bands: Sequence[str] | None = None,
) -> xr.Dataset:
    """Return a store as a lazy dataset, one task per block.

    Parameters
    ----------
    path : str or path
        As given to `write`.
    area : optional
        Outlines, geometry, grid or (west, south, east, north): its bounding box is read.
    time : optional
        A label, a list of labels or a slice, as for `.sel(time=...)`.
    bands : sequence of str, optional
        Names, in the order wanted.

    Returns
    -------
    Dataset
        As it was written: reflectance and probability float32, masks bool, codes uint8, its
        dates in the order of time. Its chunks are the store's blocks, cut to the area.

    Raises
    ------
    StoreError
        If there is no store, or it lacks what is asked for.
    GridError
        If the area lies outside the store's grid.

    Warns
    -----
    GlacierCubeWarning
        If the store is incomplete: the missing blocks read as no value.
    """
    place = place_of(path)
    header, whole = _opened(place)
    state = f"{_count(place, header)}.{ledger.revision(place)}"
    window = _window(header, area)
    times = _times(whole, time)
    labels = _labels(whole, bands)
    cut = _with_corner(
        whole.isel(_indexers(whole, window, times, labels)), header.geobox[window.slices]
    )
    variables = {}
    for stored in header.layout.variables:
        middle = [dim for dim in stored.dims if dim not in ("time", "y", "x")]
        source = Source(
            path=place.uri,
            variable=stored.name,
            fingerprint=header.fingerprint,
            state=state,
            layout=header.layout,
            times=tuple(times) if stored.temporal else None,
            labels=_positions(whole, middle[0], labels) if middle else None,
            window=window,
        )
        attrs = _own(whole[stored.name].attrs, stored)
        variables[stored.name] = _variable(source, attrs, header)
    return xr.Dataset(variables, coords=cut.coords, attrs=_own(whole.attrs))


def _opened(place):
    """Return the header of a store and its template, of one moment: an append may be at work."""
    header = ledger.read_header(place)
    whole = open_template(place)
    if "time" not in whole.coords:
        return header, whole
    labels = whole["time"].values.astype("datetime64[ns]")
    return replace(header, times=tuple(str(label) for label in labels)), whole


def _variable(source, attrs, header: Header):
    stored = source.layout.stored(source.variable)
    data = da.map_blocks(
        load_block,
        source=source,
        name=source.name,
        chunks=source.chunks,
        dtype=stored.dtype,
        meta=np.empty((0,) * len(stored.dims), stored.dtype),
    )
    lineage = Lineage(
        name=source.name,
        parameters={
            "store": fingerprint(str(sorted(header.identity.items()))),
            "variable": source.variable,
            "labels": source.labels,
        },
        inputs=StoreInputs((source,)),
    )
    encoding = {"grid_mapping": "spatial_ref", SOURCE: source, LINEAGE: lineage}
    return xr.Variable(stored.dims, data, attrs, encoding)


def load_block(source: Source, block_id: tuple[int, ...] = ()) -> np.ndarray:
    """Return one chunk of a source's array."""
    edges = [
        (sum(sizes[:number]), sum(sizes[: number + 1]))
        for sizes, number in zip(source.chunks, block_id, strict=True)
    ]
    window = Window(*edges[-2], *edges[-1])
    values = source.load(edges[0][0], window)
    return values[np.newaxis] if source.times is not None else values


def _count(place, header):
    records = ledger.count_records(place, header)
    expected = len(header.layout.all_blocks())
    if records < expected:
        warn(
            f"the store {str(place)!r} is incomplete: {expected - records} of {expected} blocks "
            "are missing and read as no value; write the same cube to it again to complete it",
            GlacierCubeWarning,
            stacklevel=3,
        )
    return records


def open_template(place: Place) -> xr.Dataset:
    """Return the store's coordinates and attributes; its variables stay untouched.

    Dates are in the order of their arrival.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        whole = xr.open_zarr(
            place.zarr(), chunks=None, decode_coords="all", mask_and_scale=False,
            consolidated=place.consolidates, decode_times=False,
        )  # fmt: skip
    # Only coordinates are moments; a variable in days keeps its numbers.
    moments = xr.decode_cf(whole.coords.to_dataset(), mask_and_scale=False).coords
    coords = {}
    for name, coord in moments.items():
        coord = coord.load()
        text = coord.dtype.kind in "OT"
        coords[name] = coord.copy(data=np.array(coord.values.tolist(), str)) if text else coord
    return whole.assign_coords(coords).drop_encoding()


def _own(attrs, stored=None):
    """Return the attributes as they were given to `write`."""
    hidden = (*OWN_ATTRIBUTES, "scale_factor", "add_offset", "_FillValue")
    kept = {key: value for key, value in attrs.items() if not key.startswith(hidden)}
    if stored is not None and "flag_values" in kept:
        kept["flag_values"] = np.array(kept["flag_values"], stored.dtype)
    return kept


def _window(header, area):
    """Return the pixels of the store that an area's bounding box touches."""
    layout, geobox = header.layout, header.geobox
    if area is None:
        return Window(0, layout.rows, 0, layout.columns)
    west, south, east, north = grid.area_frame(area).to_crs(str(geobox.crs)).total_bounds
    back = ~geobox.affine
    x0, x1 = sorted(back.a * x + back.b * y + back.c for x, y in ((west, north), (east, south)))
    y0, y1 = sorted(back.d * x + back.e * y + back.f for x, y in ((west, north), (east, south)))
    slack = 1e-6  # pixels: an area given by pixel edges takes no row more
    window = Window(
        max(0, int(np.floor(y0 + slack))),
        min(layout.rows, int(np.ceil(y1 - slack))),
        max(0, int(np.floor(x0 + slack))),
        min(layout.columns, int(np.ceil(x1 - slack))),
    )
    if window.y0 >= window.y1 or window.x0 >= window.x1:
        raise GridError(
            f"the area ({west:g}, {south:g}, {east:g}, {north:g}) lies outside the store's grid: "
            f"{grid.describe(geobox)}"
        )
    return window


def _times(whole, time):
    """Return where the dates asked for lie in the store, in the order of time."""
    if "time" not in whole.dims:
        return []
    numbers = xr.DataArray(np.arange(whole.sizes["time"]), coords={"time": whole["time"]})
    numbers = numbers.sortby("time")
    if not numbers.size:
        raise StoreError(
            "the store has no complete date yet; append the same cube again to complete one"
        )
    if time is None:
        return numbers.values.tolist()
    index = numbers.indexes["time"]
    span = f"{len(index)} dates from {index[0]} to {index[-1]}"
    try:
        chosen = np.atleast_1d(numbers.sel(time=time).values)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"the store has no time {time!r}; it has {span}") from error
    if not chosen.size:
        raise StoreError(f"the store has no dates in {time!r}; it has {span}")
    wanted = set(chosen.tolist())
    return [number for number in numbers.values.tolist() if number in wanted]


def _labels(whole, bands):
    if bands is None:
        return None
    names = [bands] if isinstance(bands, str) else list(bands)
    have = whole["band"].values.tolist() if "band" in whole.dims else []
    missing = [name for name in names if name not in have]
    if missing or not names:
        raise StoreError(f"the store has no bands {missing}; it has {have}")
    return tuple(have.index(name) for name in names)


def _positions(whole, dim, labels):
    if dim == "band" and labels is not None:
        return labels
    return tuple(range(whole.sizes[dim]))


def _indexers(whole, window, times, labels):
    rows, columns = window.slices
    wanted = {"y": rows, "x": columns, "time": times}
    if labels is not None:
        wanted["band"] = list(labels)
    return {dim: index for dim, index in wanted.items() if dim in whole.dims}


def _with_corner(cut, geobox):
    """Return a dataset whose CRS variable states the corner of the cut grid."""
    corner = xr_coords(geobox, dims=("y", "x"))["spatial_ref"]
    spatial_ref = cut["spatial_ref"].copy()
    spatial_ref.attrs["GeoTransform"] = corner.attrs["GeoTransform"]
    return cut.assign_coords(spatial_ref=spatial_ref)
