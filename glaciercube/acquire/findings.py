"""What a search has found, and what was left out on the way."""

import html
from collections.abc import Iterable

import pystac

from glaciercube.acquire.items import Dropped, cloud_cover_of, platform_of, tile_of, time_of

SHOWN = 20
"""Scenes shown at most."""

_HEADER = ("time (UTC)", "platform", "tile", "cloud (%)", "item")


class Found(list[pystac.Item]):
    """Scenes by time: a list of items that says what was left out.

    Parameters
    ----------
    items : iterable of Item
    dropped : iterable of Dropped
        Versions of these scenes that were left out.
    steps : iterable of (str, int)
        What each filter left over.

    Notes
    -----
    Slices and sums of it are plain lists.
    """

    def __init__(
        self,
        items: Iterable[pystac.Item] = (),
        dropped: Iterable[Dropped] = (),
        steps: Iterable[tuple[str, int]] = (),
    ) -> None:
        super().__init__(items)
        self.dropped: tuple[Dropped, ...] = tuple(dropped)
        self.steps: tuple[tuple[str, int], ...] = tuple(steps)

    def __repr__(self) -> str:
        """Return the scenes as a table, without addresses."""
        rows = [_HEADER, *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in (rows if len(self) else [])
        ]
        return "\n".join([self._title(), *lines, *self._more()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(text)}</th>" for text in _HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>"
            for row in self._rows()
        )
        more = "<br>".join(html.escape(line) for line in self._more())
        title = html.escape(self._title())
        return f"<p>{title}</p><table><tr>{head}</tr>{body}</table><p>{more}</p>"

    def _title(self):
        steps = ", ".join(f"{count} {what}" for what, count in self.steps)
        left_out = f"{len(self.dropped)} repeated and left out" if self.dropped else ""
        told = "; ".join(text for text in (steps, left_out) if text)
        return f"{len(self)} scenes" + (f" ({told})" if told else "")

    def _rows(self):
        return [_row(item) for item in self[:SHOWN]]

    def _more(self):
        lines = [f"... and {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        lines += [f"left out: {one}" for one in self.dropped[:SHOWN]]
        if len(self.dropped) > SHOWN:
            lines.append(f"... and {len(self.dropped) - SHOWN} more left out")
        return lines


def _row(item):
    cover = cloud_cover_of(item)
    return (
        f"{time_of(item):%Y-%m-%d %H:%M}",
        platform_of(item),
        tile_of(item),
        "" if cover is None else f"{cover:.0f}",
        item.id,
    )
