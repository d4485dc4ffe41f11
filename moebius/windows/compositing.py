"""Compositing of generated pixels and photo: colour matching and pasting, as published and exact."""

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torch import Tensor

from moebius.windows.holes import Box

RING_PX = 5
COMPENSATION = 1.1
DRIFT_SIGMA = 1 / 8  # of a window's side: differences of colours over more than that are drift, over less texture
FILL_WEIGHT = 0.1  # of the first fill beside known pixels, when colours are compared


def to_uint8(generated: Tensor) -> Tensor:
    """Return floor(255·x) of values in [0, 1], as published, on their device.

    Raises:
        FloatingPointError: NaN or infinity among the values.
    """
    if not torch.isfinite(generated).all():
        raise FloatingPointError("the model produced NaN or infinite pixels")
    return generated.clamp(0, 1).double().mul_(255).to(torch.uint8)  # which drops the fraction


def ring_around(mask: np.ndarray) -> np.ndarray:
    """Return the mask's bounding box grown by about ``RING_PX`` per side, minus the mask: (H, W) bool → (H, W) bool.

    Source: the published code; per axis [mid − half, mid + half], half = (hi − lo + 1)//2 + 5, clipped to the image.
    """
    ring = np.zeros_like(mask)
    box = Box.around(mask)
    if box is None:
        return ring
    spans = []
    for low, high in ((box.top, box.bottom - 1), (box.left, box.right - 1)):
        middle, half = (low + high) // 2, (high - low + 1) // 2 + RING_PX
        spans.append(slice(max(middle - half, 0), middle + half + 1))
    ring[tuple(spans)] = True
    return ring & ~mask


def colour_offset(image: np.ndarray, generated: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the offset that makes the generated colours agree with the photo around the hole.

    Source: the published colour compensation, 1.1·(mean image − mean generated) over the ring.

    Args:
        image: (H, W, 3) uint8.
        generated: (H, W, 3) uint8, the model's picture of the same place.
        mask: (H, W) bool, true = fill.

    Returns:
        (3,) float64, in grey levels; zero where the hole leaves no ring.
    """
    ring = ring_around(mask)
    box = Box.around(ring)
    if box is None:
        return np.zeros(3)
    inside = ring[box.slices]
    means = [pixels[box.slices][inside].mean(axis=0) for pixels in (image, generated)]
    return COMPENSATION * (means[0] - means[1])


def match_colours(image: np.ndarray, generated: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Shift the generated picture, (H, W, 3) uint8, by :func:`colour_offset`, which takes the same arguments."""
    levels = np.arange(256)[:, None] + colour_offset(image, generated, mask)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.array(Image.fromarray(generated).point(table.T.ravel().tolist()))


def keep_colours(pixels: np.ndarray, generated: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Give a second fill the colours around the hole and, farther inside than those reach, the colours of the first.

    A window that shows no known pixels, or few, says little about colours: fills drift there.

    Args:
        pixels: (side, side, 3) uint8, the photo with the first fill in its hole.
        generated: (side, side, 3) uint8, the second fill.
        mask: (side, side) bool, true = fill.

    Returns:
        (side, side, 3) uint8: generated, less its smooth difference from ``pixels``.
    """
    sigma = len(mask) * DRIFT_SIGMA
    weight = np.where(mask, FILL_WEIGHT, 1).astype(np.float32)
    difference = (pixels.astype(np.float32) - generated) * weight[..., None]
    total = ndimage.gaussian_filter(weight, sigma, mode="nearest")
    offset = ndimage.gaussian_filter(difference, (sigma, sigma, 0), mode="nearest") / total[..., None]
    return np.clip(np.rint(generated + offset), 0, 255).astype(np.uint8)


def paste_published(
    image: np.ndarray, generated: np.ndarray, mask: np.ndarray, compensate_colour: bool = False
) -> np.ndarray:
    """Paste as published, for reference: it blends over a blurred mask and so changes pixels outside it.

    Args:
        image: (H, W, 3) uint8.
        generated: (H, W, 3) uint8.
        mask: (H, W) bool, true = fill.
        compensate_colour: shift the generated colours by :func:`colour_offset` first.

    Returns:
        (H, W, 3) uint8.
    """
    colours = generated.astype(np.float64)
    if compensate_colour:
        colours += colour_offset(image, generated, mask)
    blurred = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(3))
    blend = np.asarray(blurred, dtype=np.float64)[..., None] / 255
    blended = colours / 255 * blend + image / 255 * (1 - blend)  # clipped last: shifted colours may leave the range
    return np.floor(255 * np.clip(blended, 0, 1)).astype(np.uint8)
