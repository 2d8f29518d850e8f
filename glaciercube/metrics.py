"""How well an estimate agrees with the truth; NumPy in, numbers out.

Every function leaves out what was not observed, and gives NaN where there is nothing to
compare: no agreement is claimed for an empty set.
"""

import numpy as np

from glaciercube.errors import SchemaError


def iou(truth: np.ndarray, estimate: np.ndarray, observed: np.ndarray | None = None) -> float:
    """Return the intersection over union of two masks.

    Parameters
    ----------
    truth, estimate : array, bool
        Of one shape; True where glacier.
    observed : array, bool, optional
        Where to compare; everywhere by default.

    Returns
    -------
    float
        0 to 1; NaN where neither mask has anything. Pool several scenes by passing them in
        one array: the mean of their values weighs a small glacier like a large one.

    Raises
    ------
    SchemaError
        If the shapes differ.

    Examples
    --------
    >>> iou(np.array([True, True, False]), np.array([True, False, False]))
    0.5
    """
    truth, estimate = (one.astype(bool) for one in _compared(truth, estimate, observed))
    union = np.count_nonzero(truth | estimate)
    return float(np.count_nonzero(truth & estimate) / union) if union else float("nan")


def confusion(
    truth: np.ndarray, estimate: np.ndarray, categories: int, observed: np.ndarray | None = None
) -> np.ndarray:
    """Return how often each category was taken for each other.

    Parameters
    ----------
    truth, estimate : array, integer
        Codes 0 to `categories` - 1, of one shape. Pixels where either has another code
        (255 nodata) are left out.
    categories : int
        How many codes there are.
    observed : array, bool, optional
        Where to compare; everywhere by default.

    Returns
    -------
    array (category of truth, category of estimate), int64

    Raises
    ------
    SchemaError
        If the shapes differ.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    truth, estimate = _compared(truth, estimate, observed)
    known = (truth >= 0) & (truth < categories) & (estimate >= 0) & (estimate < categories)
    pairs = truth[known].astype(np.int64) * categories + estimate[known].astype(np.int64)
    return np.bincount(pairs, minlength=categories**2).reshape(categories, categories)


def f1(counts: np.ndarray) -> np.ndarray:
    """Return the F1 score of each category.

    Parameters
    ----------
    counts : array (category of truth, category of estimate)
        As `confusion` gives it.

    Returns
    -------
    array (category,), float64
        2 TP / (2 TP + FP + FN); NaN for a category that is in neither truth nor estimate.

    Examples
    --------
    >>> f1(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])).round(3)
    array([0.667, 0.667,   nan])
    """
    hits = np.diag(counts).astype(np.float64)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    return np.divide(2 * hits, either, out=np.full(len(hits), np.nan), where=either > 0)


def macro_f1(counts: np.ndarray) -> float:
    """Return the mean F1 score of the categories that occur.

    Parameters
    ----------
    counts : array (category of truth, category of estimate)
        As `confusion` gives it.

    Examples
    --------
    >>> round(macro_f1(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])), 3)
    0.667
    """
    scores = f1(counts)
    some = scores[np.isfinite(scores)]
    return float(some.mean()) if len(some) else float("nan")


def ece(confidence: np.ndarray, correct: np.ndarray, bins: int = 40) -> float:
    """Return the expected calibration error of a confidence.

    Parameters
    ----------
    confidence : array
        Stated probability of being right, 0 to 1; NaN is left out.
    correct : array, bool
        Whether it was right; of the same shape.
    bins : int
        Equal steps of confidence.

    Returns
    -------
    float
        Mean over pixels of the distance between the share that was right and the mean
        confidence of their bin
        (Guo et al. 2017, arXiv:1706.04599); NaN without pixels.

    Raises
    ------
    SchemaError
        If the shapes differ or a confidence is not from 0 to 1.

    Examples
    --------
    >>> round(ece(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False])), 3)
    0.15
    """
    confidence, correct = _compared(confidence, correct, np.isfinite(confidence))
    if not confidence.size:
        return float("nan")
    if confidence.min() < 0 or confidence.max() > 1:
        raise SchemaError(
            "ece needs confidences from 0 to 1, found "
            f"{float(confidence.min()):g} to {float(confidence.max()):g}"
        )
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    stated = np.bincount(place, confidence.astype(np.float64), bins)
    right = np.bincount(place, correct.astype(np.float64), bins)
    return float(np.abs(right - stated).sum() / confidence.size)


def _compared(first, second, observed):
    """Return two arrays where they are compared, flat."""
    first, second = np.asarray(first), np.asarray(second)
    where = np.ones(first.shape, bool) if observed is None else np.asarray(observed, bool)
    if not first.shape == second.shape == where.shape:
        raise SchemaError(
            "what is compared needs one shape, found "
            f"{first.shape}, {second.shape} and observed {where.shape}; align them first"
        )
    return first[where], second[where]
