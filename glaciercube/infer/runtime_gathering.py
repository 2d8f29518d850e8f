"""Batches of several blocks that go through a GPU together, as one alone does not fill it.

Each thread that computes a block asks for a pass. Whoever has a turn takes what waits besides its
own, as far as sizes are equal and there is room; nobody waits for others to come. The numbers are
those of batches alone: no network here looks from one image to another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Event, Lock
from typing import Any

import torch

Inner = tuple[slice, slice]
Run = Callable[[Sequence[torch.Tensor], Inner], Sequence[torch.Tensor]]


class Gathering:
    """What waits for a device.

    Parameters
    ----------
    run : callable
        Takes batches (n, channel, y, x) of one size and what is wanted of them; returns the
        scores (n, category, rows, columns) of each.
    turns : BoundedSemaphore
        How many passes are made at a time.
    """

    def __init__(self, run: Run, turns: BoundedSemaphore) -> None:
        self._run, self._turns = run, turns
        self._lock = Lock()
        self._waiting: list[_Asked] = []

    def scores(self, batch: torch.Tensor, inner: Inner, most: int) -> torch.Tensor:
        """Return the scores of a batch, which may have gone through with others.

        Parameters
        ----------
        batch : tensor (n, channel, y, x)
        inner : tuple of slice
            Rows and columns to give.
        most : int
            Images that may go through together; a batch of more goes alone.

        Raises
        ------
        Exception
            What the pass of this batch alone raises.
        """
        own = _Asked(batch, (batch.shape[1:], inner[0].indices(batch.shape[2]),
                             inner[1].indices(batch.shape[3])), inner)  # fmt: skip
        with self._lock:
            self._waiting.append(own)
        with self._turns:
            self._compute(self._take(own, most))
        own.done.wait()  # a turn that has not ended may have taken it
        if own.error is not None:
            raise own.error
        return own.found

    def _take(self, own, most):
        """Return what goes through with a batch; nothing if that has been taken."""
        with self._lock:
            if own not in self._waiting:
                return []
            taken, images = [own], len(own.batch)
            for other in self._waiting:
                if other is own or other.size != own.size or images + len(other.batch) > most:
                    continue
                taken.append(other)
                images += len(other.batch)
            self._waiting = [one for one in self._waiting if one not in taken]
            return taken

    def _compute(self, taken):
        if not taken:
            return
        try:
            found = self._run([one.batch for one in taken], taken[0].inner)
        except Exception as error:
            if len(taken) == 1:
                taken[0].ends(error=error)
                return
            for one in taken:
                self._compute([one])  # so that a batch has its own error, and no other
        except BaseException as error:
            for one in taken:
                one.ends(error=error)
            raise
        else:
            for one, scores in zip(taken, found, strict=True):
                one.ends(found=scores)


@dataclass(eq=False)
class _Asked:
    """A batch, and what became of it."""

    batch: torch.Tensor
    size: Any
    inner: Inner
    done: Event = field(default_factory=Event)
    found: Any = None
    error: BaseException | None = None

    def ends(self, found=None, error=None):
        """Hand over the scores, or the error."""
        self.found, self.error = found, error
        self.done.set()
