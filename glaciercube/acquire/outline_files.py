"""Files with outlines: which there are in a folder or archive, and their rows, read in part."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet
import pyogrio
import pyproj
import shapely

from glaciercube import grid
from glaciercube.errors import AcquireError

PARQUET = (".parquet", ".geoparquet")
SUFFIXES = (".shp", ".gpkg", ".geojson", ".fgb", *PARQUET)
"""Endings of files that are looked for in a folder or an archive."""

REGION = re.compile(r"(?:^|/)(\d{2})_rgi\d\d_|-[GC]-(\d{2})_", re.IGNORECASE)
"""First-order region in the names of RGI files: "11_rgi60_CentralEurope.shp",
"RGI2000-v7.0-G-11_central_europe.shp"."""

MANY_ROWS = 2000
"""From so many chosen rows on, reading all and choosing is faster than one by one."""

LATIN = "ISO-8859-1"
"""Encoding of old shapefiles, which every text is in by some reading."""

MANY = 8
"""Names shown in a message at most."""

_UNREADABLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    zipfile.BadZipFile,
    OSError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One layer of one file."""

    address: str
    """As OGR or pyarrow opens it."""

    layer: str | None
    fields: tuple[str, ...]
    crs: Any
    bounds: tuple[float, ...] | None
    """Of all rows, in the CRS of the file; None where the file does not say."""

    first: int
    """Number that the file gives its first row."""

    encoding: str | None

    @property
    def is_parquet(self) -> bool:
        """Whether pyarrow reads it."""
        return self.address.lower().endswith(PARQUET)

    @property
    def stem(self) -> str:
        """Name of the file without folder and ending."""
        return Path(self.address).stem

    @property
    def region(self) -> str | None:
        """First-order region in an RGI file's name."""
        found = REGION.search(self.address)
        return (found[1] or found[2]) if found else None


def sources_of(
    path: str | Path, *, layer: str | None = None, region: str | None = None
) -> list[Source]:
    """Return the layers with polygons of a file, a folder or a zip archive.

    Parameters
    ----------
    path : path
    layer : str, optional
        Of a file with several.
    region : str, optional
        Two digits; RGI files of other regions are left aside.

    Raises
    ------
    AcquireError
        If nothing can be read, several layers or unlike files are there to choose from, or
        none of that layer or region.
    """
    try:
        addresses = _addresses(path)
        sources = [one for address in addresses for one in _layers(address, path, layer)]
    except _UNREADABLE as error:
        if isinstance(error, AcquireError):
            raise
        raise AcquireError(
            f"cannot read outlines from {path}: {error}; needed is a GeoPackage, GeoParquet or "
            "shapefile"
        ) from error
    if not sources:
        raise AcquireError(
            f"outlines need polygons, {path} has none in its files "
            f"{[Path(one).name for one in addresses[:MANY]]}; choose another file"
        )
    if region is not None and any(one.region for one in sources):
        sources = _of_region(sources, region, path)
    _require_alike(sources, path)
    return sources


def table_of(source: Source, columns: list[str], within: Any) -> pd.DataFrame:
    """Return some columns of the rows near an area, without their geometry.

    Parameters
    ----------
    source : Source
    columns : list of str
    within : area or None

    Returns
    -------
    DataFrame
        Indexed by the numbers of rows in the file, from 1.
    """
    if source.is_parquet:
        table = pd.read_parquet(source.address, columns=columns)
        return table.set_axis(np.arange(1, len(table) + 1))
    return _read_ogr(source, within, columns=columns, read_geometry=False)


def rows_of(source: Source, within: Any, numbers: np.ndarray | None = None) -> pd.DataFrame:
    """Return rows of a source with their geometry.

    Parameters
    ----------
    source : Source
    within : area or None
        Rows far from it may be left out; only they are not read.
    numbers : array, optional
        Of the rows wanted; see `table_of`.
    """
    if source.is_parquet:
        frame = gpd.read_parquet(source.address)
        frame = frame.set_axis(np.arange(1, len(frame) + 1))
        return _near(frame, within) if numbers is None else frame.loc[numbers]
    if numbers is not None and len(numbers) <= MANY_ROWS:
        fids = np.asarray(numbers) - 1 + source.first
        return _read_ogr(source, None, fids=fids)
    frame = _read_ogr(source, within)
    return frame if numbers is None else frame.loc[numbers]


def _near(frame, within):
    """Return the rows whose bounds meet the boxes around an area."""
    if within is None or getattr(frame, "crs", None) is None:
        return frame
    boxes = [one for one in _boxes(within, frame.crs) if one is not None]
    if not boxes:
        return frame
    bounds = shapely.box(*shapely.bounds(frame.geometry.to_numpy()).T)
    near = [shapely.intersects(bounds, shapely.box(*one)) for one in boxes]
    return frame[np.logical_or.reduce(near)]


def _addresses(path):
    """Return what OGR or pyarrow opens: the file, or the files of a folder or archive."""
    text = str(path)
    place = Path(text)
    if place.is_dir() and place.suffix != ".gdb":
        found = [str(one) for one in sorted(place.rglob("*")) if one.suffix.lower() in SUFFIXES]
    elif text.lower().endswith(".zip") and place.exists():
        with zipfile.ZipFile(place) as archive:
            names = sorted(archive.namelist())
        readable = tuple(one for one in SUFFIXES if one not in PARQUET)
        found = [f"/vsizip/{place}/{one}" for one in names if one.lower().endswith(readable)]
    else:
        return [text]
    if not found:
        raise AcquireError(f"{path} holds no file that ends with one of {list(SUFFIXES)}")
    return found


def _layers(address, path, layer):
    if address.lower().endswith(PARQUET):
        return [_parquet(address)]
    named = {str(name): str(kind) for name, kind in pyogrio.list_layers(address)}
    if layer is not None and layer not in named:
        if address != str(path):
            return []
        raise AcquireError(f"{path} has no layer {layer!r}; it has {list(named)}")
    areal = [name for name, kind in named.items() if "Polygon" in kind or kind == "Unknown"]
    chosen = [layer] if layer is not None else areal
    if len(chosen) > 1:
        raise AcquireError(f"{address} has several layers with polygons, choose layer= of {chosen}")
    if not chosen and address == str(path):
        chosen = list(named)[:1]  # so that the message says what it has instead of polygons
    return [_ogr(address, name) for name in chosen]


def _ogr(address, layer):
    encoding = None
    try:
        info = pyogrio.read_info(address, layer=layer)
    except UnicodeDecodeError:
        encoding = LATIN
        info = pyogrio.read_info(address, layer=layer, encoding=encoding)
    return Source(
        address=address,
        layer=layer,
        fields=tuple(info["fields"]),
        crs=pyproj.CRS.from_user_input(info["crs"]) if info["crs"] else None,
        bounds=info["total_bounds"],
        first=1 if info["driver"] == "GPKG" else 0,
        encoding=encoding,
    )


def _parquet(address):
    schema = pyarrow.parquet.read_schema(address)
    return Source(
        address=address,
        layer=None,
        fields=tuple(name for name in schema.names if name != "geometry"),
        crs=None,
        bounds=None,
        first=0,
        encoding=None,
    )


def _of_region(sources, region, path):
    chosen = [one for one in sources if one.region == region]
    if not chosen:
        held = sorted({one.region for one in sources if one.region})
        raise AcquireError(f"{path} has no outlines of region {region}; it has regions {held}")
    return chosen


def _require_alike(sources, path):
    """Raise an error if several files do not belong to one inventory."""
    if len({(tuple(sorted(one.fields)), str(one.crs)) for one in sources}) > 1:
        names = [one.address.removeprefix(f"/vsizip/{path}/") for one in sources]
        names = [one.removeprefix(f"{path}/") for one in names]
        raise AcquireError(
            f"{path} holds {len(names)} files with unlike columns or CRS, name the one to read: "
            f"{names[:MANY]}"
        )


def _read_ogr(source, within, **options):
    if source.layer is not None:
        options["layer"] = source.layer
    boxes = [None] if within is None or source.crs is None else _boxes(within, source.crs)
    found = [_read_box(source, box, options) for box in boxes]
    frame = found[0] if len(found) == 1 else pd.concat(found)
    frame = frame[~frame.index.duplicated()]
    return frame.set_axis(np.asarray(frame.index) + 1 - source.first)


def _read_box(source, box, options):
    """Return the rows in a box; as Latin text if it is none in the encoding the file states."""

    def read(encoding):
        return pyogrio.read_dataframe(
            source.address,
            encoding=encoding,
            bbox=box,
            fid_as_index=True,
            on_invalid="ignore",
            **options,
        )

    try:
        return read(source.encoding)
    except UnicodeDecodeError:
        return read(LATIN)


def _boxes(within, crs):
    """Return one or two boxes around an area in the CRS of a file."""
    if crs.is_geographic:
        return grid.geographic_boxes(within)
    bounds = grid.densified(grid.area_frame(within)).to_crs(crs).total_bounds
    return [tuple(float(edge) for edge in bounds)] if np.isfinite(bounds).all() else [None]
