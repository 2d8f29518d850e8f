"""What a cube of items would be, as numbers and as lines that a person reads."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dask.utils import format_bytes

MANY = 5
"""Lines of one kind shown at most."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What `load` would make of items; `print` it, or take the numbers."""

    sensors: Mapping[str, int]
    """Items used by sensor; so do the others that count by a name."""

    providers: Mapping[str, int]
    access: Mapping[str, str]
    """What reading from each host, bucket or folder needs; "" if nothing."""

    given: int
    """Those that `search` left out included."""

    used: int
    outside: Sequence[str]
    """Items that are not over the grid."""

    duplicates: Sequence[Mapping[str, str]]
    """`item`, the `kept` one and the `reason`."""

    days: Sequence[str]
    """Solar day of each time of the cube; of radar each orbit is a time of its own."""

    most_items: int
    """Items of one time at most."""

    grid: str
    shape: tuple[int, int]
    """Rows and columns."""

    chunk: int
    blocks: tuple[int, int]
    """Blocks along y and x."""

    chunks: int
    """Times x blocks."""

    empty_chunks: int
    """Chunks that no footprint touches."""

    bands: Sequence[str]
    lacking: Mapping[str, Sequence[str]]
    """Bands of the sensor that an item lacks."""

    quality: Mapping[str, int]
    flags: Sequence[str]
    """Flags that every item tells, which become variables."""

    offsets: Mapping[str, int]
    """Items by their offset (DN) and what tells it."""

    crs: Mapping[str, int]
    """Items by the CRS of their rasters, as they state it."""

    without_raster: int
    """Items that do not state shape and transform of their rasters, so that their footprint must
    tell where they are."""

    cloud_cover: Mapping[str, float]
    """`least`, `median`, `most` (%) and how many items are `stated`."""

    bytes_memory: int
    """Of the whole cube, computed."""

    bytes_disk: int
    """Of the whole cube on disk before compression; blank chunks are not written."""

    bytes_read: int
    """Of the pixels under the grid, as their files hold them before compression."""

    bytes_read_compressed: int | None
    """The same as the sizes of files tell it, None where not every item states them."""

    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain objects, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it as lines that a person reads."""
        width = max(len(name) for name, _ in self._lines())
        return "\n".join(f"{name.ljust(width)}  {text}" for name, text in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._lines()
        )
        return f"<table>{rows}</table>"

    def _lines(self):
        return [*_what(self), *_where(self), *_how(self), *_listed(self)]


def _what(one: Explanation):
    """Give the lines about what there is."""
    yield "sensors", _counts(one.sensors)
    repeated, outside = len(one.duplicates), len(one.outside)
    yield "items", f"{one.given} given, {one.used} used, {repeated} repeated, {outside} outside"
    times = sorted({one.days[0], one.days[-1]})
    yield "times", f"{len(one.days)} ({' to '.join(times)}), of at most {_several(one)} each"
    cloud = one.cloud_cover
    told = "not stated"
    if cloud["stated"]:
        told = f"{cloud['least']:.0f} to {cloud['most']:.0f} %, median {cloud['median']:.0f} %"
        told += f", of {cloud['stated']} of {one.used} scenes"
    yield "cloud cover", told


def _where(one: Explanation):
    """Give the lines about the grid."""
    yield "grid", one.grid
    rows, columns = one.blocks
    blocks = f"{rows} x {columns} blocks of {one.chunk} x {one.chunk}"
    yield "chunks", f"{one.chunks} (times x {blocks}), {one.empty_chunks} of them empty"
    mixed = "; each item is warped to the grid" if len(one.crs) > 1 else ""
    yield "CRS of items", _counts(one.crs) + mixed
    if one.without_raster:
        told = f"{one.without_raster} items do not state theirs (proj:shape, proj:transform): "
        yield "rasters", told + "their footprints count"


def _how(one: Explanation):
    """Give the lines about bands, offsets, sizes and access."""
    yield "bands", ", ".join(one.bands)
    for name, missing in list(one.lacking.items())[:MANY]:
        yield "", f"{name} lacks {', '.join(missing)}"
    if len(one.lacking) > MANY:
        yield "", f"and {len(one.lacking) - MANY} more items lack some"
    flags = f"; flags {', '.join(one.flags)}" if one.flags else ""
    yield "quality", (_counts(one.quality) or "none") + flags
    yield "offsets", _counts(one.offsets)
    yield "in memory", f"{format_bytes(one.bytes_memory)} in all, chunk by chunk"
    yield "on disk", f"{format_bytes(one.bytes_disk)} before compression"
    stated = one.bytes_read_compressed
    files = "compressed by an unknown factor"
    if stated is not None:
        files = f"{format_bytes(stated)} as the sizes of the files tell"
    yield "to be read", f"about {format_bytes(one.bytes_read)} before compression, {files}"
    yield "providers", _counts(one.providers)
    for host, need in one.access.items():
        yield "", f"{host}: {need or 'nothing needed'}"


def _listed(one: Explanation):
    """Give the lines that list items."""
    for number, gone in enumerate(one.duplicates[:MANY]):
        label = "repeated" if number == 0 else ""
        yield label, f"{gone['item']} for {gone['kept']}: {gone['reason']}"
    if len(one.duplicates) > MANY:
        yield "", f"and {len(one.duplicates) - MANY} more"
    if one.outside:
        more = f" and {len(one.outside) - MANY} more" if len(one.outside) > MANY else ""
        yield "outside", f"{', '.join(one.outside[:MANY])}{more}"
    for note in one.notes[:MANY]:
        yield "note", note
    if len(one.notes) > MANY:
        yield "", f"and {len(one.notes) - MANY} more notes"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _several(one):
    return "1 item" if one.most_items == 1 else f"{one.most_items} items"
