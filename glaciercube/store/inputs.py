"""What the blocks of an array are made of that was read from a store: the blocks of that store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from glaciercube.store import ledger
from glaciercube.store.layout import Block
from glaciercube.store.lineage import fingerprint_of, framed
from glaciercube.store.places import Place, place_of
from glaciercube.windows import Window, expand

if TYPE_CHECKING:
    from glaciercube.store.reading import Source

MISSING = framed("missing")
"""In place of the checksum of a block that the store does not have."""


class StoreInputs:
    """The blocks of stores that the blocks of an array read, as the ledgers have them.

    Parameters
    ----------
    sources : sequence of Source
        What is read; all on one grid.
    halo : int
        Pixels read around each block.
    """

    def __init__(self, sources: Sequence["Source"], halo: int = 0):
        self.sources, self.halo = tuple(sources), halo
        self.refresh()

    def refresh(self) -> None:
        """Forget what the ledgers said: a write asks them anew."""
        self._slots: dict[str, dict[np.datetime64, int]] = {}
        self._places: dict[str, Place] = {}
        self._made: dict[tuple[str, int | None], dict[tuple[int, int], bytes]] = {}

    def of(self, time: np.datetime64 | None, window: Window) -> str:
        """Return the fingerprint of all blocks that a block reads.

        Parameters
        ----------
        time : datetime64[ns] or None
        window : Window
            Pixels of the block, relative to the sources' own.
        """
        parts: list[bytes] = []
        known: dict[tuple[str, int | None, Window], list[bytes]] = {}
        for source in self.sources:
            slot = None if source.times is None else self._slot(source, time)
            key = (source.path, slot, source.window)
            if key not in known:  # variables of one store have their blocks in common
                wide = expand(window, self.halo, source.window.shape)
                known[key] = self._checksums(source, slot, wide)
            parts += known[key]
        return fingerprint_of(parts)

    def _slot(self, source, time):
        if source.path not in self._slots:
            times = ledger.read_header(place_of(source.path)).times
            self._slots[source.path] = {
                np.datetime64(label, "ns"): slot for slot, label in enumerate(times)
            }
        return self._slots[source.path].get(time, -1)

    def _checksums(self, source, slot, window):
        """Return the checksum of each block of a store that a window touches, framed."""
        made = self._made.setdefault((source.path, slot), {})
        if source.path not in self._places:
            self._places[source.path] = place_of(source.path)
        place, found = self._places[source.path], []
        for at in _touched(window, source):
            if at not in made:
                record = ledger.read_record(place, Block(at[0], at[1], time=slot))
                made[at] = MISSING if record is None else framed(record.checksum)
            found.append(made[at])
        return found


def _touched(window, source):
    """Return the rows and columns of the store's blocks that a window of a source touches."""
    rows, columns = source.layout.block
    y0, x0 = source.window.y0, source.window.x0
    for row in range((window.y0 + y0) // rows, (window.y1 + y0 - 1) // rows + 1):
        for column in range((window.x0 + x0) // columns, (window.x1 + x0 - 1) // columns + 1):
            yield row, column
