"""Decodes masks to boolean arrays of the pixels to fill."""

import numpy as np

from pipeline.codecs.photo import Photo
from pipeline.config.data import MaskConfig
from pipeline.errors import SampleError
from pipeline.masks.base import open_kind
from pipeline.masks.drawn import DrawnMask
from pipeline.masks.labels import refuse_labels
from pipeline.masks.refine import refine
from pipeline.masks.values import at_threshold, read_values


def read_mask(data: bytes, photo: Photo, config: MaskConfig, max_pixels: int) -> np.ndarray:
    """Return the pixels of a photo that may change: (H, W) bool, see :func:`draw_mask`."""
    return draw_mask(data, photo, config, max_pixels).changed


def draw_mask(data: bytes, photo: Photo, config: MaskConfig, max_pixels: int) -> DrawnMask:
    """Decode the mask of a photo, and invert, close and dilate it as configured.

    Args:
        data: the mask file, or the text of annotations; empty for masks of the image itself.
        photo: the decoded image.
        config: kind, threshold, inversion, growth and limits.
        max_pixels: limit, checked before a mask file is decoded.

    Raises:
        SampleError: unreadable, of another size than the image, with values that the threshold does not separate, or
            covering too much or too little of the image.
    """
    drawn = open_kind(config).draw(data, photo, max_pixels)
    return drawn.filling(_checked(refine(drawn.pixels, config), config))


def read_mask_file(data: bytes, config: MaskConfig, max_pixels: int) -> np.ndarray:
    """Decode a mask file of any size at the threshold: (H, W) bool, neither fitted to an image nor inverted.

    Raises:
        SampleError: unreadable, or with values that the threshold does not separate.
    """
    values = read_values(data, max_pixels, config.channel)
    mask = at_threshold(values, config)
    refuse_labels(values, mask, config)
    return mask


def _checked(mask: np.ndarray, config: MaskConfig) -> np.ndarray:
    fraction = np.count_nonzero(mask) / mask.size
    if fraction > config.max_fraction:
        raise SampleError(
            "mask",
            "MaskTooLarge",
            f"the mask covers {fraction:.1%} of the image, mask.max_fraction={config.max_fraction}",
        )
    if 0 < fraction < config.min_fraction:
        raise SampleError(
            "mask",
            "MaskTooSmall",
            f"the mask covers {fraction:.4%} of the image, mask.min_fraction={config.min_fraction}",
        )
    return mask
