"""The training loop: patches in, a fitted network out; seeded, plain PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from glaciercube.errors import WeightsError
from glaciercube.schema import NODATA
from glaciercube.train.augmentation import Augmentation, augment
from glaciercube.train.samples import Patches


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a network learns."""

    steps: int = 2000
    batch: int = 8
    """Patches per step."""

    crop: int = 96
    """Rows and columns (pixels) cut from each patch at random."""

    learning_rate: float = 4e-3
    """Highest rate of AdamW; it rises over the first 5 % of the steps and falls as a cosine."""

    weight_decay: float = 1e-3
    dice: float = 0.3
    """Weight of the Dice loss beside the cross entropy."""

    balance: float = 0.0
    """How far rare categories are lifted in the cross entropy: 0 not at all, so that
    probabilities keep the frequencies of the scenes, 1 to equal weight."""

    seed: int = 0


def fit(
    network: nn.Module,
    patches: Patches,
    schedule: Schedule,
    *,
    augmentation: Augmentation | None = None,
    progress: bool = False,
) -> list[float]:
    """Fit a network to patches, in place, and return the loss of each step.

    Parameters
    ----------
    network : Module
        Reflectance (n, band, y, x) to scores (n, category, y, x). In evaluation mode
        afterwards.
    patches : Patches
    schedule : Schedule
    augmentation : Augmentation, optional
        The patches as they are if None.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of float

    Raises
    ------
    WeightsError
        If the loss is not a number, with the step; the network is then useless.

    Notes
    -----
    The same seed and the same number of threads give the same weights. The initial
    weights are the caller's: call `torch.manual_seed` before the network is made.
    """
    generator = np.random.default_rng(schedule.seed)
    weights = torch.from_numpy(category_weights(patches, schedule.balance))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    warm = max(1, schedule.steps // 20)
    losses: list[float] = []
    network.train()
    with tqdm(total=schedule.steps, desc="train", unit="step", disable=not progress) as bar:
        for step in range(schedule.steps):
            image, target = _batch(patches, schedule, augmentation, generator)
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * _rate(step, warm, schedule.steps)
            optimizer.zero_grad(set_to_none=True)
            value = loss(network(image), target, weights, schedule.dice)
            if not torch.isfinite(value):
                raise WeightsError(
                    f"the loss at step {step} of {schedule.steps} is {value.item()}; needs a "
                    f"finite number: lower the learning rate ({schedule.learning_rate:g}) or "
                    "look for values that are not finite among the patches"
                )
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            losses.append(float(value.item()))
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}")
    network.eval()
    return losses


def loss(
    scores: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, dice: float
) -> torch.Tensor:
    """Return cross entropy plus Dice loss over the pixels whose category is known.

    Parameters
    ----------
    scores : tensor (n, category, y, x), float32
    target : tensor (n, y, x), int64
        Category numbers, 255 where unknown.
    weights : tensor (category,), float32
        Of the cross entropy.
    dice : float
        Weight of the Dice loss (Milletari et al. 2016), the mean over the categories
        that occur.
    """
    known = target != NODATA
    entropy = functional.cross_entropy(scores, target, weight=weights, ignore_index=NODATA)
    if not known.any():
        return 0.0 * scores.sum()
    probability = scores.softmax(dim=1) * known.unsqueeze(1)
    truth = functional.one_hot(torch.where(known, target, 0), scores.shape[1])
    truth = truth.movedim(-1, 1) * known.unsqueeze(1)
    both = (probability * truth).sum(dim=(0, 2, 3))
    size = probability.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    occurs = truth.sum(dim=(0, 2, 3)) > 0
    overlap = (2 * both + 1) / (size + 1)
    return entropy + dice * (1 - overlap[occurs].mean())


def category_weights(patches: Patches, balance: float) -> np.ndarray:
    """Return weights that lift rare categories: their frequency to the power of -balance.

    Parameters
    ----------
    patches : Patches
    balance : float
        0 to 1; see `Schedule`. Categories rarer than 1 in 1000 count as that frequent.

    Returns
    -------
    array (category,), float32
        Mean 1 over the pixels; 0 for a category that does not occur.
    """
    counts = np.bincount(patches.targets.ravel(), minlength=NODATA + 1)[: len(patches.categories)]
    share = counts / max(1, counts.sum())
    weights = np.where(share > 0, np.maximum(share, 1e-3) ** -balance, 0.0)
    return (weights / max(1e-9, float((weights * share).sum()))).astype(np.float32)


def scores_of(network: nn.Module, images: np.ndarray, batch: int = 8) -> np.ndarray:
    """Return the scores (n, category, y, x) of images (n, band, y, x), float32."""
    network.eval()
    with torch.inference_mode():
        parts: Sequence[np.ndarray] = [
            network(torch.from_numpy(images[start : start + batch])).numpy()
            for start in range(0, len(images), batch)
        ]
    return np.concatenate(parts)


def _rate(step, warm, steps):
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm)))


def _batch(patches, schedule, augmentation, generator):
    images, targets = [], []
    for number in generator.integers(len(patches.images), size=schedule.batch):
        image, target = _crop(
            patches.images[number], patches.targets[number], schedule.crop, generator
        )
        if augmentation is not None:
            image, target = augment(image, target, patches.bands, augmentation, generator)
        images.append(image)
        targets.append(target)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets)).long()


def _crop(image, target, size, generator):
    rows, columns = target.shape
    top = int(generator.integers(max(0, rows - size) + 1))
    left = int(generator.integers(max(0, columns - size) + 1))
    window = (slice(top, top + size), slice(left, left + size))
    return image[(slice(None), *window)], target[window]
