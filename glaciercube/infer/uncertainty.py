"""How sure several predictions of one block are together: streamed. NumPy only.

Members are networks of an ensemble, views of an image, or both. They come one at a time and none
is kept: memory is that of one prediction, whatever their number. Sums are kept as integers
(probabilities in steps of 2^-24, entropies in steps of 2^-30 nat), which add up exactly, so that
the order of the members changes no bit of the result.
"""

import math
from dataclasses import dataclass

import numpy as np

from glaciercube.errors import SchemaError
from glaciercube.windows import strips

MEMBERS = 255
"""More would overflow the sums of 32 bits."""

_STEPS = np.float32(2**24)
_ENTROPY_STEPS = np.float32(2**30)

_TINY = np.float32(1e-30)
"""Probabilities below this count as it in the logarithm: p log p is 0 there."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What several predictions say together; entropies in nats, NaN where any member is."""

    probability: np.ndarray
    """(category, y, x), float32: mean of the members (Lakshminarayanan et al. 2017)."""

    entropy: np.ndarray
    """(y, x), float32: predictive entropy, of the mean (total uncertainty)."""

    expected_entropy: np.ndarray
    """(y, x), float32: mean of the members' entropies (aleatoric; Depeweg et al. 2018)."""

    mutual_information: np.ndarray
    """(y, x), float32: the difference of the two (epistemic; BALD, Houlsby et al. 2011)."""


class Members:
    """Predictions of one block, summed as they come.

    Parameters
    ----------
    categories : int
    shape : tuple of int
        Rows and columns of the block.

    Notes
    -----
    With mean probability q = mean of p over members m, and H(p) = -sum of p log p over
    categories: predictive entropy H(q), expected entropy mean of H(p), mutual information
    H(q) - mean of H(p), which is 0 where all members agree and at most log of the categories.
    Lakshminarayanan et al. 2017, https://doi.org/10.48550/arXiv.1612.01474; Depeweg et al. 2018,
    https://doi.org/10.48550/arXiv.1710.07283; Houlsby et al. 2011,
    https://doi.org/10.48550/arXiv.1112.5745. Probabilities are those of float64 to 3e-7, entropies
    to 3e-6: a probability near 0 moves its entropy by its logarithm.

    Examples
    --------
    >>> members = Members(2, (1, 1))
    >>> members.add(np.float32([[[1.0]], [[0.0]]]))
    >>> members.add(np.float32([[[0.0]], [[1.0]]]))
    >>> spread = members.spread()
    >>> spread.entropy.round(4), spread.mutual_information.round(4)
    (array([[0.6931]], dtype=float32), array([[0.6931]], dtype=float32))
    """

    def __init__(self, categories: int, shape: tuple[int, int]):
        self.count = 0
        self._total = np.zeros((categories, *shape), np.uint32)
        self._entropy = np.zeros(shape, np.int64)
        self._missing = np.zeros(shape, bool)

    def add(self, probability: np.ndarray) -> None:
        """Add one member.

        Parameters
        ----------
        probability : array (category, y, x), float32
            0-1; it need not be contiguous, and is not kept.

        Raises
        ------
        SchemaError
            If its shape is another, or there are 255 members already.
        """
        if probability.shape != self._total.shape:
            raise SchemaError(
                f"a member of shape {self._total.shape} is needed, found {probability.shape}"
            )
        if self.count == MEMBERS:
            raise SchemaError(f"at most {MEMBERS} members can be summed, found one more")
        self.count += 1
        for rows in strips(probability.shape[1:]):
            steps = np.multiply(probability[:, rows], _STEPS, dtype=np.float32, order="C")
            np.rint(steps, out=steps)
            entropy = _entropy(steps * (1 / _STEPS))
            missing = np.isnan(entropy)
            if missing.any():
                self._missing[rows] |= missing
                steps, entropy = np.where(missing, 0, steps), np.where(missing, 0, entropy)
            for total, share in zip(self._total[:, rows], steps, strict=True):
                total += share.astype(np.int32).view(np.uint32)
            self._entropy[rows] += np.rint(entropy * _ENTROPY_STEPS).astype(np.int64)

    def spread(self) -> Spread:
        """Return what the members say together.

        Raises
        ------
        SchemaError
            If there is no member yet.
        """
        if not self.count:
            raise SchemaError("one member or more is needed, found 0; add predictions first")
        mean = self._total.astype(np.float32)
        mean *= np.float32(1 / (self.count * float(_STEPS)))
        expected = (self._entropy / (self.count * float(_ENTROPY_STEPS))).astype(np.float32)
        whole = entropy_of(mean)
        # Where members agree, rounding may leave less than nothing.
        knowledge = np.maximum(whole - expected, np.float32(0))
        if self._missing.any():
            for each in (mean, whole, expected, knowledge):
                np.copyto(each, np.float32(np.nan), where=self._missing)
        return Spread(
            probability=mean,
            entropy=whole,
            expected_entropy=expected,
            mutual_information=knowledge,
        )


def entropy_of(probability: np.ndarray) -> np.ndarray:
    """Return the entropy of each pixel's categories, in nats.

    Parameters
    ----------
    probability : array (category, y, x), float32
        0-1.

    Returns
    -------
    array (y, x), float32
        0 to log of the number of categories, NaN where a probability is. The same bits for a
        pixel in whatever part of an image.

    Examples
    --------
    >>> entropy_of(np.float32([[[0.5, 1.0]], [[0.5, 0.0]]])).round(4)
    array([[0.6931, 0.    ]], dtype=float32)
    """
    out = np.empty(probability.shape[1:], np.float32)
    for rows in strips(out.shape):
        out[rows] = _entropy(probability[:, rows])
    return out


def share_of_largest(nats: np.ndarray, categories: int) -> np.ndarray:
    """Return an entropy or mutual information as a share, 0-1, of the largest there can be.

    Parameters
    ----------
    nats : array, float32
        Entropy or mutual information (nat).
    categories : int
        Its largest value is the log of this number.

    Returns
    -------
    array, float32
        Never above 1, which float32 alone would not keep.

    Examples
    --------
    >>> share_of_largest(np.float32([0.0, 1.0986123]), 3)
    array([0., 1.], dtype=float32)
    """
    share = nats * np.float32(1 / math.log(max(2, categories)))
    return np.minimum(share, np.float32(1), out=share)


def _entropy(part):
    """Return the entropy (y, x) of a part: category after category, the same for any part."""
    entropy = np.zeros(part.shape[1:], np.float32)
    term = np.empty(part.shape[1:], np.float32)
    for share in part:
        np.maximum(share, _TINY, out=term, casting="same_kind")
        np.log(term, out=term)
        np.multiply(term, share, out=term, casting="same_kind")
        entropy -= term
    return np.maximum(entropy, np.float32(0), out=entropy)
