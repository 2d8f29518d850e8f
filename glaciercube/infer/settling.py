"""When the runtime is chosen: by one task of a graph, before the first block; by a store once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from threading import Lock

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed

from glaciercube.infer import choices, layers, neighbours, runtimes
from glaciercube.infer.choices import Choice, Sample
from glaciercube.infer.reads import Read, StoreReader
from glaciercube.infer.samples import spread, wanted_of
from glaciercube.infer.work import Work
from glaciercube.model.card import ModelCard
from glaciercube.store.making import Stored, making_of
from glaciercube.windows import Window

SIDE = 512
"""Rows and columns of a tile that runtimes are compared on."""

READ, GIVEN = 12, 4
"""Blocks that are looked at, at most: where they read for themselves, and where the graph has to
keep them until a runtime is chosen."""

ENOUGH = 4 * SIDE**2
"""Measured pixels after which no more blocks are looked at."""


def choice_task(work: Work, runtime: str, token: str, blocks: da.Array | None) -> Delayed:
    """Return the choice of all networks as one task.

    Parameters
    ----------
    work : Work
        Whose networks are in float32.
    runtime : str
        What was asked for.
    token : str
        Of the prediction; a process measures once for each.
    blocks : Dask array (time, band, y, x), optional
        What the graph gives; None if blocks read for themselves.
    """
    given = [] if blocks is None else [_chunks(work, blocks, at) for at in _spread(work, GIVEN)]
    task = dask.delayed(_measured, pure=True)
    return task(work, runtime, token, *given, dask_key_name=f"choice-{token}")


def _chunks(work, blocks, at):
    """Return the chunks of a block that hold all dates seen with its own."""
    return [blocks.blocks[(number, *at[1:])] for number in work.time_chunks(at[0])]


def shared_of(work: Work, choice: Delayed | None, token: str) -> Delayed:
    """Return what all blocks share as one key of a graph, once the runtime is chosen."""
    if choice is None:
        return dask.delayed(work, name=f"work-{token}", traverse=False)
    task = dask.delayed(with_choices, pure=True, traverse=False)
    return task(work, choice, dask_key_name=f"work-{token}")


def with_choices(work: Work, chosen: Sequence[Choice]) -> Work:
    """Return the work whose networks run as was chosen.

    Parameters
    ----------
    work : Work
    chosen : sequence of Choice
        One for each network.
    """
    refs = tuple(
        runtimes.ref_for(ref.card, choice.runtime)
        for ref, choice in zip(work.refs, chosen, strict=True)
    )
    return replace(work, refs=refs, choices=tuple(chosen))


def choices_of(layers: xr.Dataset) -> tuple[Choice, ...]:
    """Return how the networks of layers run, measured now if that is still open.

    Parameters
    ----------
    layers : Dataset
        As `predict` gave them; their runtime was asked for as "auto", or is not in float32.
    """
    later = next(
        making.choose
        for variable in layers.data_vars.values()
        if (making := making_of(variable)) is not None and isinstance(making.choose, Later)
    )
    chosen = later.default
    return chosen.compute() if isinstance(chosen, Delayed) else tuple(chosen)


class Later:
    """Makes layers again once it is known where they are written; see `store.making.Making`.

    Parameters
    ----------
    make : callable
        `predict` but for its runtime.
    cards : sequence of ModelCard
    runtime : str
        What was asked for.
    default : sequence of Choice or Delayed
        How networks run in a store that is not yet there.
    """

    def __init__(
        self,
        make: Callable[..., xr.Dataset],
        cards: Sequence[ModelCard],
        runtime: str,
        default: Sequence[Choice] | Delayed,
    ) -> None:
        self.make, self.cards, self.runtime, self.default = make, cards, runtime, default

    def __call__(self, stored: Stored | None) -> xr.Dataset:
        """Return the layers with a runtime that is settled.

        Parameters
        ----------
        stored : Stored or None
            What a store says of the layer, which is adopted; None if there is none.
        """
        if stored is None:
            chosen = self.default
            return self.make(runtime=chosen.compute() if isinstance(chosen, Delayed) else chosen)
        networks = layers.networks_of(stored.attrs)
        if stored.parameters is not None:
            networks = stored.parameters.get("networks", ())
        adopted = choices.adopted(networks, self.runtime)
        if adopted is None or len(adopted) != len(self.cards):
            adopted = tuple(Choice(self._named(card)) for card in self.cards)  # will be refused
        return self.make(runtime=adopted)

    def _named(self, card):
        return runtimes.reference_of(card) if self.runtime == choices.AUTO else self.runtime


_chosen: dict[str, tuple[Choice, ...]] = {}
_lock = Lock()


def _measured(work, runtime, token, *given):
    """Return how the networks run from now on; measured once per process."""
    with _lock:
        if token not in _chosen:
            parts = list(_enough(_given(work, given) if given else _read(work)))
            cards = [ref.card for ref in work.refs]
            _chosen[token] = choices.chosen(runtime, cards, lambda card: seen_in(parts, work, card))
        return _chosen[token]


def _enough(parts):
    """Yield parts of the cube until enough of them was measured."""
    seen = 0
    for tile, read, counts in parts:
        yield tile, read, counts
        seen += int(counts.sum())
        if seen >= ENOUGH:
            return


def _read(work: Work) -> Iterator[tuple[Window, Read, np.ndarray]]:
    """Yield a tile, what is read of it, and which pixels (y, x) of it count, of some blocks."""
    valid_source, _ = work.sources
    for at in _spread(work, READ):
        dates, block = work.place(at)
        counts = valid_source.load(dates.start, block) & wanted_of(work, block)
        tile = _best(counts, block)
        found = StoreReader(work, tile).target(dates.start, counts[tile.inside(block)])
        if found is not None:
            yield tile, found[1], _counting(found[1], tile, counts[tile.inside(block)])


def _given(work, given):
    """Yield the same of chunks (time, band, y, x) that the graph gives, without a halo."""
    for at, chunks in zip(_spread(work, GIVEN), given, strict=True):
        block = work.place(at)[1]
        values = neighbours.by_date(chunks, work, at[0])
        reads = {date: Read.of(one, np.True_, block, date) for date, one in values.items()}
        counts = {date: reads[date].measured & wanted_of(work, block) for date in work.place(at)[0]}
        date = max(counts, key=lambda one: int(counts[one].sum()))
        if counts[date].any():
            others = {other: reads[other] for other in work.others_of(date)}
            tile = _best(counts[date], block)
            yield tile, replace(reads[date], others=others), counts[date][tile.inside(block)]


def _counting(read, tile, wanted):
    """Return which of the pixels wanted of a tile were measured, as far as it was read."""
    counts = np.zeros(tile.shape, bool)
    both = tile.cut(read.window)
    counts[both.inside(tile)] = read.measured[both.inside(read.window)]
    return counts & wanted


def _best(counts: np.ndarray, block: Window) -> Window:
    """Return the tile of a block in which most pixels count."""
    tiles = [
        Window(y, min(y + SIDE, block.y1), x, min(x + SIDE, block.x1))
        for y in range(block.y0, block.y1, SIDE)
        for x in range(block.x0, block.x1, SIDE)
    ]
    return max(tiles, key=lambda tile: int(counts[tile.inside(block)].sum()))


def _spread(work: Work, most: int) -> list[tuple[int, int, int, int]]:
    """Return some blocks (time, 0, y, x) of interest, spread over a cube; always the same ones."""
    found: dict[tuple[int, int, int, int], None] = {}
    for date, (row, column) in spread(work):
        found[(work.chunk_of(date), 0, row, column)] = None
        if len(found) == most:
            break
    return list(found)


def seen_in(
    parts: Iterable[tuple[Window, Read, np.ndarray]], work: Work, card: ModelCard
) -> Iterator[Sample]:
    """Yield tiles as a network sees them.

    Parameters
    ----------
    parts : iterable of (Window, Read, array (y, x) of bool)
        Tiles, what was read of each, and which of its pixels count.
    work : Work
    card : ModelCard
        One that takes windows of one size gets such, cut off or continued with its `fill`.
    """
    for tile, read, counts in parts:
        both = tile.cut(read.window)
        image, measured = read.image(both, work, card), counts[both.inside(tile)]
        if card.window:
            image, measured = (_cut(one, card) for one in (image, measured))
        yield Sample(image, measured)


def _cut(array, card):
    """Return the part of a tile, or the tile and fill around it, that has the card's size."""
    side = card.window
    part = array[..., :side, :side]
    fill = False if array.dtype == bool else np.float32(card.fill)
    rows, columns = (side - size for size in part.shape[-2:])
    width = [(0, 0)] * (array.ndim - 2) + [(0, rows), (0, columns)]
    return np.pad(part, width, constant_values=fill)
