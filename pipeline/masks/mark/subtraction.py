"""Computes a mark back out of the pixels that it covers."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.masks.mark.picture import LUMA, Mark

SURE = 0.999  # opacity above which nothing of the photo is left
AROUND_PX = 5  # side of the square whose mean must be a possible colour
DOUBT = 3.0  # standard deviations of the noise that a possible colour may be off
SMEAR = (
    np.array([1, 4, 6, 4, 1], np.float32) / 16
)  # of colour by 4:2:0: the mean of two, interpolated, over both phases
HALF_PX = 0.5 / 255
_TO_YCC = np.array([LUMA, [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_TO_RGB = np.linalg.inv(_TO_YCC)


@dataclass(frozen=True)
class Subtracted:
    """A part of a photo without its mark.

    Args:
        values: (h, w, bands) float32, 0 … 1, sensible where ``computed``.
        computed: (h, w) bool, pixels whose colour follows from the mark.
        hidden: (h, w) bool, pixels that only a model can fill.
    """

    values: np.ndarray
    computed: np.ndarray
    hidden: np.ndarray


def subtract(values: np.ndarray, mark: Mark, limit: float, noise: float, is_smeared: bool) -> Subtracted:
    """Solve value = (1 - opacity) * photo + opacity * mark for the photo.

    Values are taken as they are encoded, not as linear light: so do the tools that put marks over photos.

    Args:
        values: (h, w, bands) float32, 0 … 1, of one or three bands.
        mark: of the same height and width.
        limit: opacity above which pixels are hidden.
        noise: standard deviation of values, 0 … 1.
        is_smeared: whether colours were stored at half the size, as most JPEG files have them.
    """
    is_grey = values.shape[2] == 1
    alpha, added = mark.alpha, mark.added
    covered = alpha > 0
    if is_grey:
        found = _solve(values, alpha[..., None], (added @ LUMA)[..., None])
    elif is_smeared:
        found, covered = _solve_smeared(values, mark)
    else:
        found = _solve(values, alpha[..., None], added)
    tolerance = DOUBT * noise / np.maximum(1 - alpha, 1 - SURE)
    hidden = covered & ((alpha > limit) | _is_impossible(found, covered & (alpha <= limit), tolerance))
    return Subtracted(np.clip(found, 0, 1), covered & ~hidden, hidden)


def _solve(values: np.ndarray, alpha: np.ndarray, added: np.ndarray) -> np.ndarray:
    return (values - added) / np.maximum(1 - alpha, 1 - SURE)


def _solve_smeared(values: np.ndarray, mark: Mark) -> tuple[np.ndarray, np.ndarray]:
    """Solve in brightness and colours, of which the latter hold the mark smeared; return also what it reaches."""
    ycc, added = values @ _TO_YCC.T, mark.added @ _TO_YCC.T
    alpha = np.repeat(mark.alpha[..., None], 3, axis=2)
    for layer in (alpha, added):
        layer[..., 1:] = _smeared(_smeared(layer[..., 1:], 0), 1)
    return _solve(ycc, alpha, added) @ _TO_RGB.T, alpha.max(axis=2) > HALF_PX


def _smeared(layer: np.ndarray, axis: int) -> np.ndarray:
    return ndimage.convolve1d(layer, SMEAR, axis=axis, mode="nearest")


def _is_impossible(found: np.ndarray, known: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Return where the mean of the known pixels around is out of range by more than noise explains."""
    weight = ndimage.uniform_filter(known.astype(np.float32), AROUND_PX, mode="constant")
    beyond = np.zeros(known.shape, np.float32)
    for band in np.moveaxis(found, 2, 0):
        mean = ndimage.uniform_filter(np.where(known, band, 0), AROUND_PX, mode="constant") / np.maximum(weight, 1e-6)
        np.maximum(beyond, np.maximum(-mean, mean - 1), out=beyond)
    return known & (beyond > tolerance)
