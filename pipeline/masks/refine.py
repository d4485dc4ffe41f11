"""Inverts, closes and dilates masks."""

import numpy as np
from scipy import ndimage

from pipeline.config.data import MaskConfig


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
    farthest = max(mask.shape)  # a filter that is wider changes nothing more, and overflows in the end
    if config.close_px:
        side = 2 * min(config.close_px, farthest) + 1
        grown = ndimage.maximum_filter(mask, size=side, mode="constant")
        mask = mask | ndimage.minimum_filter(grown, size=side, mode="constant", cval=True)
    if config.dilate_px:
        mask = ndimage.maximum_filter(mask, size=2 * min(config.dilate_px, farthest) + 1, mode="constant")
    return mask
