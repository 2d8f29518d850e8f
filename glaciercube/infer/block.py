"""One block through the networks: NumPy in, NumPy out. No Dask, no xarray.

Threads. A forward pass uses as many threads as torch is set to (all cores, or what
`OMP_NUM_THREADS` says), and as many passes run at a time in this process as fill the cores:
one with torch's default. The other Dask threads read, decode and write meanwhile.
"""

import os
from dataclasses import dataclass
from threading import BoundedSemaphore

import numpy as np
import torch

from glaciercube.errors import WeightsError
from glaciercube.infer.work import PROBABILITY, Work, measured_share
from glaciercube.model import channels, registry
from glaciercube.model.card import ModelCard
from glaciercube.model.reference import ModelRef
from glaciercube.schema import NODATA, TASKS


def forward_slots() -> int:
    """Return how many forward passes may run at a time in this process.

    Together they use every core once: cores / threads of torch.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // torch.get_num_threads())


_slots = BoundedSemaphore(forward_slots())


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What one network says of a block."""

    card: ModelCard
    codes: np.ndarray
    """(y, x), uint8: of its class layer, 255 where not measured or obscured."""

    best: np.ndarray
    """(y, x), float32: probability of the reported category, NaN where the code is 255."""

    measured: np.ndarray
    """(y, x), bool."""

    probability: np.ndarray
    """(category, y, x), float32, of every pixel."""

    def of(self, category: str, where: np.ndarray) -> np.ndarray:
        """Return the probability (y, x) of a category, NaN elsewhere."""
        share = self.probability[self.card.categories.index(category)]
        return np.where(where, share, np.float32(np.nan))


def predict_block(
    values: np.ndarray, valid: np.ndarray, work: Work, inner: tuple[slice, slice]
) -> np.ndarray:
    """Return the layers of one block.

    Parameters
    ----------
    values : array (band, y, x), float32
        Reflectance (1) of the block and its halo, bands as `work.bands`; NaN where not
        measured.
    valid : array (y, x), bool
    work : Work
        The networks, the planes wanted, the halo.
    inner : tuple of slice
        Rows and columns to report, within `values`.

    Returns
    -------
    array (plane, y, x), float32
        Codes are whole numbers, 255 where nothing was measured; the others are NaN there.
        A block without any measured pixel of its own never reaches a network.
    """
    measured = valid & np.isfinite(values).all(axis=0)
    centre = measured[inner]
    planes = nothing(work.planes, centre.shape)
    if not centre.any():
        return planes
    reported = [_reported(values, measured, work.bands, ref, inner) for ref in work.refs]
    for plane, name in zip(planes, work.planes, strict=True):
        if name == "valid_fraction":
            share = measured_share(measured, inner, work.halo)
            np.copyto(plane, share, where=centre)
        else:
            plane[:] = _plane(name, reported)
    return planes


def nothing(planes: tuple[str, ...], shape: tuple[int, int]) -> np.ndarray:
    """Return the planes of a block in which nothing was measured.

    Examples
    --------
    >>> nothing(("facies", "confidence"), (1, 2)).tolist()
    [[[255.0, 255.0]], [[nan, nan]]]
    """
    out = np.full((len(planes), *shape), np.nan, np.float32)
    for number, name in enumerate(planes):
        if name in TASKS:
            out[number] = NODATA
    return out


def _plane(name, reported):
    if name == "confidence":
        return np.fmin.reduce([each.best for each in reported])
    if name.startswith(PROBABILITY):
        facies = next(each for each in reported if each.card.task == "facies")
        return facies.of(name.removeprefix(PROBABILITY), facies.measured)
    if name == "glacier_probability":
        extent = next(each for each in reported if each.card.task == "extent")
        return extent.of("glacier", extent.codes != NODATA)
    return next(each.codes for each in reported if each.card.task == name)


def _reported(values, measured, bands, ref, inner):
    card = ref.card
    chosen = values[list(channels.positions(bands, card))]
    scores = _forward(channels.normalised(chosen, measured, card), ref, inner)
    probability = (scores / card.temperature).softmax(dim=0)
    number = scores.max(dim=0).indices.numpy()  # five times as fast as argmax
    centre = measured[inner]
    codes = np.where(centre, np.array(card.codes, np.uint8)[number], np.uint8(NODATA))
    best = probability.amax(dim=0).numpy()
    return Reported(
        card=card,
        codes=codes,
        best=np.where(codes == NODATA, np.float32(np.nan), best),
        measured=centre,
        probability=probability.numpy(),
    )


@torch.inference_mode()
def _forward(image: np.ndarray, ref: ModelRef, inner: tuple[slice, slice]) -> torch.Tensor:
    """Return the scores (category, y, x) of the reported part."""
    network = registry.network_of(ref)
    with _slots:
        scores = network(torch.from_numpy(image[np.newaxis]))
    needed = (1, len(ref.card.categories), *image.shape[1:])
    if tuple(scores.shape) != needed:
        raise WeightsError(
            f"the network of {ref.card.name!r} must give scores of shape {needed}, found "
            f"{tuple(scores.shape)}; its output must have the size of its input"
        )
    return scores[0, :, inner[0], inner[1]]
