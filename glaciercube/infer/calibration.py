"""The ranges of a network in 8-bit integers: found once, on real tiles, and kept with the card."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from glaciercube.errors import WeightsError
from glaciercube.infer import choices, runtimes
from glaciercube.infer.choices import AGREEMENT, PIXELS, Sample
from glaciercube.infer.cubes import dask_arrays, readers
from glaciercube.infer.dates import seen_by
from glaciercube.infer.reads import Read
from glaciercube.infer.samples import samples_of
from glaciercube.infer.settling import SIDE, seen_in
from glaciercube.infer.work import Work
from glaciercube.model import channels
from glaciercube.model.card import ModelCard, write_card
from glaciercube.model.weights import sha256_of
from glaciercube.optional import load

CHOICE = "openvino-int8"

TILES = 4
"""Tiles, at least: every fourth is held out to measure the agreement."""


def calibrate(card: ModelCard, tiles: Sequence[Sample], path: str | Path) -> ModelCard:
    """Find the ranges of a network's values, and write a card that runs in 8-bit integers.

    Parameters
    ----------
    card : ModelCard
        Of a network with weights of its own (not ONNX).
    tiles : sequence of Sample
        What the network sees of typical cubes, normalised: `tiles_of` gives them. Every fourth is
        held out.
    path : str or Path
        Of the card to write (JSON), in the folder of the weights. Beside it come
        `<name>-int8.xml` and `<name>-int8.bin`, OpenVINO's own format.

    Returns
    -------
    ModelCard
        As written: its `quantized` has the files, their hashes, and the agreement with float32
        on the tiles held out.

    Raises
    ------
    WeightsError
        If there are too few tiles, or the classes agree in less than 99.9 % of the pixels held
        out; nothing is written then.
    ImportError
        If nncf or openvino are not installed: ``pip install 'glaciercube[openvino]'``.

    Notes
    -----
    Static quantisation after training (nncf): ranges of activations from the tiles, of weights
    per channel, corrected for their bias. The same tiles give the same numbers.
    """
    used = [tile for number, tile in enumerate(tiles) if number % 4 != 3]
    held_out = [tile for number, tile in enumerate(tiles) if number % 4 == 3]
    pixels = sum(int(tile.measured.sum()) for tile in held_out)
    if len(tiles) < TILES or pixels < PIXELS:
        raise WeightsError(
            f"calibration needs {TILES} tiles or more, and {PIXELS} measured pixels in every "
            f"fourth of them, found {len(tiles)} and {pixels}; give more or larger tiles"
        )
    target = Path(path).absolute()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".calibration-") as folder:
        draft = _drafted(card, used, Path(folder), target.stem)
        choice = choices.compared(draft, CHOICE, held_out)
        if choice.agreement < AGREEMENT:
            raise WeightsError(
                f"{card.name} in 8-bit integers gives the classes of float32 in "
                f"{100 * choice.agreement:.3f} % of {pixels} pixels, needs {100 * AGREEMENT:g} %; "
                "calibrate on tiles of more kinds of scenes, or do without"
            )
        told = dict(draft.quantized) | {"agreement": choice.agreement, "pixels": choice.pixels}
        done = replace(draft, weights=card.weights, quantized=told)
        for name in (told["file"], Path(told["file"]).with_suffix(".bin").name):
            os.replace(Path(folder) / name, target.parent / name)
    write_card(done, target)
    return done


def tiles_of(cube: xr.Dataset, card: ModelCard, count: int = 16) -> list[Sample]:
    """Return what a network sees in some places of a cube; reads and computes them now.

    Parameters
    ----------
    cube : Dataset
        With the bands of the card, as `read` gives it.
    card : ModelCard
    count : int
        Of tiles of 512 x 512 pixels at most, those that were measured best; fewer where the cube
        has no more.

    Raises
    ------
    SchemaError
        If the cube lacks a band of the card.
    """
    arrays, names = dask_arrays(cube), [str(name) for name in cube["band"].values]
    positions = channels.positions(names, card)
    chunks = (arrays[1].chunks[0], *(_tiled(size) for size in arrays[1].shape[1:]))
    work = Work(
        refs=(),
        bands=tuple(names[at] for at in positions),
        planes=(),
        halo=0,
        stride=card.stride,
        chunks=chunks,
        times=tuple(str(time) for time in cube["time"].values),
        positions=tuple(positions),
        seen=seen_by(cube["time"].values, [card]),
    )
    valid, both = readers(cube, arrays, work.positions)
    parts = []
    for one in samples_of(work, valid, 0, count * SIDE**2)[:count]:
        dates = (one.date, *work.others_of(one.date))
        given = {date: both(date, one.window) for date in dates}
        reads = {date: Read.of(each[0], each[1], one.window, date) for date, each in given.items()}
        read = replace(reads.pop(one.date), others=reads)
        parts.append((one.window, read, read.measured))
    return list(seen_in(parts, work, card))


def _tiled(size):
    """Return a side in tiles, none of them small unless the side is."""
    count = max(1, round(size / SIDE))
    return tuple(int(one) for one in np.diff(np.linspace(0, size, count + 1).astype(int)))


def _drafted(card, tiles, folder, stem):
    """Write the network in integers to a folder; return a card of it there."""
    weights = shutil.copy(card.weights, folder)
    graph = folder / f"{stem}-int8.xml"
    load("openvino").save_model(_quantized(card, tiles), str(graph), compress_to_fp16=False)
    told = {
        "file": graph.name,
        "sha256": sha256_of(graph),
        "sha256_bin": sha256_of(graph.with_suffix(".bin")),
        "agreement": 0.0,
        "pixels": 1,
    }
    return replace(card, weights=str(weights), quantized=told)


def _quantized(card: ModelCard, tiles: Sequence[Sample]) -> Any:
    openvino = load("glaciercube.infer.runtime_openvino")
    model = openvino.model_of(runtimes.ref_for(card, "openvino"))
    with openvino.untold():
        nncf = load("nncf")
        images = [np.ascontiguousarray(tile.image[np.newaxis]) for tile in tiles]
        return nncf.quantize(
            model,
            nncf.Dataset(images),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=True,
        )
