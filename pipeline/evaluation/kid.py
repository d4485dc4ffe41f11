"""Kernel distance between fills and photos (KID), estimated without bias although both come from the same photos."""

from dataclasses import dataclass

import numpy as np

BLOCK = 512  # rows of the kernel at once


@dataclass(frozen=True)
class Kid:
    """A squared kernel distance.

    Args:
        value: 0 for equal distributions; an estimate may be below.
        error: standard error, from leaving out each photo in turn.
    """

    value: float
    error: float


def kernel_distance(truth: np.ndarray, filled: np.ndarray, photos: np.ndarray) -> Kid:
    """Estimate the distance between two sets of features whose i-th members belong to the same crop.

    The usual estimate takes all pairs of a photo's crop and a filled crop. Here each filled crop still has the
    surroundings of its photo, and such a pair looks far too much alike, so that the estimate falls below zero. Only
    pairs of crops from different photos count: these are independent, and the estimate is unbiased again.

    Source: Bińkowski et al. 2018 (KID, the kernel (x·y / D + 1)³); Gretton et al. 2012, equation 4 (the estimate).

    Args:
        truth, filled: (N, D) features.
        photos: (N,) number of the photo that each crop is from.

    Raises:
        ValueError: all crops are from one photo.
    """
    truth, filled = (np.asarray(features, np.float64) for features in (truth, filled))
    _, photo_index, crops = np.unique(photos, return_inverse=True, return_counts=True)
    count, photo_count = len(truth), len(crops)
    if photo_count < 2:
        raise ValueError("crops must be from at least two photos")
    by_photo = np.zeros(photo_count)
    for start in range(0, count, BLOCK):
        rows = slice(start, start + BLOCK)
        terms = (
            _kernel(truth[rows], truth)
            + _kernel(filled[rows], filled)
            - _kernel(truth[rows], filled)
            - _kernel(filled[rows], truth)
        )
        terms[photo_index[rows, None] == photo_index[None]] = 0
        by_photo += np.bincount(photo_index[rows], terms.sum(axis=1), photo_count)
    pairs = crops * (count - crops)
    total, pair_count = by_photo.sum(), pairs.sum()
    if photo_count == 2:  # without either of them no pair is left
        return Kid(float(total / pair_count), float("inf"))
    without = (total - 2 * by_photo) / (pair_count - 2 * pairs)
    variance = (photo_count - 1) / photo_count * np.square(without - without.mean()).sum()
    return Kid(float(total / pair_count), float(np.sqrt(variance)))


def _kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(M, D), (N, D) → (M, N)."""
    return (left @ right.T / left.shape[1] + 1) ** 3
