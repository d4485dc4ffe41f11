"""Inverts, closes and dilates masks."""

import numpy as np
from scipy import ndimage

from pipeline.config.mask import MaskConfig


def refine(mask: np.ndarray, config: MaskConfig) -> np.ndarray:
    """Invert a mask, close its gaps and dilate it, in this order, as far as the configuration asks for it.

    Args:
        mask: (H, W) bool, true = fill.
        config: ``invert``, ``close_px`` and ``dilate_px``.

    Returns:
        (H, W) bool.
    """
    if config.invert:
        mask = ~mask
    if config.close_px:
        side = 2 * min(config.close_px, max(mask.shape)) + 1
        grown = ndimage.maximum_filter(mask, size=side, mode="constant")
        mask = mask | ndimage.minimum_filter(grown, size=side, mode="constant", cval=True)
    return dilate(mask, config.dilate_px)


def dilate(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Grow a mask, (H, W) bool, by a number of pixels on every side."""
    if not pixels:
        return mask
    farthest = max(mask.shape)  # a filter that is wider changes nothing more, and overflows in the end
    return ndimage.maximum_filter(mask, size=2 * min(pixels, farthest) + 1, mode="constant")
