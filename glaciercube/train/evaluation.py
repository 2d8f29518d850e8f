"""How good and how honest a network's probabilities are, on patches it never saw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from glaciercube.schema import NODATA

BINS = 15
"""Bins of confidence for the expected calibration error (Guo et al. 2017)."""


def temperature_of(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature that makes scores most likely on data not trained on.

    Parameters
    ----------
    scores : array (n, category, y, x), float32
        Before the softmax.
    targets : array (n, y, x), uint8
        Category numbers, 255 where unknown.

    Returns
    -------
    float
        Divide the scores by it; above 1 the network was too sure. Between 0.2 and 5.

    Notes
    -----
    Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599): one number,
    so that no category changes rank, by golden-section search on the likelihood.
    """
    flat, truth = _known(scores, targets)
    values, labels = torch.from_numpy(flat), torch.from_numpy(truth).long()

    def cost(logarithm):
        return float(functional.cross_entropy(values / float(np.exp(logarithm)), labels))

    low, high = np.log(0.2), np.log(5.0)
    ratio = (np.sqrt(5.0) - 1) / 2
    for _ in range(20):
        first, second = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, second) if cost(first) < cost(second) else (first, high)
    return round(float(np.exp((low + high) / 2)), 3)


def evaluate(
    scores: np.ndarray, targets: np.ndarray, categories: Sequence[str], temperature: float = 1.0
) -> dict[str, Any]:
    """Return accuracy and calibration over the pixels whose category is known.

    Parameters
    ----------
    scores : array (n, category, y, x), float32
    targets : array (n, y, x), uint8
    categories : sequence of str
        Names in order.
    temperature : float

    Returns
    -------
    dict
        `pixels`, `accuracy`, `macro_f1` (over the categories that occur), `iou` and `f1`
        by category, and `expected_calibration_error`, all shares 0 to 1.
    """
    flat, truth = _known(scores, targets)
    probability = torch.from_numpy(flat / temperature).softmax(dim=1).numpy()
    said = probability.argmax(axis=1)
    count = len(categories)
    table = np.bincount(truth.astype(np.int64) * count + said, minlength=count * count)
    table = table.reshape(count, count)
    both, true, found = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    occurs = true > 0
    f1 = 2 * both / np.maximum(1, true + found)
    iou = both / np.maximum(1, true + found - both)
    return {
        "pixels": len(truth),
        "accuracy": _short(both.sum() / max(1, len(truth))),
        "macro_f1": _short(f1[occurs].mean()),
        "iou": {n: _short(v) for n, v, o in zip(categories, iou, occurs, strict=True) if o},
        "f1": {n: _short(v) for n, v, o in zip(categories, f1, occurs, strict=True) if o},
        "expected_calibration_error": _short(_calibration(probability, said == truth)),
    }


def _calibration(probability, right):
    confidence = probability.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    sure = np.bincount(bins, confidence, BINS)
    true = np.bincount(bins, right, BINS)
    return np.abs(sure - true).sum() / max(1, len(right))


def _known(scores, targets):
    flat = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])
    known = targets.ravel() != NODATA
    return flat[known], targets.ravel()[known]


def _short(value):
    return round(float(value), 4)
