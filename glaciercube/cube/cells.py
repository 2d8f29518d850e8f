"""What one task of a composite does: all dates of a piece, or a chunk piece after piece."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from glaciercube import schema
from glaciercube.cube.compositing import Stack, compose
from glaciercube.store.reading import Source
from glaciercube.windows import Window

CLEAR, CLOUD_SCORE = "is clear", "cloud score"
"""Inputs that are no variables of the cube."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one task must know; small, since it travels with the graph."""

    main: str
    how: str
    days: tuple[int, ...]
    scores: tuple[int, ...]
    inputs: tuple[str, ...]
    """Names of the arrays that come through the graph."""

    places: tuple[int, ...]
    """Of the dates in the sources."""

    sources: Mapping[str, Source]
    pixels: int
    """Of a piece, at most."""


def compose_blocks(*blocks: list, task: Task) -> np.ndarray:
    """Return the cell of one piece from the blocks of all dates."""
    arrays = {name: _joined(one) for name, one in zip(task.inputs, blocks, strict=True)}
    return _cell(_picture(arrays, task))


def compose_windows(cells: np.ndarray, *blocks: list, task: Task) -> np.ndarray:
    """Return the cell of one chunk, read piece by piece."""
    window = cells[0, 0]
    out: dict[str, np.ndarray] = {}
    for piece in pieces_of(window, task.sources[task.main], task.pixels):
        rows, columns = piece.inside(window)
        arrays = {
            name: _joined(one, rows, columns) for name, one in zip(task.inputs, blocks, strict=True)
        }
        for name, source in task.sources.items():
            arrays[name] = np.stack([source.load(place, piece) for place in task.places])
        for name, values in _picture(arrays, task).items():
            if name not in out:
                out[name] = np.empty((*values.shape[:-2], *window.shape), values.dtype)
            out[name][..., rows, columns] = values
    return _cell(out)


def _joined(blocks, rows=slice(None), columns=slice(None)):
    """Return a part of blocks that lie in lists along time, and along bands if there are any."""
    if isinstance(blocks[0], list):
        parts = [np.concatenate([one[..., rows, columns] for one in own], 1) for own in blocks]
    else:
        parts = [one[..., rows, columns] for one in blocks]
    return np.concatenate(parts)


def _picture(arrays, task):
    special = (task.main, CLEAR, CLOUD_SCORE, schema.READ_FAILED)
    stack = Stack(
        values=arrays[task.main],
        clear=arrays[CLEAR],
        flags={name: one for name, one in arrays.items() if name not in special},
        failed=arrays.get(schema.READ_FAILED),
        cloud_score=arrays.get(CLOUD_SCORE),
    )
    found = compose(stack, task.how, task.days, task.scores)
    return {task.main if name == "values" else name: one for name, one in found.items()}


def _cell(picture):
    out = np.empty((1, 1), object)
    out[0, 0] = picture
    return out


def take(cells: np.ndarray, key: str) -> np.ndarray:
    """Return one output of the only cell of an array, with a time axis."""
    return cells[0, 0][key][np.newaxis]


def piece_shape(block: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return rows and columns of pieces that have at most so many pixels.

    Parameters
    ----------
    block : tuple of int
        Rows and columns of what is cut: whole rows, as long as one fits.
    pixels : int

    Examples
    --------
    >>> piece_shape((1024, 1024), 300_000)
    (292, 1024)
    >>> piece_shape((1024, 1024), 500)
    (1, 500)
    """
    rows = min(block[0], pixels // block[1])
    return (rows, block[1]) if rows else (1, max(1, min(block[1], pixels)))


def pieces_of(window: Window, source: Source, pixels: int) -> list[Window]:
    """Return the pieces in which a window of a store is read.

    Parameters
    ----------
    window : Window
        Of the source's array.
    source : Source
    pixels : int
        Of a piece, at most.

    Returns
    -------
    list of Window
        Their borders follow the chunks inside the store's shards, if one of these has no
        more than `pixels`; as many together as fit.
    """
    inner = source.layout.shards(source.layout.stored(source.variable))[1][-2:]
    tall, wide = min(inner[0], window.shape[0]), min(inner[1], window.shape[1])
    if tall * wide > pixels:
        height, width = piece_shape((tall, wide), pixels)
    else:
        across = min(-(-window.shape[1] // wide), pixels // (tall * wide))
        down = max(1, pixels // (tall * wide * across))
        height, width = tall * down, wide * across
    rows = _borders((window.y0, window.y1), height, source.window.y0)
    columns = _borders((window.x0, window.x1), width, source.window.x0)
    return [Window(*row, *column) for row in rows for column in columns]


def _borders(stretch, step, offset):
    """Return pairs of borders on a lattice of steps that starts `offset` before the array."""
    start, stop = stretch
    first = (start + offset) // step * step + step - offset
    points = [start, *range(first, stop, step), stop]
    return list(zip(points[:-1], points[1:], strict=True))
