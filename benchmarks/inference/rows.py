"""What a benchmark prints: figure, floor or peer, ratio, bar, and whether that is met."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HEADS = ("part", "figure", "found", "against", "ratio", "bar", "met")
WIDTHS = (10, 58, 34, 34, 7, 18, 5)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    part: str
    figure: str
    found: str
    against: str = ""
    """The floor or the peer."""

    ratio: float | None = None
    bar: str = ""
    met: bool | None = None
    """None where there is no bar."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cells as text."""
        met = {None: "", True: "yes", False: "NO"}[self.met]
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return (self.part, self.figure, self.found, self.against, ratio, self.bar, met)


def printed(rows: Iterable[Row]) -> Iterator[Row]:
    """Print a table row by row as they come, and yield them."""
    print(_line(HEADS))
    for row in rows:
        print(_line(row.cells), flush=True)
        yield row


def _line(cells):
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def markdown(rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [HEADS, ("---",) * len(HEADS), *(row.cells for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def in_turn(
    ways: Mapping[str, Callable[[], Mapping[str, Any]]], repeats: int
) -> dict[str, Mapping[str, Any]]:
    """Run ways in turn, and again; return of each the run that took the least time."""
    best: dict[str, Mapping[str, Any]] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            found = way()
            if name not in best or found.get("seconds", 0) < best[name].get("seconds", 0):
                best[name] = found
    return best


def seconds(found: Mapping[str, Any]) -> str:
    """Return what a run took, as text: of the wall, of the processor."""
    return f"{found['seconds']:.2f} s (CPU {found['cpu']:.2f} s)"


def size(count: float) -> str:
    """Return bytes as text.

    >>> size(3 * 2**20), size(2500)
    ('3 MiB', '2.4 KiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
