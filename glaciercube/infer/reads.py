"""What a block reads of its dates, and what networks see of it. NumPy only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from glaciercube.infer.work import Work, bounding
from glaciercube.model import channels
from glaciercube.model.card import ModelCard
from glaciercube.windows import Window


@dataclass(frozen=True)
class Read:
    """What was read of one date."""

    values: np.ndarray
    """(band, y, x), float32: reflectance (1), bands as `Work.bands`; NaN where not measured."""

    measured: np.ndarray
    """(y, x), bool: where it is valid and all bands are finite."""

    window: Window

    date: int = 0
    """Its place in the cube."""

    others: Mapping[int, "Read | None"] = field(default_factory=dict)
    """Of the same window, dates that networks see with it; None where nothing was measured."""

    @staticmethod
    def of(
        values: np.ndarray, valid: np.ndarray | np.bool, window: Window, date: int = 0
    ) -> "Read":
        """Return what was read, measured where it is valid and all bands are finite."""
        return Read(values, valid & np.isfinite(values).all(axis=0), window, date)

    def cut(self, part: Window) -> "Read":
        """Return a part of the same; nothing is copied."""
        inside = part.inside(self.window)
        return Read(self.values[(slice(None), *inside)], self.measured[inside], part, self.date)

    def image(self, part: Window, work: Work, card: ModelCard) -> np.ndarray:
        """Return a part as a network sees it.

        Parameters
        ----------
        part : Window
            Within what was read.
        work : Work
        card : ModelCard

        Returns
        -------
        array (channel, y, x), float32
            Normalised bands, the card's `fill` where not measured. Of a card that declares
            `dates` those of each date in turn, ascending in time, each followed by its mask (1
            where measured, else 0) and by how many years of 365 days after the date itself it is
            (0 for one that is not there), if the card declares these.
        """
        if not card.dates:
            return self._normalised(part, work, card)
        seen = work.seen_with(self.date, card)
        image = np.full((card.channels, *part.shape), card.fill, np.float32)
        for planes, date in zip(image.reshape(len(seen), -1, *part.shape), seen, strict=True):
            read = self if date == self.date else self.others.get(date)
            if read is not None:
                planes[: len(card.bands)] = read._normalised(part, work, card)
            if card.dates["mask"]:
                known = 0 if read is None else read.measured[part.inside(read.window)]
                planes[len(card.bands)] = known
        if card.dates.get("day"):
            last = image.reshape(len(seen), -1, *part.shape)[:, -1]
            last[:] = work.years_away(self.date, card)[:, np.newaxis, np.newaxis]
        return image

    def _normalised(self, part, work, card):
        inside = part.inside(self.window)
        places = channels.positions(work.bands, card)
        chosen = channels.taken(self.values[(slice(None), *inside)], places)
        return channels.normalised(chosen, self.measured[inside], card)


class StoreReader:
    """Reads the dates of one block from a store, each window of each date once.

    Parameters
    ----------
    work : Work
        Of the direct strategy.
    block : Window
    """

    def __init__(self, work: Work, block: Window):
        self._work, self._block, self._outer = work, block, work.reads(block)
        self._valid, self._reflectance = work.sources
        self._known: dict[tuple[int, Window], Read | None] = {}

    def target(self, date: int, wanted: np.ndarray) -> tuple[Window, Read] | None:
        """Return what of a block is to be reported at a date, and what was read for it.

        Parameters
        ----------
        date : int
            Its place in the cube.
        wanted : array (y, x), bool
            Pixels of the block that are of interest.

        Returns
        -------
        (Window, Read) or None
            None, and no more than `valid` is read, where no pixel of interest is valid; no other
            date is read where none was measured.
        """
        valid = self._valid.load(date, self._outer)
        found = valid[self._block.inside(self._outer)] & wanted
        if not found.any():
            return None
        target = bounding(found, self._block)
        window = self._work.reads(target)
        own = self._read(date, window, valid[window.inside(self._outer)])
        return _with_others(self._work, own, target, wanted[target.inside(self._block)], self._read)

    def _read(self, date, window, valid=None):
        """Return a window of a date; None where none of it is valid."""
        key = (date, window)
        if key not in self._known:
            valid = self._valid.load(date, window) if valid is None else valid
            self._known[key] = self._measured(date, window, valid) if valid.any() else None
        return self._known[key]

    def _measured(self, date, window, valid):
        values = channels.taken(self._reflectance.load(date, window), self._work.positions)
        return Read.of(values, valid, window, date)


class ChunkReader:
    """Takes the dates of one block from chunks that hold it and its surroundings.

    Parameters
    ----------
    work : Work
        Of the overlap strategy.
    block : Window
    given : mapping of int to array (band, y, x)
        By date, bands as `work.bands` of `work.given(block)`; NaN where not valid.
    """

    def __init__(self, work: Work, block: Window, given: Mapping[int, np.ndarray]):
        self._work, self._block, self._outer = work, block, work.given(block)
        self._given = given
        self._known: dict[int, Read] = {}

    def target(self, date: int, wanted: np.ndarray) -> tuple[Window, Read] | None:
        """Return what of a block is to be reported at a date, and what is known around it.

        Parameters and result are those of `StoreReader.target`.
        """
        found = self._whole(date).measured[self._block.inside(self._outer)] & wanted
        if not found.any():
            return None
        target = bounding(found, self._block)
        own = self._cut(date, self._work.reads(target))
        return _with_others(self._work, own, target, wanted[target.inside(self._block)], self._cut)

    def _whole(self, date):
        if date not in self._known:
            self._known[date] = Read.of(self._given[date], np.True_, self._outer, date)
        return self._known[date]

    def _cut(self, date, window):
        return self._whole(date).cut(window)


def _with_others(
    work: Work,
    own: Read | None,
    target: Window,
    wanted: np.ndarray,
    read: Callable[[int, Window], Read | None],
) -> tuple[Window, Read] | None:
    """Return what was read with the dates that are seen with it; None if nothing is reported."""
    if own is None or not (own.measured[target.inside(own.window)] & wanted).any():
        return None
    others = {date: read(date, own.window) for date in work.others_of(own.date)}
    return target, replace(own, others=others)
